/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot of a protected guest, taken on its backup while both go on; snapshot.c tells how.
 */
#ifndef REPLICA_SNAPSHOT_H
#define REPLICA_SNAPSHOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "hypervisor/machine.h"
#include "record/checkpoint.h"
#include "record/codec.h"

struct replica;

enum snapshot_stage {
	SNAPSHOT_NOT,
	SNAPSHOT_MEMORY, /* pages are written to the file in advance */
	/* the live side has been asked for the record after which the snapshot is taken */
	SNAPSHOT_ASKED,
	SNAPSHOT_WRITES, /* it is taken, and is being written */
	SNAPSHOT_DONE,
	SNAPSHOT_FAILED,
	SNAPSHOT_STAGES
};

/* Progress for `status`, of the snapshot under way, or of the last one. */
struct snapshot_progress {
	enum snapshot_stage stage;
	uint64_t number;	     /* number of the snapshot, among those of this replica */
	struct checkpoint_info info; /* DONE */
	uint64_t pause_ns;	     /* how long the backup's replay stood still */
	char why[512];		     /* FAILED */
};

struct snapshot {
	/* number of the snapshot for which acknowledgements ask for a record; 0: none */
	atomic_uint_fast64_t wish;
	atomic_bool active;	  /* the vCPU thread has work to do for the snapshot */
	atomic_bool cancelled;	  /* cancelled before it was taken */
	atomic_bool over;	  /* the replica ends, at any stage */
	struct snapshot_job *job; /* set before `active` */

	pthread_mutex_t lock; /* guards `shown` and the job's `taken` */
	struct snapshot_progress shown;

	/* used by the thread that starts and ends the snapshot's thread */
	bool has_thread;
	pthread_t thread;
};

/* Returns the stage's name for status, such as "memory". */
const char *snapshot_stage_name(enum snapshot_stage s);
void snapshot_init(struct snapshot *s);
/* Gives up a snapshot that is under way, and waits for its thread. */
void snapshot_fini(struct snapshot *s);

/* Starts a snapshot, like replica_snapshot(). One thread at a time. */
int snapshot_start(struct replica *r, int fd, uint64_t *number, struct err *err);
void snapshot_get_progress(struct snapshot *s, struct snapshot_progress *p);

/*
 * vCPU thread of a backup, when a record has been applied and the machine stands at its landmark:
 * does the vCPU thread's part of a snapshot.
 */
void snapshot_applied(struct replica *r, const struct codec_record *rec);
/* vCPU thread: notes that this replica does not follow any more. Does not wait. */
void snapshot_role_ends(struct replica *r);

#endif
