/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A replay in a jail of its own that runs experiments, and talks to its parent through pipes. */
#ifndef HOST_REPLAY_WORKER_H
#define HOST_REPLAY_WORKER_H

#include <sys/types.h>

#include "host/replay_machine.h"
#include "record/experiment.h"

#define REPLAY_WORKER_PIPES 2

struct replay_worker {
	struct replay_machine rm;	  /* the first member, as replay_machine.h wants it */
	struct experiments_config config; /* without the line */
	void *(*work)(void *ctx);	  /* the vCPU's thread; ctx is the worker */
	unsigned pipes;
	int given[REPLAY_WORKER_PIPES]; /* its ends of them */
	int fd[REPLAY_WORKER_PIPES];	/* the same inside the jail, in work() */
	struct timeline *line;
	struct experiments *x;
	int status; /* what work() makes of it */
};

/*
 * Lives the life of a worker, whose first five members are set: the exit status of the process.
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
