/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One machine run live in this process: what `run` and `record` have in common. */
#ifndef TOOLS_GUEST_RUN_H
#define TOOLS_GUEST_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "record/live.h"
#include "tools/machine_host.h"
#include "tools/machine_opts.h"

struct guest_run {
	struct machine_opts opts;
	bool stats, json;
	FILE *report; /* digests and statistics: standard output, or standard error when the console is there */
	struct machine_host host;
	struct machine *machine;
	struct live_sink sink;
	struct live *live;
	enum machine_end end; /* after guest_run_execute() */
};

/* After the options: what `report` is. */
void guest_run_choose_report(struct guest_run *g);
/* Opens the host side and makes the machine; the guest does not run yet. 0 or -errno. */
int guest_run_open(struct guest_run *g, struct err *err);
/* Opens the consoles and makes the live source; hooks and epochs are taken from *c. 0 or -errno. */
int guest_run_start(struct guest_run *g, struct live_config *c, struct err *err);
/* Runs to the end, reports, and returns the exit status. */
int guest_run_execute(struct guest_run *g);
void guest_run_close(struct guest_run *g);
/* Ends a run from anywhere, also from a signal handler. */
void guest_run_stop(void *guest_run);

#endif
