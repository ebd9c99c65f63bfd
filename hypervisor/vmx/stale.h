/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a processor has cached, or guessed ahead, and a guest can see all the same: page faults
 * that its tables do not explain, accessed bits, and which parts of its state XSAVE says are in
 * use. Small guests fold each into a number, beside the software CPU's; what else goes on on the
 * host may change it from run to run.
 */
#ifndef HYPERVISOR_VMX_STALE_H
#define HYPERVISOR_VMX_STALE_H

#include <stdint.h>

#include "hypervisor/vmx/bench.h"

enum { STALE_FAULTS, STALE_ACCESSED, STALE_XINUSE, STALE_KINDS };

struct stale {
	unsigned runs;
	unsigned differ[STALE_KINDS]; /* runs whose number is not the software CPU's */
	uint64_t spurious;	      /* page faults that the engine has taken away */
	char error[BENCH_ERROR];      /* empty, or why a guest did not get to its end */
};

/* 0: *s is filled in; else what creating an engine failed with. */
int stale_measure(const struct engine_ops *ops, unsigned runs, struct stale *s, struct err *err);

#endif
