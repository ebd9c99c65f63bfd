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
#include "hypervisor/traits.h"
#include "hypervisor/vmx/bench.h"

struct agree {
	bool same[TRAITS]; /* as the software CPU of machine version 2 */
	bool same_in_version_1[TRAITS];
	unsigned repeats, unsteady; /* whole runs, and those whose memory or registers differed */
	char error[BENCH_ERROR];    /* empty, or why the engine gave up */
	bool all;		    /* same in every trait */
};

/*
 * The number of each trait, on a machine of that version; error: empty, or why a program did not
 * get to its end. 0, or what creating the engine failed with.
 */
int agree_numbers(const struct engine_ops *ops, unsigned version, uint32_t number[TRAITS],
		  char error[BENCH_ERROR], struct err *err);

/*
 * The traits of `ops` beside those of the software CPU, then one program `repeats` times, with
 * state and memory compared at the same counts. 0: *a is filled in; else what creating an engine
 * failed with.
 */
int agree_engine(const struct engine_ops *ops, unsigned repeats, struct agree *a, struct err *err);

#endif
