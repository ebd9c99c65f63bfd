/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions and the REP loop; INS and OUTS use it too.
 *
 * A string instruction is a step: one iteration, which moves rSI and rDI when nothing can fault any
 * more. string_run() does the loop around it, under the contract of rep_should_stop() in cpu.h.
 */
#ifndef SOFT_STRING_H
#define SOFT_STRING_H

#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/mem.h"

/* Executes one iteration. */
typedef void (*string_step_fn)(struct cpu *cpu, const struct op *op);
/*
 * Executes up to `count` iterations inside one page of source and destination: how many were done;
 * 0 when that way is barred.
 */
typedef uint64_t (*string_bulk_fn)(struct cpu *cpu, const struct op *op, uint64_t count);

enum string_kind { STRING_MOVS, STRING_STOS, STRING_LODS, STRING_CMPS, STRING_SCAS, STRING_COUNT };

/* Do REPE and REPNE differ? */
static inline bool string_tests_zf(enum string_kind kind)
{
	return kind == STRING_CMPS || kind == STRING_SCAS;
}

static inline uint64_t string_mask(const struct op *op)
{
	return op->asize == 8 ? ~0ull : op->asize == 4 ? 0xffffffffull : 0xffffull;
}

/* rSI, rDI or rCX at the address size. */
static inline uint64_t string_reg(const struct cpu *cpu, const struct op *op, enum gpr r)
{
	return cpu->gpr[r] & string_mask(op);
}

static inline void string_set_reg(struct cpu *cpu, const struct op *op, enum gpr r, uint64_t v)
{
	if (op->asize == 2)
		cpu->gpr[r] = (cpu->gpr[r] & ~0xffffull) | (v & 0xffff);
	else
		cpu->gpr[r] = v & string_mask(op);
}

/* Moves rSI or rDI by one element of `size` bytes. */
static inline void string_advance(struct cpu *cpu, const struct op *op, enum gpr r, unsigned size)
{
	string_set_reg(cpu, op, r, cpu->rflags & FL_DF ? cpu->gpr[r] - size : cpu->gpr[r] + size);
}

static inline uint64_t string_lin(struct cpu *cpu, const struct op *op, unsigned seg, enum gpr r,
				  unsigned size, bool write)
{
	uint64_t off = string_reg(cpu, op, r), lin = cpu->ea_base[seg] + off;

	if (likely(op->flags & OPF_FLAT))
		return lin;
	if (op->flags & OPF_SEGCHECK)
		seg_check(cpu, seg, off, size, write);
	return (cpu->mode & MODE_SIZE) == MODE_64 ? lin : (uint32_t)lin;
}

/* Source [seg:rSI], with override, and destination [ES:rDI]. */
static inline uint64_t string_src(struct cpu *cpu, const struct op *op, unsigned size)
{
	return string_lin(cpu, op, op->seg, R_RSI, size, false);
}

static inline uint64_t string_dst(struct cpu *cpu, const struct op *op, unsigned size, bool write)
{
	return string_lin(cpu, op, SEG_ES, R_RDI, size, write);
}

/*
 * Clears upper halves as REP with 32-bit addresses does before its first access, whatever the
 * count: those of RCX, of both pointers of MOVS and of that of STOS become 0. A fault of the first
 * iteration shows it.
 */
static inline void string_zero_extend(struct cpu *cpu, const struct op *op, bool src, bool dst)
{
	if (likely(op->asize != 4))
		return;
	cpu->gpr[R_RCX] = (uint32_t)cpu->gpr[R_RCX];
	if (src)
		cpu->gpr[R_RSI] = (uint32_t)cpu->gpr[R_RSI];
	if (dst)
		cpu->gpr[R_RDI] = (uint32_t)cpu->gpr[R_RDI];
}

/*
 * Runs a string instruction with or without prefix. True: it is complete (the handler ends with
 * OP_NEXT). False: it left between two iterations, with everything set for OP_EXIT.
 *
 * CMPS and SCAS write the flags when the instruction ends: a fault, a trap or a stop between two
 * iterations finds those from before it. The comparisons themselves look at present elements only.
 */
static inline __attribute__((always_inline)) bool string_run(struct cpu *cpu, const struct op *op,
							     string_step_fn step,
							     string_bulk_fn bulk,
							     enum string_kind kind)
{
	const struct lazy_flags before = cpu->lazy;
	uint64_t count, n;

	if (!(op->flags & (OPF_REP | OPF_REPNE))) {
		step(cpu, op);
		return true;
	}
	string_zero_extend(cpu, op, kind == STRING_MOVS,
			   kind == STRING_MOVS || kind == STRING_STOS);
	count = string_reg(cpu, op, R_RCX);
	while (count) {
		n = bulk ? bulk(cpu, op, count) : 0;
		if (!n) {
			step(cpu, op);
			n = 1;
		}
		count -= n;
		string_set_reg(cpu, op, R_RCX, count);
		if (!count)
			break;
		if (string_tests_zf(kind)) {
			if (flags_zf(cpu) == !!(op->flags & OPF_REPNE))
				break;
			cpu->lazy = before;
		}
		if (rep_should_stop(cpu)) {
			cpu->in_rep = true;
			cpu->rip = op_rip(cpu, op);
			return false;
		}
	}
	cpu->in_rep = false;
	return true;
}

#endif
