/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does this processor give guests what the software CPU gives them? Small programs fold what is
 * undefined in the manuals, or differs between processors, into one number; both engines run them.
 * Where they differ, a guest that uses it can tell the engines apart, and a record of one may not
 * replay on the other.
 */
#ifndef HYPERVISOR_VMX_AGREE_H
#define HYPERVISOR_VMX_AGREE_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/engine.h"
#include "hypervisor/vmx/bench.h"

#define AGREE_PROGRAMS 6

struct agree_row {
	const char *name, *what;
	uint32_t soft, here; /* the numbers */
	bool same;
};

struct agree {
	struct agree_row row[AGREE_PROGRAMS];
	unsigned repeats, unsteady; /* whole runs, and those whose memory or registers differed */
	char error[BENCH_ERROR];    /* empty, or why the engine gave up */
	bool all;		    /* every row is the same */
};

/*
 * Runs every program on `ops` and on the software CPU, then one `repeats` times, with state and
 * memory compared at the same counts. 0: *a is filled in; else what creating an engine failed with.
 */
int agree_engine(const struct engine_ops *ops, unsigned repeats, struct agree *a, struct err *err);

#endif
