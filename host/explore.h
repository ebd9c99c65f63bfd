/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exploration runs a recorded guest again and again, each time with small changes to its time and
 * to the world around it, and looks for a run that fails. One process decides which changes are
 * tried and which runs have failed. Its workers, each a replay in a jail of its own, execute the
 * runs and report how each ended and what the consoles showed.
 */
#ifndef HOST_EXPLORE_H
#define HOST_EXPLORE_H

#include <regex.h>

#include "host/options.h"
#include "record/experiment.h"

#define EXPLORE_JOBS  64
#define EXPLORE_SHOWN (64u << 20) /* most bytes of console output in a worker's answer */

/* The part of a recording in which changes may be made. */
struct explore_space {
	uint64_t start, end; /* its first and last instruction count */
	uint64_t after;	     /* count at which a line first matches the expression `after` */
	unsigned nnics, ndisks;
};

/* The result of one run. */
struct explore_answer {
	struct experiment_try t;
	struct buf shown; /* console output; the receiver frees it */
};

/* What counts as a failure; with none of these, an end other than the recording's. */
struct explore_failure {
	bool by_status;
	uint8_t status;	     /* exit status of the guest */
	const char *console; /* expression that matches a line of a console; NULL: none */
	regex_t expression;
	const char *check;   /* program that gets the console output and judges; NULL: none */
	unsigned patience_s; /* seconds that the program may take */
	struct experiment_try golden;
};

/* explore_judge.c: whether a worker's answer with so many console bytes is well formed. */
bool explore_answer_can_be(const struct experiment_try *t, const struct explore_space *s,
			   uint64_t shown);
/* 1: the run has failed; 0: it has not; -errno and err: that cannot be decided. */
int explore_judge(const struct explore_failure *f, const struct explore_answer *a, struct err *err);

/* Draws the changes of run n from n and the seed alone: 1 to `most`, in order of count. */
size_t explore_draw(const struct explore_space *s, uint64_t seed, uint64_t n, unsigned most,
		    struct fault *faults);

/* 1: a run with these changes, in order of count, fails; 0: it does not; -errno. */
typedef int explore_fails_fn(void *ctx, const struct fault *faults, size_t n);

/*
 * Shrinks a list of *n changes, with which a run fails, in place. Changes are taken away as long as
 * the run still fails; then shorter lists are tried whose changes come a little earlier or later.
 * At the end every change that is left is needed: without any one of them the run does not fail.
 * Returns 0, or the negative result of fails().
 */
int explore_shrink(const struct explore_space *s, uint64_t seed, struct fault *faults, size_t *n,
		   explore_fails_fn *fails, void *ctx);

/* explore_worker.c: the processes that execute runs. */
struct explore_crew;
/*
 * Starts the workers. after: changes come only behind the first line of a console that matches this
 * expression; NULL: at any time. Fills in *space and the end of the recording itself. NULL and err
 * on failure.
 */
struct explore_crew *explore_hire(const struct options *o, const char *log, unsigned jobs,
				  const regex_t *after, struct explore_space *space,
				  struct explore_answer *golden, struct err *err);
/* Gives a run to worker `number`, which answers later. 0 or -errno. */
int explore_ask(struct explore_crew *c, unsigned number, const struct fault *faults, size_t n,
		struct err *err);
/* Waits for an answer of any worker that has a run: the worker's number; -errno and err. */
int explore_hear(struct explore_crew *c, struct explore_answer *a, struct err *err);
void explore_dismiss(struct explore_crew *c);

/* explore.c: a whole exploration, as the command does it. Returns the exit status. */
int explore_run(struct options *o);

#endif
