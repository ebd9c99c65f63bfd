// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * FPREM, FPREM1, FXTRACT. The size of a partial reduction is left to the implementation, so they
 * are done here in integer arithmetic: an exponent difference D of 64 or more is reduced by 32 + D
 * % 32, as Intel's and AMD's cores do.
 */
#include "hypervisor/soft/x87.h"

typedef unsigned __int128 u128;

/* The answer that an addition would give to operands that are NaN or unsupported. */
X87_HOST_REG(host_fadd, "fadd %%st(1), %%st")

struct operand {
	uint64_t mant; /* normalised */
	int exp;       /* unbiased, of the integer bit */
};

static struct operand unpack(struct x87_reg v)
{
	int shift = __builtin_clzll(v.mant), e = x87_exp(v) ? (int)x87_exp(v) : 1;

	return (struct operand){ v.mant << shift, e - X87_EXP_BIAS - shift };
}

struct remainder {
	u128 mant; /* times 2^(exp - 63) */
	int exp;
	bool negate; /* the sign is not that of the dividend */
	bool partial;
	unsigned quotient; /* low bits */
};

/* Quotient cut off (FPREM) or rounded to nearest even (FPREM1). */
static struct remainder divide(struct operand a, struct operand b, bool nearest)
{
	int d = a.exp - b.exp;
	struct remainder r = { .mant = a.mant, .exp = a.exp };
	u128 q, n;

	if (d < (nearest ? -1 : 0))
		return r;
	if (d == -1) {
		r.negate = a.mant > b.mant; /* more than half: the quotient is 1 */
		if (r.negate) {
			r.mant = ((u128)b.mant << 1) - a.mant;
			r.quotient = 1;
		}
		return r;
	}
	r.partial = d >= 64;
	n = (u128)a.mant << (r.partial ? 32 + d % 32 : d);
	r.exp = r.partial ? b.exp + d - 32 - d % 32 : b.exp;
	q = n / b.mant;
	r.mant = n % b.mant;
	if (nearest && !r.partial && (r.mant * 2 > b.mant || (r.mant * 2 == b.mant && (q & 1)))) {
		r.mant = b.mant - r.mant;
		r.negate = true;
		q++;
	}
	r.quotient = (unsigned)q & 7;
	return r;
}

/*
 * Packs an exact result; a tiny one is an exception only when underflow is unmasked, and then its
 * exponent wraps.
 */
static unsigned pack(const struct fpu_state *f, struct remainder r, bool sign, struct x87_reg *out)
{
	unsigned flags = 0;
	int e;

	out->mant = 0;
	out->exp = (uint16_t)(sign << 15);
	if (!r.mant)
		return 0;
	e = __builtin_clzll((uint64_t)r.mant);
	out->mant = (uint64_t)r.mant << e;
	e = r.exp - e + X87_EXP_BIAS;
	if (e < 1 && !(f->cw & X87_UE)) {
		flags = X87_UE;
		e += 0x6000;
	}
	if (e < 1) {
		out->mant >>= 1 - e;
		e = 0;
	}
	out->exp |= (uint16_t)e;
	return flags;
}

static unsigned quotient_codes(const struct remainder *r)
{
	if (r->partial)
		return X87_C2;
	return (r->quotient & 4 ? X87_C0 : 0) | (r->quotient & 2 ? X87_C3 : 0) |
	       (r->quotient & 1 ? X87_C1 : 0);
}

static bool bad(struct x87_reg v)
{
	return x87_unsupported(v) || x87_is_nan(v);
}

static void remainder_run(struct cpu *cpu, const struct op *op, bool nearest)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg a = x87_get(f, 0), b = x87_get(f, 1), out = a;
	struct remainder r = { 0 };
	unsigned flags = x87_is_denormal(a) || x87_is_denormal(b) ? X87_DE : 0;

	f->sw &= (uint16_t)~X87_C2; /* also when an exception ends it */
	if (x87_empty(f, 0) || x87_empty(f, 1)) {
		if (x87_stack_fault(f, op, false))
			x87_set(f, 0, x87_default_nan);
		return;
	}
	if (bad(a) || bad(b)) {
		if (x87_take(f, op, host_fadd(f->cw, &out, &b) & X87_FLAGS, 0))
			x87_set(f, 0, out);
		return;
	}
	if (x87_is_inf(a) || x87_is_zero(b)) {
		if (x87_take(f, op, X87_IE, 0))
			x87_set(f, 0, x87_default_nan);
		return;
	}
	if (flags & ~f->cw) {
		x87_take(f, op, flags, 0);
		return;
	}
	if (!x87_is_zero(a)) {
		struct operand whole = unpack(a);

		r = (struct remainder){ .mant = whole.mant, .exp = whole.exp };
		if (!x87_is_inf(b))
			r = divide(whole, unpack(b), nearest);
		flags |= pack(f, r, x87_sign(a) ^ r.negate, &out);
	}
	x87_take(f, op, flags | quotient_codes(&r), X87_CC);
	x87_set(f, 0, out);
}

static void fprem(struct cpu *cpu, const struct op *op)
{
	remainder_run(cpu, op, false);
	OP_NEXT;
}

static void fprem1(struct cpu *cpu, const struct op *op)
{
	remainder_run(cpu, op, true);
	OP_NEXT;
}

/* ---- FXTRACT ---- */
static struct x87_reg small_int(int v)
{
	struct x87_reg r = { 0, v < 0 ? 0x8000 : 0 };
	uint64_t m = (uint64_t)(v < 0 ? -v : v);

	if (m) {
		int lead = __builtin_clzll(m);

		r.mant = m << lead;
		r.exp |= (uint16_t)(X87_EXP_BIAS + 63 - lead);
	}
	return r;
}

/* Splits v into exponent and significand; returns the exceptions. */
static unsigned extract(struct fpu_state *f, struct x87_reg v, struct x87_reg *exponent,
			struct x87_reg *significand)
{
	struct operand o;

	*exponent = *significand = v;
	if (bad(v)) {
		unsigned flags = host_fadd(f->cw | X87_FLAGS, exponent, &v) & X87_FLAGS;

		*significand = *exponent;
		return flags;
	}
	if (x87_is_inf(v)) {
		exponent->exp = X87_EXP_MAX;
		return 0;
	}
	if (x87_is_zero(v)) {
		*exponent = (struct x87_reg){ X87_INT_BIT, 0x8000 | X87_EXP_MAX };
		return X87_ZE;
	}
	o = unpack(v);
	*exponent = small_int(o.exp);
	significand->mant = o.mant;
	significand->exp = (uint16_t)((v.exp & 0x8000) | X87_EXP_BIAS);
	return x87_is_denormal(v) ? X87_DE : 0;
}

static void fxtract(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg exponent = x87_default_nan, significand = x87_default_nan;

	if (x87_empty(f, 0) || !x87_empty(f, 7)) {
		if (!x87_stack_fault(f, op, !x87_empty(f, 0)))
			OP_NEXT;
	} else if (!x87_take(f, op, extract(f, x87_get(f, 0), &exponent, &significand), 0)) {
		OP_NEXT;
	}
	x87_set(f, 0, exponent);
	x87_push(f, significand);
	OP_NEXT;
}

static const struct binding x87_rem_rows[] = {
	ROW_X87(FPREM, fprem),
	ROW_X87(FPREM1, fprem1),
	ROW_X87(FXTRACT, fxtract),
};

BINDINGS(x87_rem);
