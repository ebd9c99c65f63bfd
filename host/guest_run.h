/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine that runs live in this process: the common part of `run` and `record`. */
#ifndef HOST_GUEST_RUN_H
#define HOST_GUEST_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "record/hooks.h"
#include "record/live.h"
#include "record/panic_watch.h"
#include "host/bringup.h"
#include "host/control.h"
#include "host/options.h"

struct guest_control;
struct profile;

/* A subcommand's additions to the steps of a run (bringup.h); NULL: none. */
struct guest_run_role {
	const char *kind; /* for `twinstep status`: "run" or "record" */
	int (*names)(void *ctx, struct err *err);
	void (*unname)(void *ctx);
	int (*created)(void *ctx, struct err *err);
	int (*started)(void *ctx, struct err *err);
	void (*stopped)(void *ctx);
	bool writes_log; /* a file that may become as long as it likes */
};

struct guest_run {
	const struct guest_run_role *role;
	void *ctx;
	const struct options *o;
	FILE *report; /* digests and statistics: standard output, or standard error when the console
			 is there */
	struct bringup up;
	struct live_sink sink;
	struct live_config live_config; /* epochs and digests; the rest is filled in */
	struct live *live;
	struct live_hooks_chain hooks;
	struct panic_watch panic;
	struct guest_control *control;
	struct profile *profile; /* NULL: none */
	enum machine_end end;	 /* after guest_run_execute() */
};

/*
 * The whole life of a machine; run(g->ctx) runs it when it is there (guest_run_execute()).
 * Returns the exit status.
 */
int guest_run_live(struct guest_run *g, int (*run)(void *ctx));
/* Runs to the end, reports, and returns the exit status. */
int guest_run_execute(struct guest_run *g);
/* Ends a run from anywhere, also from a signal handler. */
void guest_run_stop(void *guest_run);

#endif
