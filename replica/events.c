// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The event log: what happened to a replica, with monotonic time stamps, for people and for tests.
 * Threads on which the guest's service hangs write to it, so none waits for its reader.
 */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "replica/replica_private.h"

/* Writes an event by one write(): a line is short enough to be taken as a whole or not at all. */
static void put_event(struct replica *r, const json_t *o)
{
	char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t n = line ? strlen(line) : 0;

	if (line) {
		line[n] = '\n'; /* in the place of its end */
		if (write(fileno(r->cfg.events), line, n + 1) != (ssize_t)n + 1)
			atomic_fetch_add(&r->events_lost, 1);
	}
	free(line);
}

/* ms: how long it took; below 0: that is not known, or means nothing. */
static void keep(struct replica *r, const char *event, double ms, const char *text)
{
	json_t *o;

	log_info("%s", text);
	if (!r->cfg.events)
		return;
	o = json_pack("{s:f, s:s, s:I, s:s}", "mono_s", (double)host_mono_ns() / 1e9, "event",
		      event, "generation", (json_int_t)failover_generation(&r->failover), "text",
		      text);
	if (o && ms >= 0)
		json_object_set_new(o, "ms", json_real(ms));
	put_event(r, o);
	json_decref(o);
}

void replica_event(struct replica *r, const char *event, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	keep(r, event, -1, text);
}

void replica_event_took(struct replica *r, const char *event, double ms, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	keep(r, event, ms, text);
}
