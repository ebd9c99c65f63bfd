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
	/* used by the thread that starts and ends the spy (replica.c) */
	pthread_t thread;
	bool runs;
	atomic_bool stop;
	int wake; /* eventfd */

	/* used by the spy's thread, and after spy_end() by the vCPU thread */
	struct spy_frame *frames;
	uint8_t *frame; /* buffer for the frame that is being received */
	unsigned at;

	/* vCPU thread */
	uint64_t seen[SEEN_FRAMES]; /* hashes of frames that became records */
	unsigned seen_at;
	unsigned feed_at; /* next frame to give to the guest when this replica goes live */
	bool feeding;
};

/* Starts a thread that keeps frames for the guest from the NICs. 0, or -errno and err. */
int spy_start(struct replica *r, struct err *err);
/*
 * Ends that thread: from now on the live source reads the NICs. The frames that were kept are ready
 * for spy_feed().
 */
void spy_end(struct replica *r);
/* vCPU thread: notes that the frame became a record, so it is not given to the guest again. */
void spy_saw(struct replica *r, const uint8_t *frame, size_t len);
/* vCPU thread: makes at most max inputs of kept frames that became no record; returns how many. */
size_t spy_feed(struct replica *r, struct input *in, size_t max);

#endif
