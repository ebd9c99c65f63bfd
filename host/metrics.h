/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Figures of this host's guests, as Prometheus and other programs read them. */
#ifndef HOST_METRICS_H
#define HOST_METRICS_H

#include <jansson.h>

/* Metrics of a guest_list() in Prometheus' text format. Free it; NULL: out of memory. */
char *metrics_text(const json_t *guests);
/* {"host", "time", "machines": the list, each with its last events and timeline
 * (guest_timeline.h)}. guests is used up. */
json_t *metrics_machines(json_t *guests);

#endif
