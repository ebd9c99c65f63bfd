/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the disks of a joining backup equal to those of the live side, while the guest runs.
 *
 *   target (joins)                              source (live)
 *   OFFER identities, MARKS bitmap    -->       which disks are newer? refuses, or
 *                                     <--       WANT sums of which disks
 *   SUMS of blocks, SUMS_END          -->       compares, adds to its own bitmap
 *                                     <--       BEGIN names
 *   writes                            <--       BLOCK ..., in rounds, while the guest writes on
 *   flushes                           <--       MARK n
 *   DONE n                            -->       blocks before MARK n are equal
 *   flushes, is in step               <--       EQUAL names, at the sync point of the join
 *   DONE n                            -->       is in step
 *   ALIVE                             -->       at any time: the target is at work
 *
 * When the connection is lost, at any byte, only blocks sent since the last DONE must be sent
 * again. All messages are checked: a hostile target gets only blocks of disks whose content it is
 * sent anyway, and a hostile source can only write to the target's images, as its guest will.
 */
#ifndef REPLICA_DISK_SYNC_H
#define REPLICA_DISK_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/devices/disk.h"
#include "record/disk_meta.h"

#define DISK_SYNC_DISKS 16

/* A disk that is kept in step. */
struct disk_sync_disk {
	struct disk_backend *image;
	struct disk_meta *meta; /* NULL: this disk is not kept in step (read-only, an overlay) */
};

/* Hands a message to the connection: 0 or -errno. The buffer is emptied or left as it is. */
typedef int disk_sync_send(void *ctx, struct buf *message);

struct disk_source;

/*
 * Makes the sending side of a synchronisation; NULL: out of memory. The disks stay the caller's.
 * seed: random, new for each join; it keys the checksums of blocks.
 */
struct disk_source *disk_source_new(const struct disk_sync_disk *disks, unsigned n, uint64_t seed,
				    disk_sync_send *send, void *ctx);
/*
 * Ends the sending side, also after a join that failed. Blocks that the target has not confirmed
 * stay marked as different.
 */
void disk_source_free(struct disk_source *s);
/*
 * Takes a message from the target. 0; -errno and err, whose text is for both sides: the message is
 * malformed, or the target's disks cannot be made equal.
 */
int disk_source_take(struct disk_source *s, struct rd *message, struct err *err);
/*
 * Sends at most max blocks. 1: blocks are left to send; 0: there is nothing to send now, or the
 * target has to confirm first; -errno and err.
 */
int disk_source_step(struct disk_source *s, unsigned max, struct err *err);
/* True: BEGIN was sent, so blocks may be sent. */
bool disk_source_begun(struct disk_source *s);
/* Bytes still to be sent, as far as is known now. */
uint64_t disk_source_left(struct disk_source *s);
/* Bytes sent so far. */
uint64_t disk_source_sent(const struct disk_source *s);
/*
 * Sends all blocks that are left, then EQUAL. Called at the sync point of the join, when the guest
 * has no disk request under way. record: number of the last record. 0, or -errno and err.
 */
int disk_source_finish(struct disk_source *s, uint64_t record, struct err *err);
/* True: the target has confirmed EQUAL. */
bool disk_source_confirmed(struct disk_source *s);
/*
 * Notes in the metadata that the disks are in step; waits for stable storage. 0, or -errno and err.
 */
int disk_source_in_step(struct disk_source *s, struct err *err);

struct disk_target;

/*
 * Makes the receiving side of a synchronisation; NULL: out of memory. The disks stay the caller's.
 */
struct disk_target *disk_target_new(const struct disk_sync_disk *disks, unsigned n,
				    disk_sync_send *send, void *ctx);
void disk_target_free(struct disk_target *t);
/*
 * Sends the first messages: this side's disks, and the blocks known to differ. 0, or -errno and
 * err.
 */
int disk_target_offer(struct disk_target *t, struct err *err);
/* Sends ALIVE between two messages: this side is at work. 0, or -errno and err. */
int disk_target_alive(struct disk_target *t, struct err *err);
/* Takes a message from the source. 1: the disks are in step now; 0: not yet; -errno and err. */
int disk_target_take(struct disk_target *t, struct rd *message, struct err *err);
/* Bytes of blocks that have arrived. */
uint64_t disk_target_received(const struct disk_target *t);

#endif
