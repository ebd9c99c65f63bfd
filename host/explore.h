/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exploration: what a recorded guest does when its world and its time are a little otherwise. One
 * process decides what is tried and what is a failure; workers, each a replay in a jail of its own,
 * run what they are told and hand back how it ended and what the consoles showed.
 */
#ifndef HOST_EXPLORE_H
#define HOST_EXPLORE_H

#include <regex.h>

#include "host/options.h"
#include "record/experiment.h"

#define EXPLORE_JOBS  64
#define EXPLORE_SHOWN (64u << 20) /* most bytes of consoles that an answer has */

/* What there is to change. */
struct explore_space {
	uint64_t start, end; /* counts of the recording */
	uint64_t after;	     /* the first line that matches explore_config.after is shown here */
	unsigned nnics, ndisks;
};

/* What a run came to. */
struct explore_answer {
	struct experiment_try t;
	struct buf shown; /* on the consoles; free it */
};

/* When a run has failed; with none of them, when it ends otherwise than the recording. */
struct explore_failure {
	bool by_status;
	uint8_t status;	     /* exit status of the guest */
	const char *console; /* expression on a line of a console; NULL: none */
	regex_t expression;
	const char *check;   /* program that gets what was shown, and says no; NULL: none */
	unsigned patience_s; /* for which it may take */
	struct experiment_try golden;
};

/* explore_judge.c: whether a worker's answer, with so many bytes of consoles, can be one. */
bool explore_answer_can_be(const struct experiment_try *t, const struct explore_space *s,
			   uint64_t shown);
/* 1 failed, 0 not, -errno and err: nobody can tell. */
int explore_judge(const struct explore_failure *f, const struct explore_answer *a, struct err *err);

/* What is drawn from, in run n with a seed: a list of 1 to `most` changes by count. */
size_t explore_draw(const struct explore_space *s, uint64_t seed, uint64_t n, unsigned most,
		    struct fault *faults);

/* 1: a run with this list, by count, fails; 0: it does not; -errno: it cannot be known. */
typedef int explore_fails_fn(void *ctx, const struct fault *faults, size_t n);

/*
 * Makes a list that fails, of *n changes drawn from `s`, the fewest, in place: takes changes away
 * as long as it fails, and tries fewer of them a little from where they were. At the end each that
 * is left is needed: without any one of them it does not fail. 0; or what fails() said below 0.
 */
int explore_shrink(const struct explore_space *s, uint64_t seed, struct fault *faults, size_t *n,
		   explore_fails_fn *fails, void *ctx);

/* explore_worker.c: processes that run what they are told. */
struct explore_crew;
/*
 * NULL and err on failure. after: expression on a line of a console, NULL: any time. *space and the
 * recording's own end are filled in.
 */
struct explore_crew *explore_hire(const struct options *o, const char *log, unsigned jobs,
				  const regex_t *after, struct explore_space *space,
				  struct explore_answer *golden, struct err *err);
/* Worker `number` is asked; it answers later. 0 or -errno. */
int explore_ask(struct explore_crew *c, unsigned number, const struct fault *faults, size_t n,
		struct err *err);
/* Waits for one that was asked: its number; -errno and err. */
int explore_hear(struct explore_crew *c, struct explore_answer *a, struct err *err);
void explore_dismiss(struct explore_crew *c);

/* explore.c: the whole of it. Exit status. */
int explore_run(struct options *o);

#endif
