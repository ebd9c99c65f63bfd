/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gathers records into batches for the backup. Only the vCPU thread uses this. */
#ifndef REPLICA_BATCH_H
#define REPLICA_BATCH_H

#include "record/codec.h"
#include "record/detail.h"

struct replica;

struct batch {
	struct codec codec;
	struct buf records; /* encoded, and not yet given to the sender */
	/* number of the last record gathered; when the first was (CLOCK_MONOTONIC) */
	uint64_t last, since_ns;
	struct detail detail; /* parts of the last digest, to tell what differs */
	bool has_detail;
	struct buf detail_buf;
};

void batch_init(struct replica *r);
void batch_fini(struct batch *b);
/*
 * A session begins: drops the records that were gathered, because the state that the backup gets
 * includes them.
 */
void batch_restart(struct batch *b);
/*
 * Keeps the parts of this sync point's digest for batch_add(). has_digest: the sync point takes
 * one.
 */
void batch_note_digest(struct replica *r, bool has_digest);
/*
 * Adds a record. It is sent at once when an output waits for it. Otherwise it may wait a
 * millisecond for the next one, so that a request and its reply take one frame. digest: the one
 * that the sync point took, if it took one.
 */
void batch_add(struct replica *r, const struct sync_point *sp, uint64_t digest);
/* Sends the gathered records to the backup. */
void batch_push(struct replica *r);
/*
 * Sends the gathered records if they have waited long enough, unless an output is about to have
 * them sent with the next record.
 */
void batch_push_old(struct replica *r);

#endif
