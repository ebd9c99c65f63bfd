/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests whether an engine's count of retired instructions is exact. Small guest programs run on the
 * engine several times and on the software CPU once. The counts at their ends must agree, and so
 * must the registers wherever both stop at the same count.
 */
#ifndef HYPERVISOR_VMX_MEASURE_H
#define HYPERVISOR_VMX_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/engine.h"
#include "hypervisor/vmx/bench.h"
#include "hypervisor/vmx/landing.h"

#define MEASURE_PROGRAMS 10

struct measure_row {
	const char *name;  /* kind of instructions in the program */
	uint64_t expected; /* instructions, from the software CPU */
	int64_t low, high; /* smallest and largest deviation seen */
	unsigned runs, wrong;
	bool interrupted; /* from outside, on the way */
};

struct measure {
	struct measure_row row[MEASURE_PROGRAMS];
	unsigned landings, missed; /* stops at chosen counts; how many were at another place */
	struct landing landing;	   /* skid; all 0 for an engine that does not land by overflow */
	char error[BENCH_ERROR];   /* empty, or why the engine gave up */
	bool exact;
};

/*
 * Runs every program `repeats` times on ops. 0: *m is filled in. -ENOMEM, or what creating the
 * engine failed with.
 */
int measure_engine(const struct engine_ops *ops, unsigned repeats, struct measure *m,
		   struct err *err);

/* The landings alone, with their skid; the same errors. */
int measure_skid(const struct engine_ops *ops, struct measure *m, struct err *err);

/*
 * True: the performance counter that vmx:pmu would use on this host is exact. Measured at the first
 * call, each program once. To be called where the module's device node can be opened.
 */
bool measure_pmu_is_exact(void);
/* The landings of this measurement, with their skid; NULL: not measured, or not exact. */
const struct landing *measure_pmu_landing(void);

#endif
