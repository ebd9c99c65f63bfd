/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stack access at the width of the mode: RSP in 64-bit mode, else ESP or SP by SS.B. Offsets are
 * within SS. Nothing here moves the stack pointer but stack_set() and stack_push().
 */
#ifndef SOFT_STACK_H
#define SOFT_STACK_H

#include "hypervisor/soft/mem.h"

static inline bool stack_is_64(const struct cpu *cpu)
{
	return (cpu->mode & MODE_SIZE) == MODE_64;
}

/* Bits of the stack pointer that count. */
static inline uint64_t stack_mask(const struct cpu *cpu)
{
	if (stack_is_64(cpu))
		return ~0ull;
	return cpu->mode & MODE_SS16 ? 0xffff : 0xffffffff;
}

/* Stack pointer moved by delta. */
static inline uint64_t stack_ptr(const struct cpu *cpu, int64_t delta)
{
	return (cpu->gpr[R_RSP] + (uint64_t)delta) & stack_mask(cpu);
}

/* Linear address of [SS:off], after the segment checks of the mode. */
static inline uint64_t stack_lin(struct cpu *cpu, uint64_t off, unsigned size, bool write)
{
	if (likely(stack_is_64(cpu)))
		return off;
	if (cpu->mode & MODE_SEGCHECK)
		seg_check(cpu, SEG_SS, off, size, write);
	return (uint32_t)(cpu->ea_base[SEG_SS] + off);
}

/* Sets the stack pointer; with a 16-bit stack the rest of ESP stays. */
static inline void stack_set(struct cpu *cpu, uint64_t off)
{
	uint64_t mask = stack_mask(cpu);

	cpu->gpr[R_RSP] = mask == 0xffff ? (cpu->gpr[R_RSP] & ~mask) | (off & mask) : off & mask;
}

/* size is 2, 4 or 8 bytes. */
static inline uint64_t stack_load(struct cpu *cpu, uint64_t off, unsigned size)
{
	uint64_t lin = stack_lin(cpu, off, size, false);

	if (likely(size == 8))
		return mem_ld64(cpu, lin);
	return size == 4 ? mem_ld32(cpu, lin) : mem_ld16(cpu, lin);
}

static inline void stack_store(struct cpu *cpu, uint64_t off, unsigned size, uint64_t v)
{
	uint64_t lin = stack_lin(cpu, off, size, true);

	if (likely(size == 8))
		mem_st64(cpu, lin, v);
	else if (size == 4)
		mem_st32(cpu, lin, (uint32_t)v);
	else
		mem_st16(cpu, lin, (uint16_t)v);
}

static inline void stack_push(struct cpu *cpu, unsigned size, uint64_t v)
{
	uint64_t off = stack_ptr(cpu, -(int64_t)size);

	stack_store(cpu, off, size, v);
	stack_set(cpu, off);
}

#endif
