/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compares this processor with the software CPU, as guests see them. Small programs fold results
 * that are undefined in the manuals, or differ between processors, into one number each; both
 * engines run them. Where the numbers differ, a guest that uses such results can tell the engines
 * apart, and a record of one may not replay on the other.
 */
#ifndef HYPERVISOR_VMX_AGREE_H
#define HYPERVISOR_VMX_AGREE_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/engine.h"
#include "hypervisor/traits.h"
#include "hypervisor/vmx/bench.h"

struct agree {
	bool same[TRAITS]; /* the trait is that of the software CPU on machine version 2 */
	bool same_in_version_1[TRAITS];
	unsigned repeats, unsteady; /* whole runs, and those whose memory or registers differed */
	char error[BENCH_ERROR];    /* empty, or why the engine gave up */
	bool all;		    /* same in every trait */
};

/*
 * Computes the number of each trait on a machine of that version. error: empty, or why a program
 * did not reach its end. 0, or -errno and err of creating the engine.
 */
int agree_numbers(const struct engine_ops *ops, unsigned version, uint32_t number[TRAITS],
		  char error[BENCH_ERROR], struct err *err);

/*
 * Compares the traits of `ops` with those of the software CPU; then runs one program `repeats`
 * times on both, with state and memory compared at the same counts. 0: *a is filled in; else -errno
 * and err of creating an engine.
 */
int agree_engine(const struct engine_ops *ops, unsigned repeats, struct agree *a, struct err *err);

#endif
