/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SOFT_RUN_H
#define SOFT_RUN_H

#include "hypervisor/soft/cpu.h"

/* Executes until the landmark or another exit; see engine.h. */
enum engine_exit_kind soft_run_cpu(struct cpu *cpu, const struct landmark *until);
/* Would an external interrupt be accepted at this boundary? */
bool soft_can_interrupt(const struct cpu *cpu);

/* state.c */
void soft_state_get(const struct cpu *cpu, struct cpu_state *s);
/* -EINVAL when no CPU can be in this state; then nothing changed. */
int soft_state_set(struct cpu *cpu, const struct cpu_state *s, struct err *err);

#endif
