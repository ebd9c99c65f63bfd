/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compares both sides' disks in the background, one range at a time. Each range is compared at a
 * record, where both sides have executed the same writes; verify.c explains the order.
 */
#ifndef REPLICA_VERIFY_H
#define REPLICA_VERIFY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "replica/disk_sync.h"

struct replica;

#define VERIFY_BLOCKS 16u /* blocks in a range, of DISK_META_BLOCK bytes each */
#define VERIFY_FOUND  16u /* differing blocks that are named in status */
#define VERIFY_SUM    16u
#define VERIFY_DISKS  UINT32_MAX /* all disks */

/* The side from which a block that differs is mended. */
enum verify_mend { VERIFY_MEND_NOT, VERIFY_MEND_LIVE, VERIFY_MEND_BACKUP, VERIFY_MEND_KINDS };
/* Names of these, for --mend and for requests. */
extern const char *const verify_mend_names[VERIFY_MEND_KINDS];

enum verify_what {
	VERIFY_SUMS,  /* checksums of the blocks */
	VERIFY_READ,  /* the content of one block */
	VERIFY_WRITE, /* one block is overwritten */
	VERIFY_WHATS
};

/* A request about a range, to be done right after a record. */
struct verify_ask {
	uint64_t record, seed, block;
	unsigned disk, n; /* blocks */
	enum verify_what what;
};

enum verify_job_state { VERIFY_JOB_NONE, VERIFY_JOB_WAITS, VERIFY_JOB_RUNS, VERIFY_JOB_DONE };

struct verify_job {
	struct verify_ask ask;
	struct disk_sync_disk disk;
	atomic_int state; /* enum verify_job_state; says which thread may use the rest */
	bool marks;	  /* first the metadata notes that the block may differ */
	int error;
	uint8_t sum[VERIFY_BLOCKS * VERIFY_SUM];
	uint8_t data[DISK_META_BLOCK];
};

/* Progress for `status` of the comparison under way, or of the last one. */
struct verify_progress {
	bool running, known; /* known: a comparison has begun at some time */
	uint64_t blocks, compared, differing, mended;
	struct {
		unsigned disk;
		uint64_t block;
	} found[VERIFY_FOUND];
	char error[200];
};

struct verify {
	/* live side's own job; used by the disk's thread while in VERIFY_JOB_RUNS */
	struct verify_job job;
	struct verify_job asked; /* backup's job, likewise; a side has both because roles change */
	atomic_bool running;

	/* used by the vCPU thread, while the comparison runs */
	enum {
		VERIFY_IDLE,
		VERIFY_COMPARES,
		VERIFY_MENDS,
		VERIFY_FETCHES,
		VERIFY_LATE,
		VERIFY_MENDED
	} phase;
	unsigned at_disk, last_disk;
	uint64_t at_block, seed;
	uint32_t bad; /* a bit for each block of the range that differs and is to be mended */
	enum verify_mend mend;
	uint64_t asked_ns; /* when the backup was last asked */
	unsigned fetches;  /* how often a block came too late */
	uint64_t scrub_ns; /* when the next comparison begins by itself (--scrub); 0: never */

	pthread_mutex_t lock; /* guards what follows */
	struct verify_progress shown;
	uint64_t waits_for; /* record whose answer is awaited; 0: none */
	bool answered;
	int their_error;
	uint8_t theirs[DISK_META_BLOCK]; /* checksums, or the content of a block */
};

void verify_init(struct verify *v);
void verify_fini(struct verify *v);

/*
 * Any thread of a live side: starts a comparison of disk `disk`, or of all (VERIFY_DISKS). 0;
 * -EBUSY and err: one is under way, no backup protects the guest, or the backup has not answered
 * the last request; -EINVAL and err: there is no such disk, or it is not kept in step.
 */
int verify_start(struct replica *r, unsigned disk, enum verify_mend mend, struct err *err);
void verify_get_progress(struct verify *v, struct verify_progress *p);

/* ---- live side ---- */

/* vCPU thread. True: the comparison needs a record now. */
bool verify_wants_record(struct replica *r);
/* vCPU thread: does what is due right before record seq is sent to the backup, and right after. */
void verify_before(struct replica *r, uint64_t seq);
void verify_after(struct replica *r);
/*
 * vCPU thread: another backup has the state now; forgets the request that the one before has not
 * answered.
 */
void verify_forget(struct replica *r);
/* Receiver: takes an answer from the backup. 0, or -EBADMSG and err. */
int verify_take_answer(struct replica *r, struct rd *in, struct err *err);

/* ---- backup ---- */

/*
 * Receiver: takes a request from the live side. received: number of the last record received. 0, or
 * -EBADMSG and err.
 */
int verify_take_ask(struct replica *r, uint64_t received, struct rd *in, struct err *err);
/* vCPU thread: record seq was applied; starts the job that waits for it. */
void verify_applied(struct replica *r, uint64_t seq);
/* Receiver: puts an answer that is ready into b. False: none is ready. */
bool verify_answer(struct replica *r, struct buf *b);

/*
 * Ends this side's role: waits until the disk's thread is done, and drops a comparison that is
 * under way.
 */
void verify_end(struct replica *r);

#endif
