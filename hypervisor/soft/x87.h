/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87: the register stack, exceptions, and running one instruction on the host's FPU.
 *
 * Instructions whose result IEEE 754 or the SDM fixes to the bit run on the host under the guest's
 * own control word, masks included: the host then also gives the responses to unmasked exceptions
 * (no result, or one with a wrapped exponent). Only non-waiting instructions touch the host's FPU
 * until FNCLEX, so that nothing traps there. Stack faults are detected here; on the host operands
 * are always present.
 */
#ifndef SOFT_X87_H
#define SOFT_X87_H

#include "hypervisor/soft/fpu.h"

/* Exceptions that stop an operation when unmasked. */
#define X87_PRE (X87_IE | X87_DE | X87_ZE)

#define X87_EXP_BIAS 16383
#define X87_EXP_MAX  0x7fff
#define X87_INT_BIT  (1ull << 63)

static const struct x87_reg x87_default_nan = { 0xc000000000000000ull, 0xffff };

static inline unsigned x87_phys(const struct fpu_state *f, unsigned i)
{
	return (((unsigned)f->sw >> 11) + i) & 7;
}

static inline bool x87_empty(const struct fpu_state *f, unsigned i)
{
	return !((f->tag >> x87_phys(f, i)) & 1);
}

static inline struct x87_reg x87_get(const struct fpu_state *f, unsigned i)
{
	return f->reg[x87_phys(f, i)];
}

static inline void x87_set(struct fpu_state *f, unsigned i, struct x87_reg v)
{
	unsigned p = x87_phys(f, i);

	f->reg[p].mant = v.mant;
	f->reg[p].exp = v.exp;
	f->tag |= (uint8_t)(1u << p);
}

static inline void x87_free(struct fpu_state *f, unsigned i)
{
	f->tag &= (uint8_t) ~(1u << x87_phys(f, i));
}

static inline void x87_add_top(struct fpu_state *f, unsigned n)
{
	f->sw = (uint16_t)((f->sw & ~X87_TOP) | (((f->sw & X87_TOP) + (n << 11)) & X87_TOP));
}

static inline void x87_pop(struct fpu_state *f)
{
	x87_free(f, 0);
	x87_add_top(f, 1);
}

static inline void x87_push(struct fpu_state *f, struct x87_reg v)
{
	x87_add_top(f, 7);
	x87_set(f, 0, v);
}

/* Pointers to the last non-control instruction and its operand. */
static inline void x87_note(struct cpu *cpu, const struct op *op)
{
	cpu->fpu.fip = op_rip(cpu, op);
	if (op->flags & OPF_MEM)
		cpu->fpu.fdp = op_ea(cpu, op);
}

/* Beginning of an instruction without memory operand. */
static inline struct fpu_state *x87_begin(struct cpu *cpu, const struct op *op)
{
	x87_check(cpu);
	x87_note(cpu, op);
	return &cpu->fpu;
}

static inline void x87_clear_c1(struct fpu_state *f)
{
	f->sw &= (uint16_t)~X87_C1;
}

/*
 * Adds exception flags; op->extra is the x87 opcode, which is kept when an exception is unmasked.
 */
static inline void x87_raise(struct fpu_state *f, const struct op *op, unsigned flags)
{
	f->sw |= (uint16_t)flags;
	x87_update_summary(f);
	if (flags & ~f->cw & X87_FLAGS)
		f->fop = op->extra;
}

/*
 * Takes exception flags, C1 and the condition codes in `cc` from a status word. False when an
 * unmasked exception leaves the operation undone; condition codes other than C1 are then kept.
 */
static inline bool x87_take(struct fpu_state *f, const struct op *op, unsigned sw, unsigned cc)
{
	bool done = !(sw & ~f->cw & X87_PRE);

	cc = done ? cc | X87_C1 : X87_C1;
	f->sw = (uint16_t)((f->sw & ~cc) | (sw & cc));
	if (sw & X87_FLAGS)
		x87_raise(f, op, sw & X87_FLAGS);
	return done;
}

/* Stack fault; true when it is masked, so that the default response is to be given. */
static inline bool x87_stack_fault(struct fpu_state *f, const struct op *op, bool overflow)
{
	f->sw = (uint16_t)((f->sw & ~X87_C1) | (overflow ? X87_C1 : 0));
	x87_raise(f, op, X87_IE | X87_SF);
	return f->cw & X87_IE;
}

/* Pushes v with C1 cleared, or gives the response to a stack overflow. */
static inline void x87_load(struct fpu_state *f, const struct op *op, struct x87_reg v)
{
	if (!x87_empty(f, 7)) {
		if (x87_stack_fault(f, op, true))
			x87_push(f, x87_default_nan);
		return;
	}
	x87_clear_c1(f);
	x87_push(f, v);
}

/* An operation with ST(0), or the top two registers, as operands: false after the response to a
 * stack underflow, which is a NaN in ST(dst). */
static inline bool x87_need1(struct fpu_state *f, const struct op *op)
{
	if (likely(!x87_empty(f, 0)))
		return true;
	if (x87_stack_fault(f, op, false))
		x87_set(f, 0, x87_default_nan);
	return false;
}

/* ---- classes of operands ---- */
static inline unsigned x87_exp(struct x87_reg v)
{
	return v.exp & X87_EXP_MAX;
}

static inline bool x87_sign(struct x87_reg v)
{
	return v.exp >> 15;
}

/*
 * Exponent but no integer bit: unnormal, pseudo-infinity, pseudo-NaN; every operation on them is
 * invalid.
 */
static inline bool x87_unsupported(struct x87_reg v)
{
	return x87_exp(v) && !(v.mant & X87_INT_BIT);
}

static inline bool x87_is_zero(struct x87_reg v)
{
	return x87_exp(v) == 0 && v.mant == 0;
}

static inline bool x87_is_inf(struct x87_reg v)
{
	return x87_exp(v) == X87_EXP_MAX && v.mant == X87_INT_BIT;
}

static inline bool x87_is_nan(struct x87_reg v)
{
	return x87_exp(v) == X87_EXP_MAX && v.mant > X87_INT_BIT;
}

static inline bool x87_is_snan(struct x87_reg v)
{
	return x87_is_nan(v) && !(v.mant & (1ull << 62));
}

static inline bool x87_is_denormal(struct x87_reg v)
{
	return x87_exp(v) == 0 && v.mant != 0;
}

/* ---- on the host ---- */
#define X87_CLOBBERS "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"

/* ST(0) = *r, ST(1) = *src; executes insn, stores ST(0) to *r, returns the status word. */
#define X87_HOST_REG(name, insn)                                                            \
	static uint16_t name(uint16_t cw, struct x87_reg *r, const void *src)               \
	{                                                                                   \
		static const uint16_t plain = X87_CW_RESET;                                 \
		const struct x87_reg *b = src;                                              \
		uint16_t sw;                                                                \
                                                                                            \
		__asm__ volatile("fnclex\n\tfldcw %[cw]\n\tfldt %[b]\n\tfldt %[r]\n\t" insn \
				 "\n\tfnstsw %[sw]\n\tfnclex\n\tfstpt %[r]\n\tfstp "        \
				 "%%st(0)\n\tfldcw %[plain]"                                \
				 : [r] "+m"(*r), [sw] "=&a"(sw)                             \
				 : [b] "m"(*b), [cw] "m"(cw), [plain] "m"(plain)            \
				 : X87_CLOBBERS);                                           \
		return sw;                                                                  \
	}

/* ST(0) = *r; executes insn, which may name a memory operand %[m] of the given type. */
#define X87_HOST_MEM(name, insn, type)                                                        \
	static uint16_t name(uint16_t cw, struct x87_reg *r, const void *src)                 \
	{                                                                                     \
		static const uint16_t plain = X87_CW_RESET;                                   \
		const type *m = src;                                                          \
		uint16_t sw;                                                                  \
                                                                                              \
		__asm__ volatile("fnclex\n\tfldcw %[cw]\n\tfldt %[r]\n\t" insn                \
				 "\n\tfnstsw %[sw]\n\tfnclex\n\tfstpt %[r]\n\tfldcw %[plain]" \
				 : [r] "+m"(*r), [sw] "=&a"(sw)                               \
				 : [m] "m"(*m), [cw] "m"(cw), [plain] "m"(plain)              \
				 : X87_CLOBBERS);                                             \
		return sw;                                                                    \
	}

typedef uint16_t (*x87_host_fn)(uint16_t cw, struct x87_reg *r, const void *src);

/* ---- bindings: x87.c ---- */
/* arg: the handler. */
bool x87_bind_one(const struct decoded *d, struct op *op, uintptr_t arg);

/* Handlers by operand: registers, and memory of 16, 32, 64, 80 bits. */
struct x87_forms {
	op_fn reg, m16, m32, m64, m80;
};
/* arg: struct x87_forms. */
bool x87_bind_forms(const struct decoded *d, struct op *op, uintptr_t arg);

#define ROW_X87(mnem, fn)                                            \
	{                                                            \
		ZYDIS_MNEMONIC_##mnem, x87_bind_one, (uintptr_t)(fn) \
	}
#define ROW_X87_FORMS(mnem, f)                                           \
	{                                                                \
		ZYDIS_MNEMONIC_##mnem, x87_bind_forms, (uintptr_t) & (f) \
	}

#endif
