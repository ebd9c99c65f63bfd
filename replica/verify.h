/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Comparison of both sides' disks, in the background, range by range, each at a record, where both
 * have executed the same writes. verify.c has the order of things.
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

#define VERIFY_BLOCKS 16u /* of DISK_META_BLOCK bytes, in a range */
#define VERIFY_FOUND  16u /* differing blocks that are named in status */
#define VERIFY_SUM    16u
#define VERIFY_DISKS  UINT32_MAX /* all of them */

/* The side from which a block that differs is mended. */
enum verify_mend { VERIFY_MEND_NOT, VERIFY_MEND_LIVE, VERIFY_MEND_BACKUP, VERIFY_MEND_KINDS };
/* Names of these, as --mend and requests have them. */
extern const char *const verify_mend_names[VERIFY_MEND_KINDS];

enum verify_what {
	VERIFY_SUMS,  /* sums of the blocks */
	VERIFY_READ,  /* the content of one */
	VERIFY_WRITE, /* one is overwritten */
	VERIFY_WHATS
};

/* Request about a range, behind a record. */
struct verify_ask {
	uint64_t record, seed, block;
	unsigned disk, n; /* blocks */
	enum verify_what what;
};

enum verify_job_state { VERIFY_JOB_NONE, VERIFY_JOB_WAITS, VERIFY_JOB_RUNS, VERIFY_JOB_DONE };

struct verify_job {
	struct verify_ask ask;
	struct disk_sync_disk disk;
	atomic_int state; /* enum verify_job_state: who may touch the rest */
	bool marks;	  /* the metadata is told first that the block may differ */
	int error;
	uint8_t sum[VERIFY_BLOCKS * VERIFY_SUM];
	uint8_t data[DISK_META_BLOCK];
};

/* Progress for `status`; the last run's when none is under way. */
struct verify_progress {
	bool running, known; /* known: there was one */
	uint64_t blocks, compared, differing, mended;
	struct {
		unsigned disk;
		uint64_t block;
	} found[VERIFY_FOUND];
	char error[200];
};

struct verify {
	struct verify_job job;	 /* of the live side; the disk's thread has it while it RUNS */
	struct verify_job asked; /* of the backup, likewise; one side may be each in turn */
	atomic_bool running;

	/* the vCPU thread's, while it runs */
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
	uint64_t asked_ns; /* when the backup was asked last */
	unsigned fetches;  /* how often a block was asked for in vain */
	uint64_t scrub_ns; /* the next one by itself; 0: none */

	pthread_mutex_t lock; /* guards what follows */
	struct verify_progress shown;
	uint64_t waits_for; /* record whose answer is awaited; 0: none */
	bool answered;
	int their_error;
	uint8_t theirs[DISK_META_BLOCK]; /* sums, or a block */
};

void verify_init(struct verify *v);
void verify_fini(struct verify *v);

/*
 * Any thread, of a live side: begins with disk `disk`, or with all (VERIFY_DISKS). -EBUSY and err:
 * one is under way, nobody protects, or the backup has not answered the one before. -EINVAL: no
 * such disk, or it is not kept in step.
 */
int verify_start(struct replica *r, unsigned disk, enum verify_mend mend, struct err *err);
void verify_get_progress(struct verify *v, struct verify_progress *p);

/* ---- live side ---- */

/* vCPU thread: a record is needed now, because there is something to do at one. */
bool verify_wants_record(struct replica *r);
/* vCPU thread, before record seq goes to the backup, and after it has gone. */
void verify_before(struct replica *r, uint64_t seq);
void verify_after(struct replica *r);
/* vCPU thread: another backup has the state now, of which nothing was asked yet. */
void verify_forget(struct replica *r);
/* Receiver: an answer of the backup's. 0, or -EBADMSG and err. */
int verify_take_answer(struct replica *r, struct rd *in, struct err *err);

/* ---- backup ---- */

/* Receiver: something is asked of us. 0, or -EBADMSG and err. */
int verify_take_ask(struct replica *r, uint64_t received, struct rd *in, struct err *err);
/* vCPU thread: record seq was applied. */
void verify_applied(struct replica *r, uint64_t seq);
/* Receiver: an answer that is ready, into b; false: none. */
bool verify_answer(struct replica *r, struct buf *b);

/* The end of a role: waits for what the disk's thread does; what was under way is over. */
void verify_end(struct replica *r);

#endif
