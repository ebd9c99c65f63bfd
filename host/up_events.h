/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events of a guest that is up: lines of JSON in its state directory, with the host's time, from
 * its replicas and from `up` itself; and a program that is run on each.
 */
#ifndef HOST_UP_EVENTS_H
#define HOST_UP_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "host/webhook.h"

#define UP_EVENT_LINE 8192

struct up_events {
	const char *guest, *hook; /* hook NULL: none */
	struct webhook *webhook;  /* NULL: none */
	char host[64], *path;
	int pipe; /* read end of the replica's; -1: none */
	char line[UP_EVENT_LINE];
	size_t len;
	unsigned hooks; /* that run */
	bool full;	/* the file could not be written, and that was said */
};

void up_events_open(struct up_events *e, const char *guest, const char *state_dir,
		    const char *hook);
void up_events_close(struct up_events *e);
/* Notes an event of `up` itself; it is logged as well. */
void up_event(struct up_events *e, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Reads the events that are in the pipe: calls seen(ctx, event) for each. */
void up_events_read(struct up_events *e, void (*seen)(void *ctx, const char *event), void *ctx);
/* A child that is no replica has ended. */
void up_events_hook_ended(struct up_events *e);

#endif
