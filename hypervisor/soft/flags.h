/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lazy arithmetic flags. An ALU handler stores its type, operands and result; whoever needs a flag computes it here.
 */
#ifndef SOFT_FLAGS_H
#define SOFT_FLAGS_H

#include "hypervisor/soft/cpu.h"

/* Computes the six arithmetic flags into a FL_* mask. */
uint32_t flags_arith(const struct cpu *cpu);

/* The whole RFLAGS as PUSHF would show it (RF and VM included). */
static inline uint64_t flags_get(const struct cpu *cpu)
{
	return (cpu->rflags & ~(uint64_t)FL_ARITH) | flags_arith(cpu) | FL_ONE;
}

/* Sets all of RFLAGS from v. */
static inline void flags_set(struct cpu *cpu, uint64_t v)
{
	cpu->rflags = v | FL_ONE;
	cpu->lazy.type = 0;
}

/* Sets the six arithmetic flags to `arith` (others in it are ignored). */
static inline void flags_set_arith(struct cpu *cpu, uint32_t arith)
{
	cpu->rflags = (cpu->rflags & ~(uint64_t)FL_ARITH) | (arith & FL_ARITH);
	cpu->lazy.type = 0;
}

/* Condition code 0..15 of Jcc, SETcc, CMOVcc. */
bool flags_cond(const struct cpu *cpu, unsigned cc);

#endif
