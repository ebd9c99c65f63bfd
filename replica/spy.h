/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames that arrive for the guest while its replica is not live (spy.c). */
#ifndef REPLICA_SPY_H
#define REPLICA_SPY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "hypervisor/sync.h"

#define SPY_FRAMES    256 /* frames kept for the moment a backup goes live */
#define SPY_FRAME_MAX 9216
#define SEEN_FRAMES   1024

struct replica;

struct spy_frame {
	uint64_t ns;
	uint8_t port;
	size_t len;
	uint64_t hash;
	uint8_t data[SPY_FRAME_MAX];
};

struct spy {
	/* of the thread that starts and ends it (replica.c) */
	pthread_t thread;
	bool runs;
	atomic_bool stop;
	int wake; /* eventfd */

	/* its thread; the vCPU thread after spy_end() */
	struct spy_frame *frames;
	uint8_t *frame; /* the one that is being received */
	unsigned at;

	/* vCPU thread */
	uint64_t seen[SEEN_FRAMES]; /* hashes of what became a record */
	unsigned seen_at;
	unsigned feed_at; /* of the frames, at go-live */
	bool feeding;
};

int spy_start(struct replica *r, struct err *err);
/*
 * Ends the spying: from now on the NICs are the live source's; frames that were kept are ready for
 * spy_feed().
 */
void spy_end(struct replica *r);
/* The frame became a record. */
void spy_saw(struct replica *r, const uint8_t *frame, size_t len);
/* vCPU thread: kept frames as inputs, at most max; returns how many. */
size_t spy_feed(struct replica *r, struct input *in, size_t max);

#endif
