/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lazy arithmetic flags. An ALU handler stores its type, operands and result; whoever needs a flag
 * computes it here.
 *
 * Operands and result are kept sign-extended from their size to 64 bits. Sign extension keeps
 * signed and unsigned order, zero and the sign, so nothing below needs to know the operand size:
 *
 *   after a subtraction    below is a < b unsigned, less is a < b signed
 *   after an addition      carry is res < a (or res <= a with a carry in)
 *   overflow               the sign bit of a formula over the three values
 *   ZF, SF, PF             from res, for every type
 */
#ifndef SOFT_FLAGS_H
#define SOFT_FLAGS_H

#include "hypervisor/soft/cpu.h"

enum lazy_type {
	LAZY_NONE,  /* flags are in cpu->rflags */
	LAZY_LOGIC, /* res; CF, OF and AF are 0 */
	LAZY_SUB,   /* res = a - b */
	LAZY_SBB,   /* res = a - b - 1 */
	LAZY_ADD,   /* res = a + b */
	LAZY_ADC,   /* res = a + b + 1 */
	LAZY_AUX,   /* res; b = CF, OF and AF as FL_* bits */
	LAZY_INC,   /* res = a + 1; b = CF, 0 or 1 */
	LAZY_DEC,   /* res = a - 1; b = CF, 0 or 1 */
};

/* Computes the six arithmetic flags into a FL_* mask. */
uint32_t flags_arith(const struct cpu *cpu);

/* CF, OF and AF as FL_* bits, for types other than LAZY_NONE. */
uint32_t flags_lazy_aux(const struct cpu *cpu);

/* The whole RFLAGS as PUSHF would show it (RF and VM included). */
static inline uint64_t flags_get(const struct cpu *cpu)
{
	return (cpu->rflags & ~(uint64_t)FL_ARITH) | flags_arith(cpu) | FL_ONE;
}

/* Sets all of RFLAGS from v. */
static inline void flags_set(struct cpu *cpu, uint64_t v)
{
	cpu->rflags = v | FL_ONE;
	cpu->lazy.type = LAZY_NONE;
}

/* Sets the six arithmetic flags to `arith` (others in it are ignored). */
static inline void flags_set_arith(struct cpu *cpu, uint32_t arith)
{
	cpu->rflags = (cpu->rflags & ~(uint64_t)FL_ARITH) | (arith & FL_ARITH);
	cpu->lazy.type = LAZY_NONE;
}

/* Replaces those of CF, OF and AF that are in `mask` by `set`; the other flags stay. */
static inline void flags_change(struct cpu *cpu, uint32_t mask, uint32_t set)
{
	struct lazy_flags *l = &cpu->lazy;

	if (l->type == LAZY_NONE) {
		cpu->rflags = (cpu->rflags & ~(uint64_t)mask) | set;
		return;
	}
	if (l->type == LAZY_LOGIC)
		l->b = set;
	else
		l->b = ((l->type == LAZY_AUX ? l->b : flags_lazy_aux(cpu)) & ~(uint64_t)mask) | set;
	l->type = LAZY_AUX;
}

static inline void flags_set_cf(struct cpu *cpu, bool cf)
{
	flags_change(cpu, FL_CF, cf);
}

/* Condition code 0..15 of Jcc, SETcc, CMOVcc. */
bool flags_cond(const struct cpu *cpu, unsigned cc);

/* ---- what ALU handlers leave behind; all values sign-extended ---- */
static inline void lazy_set(struct cpu *cpu, enum lazy_type type, int64_t res, int64_t a, int64_t b)
{
	cpu->lazy.res = (uint64_t)res;
	cpu->lazy.a = (uint64_t)a;
	cpu->lazy.b = (uint64_t)b;
	cpu->lazy.type = type;
}

static inline void lazy_set_logic(struct cpu *cpu, int64_t res)
{
	cpu->lazy.res = (uint64_t)res;
	cpu->lazy.type = LAZY_LOGIC;
}

static inline void lazy_set_aux(struct cpu *cpu, int64_t res, uint32_t aux)
{
	cpu->lazy.res = (uint64_t)res;
	cpu->lazy.b = aux;
	cpu->lazy.type = LAZY_AUX;
}

/* ---- single flags and conditions ---- */
static inline bool flags_zf(const struct cpu *cpu)
{
	return likely(cpu->lazy.type) ? cpu->lazy.res == 0 : (cpu->rflags & FL_ZF) != 0;
}

static inline bool flags_sf(const struct cpu *cpu)
{
	return likely(cpu->lazy.type) ? (int64_t)cpu->lazy.res < 0 : (cpu->rflags & FL_SF) != 0;
}

static inline bool flags_pf(const struct cpu *cpu)
{
	return likely(cpu->lazy.type) ? !__builtin_parity(cpu->lazy.res & 0xff)
				      : (cpu->rflags & FL_PF) != 0;
}

static inline bool flags_of(const struct cpu *cpu)
{
	if (cpu->lazy.type == LAZY_LOGIC)
		return false;
	return cpu->lazy.type ? (flags_lazy_aux(cpu) & FL_OF) != 0 : (cpu->rflags & FL_OF) != 0;
}

static inline bool flags_cf(const struct cpu *cpu)
{
	const struct lazy_flags *l = &cpu->lazy;

	switch (l->type) {
	case LAZY_SUB:
		return l->a < l->b;
	case LAZY_LOGIC:
		return false;
	case LAZY_ADD:
		return l->res < l->a;
	case LAZY_NONE:
		return cpu->rflags & FL_CF;
	case LAZY_SBB:
		return l->a <= l->b;
	case LAZY_ADC:
		return l->res <= l->a;
	default: /* AUX has CF in bit 0, INC and DEC have nothing else */
		return l->b & FL_CF;
	}
}

/* The four conditions that combine flags: one comparison after CMP and TEST. */
static inline bool flags_be(const struct cpu *cpu)
{
	if (likely(cpu->lazy.type == LAZY_SUB))
		return cpu->lazy.a <= cpu->lazy.b;
	return flags_zf(cpu) || flags_cf(cpu);
}

static inline bool flags_l(const struct cpu *cpu)
{
	if (likely(cpu->lazy.type == LAZY_SUB))
		return (int64_t)cpu->lazy.a < (int64_t)cpu->lazy.b;
	return flags_sf(cpu) != flags_of(cpu);
}

static inline bool flags_le(const struct cpu *cpu)
{
	if (likely(cpu->lazy.type == LAZY_SUB))
		return (int64_t)cpu->lazy.a <= (int64_t)cpu->lazy.b;
	return flags_zf(cpu) || flags_sf(cpu) != flags_of(cpu);
}

/* X(suffix, code, expression) for the sixteen condition codes, in the order of their numbers. */
#define FLAGS_CONDITIONS(X)       \
	X(o, 0, flags_of(cpu))    \
	X(no, 1, !flags_of(cpu))  \
	X(b, 2, flags_cf(cpu))    \
	X(nb, 3, !flags_cf(cpu))  \
	X(z, 4, flags_zf(cpu))    \
	X(nz, 5, !flags_zf(cpu))  \
	X(be, 6, flags_be(cpu))   \
	X(nbe, 7, !flags_be(cpu)) \
	X(s, 8, flags_sf(cpu))    \
	X(ns, 9, !flags_sf(cpu))  \
	X(p, 10, flags_pf(cpu))   \
	X(np, 11, !flags_pf(cpu)) \
	X(l, 12, flags_l(cpu))    \
	X(nl, 13, !flags_l(cpu))  \
	X(le, 14, flags_le(cpu))  \
	X(nle, 15, !flags_le(cpu))

#endif
