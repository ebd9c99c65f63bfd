/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fault-injection experiment. The machine follows a recording up to a landmark, where one thing
 * is changed; its behaviour from there on is compared with the recorded one (the golden run).
 * Inputs still enter at their counts. An experiment takes the time from the nearest checkpoint to
 * the fault, and from there to its end, and repeats bit for bit.
 */
#ifndef RECORD_EXPERIMENT_H
#define RECORD_EXPERIMENT_H

#include <regex.h>

#include "record/packet_pattern.h"
#include "record/timeline.h"

enum outcome {
	OUTCOME_NONE,	/* no difference from the golden run */
	OUTCOME_LATENT, /* only the state at the end differs */
	/* the outputs agree as far as they go, but some are missing where the recording ends */
	OUTCOME_LATE,
	OUTCOME_WRONG,	  /* outputs or exit status differ, and no detector noticed */
	OUTCOME_DETECTED, /* the guest noticed the fault: a detector matches its output */
	OUTCOME_HANG,	  /* the machine did not end within the bound */
	OUTCOME_CRASH,	  /* triple fault, or exceptions without end */
	OUTCOME_REFUSED,  /* no CPU can hold the flipped value, so nothing was run */
	/*
	 * Outcomes of a pair; the outputs are correct, except that with OUTCOME_LOST some are
	 * missing:
	 */
	OUTCOME_MASKED,	  /* one replica went on without the other one */
	OUTCOME_DIVERGED, /* a digest showed that the replicas differed */
	OUTCOME_LOST,	  /* outputs are missing at the end, or neither replica went on */
	OUTCOMES
};

const char *outcome_name(enum outcome o);
/* True: experiments on a pair (or, if not pair, on a recording) can have this outcome. */
bool outcome_can_be(enum outcome o, bool pair);

enum when {
	WHEN_ALWAYS,
	WHEN_EXECUTED, /* the instruction at an address is about to execute */
	WHEN_ACCESSED, /* an address was read or written */
	WHEN_OUTPUT,   /* a line on a console matches an expression */
	WHEN_PACKET,   /* a packet that has arrived matches a pattern */
};

/* Events whose counts the golden run shows. */
struct experiments_when {
	enum when kind;
	uint64_t address; /* linear */
	uint64_t nth;	  /* only the n-th time; 0: each */
};

/* One of them. */
struct experiment_moment {
	uint64_t count;
	/*
	 * for WHEN_PACKET: the NIC, and the packet's number, from 1, among those that arrived at
	 * this count
	 */
	unsigned nic, packet;
};

struct experiments_config {
	struct timeline
		*line;	/* at its start, of a machine whose outputs go to experiments_emit() */
	uint64_t bound; /* instructions beyond the golden run's after which it hangs */
	const regex_t *detector; /* on the bytes of consoles and debug console */
	size_t ndetectors;
	const regex_t *mask; /* matches on consoles may differ and are left out of the comparison */
	size_t nmasks;
	const uint8_t
		*detect_status; /* exit statuses by which the guest reports a detected fault */
	size_t ndetect_status;
	bool by_status; /* outputs may differ; only the exit status is compared */
	/* Flips in registers and RAM that nothing reads are not run. */
	bool prune;
	struct experiments_when when;
	const regex_t *when_output;
	const struct packet_pattern *when_packet;
};

struct experiments;

struct experiment_result {
	enum outcome outcome;
	uint64_t end_count;
	unsigned status;	   /* exit status of the guest, where it gave one */
	bool pruned;		   /* nothing was run: the golden run tells the outcome */
	uint64_t bound;		   /* where it would have ended at the latest; not stored */
	uint64_t first_difference; /* count at the first output that differs; UINT64_MAX: none */
};

/* NULL and err when memory is short. */
struct experiments *experiments_open(const struct experiments_config *c, struct machine *m,
				     struct err *err);
void experiments_close(struct experiments *x);
/* Follows the recording to its end, before the first experiment. 0 or -errno. */
int experiments_golden(struct experiments *x, struct err *err);
/* The machine's output sink: ctx is a struct experiments **, NULL before it is open. */
void experiments_emit(void *ctx, const struct output *out);
/*
 * The moments of the golden run at which the event of config.when happened: *n of them, in order of
 * count.
 */
const struct experiment_moment *experiments_moments(const struct experiments *x, size_t *n);
/*
 * Before flips in RAM are pruned: names each experiment of one fault that is to come (other faults
 * than FAULT_MEMORY are left out); then, once, one more way along the golden run shows which of
 * their bytes are read. 0, or -errno and err.
 */
int experiments_expect(struct experiments *x, const struct fault *f, struct err *err);
int experiments_foresee(struct experiments *x, struct err *err);
uint64_t experiments_end(const struct experiments *x); /* count at the golden run's end */
/*
 * Runs an experiment with n faults (1 to DEVIATE_FAULTS) at one count. 0 and *r; -errno and err:
 * the recording itself cannot be followed.
 */
int experiments_run(struct experiments *x, const struct fault *f, size_t n,
		    struct experiment_result *r, struct err *err);
/* Runs a pruned experiment all the same: -EILSEQ and err when *r is not its outcome. */
int experiments_verify(struct experiments *x, const struct fault *f,
		       const struct experiment_result *r, struct err *err);
/* A run with any faults, or none, whose result is not compared with anything. */
struct experiment_try {
	bool refused; /* one of the faults is impossible; the other fields are not set */
	enum machine_end end;
	unsigned status; /* exit status of the guest, where it gave one */
	uint64_t count;	 /* at the end */
	uint64_t bound;	 /* where it would have ended at the latest */
};

/*
 * Runs with at most DEVIATE_FAULTS faults, in order of their counts. shown: gets what consoles and
 * the debug console showed from the recording's start on. 0; -errno and err.
 */
int experiments_try(struct experiments *x, const struct fault *faults, size_t nfaults,
		    struct experiment_try *t, struct buf *shown, struct err *err);

/*
 * How a fault spread in RAM: the first byte that differs, and the number of pages, apart from those
 * where the fault was.
 */
struct experiment_spread {
	bool found;
	uint64_t count, rip; /* the instruction that wrote the first byte that differs */
	uint64_t byte;	     /* offset of that in RAM */
	bool paging, user;   /* of that instruction: whose tables, and at CPL 3 */
	uint64_t cr3;
	uint64_t pages; /* that differ at the end, or where the first output differs */
};

/*
 * Looks for the spread of a fault up to count `to`. A difference that disappears again before twice
 * its distance from the fault may be missed.
 */
int experiments_spread(struct experiments *x, const struct fault *f, size_t n, uint64_t to,
		       struct experiment_spread *s, struct err *err);

#endif
