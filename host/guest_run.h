/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One machine run live in this process: what `run` and `record` have in common. */
#ifndef HOST_GUEST_RUN_H
#define HOST_GUEST_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "record/hooks.h"
#include "record/live.h"
#include "host/control.h"
#include "host/machine_host.h"
#include "host/machine_opts.h"

struct guest_control;

struct guest_run {
	struct machine_opts opts;
	bool stats, json;
	bool writes_log; /* a file that may become as long as it likes */
	struct control_opts control_opts;
	FILE *report; /* digests and statistics: standard output, or standard error when the console
			 is there */
	struct machine_host host;
	struct machine *machine;
	struct live_sink sink;
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
/* Opens everything on the host's side that has a name. kind: "run" or "record". 0 or -errno. */
int guest_run_open(struct guest_run *g, const char *kind, struct err *err);
/* Closes the jail and makes the machine inside; the guest does not run yet. 0 or -errno. */
int guest_run_jail(struct guest_run *g, struct err *err);
/* Makes the live source; epochs are taken from *c, hooks from g->hooks. 0 or -errno. */
int guest_run_start(struct guest_run *g, struct live_config *c, struct err *err);
/* Runs to the end, reports, and returns the exit status. */
int guest_run_execute(struct guest_run *g);
void guest_run_close(struct guest_run *g);
/* Ends a run from anywhere, also from a signal handler. */
void guest_run_stop(void *guest_run);

#endif
