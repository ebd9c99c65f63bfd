/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog of a guest that is up: tells systemd that all is well (WATCHDOG=1) as long as `up`
 * goes round its loop and the replica's vCPU shows progress. A thread of its own, because a
 * replica that hangs may not answer.
 */
#ifndef HOST_UP_WATCH_H
#define HOST_UP_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct up_watch {
	const char *guest;
	uint64_t every_ms, hang_ms;
	atomic_uint_fast64_t tick_ms, child_since_ms; /* the latter 0: there is no replica */
	atomic_bool stop;
	pthread_t thread;
	bool runs;
};

/* hang_ms: a vCPU without progress for so long hangs. Does nothing where no watchdog is wanted. */
void up_watch_start(struct up_watch *w, const char *guest, uint64_t hang_ms);
void up_watch_stop(struct up_watch *w);
/* From the loop, at least once a second. */
void up_watch_tick(struct up_watch *w, uint64_t now_ms, uint64_t child_since_ms);

#endif
