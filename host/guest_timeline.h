/* SPDX-License-Identifier: GPL-2.0-or-later */
/* History of a guest on this host, as data that can be drawn. */
#ifndef HOST_GUEST_TIMELINE_H
#define HOST_GUEST_TIMELINE_H

#include <jansson.h>
#include <stdbool.h>

/*
 * From its events (guest_log.h; the oldest first): an object with
 *
 *   states  an array of {from, state}, each until the next one: protected, unprotected, joining,
 *           backup, starting, waiting, asking, down, unknown (its process ended without a word)
 *   marks   an array of {at, kind, text}, and s, the length of what has one: failover, switch,
 *           join, join failed, backup lost, ended...
 *   since   when this host's replica got the role (live, backup) that it has; absent: it has none
 *
 * Times are seconds since 1970. is_down: nothing of the guest runs here now. Events that are not
 * understood are passed over. Never NULL.
 */
json_t *guest_timeline(const json_t *events, bool is_down);

#endif
