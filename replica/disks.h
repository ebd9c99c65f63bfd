/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata of a replica's disks, which says whether the other replica's copies are in step with
 * them. These functions keep it when a replica starts, loses the other replica, goes live and ends.
 * How a join makes the contents equal is in disk_sync.h.
 */
#ifndef REPLICA_DISKS_H
#define REPLICA_DISKS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "replica/disk_sync.h"

struct replica;

/* Constant once the replica runs; metadata and images have locks of their own. */
struct disks {
	struct disk_sync_disk disk[DISK_SYNC_DISKS];
	unsigned n;
	/* number of the last record made or applied; NULL: there are no disks */
	atomic_uint_fast64_t *record;
};

/*
 * Checks, before a primary starts, that its disks have the newest content as far as this host can
 * tell. last: the arbiter's newest generation, and owner the process that took it. 0; -ESTALE and
 * err: the content is old, or that cannot be ruled out. force: start all the same, and log what is
 * given up.
 */
int disks_check_start(const struct disks *d, uint64_t last, const uint8_t owner[DISK_META_ID_LEN],
		      bool force, struct err *err);
/*
 * True: a pair has written one of the disks before, so disks_check_start() has something to
 * compare.
 */
bool disks_are_known(const struct disks *d);
/* True: process `owner`, an id as the arbiter stores it, was the last to write one of the disks. */
bool disks_are_of(const struct disks *d, const uint8_t owner[DISK_META_ID_LEN]);
/*
 * Notes that process `id` is going to write the disks. Called after disks_check_start() and before
 * the arbiter is asked for a generation. The note is on stable storage when this returns, so the
 * arbiter and the disks name the same process even if it dies right after it got the generation.
 * last and owner as in disks_check_start(). 0, or -errno and err.
 */
int disks_adopt(struct disks *d, uint64_t last, const uint8_t owner[DISK_META_ID_LEN],
		const uint8_t id[DISK_META_ID_LEN], struct err *err);
/* Notes that process `owner`, this one, writes the disks from now on. */
void disks_own(struct disks *d, const uint8_t owner[DISK_META_ID_LEN]);
/*
 * For a primary: gives disks that belong to no pair yet the name of the pair that the other disks
 * belong to, or of a new pair.
 */
void disks_name_pair(struct disks *d);
/* Returns a new random name for the content that the disks have from now on; never 0. */
uint64_t disks_new_name(void);
/* Returns the newest generation in which one of the disks was written. */
uint64_t disks_generation(const struct disks *d);
/*
 * Notes that the other replica no longer follows, so it lacks all writes from now on, in our
 * present generation. Does not wait: the note is on stable storage soon, and before the next write.
 */
void disks_part(struct replica *r);
/* Waits until the note of disks_part() is on stable storage. */
void disks_settle(struct replica *r);
/*
 * vCPU thread: notes that the two replicas change places right after record seq, in the present
 * generation. live: this replica is the live one from here on; else it follows. Does not wait: the
 * note is on stable storage soon, and before the next write.
 */
void disks_change_sides(struct replica *r, uint64_t seq, bool live);
/*
 * Notes that the other replica has applied all records up to this one; UINT64_MAX: all that will
 * ever be.
 */
void disks_applied(struct disks *d, uint64_t record);
/* Notes the last record that this replica made or applied. */
void disks_note_record(struct disks *d, uint64_t record);
/*
 * Notes the end of this replica, when nothing writes to its disks any more. in_step: both replicas
 * came to the same end; behind: the other replica has gone on without this one.
 */
void disks_end(struct disks *d, bool in_step, bool behind);

#endif
