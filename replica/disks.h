/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks of a replica as far as they are kept in step with the other one's: what becomes of
 * their metadata when a replica starts, loses the other one, goes live and ends. How a join makes
 * their contents equal is in disk_sync.h.
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
	atomic_uint_fast64_t *record; /* last one made or applied; NULL: there are no disks */
};

/*
 * A primary, which takes a generation after `last`, that process `owner` has taken: whether these
 * disks have the newest content, as far as can be told from here. -ESTALE and err: they have not,
 * or it is not known. force: they are what counts; what that gives up is said.
 */
int disks_check_start(const struct disks *d, uint64_t last, const uint8_t owner[DISK_META_ID_LEN],
		      bool force, struct err *err);
/* True: a pair has written one of the disks before, so disks_check_start() could tell. */
bool disks_are_known(const struct disks *d);
/*
 * True: the process `owner`, as the arbiter knows it, was the last one that wrote one of the disks.
 */
bool disks_are_of(const struct disks *d, const uint8_t owner[DISK_META_ID_LEN]);
/*
 * Notes that process id is going to write the disks: behind disks_check_start(), before a
 * generation is asked for. The note is on stable storage when this returns; should the process be
 * cut off as soon as it has the generation, the arbiter's answer and these disks name the same
 * process. -errno and err.
 */
int disks_adopt(struct disks *d, uint64_t last, const uint8_t owner[DISK_META_ID_LEN],
		const uint8_t id[DISK_META_ID_LEN], struct err *err);
/* Notes that this process writes the disks from now on. */
void disks_own(struct disks *d, const uint8_t owner[DISK_META_ID_LEN]);
/*
 * For a primary: disks that belong to no pair yet get the name of the others' pair, or of a new
 * one.
 */
void disks_name_pair(struct disks *d);
/* A name for content that begins now; not 0. */
uint64_t disks_new_name(void);
/* The newest generation in which one of them was written. */
uint64_t disks_generation(const struct disks *d);
/*
 * The other side does not follow any more, in the generation that is ours: what is written from now
 * on it lacks. Waits for nothing; on stable storage soon, and before the next write.
 */
void disks_part(struct replica *r);
/* Waits until what disks_part() said is on stable storage. */
void disks_settle(struct replica *r);
/*
 * vCPU thread: the two sides change places behind record seq, in the generation that is set: this
 * one is live from here on, and the other one follows, or the other way round. Waits for nothing;
 * on stable storage soon, and before the next write.
 */
void disks_change_sides(struct replica *r, uint64_t seq, bool live);
/* The other side has applied records up to this one; UINT64_MAX: all that there will be. */
void disks_applied(struct disks *d, uint64_t record);
/* The last record made or applied. */
void disks_note_record(struct disks *d, uint64_t record);
/*
 * The end of this replica, when nothing writes any more. in_step: both sides came to the same end;
 * behind: another replica has gone on without this one.
 */
void disks_end(struct disks *d, bool in_step, bool behind);

#endif
