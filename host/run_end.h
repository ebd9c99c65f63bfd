/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of a run, told to a person or a program in the same way by every subcommand that runs a
 * machine.
 */
#ifndef HOST_RUN_END_H
#define HOST_RUN_END_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "hypervisor/machine.h"
#include "record/panic_watch.h"

/* "power-off", "triple fault", ... */
const char *run_end_name(enum machine_end end);
/* Exit status for it (exit.h); `sig` is the signal that stopped the run, or 0. */
int run_end_status(const struct machine *m, enum machine_end end, int sig);
/* Exit status of a machine that --on-panic has ended, or that has halted for good; else `status`.
 */
int run_end_panic_status(const struct machine *m, const struct panic_watch *w, enum machine_end end,
			 int status);
/*
 * Reports an error on standard error, with the registers where that helps; nothing after an orderly
 * end.
 */
void run_end_report(struct machine *m, enum machine_end end, const struct err *err);

/* Stream for digests and statistics: standard output, or standard error when the console has it. */
FILE *run_end_stream(const char *console);

struct run_summary {
	enum machine_end end;
	int status;
	uint64_t count;	     /* instructions */
	uint64_t start;	     /* of them, retired before this run: by what was restored */
	uint64_t virtual_ns; /* virtual time at the end */
	uint64_t host_ns;    /* host time that the run took */
	uint64_t idle_ns;    /* of it, waiting in HLT */
};

void run_summary_print(FILE *f, const struct machine *m, const struct run_summary *s);
void run_summary_json(FILE *f, const struct machine *m, const struct run_summary *s);

#endif
