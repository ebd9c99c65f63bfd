// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The event log: what happened to a replica, with monotonic time stamps, for people and for tests.
 * Threads on which the guest's service depends write to it, so a write never waits for a slow
 * reader.
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

/*
 * Writes an event with one write(). Lines are short enough that a pipe takes all of one or nothing.
 */
static void put_event(struct replica *r, const json_t *o)
{
	char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t n = line ? strlen(line) : 0;

	if (line) {
		line[n] = '\n'; /* replaces the terminating zero */
		if (write(fileno(r->cfg.events), line, n + 1) != (ssize_t)n + 1)
			atomic_fetch_add(&r->events_lost, 1);
	}
	free(line);
}

/*
 * Writes an event to the log and the event log. ms: how long it took; negative: not known, or
 * without meaning.
 */
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
