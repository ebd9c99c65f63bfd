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
	SNAPSHOT_MEMORY, /* pages go ahead */
	SNAPSHOT_ASKED,	 /* the live side is to make the record behind which it is taken */
	SNAPSHOT_WRITES, /* it is taken, and written out */
	SNAPSHOT_DONE,
	SNAPSHOT_FAILED,
	SNAPSHOT_STAGES
};

/* Progress for `status`, of the snapshot under way, or of the last one. */
struct snapshot_progress {
	enum snapshot_stage stage;
	uint64_t number;	     /* of this replica's snapshots */
	struct checkpoint_info info; /* DONE */
	uint64_t pause_ns;	     /* for how long the backup's replay stood still */
	char why[512];		     /* FAILED */
};

struct snapshot {
	atomic_uint_fast64_t wish; /* what acknowledgements ask for; 0: nothing */
	atomic_bool active;	   /* the vCPU thread has something to do for it */
	atomic_bool cancelled;	   /* before its moment */
	atomic_bool over;	   /* at any time: the replica ends */
	struct snapshot_job *job;  /* written before it is active */

	pthread_mutex_t lock; /* of what is shown, and of whether it is taken */
	struct snapshot_progress shown;

	/* of the thread that starts and ends it */
	bool has_thread;
	pthread_t thread;
};

/* "memory", ... */
const char *snapshot_stage_name(enum snapshot_stage s);
void snapshot_init(struct snapshot *s);
/* Gives up what is under way; waits for its thread. */
void snapshot_fini(struct snapshot *s);

/* Starts a snapshot, like replica_snapshot(). One thread at a time. */
int snapshot_start(struct replica *r, int fd, uint64_t *number, struct err *err);
void snapshot_get_progress(struct snapshot *s, struct snapshot_progress *p);

/* A backup's vCPU thread: a record was applied, and the machine stands there. */
void snapshot_applied(struct replica *r, const struct codec_record *rec);
/* Notes that this replica does not follow any more. Same thread; waits for nothing. */
void snapshot_role_ends(struct replica *r);

#endif
