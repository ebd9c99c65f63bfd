/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks of a joining backup are made equal to those of the live side, while its guest runs.
 *
 *   target (joins)                              source (live)
 *   OFFER identities, MARKS bitmap    -->       who is newer? refuses, or
 *                                     <--       WANT sums of which disks
 *   SUMS of blocks, SUMS_END          -->       compares, adds to its own bitmap
 *                                     <--       BEGIN names
 *   writes                            <--       BLOCK ..., in rounds, while the guest writes on
 *   flushes                           <--       MARK n
 *   DONE n                            -->       blocks before it do not differ any more
 *   flushes, is in step               <--       EQUAL names, at the sync point of the join
 *   DONE n                            -->       is in step
 *   ALIVE                             -->       at any time: the target is at work
 *
 * A connection that is lost at any byte costs what was sent since the last DONE. What arrives is
 * checked: a target that means harm gets nothing but blocks of disks that it could have anyway, and
 * a source can write to the target's images, as its guest will.
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

/* The disks stay the caller's. seed: random, new for each join; it keys the sums of blocks. */
struct disk_source *disk_source_new(const struct disk_sync_disk *disks, unsigned n, uint64_t seed,
				    disk_sync_send *send, void *ctx);
/*
 * Ends the sending side, also of a join that has failed: blocks that the other side has not
 * confirmed differ still.
 */
void disk_source_free(struct disk_source *s);
/*
 * Takes a message of the target's. 0, or -errno and a sentence for both sides: the message makes no
 * sense, or the target's disks cannot be made equal.
 */
int disk_source_take(struct disk_source *s, struct rd *message, struct err *err);
/*
 * Sends at most max blocks. 1: some are left; 0: there is nothing to send now, or the target has to
 * confirm first; -errno.
 */
int disk_source_step(struct disk_source *s, unsigned max, struct err *err);
/* The names have been agreed on, and blocks may be sent. */
bool disk_source_begun(struct disk_source *s);
/* Bytes that are still to be sent, as far as is known now; and how many have been. */
uint64_t disk_source_left(struct disk_source *s);
uint64_t disk_source_sent(const struct disk_source *s);
/*
 * Sends all that is left, and that the disks are equal then. Called at the sync point of the join,
 * when no request of the guest is under way. record: number of the last record. 0 or -errno.
 */
int disk_source_finish(struct disk_source *s, uint64_t record, struct err *err);
/* The target has confirmed that: the disks are in step. Waits for storage. 0 or -errno. */
bool disk_source_confirmed(struct disk_source *s);
int disk_source_in_step(struct disk_source *s, struct err *err);

struct disk_target;

struct disk_target *disk_target_new(const struct disk_sync_disk *disks, unsigned n,
				    disk_sync_send *send, void *ctx);
void disk_target_free(struct disk_target *t);
/* Sends what this side has. 0 or -errno. */
int disk_target_offer(struct disk_target *t, struct err *err);
/* Between two messages: that this side is at work. 0 or -errno. */
int disk_target_alive(struct disk_target *t, struct err *err);
/* Takes a message of the source's. 0, 1 when the disks are in step, or -errno. */
int disk_target_take(struct disk_target *t, struct rd *message, struct err *err);
/* Bytes of blocks that have arrived. */
uint64_t disk_target_received(const struct disk_target *t);

#endif
