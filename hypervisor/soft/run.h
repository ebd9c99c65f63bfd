/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SOFT_RUN_H
#define SOFT_RUN_H

#include "hypervisor/soft/cpu.h"

/* Executes until the landmark or another exit; see engine.h. */
enum engine_exit_kind soft_run_cpu(struct cpu *cpu, const struct landmark *until);
/* True: an external interrupt would be accepted at this boundary. */
bool soft_can_interrupt(const struct cpu *cpu);

enum soft_step {
	SOFT_STEP_RETIRED, /* an instruction */
	SOFT_STEP_REP,	 /* iterations of a REP instruction that goes on: see below, or TF is set */
	SOFT_STEP_EXIT,	 /* an instruction that counts as an exit: see cpu_is_exit() */
	SOFT_STEP_EVENT, /* a pending event was delivered, or the instruction's fault */
};
/*
 * Executes one instruction or event, for an engine that has part of a guest executed in software.
 * Nothing is cached: memory may change between two steps behind this CPU's back, as long as
 * mmu_flush_all() was called. A REP instruction is left between two iterations when this CPU is
 * kicked, and where RIP and RCX are those of *rep, unless that is NULL. `breakpoints`: instruction
 * breakpoints have not been looked at yet.
 */
enum soft_step soft_step_cpu(struct cpu *cpu, const struct landmark *rep, bool breakpoints);

/* The CPU inside an engine that soft_engine_ops made. */
struct cpu *soft_engine_cpu(struct engine *e);

/* state.c */
void soft_state_get(const struct cpu *cpu, struct cpu_state *s);
/* -EINVAL when no CPU can be in this state; then nothing changed. */
int soft_state_set(struct cpu *cpu, const struct cpu_state *s, struct err *err);

#endif
