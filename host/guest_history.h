/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lag and acknowledgement latency of the last minutes, for whoever looks at them only now. */
#ifndef HOST_GUEST_HISTORY_H
#define HOST_GUEST_HISTORY_H

#include <jansson.h>

#define GUEST_HISTORY_SECONDS 2	  /* between two looks */
#define GUEST_HISTORY_LOOKS   150 /* that are kept: five minutes */

/*
 * history: an object, empty at first, by names of guests: {seconds, lag_ms, ack_us}, the latter
 * arrays of numbers, null where there is none, the oldest first. Adds one look at the guests of
 * guest_list(); a guest that has shown nothing all the time is forgotten.
 */
void guest_history_take(json_t *history, const json_t *guests);

#endif
