/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records on their way to the backup's session. All of it is the vCPU thread's. */
#ifndef REPLICA_BATCH_H
#define REPLICA_BATCH_H

#include "record/codec.h"
#include "record/detail.h"

struct replica;

struct batch {
	struct codec codec;
	struct buf records; /* not yet given to the sender */
	uint64_t last, since_ns;
	struct detail detail; /* of digests */
	bool has_detail;
	struct buf detail_buf;
};

void batch_init(struct replica *r);
void batch_fini(struct batch *b);
/* A session begins: what was gathered is in the state that it gets. */
void batch_restart(struct batch *b);
/* The digest of this sync point in parts, for batch_add(). */
void batch_note_digest(struct replica *r, bool has_digest);
/*
 * A record goes out at once when an output waits for it. Others wait a little for the next one, so
 * that a request and its reply take one frame: nobody needs them sooner.
 */
void batch_add(struct replica *r, const struct sync_point *sp, uint64_t digest);
/* Sends the gathered records to the backup. */
void batch_push(struct replica *r);
/* Sends them if they have waited long enough, and no output takes them along in a moment. */
void batch_push_old(struct replica *r);

#endif
