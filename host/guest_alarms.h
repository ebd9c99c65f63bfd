/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Alarms: sentences about what needs a look, the same for `list`, `top`, JSON and the page. */
#ifndef HOST_GUEST_ALARMS_H
#define HOST_GUEST_ALARMS_H

#include <jansson.h>

/*
 * Alarms of a guest, as guest_list() describes it: an array of sentences, the worst first; empty
 * when all is well. Never NULL.
 */
json_t *guest_alarms(const json_t *guest);

#endif
