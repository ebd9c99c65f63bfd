/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A replay in a jail of its own that runs experiments, and talks to its parent through pipes. */
#ifndef HOST_REPLAY_WORKER_H
#define HOST_REPLAY_WORKER_H

#include <stdatomic.h>
#include <sys/types.h>

#include "host/replay_machine.h"
#include "record/experiment.h"

#define REPLAY_WORKER_PIPES 2

/*
 * A worker shows that it goes on by a number in memory that it shares with its parent, which ends
 * one that stands still: a host may have stopped it, or a fault of ours. Seconds are counted by the
 * parent's looks, so that it may be stopped as well.
 */
struct replay_watch {
	atomic_uint_fast64_t *beats; /* shared */
	uint64_t seen;
	unsigned quiet; /* seconds since they changed */
};

/* Opens the watch, before the worker is made. 0 or -errno. */
int replay_watch_open(struct replay_watch *w);
void replay_watch_close(struct replay_watch *w);
/* Begins anew: the worker is asked for something, or has answered. */
void replay_watch_reset(struct replay_watch *w);
/* The number of seconds for which the worker has been quiet. Called once a second. */
unsigned replay_watch_look(struct replay_watch *w);
/* In the worker; NULL: nobody watches. */
void replay_watch_beat(atomic_uint_fast64_t *beats);
/* For a parent that waits: whether a second has gone by since this was last true. */
bool replay_watch_is_time(uint64_t *last_ns);

struct replay_worker {
	struct replay_machine rm;	  /* the first member, as replay_machine.h wants it */
	struct experiments_config config; /* without the line */
	void *(*work)(void *ctx);	  /* the vCPU's thread; ctx is the worker */
	atomic_uint_fast64_t *beats;	  /* of its watch, or NULL */
	unsigned pipes;
	int given[REPLAY_WORKER_PIPES]; /* its ends of them */
	int fd[REPLAY_WORKER_PIPES];	/* the same inside the jail, in work() */
	struct timeline *line;
	struct experiments *x;
	int status; /* what work() makes of it */
};

/*
 * Lives the life of a worker, whose first six members are set: the exit status of the process.
 * Signals that stop a machine end it between two experiments.
 */
int replay_worker_live(struct replay_worker *w);

/*
 * Waits for the end of workers' processes, which have been told or have nothing left to do: for
 * `ms`, and then those that are left are killed, as a guest may hold them. status[i] (NULL: nobody
 * asks) is as waitpid() has it.
 */
void replay_worker_reap(const pid_t *pid, unsigned n, unsigned ms, int *status);
#define REPLAY_WORKER_PATIENCE_MS 20000u

#endif
