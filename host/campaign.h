/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Campaigns of fault injection: plan, results, and what runs the experiments. */
#ifndef HOST_CAMPAIGN_H
#define HOST_CAMPAIGN_H

#include <regex.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>

#include "host/campaign_stats.h"
#include "host/options.h"
#include "record/experiment.h"

#define CAMPAIGN_FAULTS	     16
#define CAMPAIGN_DETECTORS   32
#define CAMPAIGN_TOGETHER    8
#define CAMPAIGN_MASKS	     32
#define CAMPAIGN_EXPERIMENTS 100000000u
#define CAMPAIGN_PAIR	     64 /* arguments of a pair */
#define CAMPAIGN_JOBS	     256

/* Faults of one kind to draw from: registers, bytes, NICs, disks first..last. */
struct campaign_fault {
	enum fault_place place;
	uint64_t first, last; /* last UINT64_MAX: as far as there are any */
	unsigned width;	      /* bits side by side */
	uint64_t amount;
};

struct campaign_plan {
	char *text; /* as in the file, with addresses for names of code */
	char *log;
	/* In place of a recording: arguments of `twinstep pair`. Then counts are microseconds since
	 * the guest was protected, and the bound is ms.
	 */
	char *pair[CAMPAIGN_PAIR];
	size_t npair;
	uint64_t seed, experiments;
	double margin;	   /* that each share shall be known to, either way; 0: no matter */
	double deviations; /* of intervals: 1.96 for a confidence of 95 % */
	uint64_t from, to; /* window of counts; to UINT64_MAX: the end of the recording */
	uint64_t bound;
	bool prune, by_status; /* the latter: outputs may differ */
	uint64_t together;     /* so many faults an experiment, at one moment */
	/* Faults are done when something happens only, at counts that the golden run shows. */
	struct experiments_when when;
	regex_t when_output;
	struct packet_pattern when_packet;
	struct campaign_fault fault[CAMPAIGN_FAULTS];
	size_t nfaults;
	regex_t detector[CAMPAIGN_DETECTORS];
	size_t ndetectors;
	regex_t mask[CAMPAIGN_MASKS];
	size_t nmasks;
	uint8_t detect_status[256];
	size_t ndetect_status;
};

/* campaign_plan.c: `name` is for messages. 0, or -EINVAL and a sentence; free it in either case. */
int campaign_plan_parse(struct campaign_plan *p, const char *text, size_t len, const char *name,
			struct err *err);
int campaign_plan_read(struct campaign_plan *p, const char *path, struct err *err);
void campaign_plan_free(struct campaign_plan *p);
/* What a plan draws from in a recording. */
struct campaign_space {
	uint64_t start, end; /* counts of the golden run */
	const struct machine_config *config;
	const struct experiment_moment *moment; /* that a "when" names, by count */
	size_t nmoments;
};
/*
 * Experiment n, plan->together faults: a function of plan and n alone. False: the plan's window or
 * range holds nothing of this recording.
 */
bool campaign_plan_draw(const struct campaign_plan *p, uint64_t n, const struct campaign_space *s,
			struct fault f[CAMPAIGN_TOGETHER]);

/* Whether one of an experiment's faults can have been drawn from the plan. */
bool campaign_plan_has(const struct campaign_plan *p, const struct fault *f);

/*
 * From 0, below n, by a state that any number begins; by the high half of a product, so that no
 * value is more likely by much.
 */
uint64_t campaign_random_below(uint64_t *state, uint64_t n);

/* A result, as workers hand it on. */
struct campaign_row {
	uint64_t n;
	struct fault fault;			  /* the first of those that are done at once */
	struct fault also[CAMPAIGN_TOGETHER - 1]; /* not stored: they follow from plan and n */
	struct experiment_result result;
	uint64_t host_ns;
	struct experiment_spread spread; /* of one that is run alone; not stored */
};

/* campaign_store.c: one SQLite file a campaign. NULL and err on failure. */
sqlite3 *campaign_store_open(const char *path, const struct campaign_plan *create, struct err *err);
/* The plan that the results are of; free it in either case. */
int campaign_store_plan(sqlite3 *db, struct campaign_plan *p, struct err *err);
int campaign_store_put(sqlite3 *db, const struct campaign_row *row, struct err *err);
/* Calls fn for each row, in order of n, until it gives non-zero. */
int campaign_store_rows(sqlite3 *db, int (*fn)(void *ctx, const struct campaign_row *row),
			void *ctx, struct err *err);

/* Forgets the results from experiment n on. */
int campaign_store_cut(sqlite3 *db, uint64_t n, struct err *err);

/*
 * campaign_run.c: runs all experiments of its shard whose outcomes are not known, until those are
 * enough; each result goes to put().
 */
struct campaign_run {
	const struct options *o;
	const struct campaign_plan *plan;
	struct campaign_order *order; /* NULL: nothing is known, and it does not matter */
	uint64_t only;		      /* this one alone; UINT64_MAX: all */
	unsigned jobs;
	unsigned patience_s;	/* a worker that does not go on for so long is ended */
	uint64_t shard, shards; /* experiments whose number is `shard` modulo `shards`; 0: all */
	int (*put)(void *ctx, const struct campaign_row *row, struct err *err);
	void *ctx;
};
/* Whether experiment n is for this worker, and not known yet. */
bool campaign_run_is_of(const struct campaign_run *r, unsigned number, uint64_t n);
/* Experiments of the shard, *all, and those of them that are not known. */
uint64_t campaign_run_left(const struct campaign_run *r, uint64_t *all);
/*
 * campaign_record.c: a recording at `path`, which must not exist, of what becomes of the one at
 * `log` with these faults (1 to DEVIATE_FAULTS, by count), up to a count. Exit status.
 */
int campaign_record(const struct options *o, const char *path, const char *log,
		    const struct fault *faults, size_t nfaults, uint64_t bound);
/* Exit status. */
int campaign_run(struct campaign_run *r);

/*
 * campaign_pair.c: experiments on two live replicas, for plans of a pair. Whether its arguments can
 * be: 0, or -EINVAL and err.
 */
int campaign_pair_check(const struct campaign_plan *p, struct err *err);
/* A worker's life, which writes rows to fd, and beats. The exit status of its process. */
int campaign_pair_live(const struct campaign_run *r, unsigned number, int fd,
		       atomic_uint_fast64_t *beats);
/*
 * What the consoles showed is what they should have, but that a piece of it may have come once more
 * (`again`): the replica that goes on cannot know of the last that the other one let out. Otherwise
 * false, and the offset of the first byte that is not.
 */
bool campaign_pair_same(const struct buf *want, const struct buf *shown, bool again,
			uint64_t *differs);

#endif
