/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events for somebody who listens over HTTP: each is a POST of its line of JSON, made by a thread
 * of its own from a queue of bounded length. Who has an event only puts it there and waits for
 * nothing; what finds the queue full, or is refused again and again, is counted as lost.
 */
#ifndef HOST_WEBHOOK_H
#define HOST_WEBHOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define WEBHOOK_QUEUE 128 /* events that wait */
#define WEBHOOK_TRIES 3	  /* for each of them */

struct webhook;

struct webhook_count {
	uint64_t delivered;
	uint64_t lost; /* for which there was no place, or that nobody took */
};

/* True: the URL is of a kind that can be called, http://... or https://... */
bool webhook_url_is_good(const char *url);
/* Starts the thread. NULL and err: libcurl is missing, or memory. */
struct webhook *webhook_open(const char *url, struct err *err);
/* Never waits. The text is copied. */
void webhook_push(struct webhook *w, const char *text);
void webhook_counted(struct webhook *w, struct webhook_count *c);
/* Gives what waits a last chance, one try each and a few seconds for all. NULL allowed. */
void webhook_close(struct webhook *w);

#endif
