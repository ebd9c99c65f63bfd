/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory access from handlers: linear addresses, inline TLB hit, everything else out of line. A
 * faulting access raises and does not return. Stores are all-or-nothing also across a page
 * boundary.
 */
#ifndef SOFT_MEM_H
#define SOFT_MEM_H

#include <string.h>

#include "hypervisor/soft/cpu.h"

/* mem.c: any size from 1 to 64 bytes, any alignment; every slow case. `rmw`: a read that will be
 * followed by a write to the same place (faults as the write would). */
void mem_read_slow(struct cpu *cpu, uint64_t lin, void *data, unsigned size, bool rmw);
void mem_write_slow(struct cpu *cpu, uint64_t lin, const void *data, unsigned size);
/* Faults as a write of [lin, lin+size) would, writes nothing. */
void mem_probe_write(struct cpu *cpu, uint64_t lin, unsigned size);
void mem_probe_read(struct cpu *cpu, uint64_t lin, unsigned size);
/*
 * #AC when alignment is checked and lin is no multiple of `align`, a power of two. It comes before
 * every page fault of the access, and after the #GP or #SS of a first byte that is not canonical; a
 * later byte that is not canonical does not matter. Accesses of 2, 4, 8 and 10 bytes check
 * themselves; this is for operands that are more than one number.
 */
void mem_check_alignment(struct cpu *cpu, uint64_t lin, unsigned align);
/* A store of several numbers of `align` bytes each, all of them or none. */
void mem_write_items(struct cpu *cpu, uint64_t lin, const void *data, unsigned size,
		     unsigned align);

/* Implicit supervisor accesses (descriptor tables, TSS, IDT), whatever the CPL. */
void sys_read(struct cpu *cpu, uint64_t lin, void *data, unsigned size);
void sys_write(struct cpu *cpu, uint64_t lin, const void *data, unsigned size);
void sys_probe_write(struct cpu *cpu, uint64_t lin, unsigned size);

/* Read and write likewise, 1, 2, 4 or 8 bytes as a number. */
uint64_t mem_read_slow_int(struct cpu *cpu, uint64_t lin, unsigned size, bool rmw);
void mem_write_slow_int(struct cpu *cpu, uint64_t lin, unsigned size, uint64_t v);

#define MEM_ACCESSORS(bits)                                                                       \
	static inline uint##bits##_t mem_ld##bits(struct cpu *cpu, uint64_t lin)                  \
	{                                                                                         \
		const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];      \
		uint##bits##_t v;                                                                 \
                                                                                                  \
		if (likely(e->rd == (lin & PAGE_MASK) && (lin & 0xfff) <= PAGE_SIZE - sizeof(v))) \
			memcpy(&v, (const void *)(lin + e->addend), sizeof(v));                   \
		else                                                                              \
			v = (uint##bits##_t)mem_read_slow_int(cpu, lin, sizeof(v), false);        \
		return v;                                                                         \
	}                                                                                         \
	/* Load that a store to the same address follows. */                                      \
	static inline uint##bits##_t mem_ldw##bits(struct cpu *cpu, uint64_t lin)                 \
	{                                                                                         \
		const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];      \
		uint##bits##_t v;                                                                 \
                                                                                                  \
		if (likely(e->wr == (lin & PAGE_MASK) && (lin & 0xfff) <= PAGE_SIZE - sizeof(v))) \
			memcpy(&v, (const void *)(lin + e->addend), sizeof(v));                   \
		else                                                                              \
			v = (uint##bits##_t)mem_read_slow_int(cpu, lin, sizeof(v), true);         \
		return v;                                                                         \
	}                                                                                         \
	static inline void mem_st##bits(struct cpu *cpu, uint64_t lin, uint##bits##_t v)          \
	{                                                                                         \
		const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];      \
                                                                                                  \
		if (likely(e->wr == (lin & PAGE_MASK) && (lin & 0xfff) <= PAGE_SIZE - sizeof(v))) \
			memcpy((void *)(lin + e->addend), &v, sizeof(v));                         \
		else                                                                              \
			mem_write_slow_int(cpu, lin, sizeof(v), v);                               \
	}

MEM_ACCESSORS(8)
MEM_ACCESSORS(16)
MEM_ACCESSORS(32)
MEM_ACCESSORS(64)

/* Any size up to 64 bytes (XMM operands, FXSAVE pieces, descriptors read by user-level rules). */
static inline void mem_ld(struct cpu *cpu, uint64_t lin, void *data, unsigned size)
{
	mem_read_slow(cpu, lin, data, size, false);
}

static inline void mem_st(struct cpu *cpu, uint64_t lin, const void *data, unsigned size)
{
	mem_write_slow(cpu, lin, data, size);
}

/* 16-byte accesses of SSE, on the fast path when they hit. `data` has 16 bytes. */
static inline void mem_ld128(struct cpu *cpu, uint64_t lin, void *data)
{
	const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];

	if (likely(e->rd == (lin & PAGE_MASK) && (lin & 0xfff) <= 0xff0))
		memcpy(data, (const void *)(lin + e->addend), 16);
	else
		mem_read_slow(cpu, lin, data, 16, false);
}

static inline void mem_st128(struct cpu *cpu, uint64_t lin, const void *data)
{
	const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];

	if (likely(e->wr == (lin & PAGE_MASK) && (lin & 0xfff) <= 0xff0))
		memcpy((void *)(lin + e->addend), data, 16);
	else
		mem_write_slow(cpu, lin, data, 16);
}

/*
 * Host address of linear address `lin`, for REP handlers, when the rest of its page can be read
 * (written) through it without further checks, else NULL: then do one iteration with mem_ld and
 * mem_st and ask rep_should_stop().
 */
static inline const uint8_t *mem_bulk_read(const struct cpu *cpu, uint64_t lin)
{
	const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];

	if (e->rd != (lin & PAGE_MASK) || cpu->rep_stop_armed || cpu->rep_step)
		return NULL;
	return (const uint8_t *)(lin + e->addend);
}

static inline uint8_t *mem_bulk_write(const struct cpu *cpu, uint64_t lin)
{
	const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];

	if (e->wr != (lin & PAGE_MASK) || cpu->rep_stop_armed || cpu->rep_step)
		return NULL;
	return (uint8_t *)(lin + e->addend);
}

/* Effective address (offset) of the op's memory operand, at its address size. */
static inline uint64_t op_ea(const struct cpu *cpu, const struct op *op)
{
	uint64_t ea = cpu->gpr[op->base] + (cpu->gpr[op->idx] << op->scale) + (uint64_t)op->disp;

	if (likely(op->asize == 8))
		return ea;
	return op->asize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

/*
 * Linear address of the op's memory operand for an access of `size` bytes, after the segment checks
 * of the mode.
 */
static inline uint64_t op_lin(struct cpu *cpu, const struct op *op, unsigned size, bool write)
{
	uint64_t ea, lin;

	if (likely(op->flags & OPF_FLAT))
		return cpu->ea_base[op->seg] + cpu->gpr[op->base] +
		       (cpu->gpr[op->idx] << op->scale) + (uint64_t)op->disp;
	ea = op_ea(cpu, op);
	lin = cpu->ea_base[op->seg] + ea;
	if (unlikely(op->flags & OPF_SEGCHECK))
		seg_check(cpu, op->seg, ea, size, write);
	if (unlikely((cpu->mode & MODE_SIZE) != MODE_64))
		lin = (uint32_t)lin;
	return lin;
}

#endif
