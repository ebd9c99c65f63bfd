/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One machine run live in this process: what `run` and `record` have in common. */
#ifndef HOST_GUEST_RUN_H
#define HOST_GUEST_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "record/hooks.h"
#include "record/live.h"
#include "host/bringup.h"
#include "host/control.h"
#include "host/machine_opts.h"

struct guest_control;

/* What a subcommand adds to the steps of a run (bringup.h); NULL: nothing. */
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
	struct machine_opts opts;
	bool stats, json;
	struct control_opts control_opts;
	FILE *report; /* digests and statistics: standard output, or standard error when the console
			 is there */
	struct bringup up;
	struct live_sink sink;
	struct live_config live_config; /* epochs and digests; the rest is filled in */
	struct live *live;
	struct live_hooks_chain hooks;
	struct guest_control *control;
	enum machine_end end; /* after guest_run_execute() */
};

/* For the subcommand's array of struct option: what guest_run_take() knows. */
enum { OPT_RUN_STATS = OPT_COMMAND + 100, OPT_RUN_JSON, OPT_RUN_CONTROL, OPT_RUN_NAME };
#define GUEST_RUN_OPTIONS                                                \
	{ "stats", no_argument, NULL, OPT_RUN_STATS },                   \
		{ "json", no_argument, NULL, OPT_RUN_JSON },             \
		{ "control", required_argument, NULL, OPT_RUN_CONTROL }, \
	{                                                                \
		"name", required_argument, NULL, OPT_RUN_NAME            \
	}

/* Takes an option of the machine or one of GUEST_RUN_OPTIONS: as machine_opts_take(). */
int guest_run_take(struct guest_run *g, int opt, const char *arg, struct err *err);
void guest_run_help(FILE *f);

/* After the options: what `report` is. */
void guest_run_choose_report(struct guest_run *g);
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
