/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of this host's guests: those with a configuration file, and those that run. */
#ifndef HOST_GUEST_LIST_H
#define HOST_GUEST_LIST_H

#include <jansson.h>

/*
 * An array of objects, sorted by name: name, configured, phase ("down", or as `up` says), why, pid,
 * replica, since, conf (of `up`), cpu_s, memory_bytes, age_s, disks (guest_disks.h), what `twinstep
 * status` says of it as status, and alarms (guest_alarms.h). A machine that does not answer is
 * waited for only shortly. Never NULL.
 */
json_t *guest_list(void);

#endif
