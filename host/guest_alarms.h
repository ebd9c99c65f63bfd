/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What somebody should look at, in words: the same for `list`, `top`, JSON and the page. */
#ifndef HOST_GUEST_ALARMS_H
#define HOST_GUEST_ALARMS_H

#include <jansson.h>

/*
 * Of one guest as guest_list() describes it: an array of sentences, the worst first; empty when all
 * is well. Never NULL.
 */
json_t *guest_alarms(const json_t *guest);

#endif
