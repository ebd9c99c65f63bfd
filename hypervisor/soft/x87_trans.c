// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Transcendental x87 instructions: FSIN FCOS FSINCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1.
 *
 * Vendors differ in the last bit, so none of them runs on the host: values are computed to more
 * than 100 bits (big.c) and rounded once, by RC, to 64. Precision control has no influence. Some
 * intermediate values are cut to 67 bits first, as far as the results of Intel's cores show where
 * theirs are: see the functions. That gives their bits in all but a few cases; how few is in
 * docs/cpu.md. Two of these cuts, of FCOS and FSINCOS and of FYL2XP1, became known later, and are
 * those of machine version 2 alone: guests of version 1 keep their results. Trigonometric arguments
 * are reduced with the 66-bit value of pi that the SDM gives (vol. 1, 8.3.8), as silicon does; |x|
 * >= 2^63 sets C2 and changes nothing.
 *
 * Outside of the ranges that the SDM gives: F2XM1 of |x| > 1 returns x (-1 for minus infinity);
 * FYL2XP1 computes y * log2(1 + x) for all x > -1 and gives x for x <= -1.
 */
#include "hypervisor/soft/big.h"
#include "hypervisor/soft/x87.h"

X87_HOST_REG(host_fadd, "fadd %%st(1), %%st")

#define REDUCED_EXP 63 /* arguments from 2^63 on are out of range */
#define CORE_BITS   67 /* significant bits of values inside Intel's cores */

static struct big cut(struct big v)
{
	return big_cut(v, CORE_BITS);
}

/* The cuts that became known later are made. */
static bool has_later_cuts(const struct cpu *cpu)
{
	return cpu->bus.version == 2;
}

static const struct x87_reg x87_one = { X87_INT_BIT, X87_EXP_BIAS };

static struct big to_big(struct x87_reg v)
{
	int e = x87_exp(v) ? (int)x87_exp(v) : 1;

	return big_make((u128)v.mant << 64, e - X87_EXP_BIAS, x87_sign(v));
}

/* ---- rounding ---- */
/* odd: the last bit that stays; half, rest: the first bit below it, and whether others are set. */
static bool round_up(uint16_t cw, bool neg, bool odd, bool half, bool rest)
{
	switch ((cw & X87_CW_RC) >> 10) {
	case 0:
		return half && (rest || odd);
	case 1:
		return neg && (half || rest);
	case 2:
		return !neg && (half || rest);
	default:
		return false;
	}
}

/*
 * Rounds m, of which the top `keep` bits stay, none when that is negative: then it is less than
 * half of the last place. C1 in *flags when that went up.
 */
static u128 round_mant(uint16_t cw, u128 m, int keep, bool neg, unsigned *flags)
{
	u128 top = keep > 0 ? m >> (128 - keep) : 0, low = keep < 0 ? m >> 1 : m << keep;

	if (!round_up(cw, neg, top & 1, low >> 127, low << 1))
		return top;
	*flags |= X87_C1;
	return top + 1;
}

static unsigned overflow(uint16_t cw, bool neg, struct x87_reg *out)
{
	unsigned rc = (cw & X87_CW_RC) >> 10;
	bool inf = rc == 0 || rc == (neg ? 1 : 2);

	out->mant = inf ? X87_INT_BIT : UINT64_MAX;
	out->exp = (uint16_t)((neg << 15) | (inf ? X87_EXP_MAX : X87_EXP_MAX - 1));
	return X87_OE | X87_PE | (inf ? X87_C1 : 0);
}

/*
 * Rounds to a register value; returns exceptions and C1. Silicon calls every result inexact, 2 =
 * log2(4) too.
 */
static unsigned round_big(uint16_t cw, struct big v, struct x87_reg *out)
{
	unsigned flags = X87_PE, tiny_flags = X87_PE;
	u128 m = round_mant(cw, v.m, 64, v.neg, &flags);
	int e = v.e + X87_EXP_BIAS;

	*out = (struct x87_reg){ 0, (uint16_t)(v.neg << 15) };
	if (!v.m)
		return 0;
	if (m >> 64) {
		m >>= 1;
		e++;
	}
	if (e >= X87_EXP_MAX) {
		if (cw & X87_OE)
			return overflow(cw, v.neg, out);
		flags |= X87_OE;
		e -= 0x6000;
	} else if (e < 1 && (cw & X87_UE)) {
		e = v.e + X87_EXP_BIAS;
		out->mant = (uint64_t)round_mant(cw, v.m, 63 + e, v.neg, &tiny_flags);
		out->exp |= out->mant >> 63;
		return tiny_flags | X87_UE;
	} else if (e < 1) {
		flags |= X87_UE;
		e += 0x6000;
	}
	out->mant = e < 1 ? 0 : (uint64_t)m;
	out->exp |= (uint16_t)(e < 1 ? 0 : e);
	return flags;
}

/* ---- operands ---- */
static bool bad(struct x87_reg v)
{
	return x87_unsupported(v) || x87_is_nan(v);
}

static unsigned denormal_flag(struct x87_reg v)
{
	return x87_is_denormal(v) ? X87_DE : 0;
}

/* Answer to one operand that is NaN, unsupported or invalid. */
static unsigned answer_nan(const struct fpu_state *f, struct x87_reg v, struct x87_reg *out)
{
	*out = v;
	if (bad(v))
		return host_fadd(f->cw | X87_FLAGS, out, &v) & X87_FLAGS;
	*out = x87_default_nan;
	return X87_IE;
}

/* ---- trigonometric functions ---- */
struct angle {
	struct big r; /* |r| <= pi/4 */
	unsigned quadrant;
};

/* pi / 2 as the SDM's 66 bits, in units of 2^-67. */
#define HALF_PI_66 ((u128)0xc << 64 | 0x90fdaa22168c234cull)

/* Exact remainder of a division by pi / 2, by shifting. */
static struct angle reduce(struct x87_reg v)
{
	struct angle a = { to_big(v), 0 };
	int e = (int)x87_exp(v) - X87_EXP_BIAS;
	u128 r = v.mant;
	bool neg = x87_sign(v);

	if (e < -1)
		return a;
	for (int i = 0; i < e + 4; i++) {
		r <<= 1;
		a.quadrant <<= 1;
		if (r >= HALF_PI_66) {
			r -= HALF_PI_66;
			a.quadrant |= 1;
		}
	}
	if (2 * r > HALF_PI_66) {
		r = HALF_PI_66 - r;
		neg = !neg;
		a.quadrant++;
	}
	if (x87_sign(v))
		a.quadrant = -a.quadrant;
	a.quadrant &= 3;
	a.r = big_make(r, 127 - 67, neg);
	return a;
}

/* 1 - r^2 * rate: the square, the rate and their product are cut, the difference is not. */
static struct big cos_cut(struct big r)
{
	struct big square = cut(big_mul(r, r));

	return big_sub(big_int(1), cut(big_mul(square, cut(big_versine_rate(square)))));
}

/* A cosine of |r| <= pi/4: big_cos() or cos_cut(). */
typedef struct big (*cos_fn)(struct big r);

static cos_fn core_cos(const struct cpu *cpu)
{
	return has_later_cuts(cpu) ? cos_cut : big_cos;
}

static struct big sine(struct angle a, cos_fn cos)
{
	struct big s = a.quadrant & 1 ? cos(a.r) : big_sin(a.r);

	return a.quadrant & 2 ? big_neg(s) : s;
}

static struct big cosine(struct angle a, cos_fn cos)
{
	a.quadrant = (a.quadrant + 1) & 3;
	return sine(a, cos);
}

/* The second result of FSINCOS and FPTAN: NaN where the first is one. */
static void give_nan(struct fpu_state *f, struct x87_reg nan, bool push)
{
	x87_set(f, 0, nan);
	if (push)
		x87_push(f, nan);
}

/* Everything that comes before the computation; false when that was all. */
static bool trig_operand(struct fpu_state *f, const struct op *op, bool push, struct x87_reg *v)
{
	struct x87_reg nan;

	*v = x87_get(f, 0);
	f->sw &= (uint16_t)~X87_C2; /* also when an exception ends it */
	if (x87_empty(f, 0) || (push && !x87_empty(f, 7))) {
		if (x87_stack_fault(f, op, !x87_empty(f, 0)))
			give_nan(f, x87_default_nan, push);
		return false;
	}
	if (bad(*v) || x87_is_inf(*v)) {
		if (x87_take(f, op, answer_nan(f, *v, &nan), X87_C2))
			give_nan(f, nan, push);
		return false;
	}
	if ((int)x87_exp(*v) - X87_EXP_BIAS >= REDUCED_EXP) {
		x87_take(f, op, X87_C2, X87_C2);
		return false;
	}
	if (denormal_flag(*v) & ~f->cw) {
		x87_take(f, op, X87_DE, 0);
		return false;
	}
	return true;
}

static void trig_one(struct cpu *cpu, const struct op *op,
		     struct big (*fn)(struct angle a, cos_fn cos), struct x87_reg at_zero)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg v, r;
	unsigned flags;

	if (!trig_operand(f, op, false, &v))
		return;
	flags = denormal_flag(v);
	if (x87_is_zero(v)) {
		r = at_zero;
		r.exp |= r.mant ? 0 : v.exp;
	} else {
		flags |= round_big(f->cw, fn(reduce(v), core_cos(cpu)), &r);
	}
	x87_take(f, op, flags, X87_C2);
	x87_set(f, 0, r);
}

static void fsin(struct cpu *cpu, const struct op *op)
{
	trig_one(cpu, op, sine, (struct x87_reg){ 0 });
	OP_NEXT;
}

static void fcos(struct cpu *cpu, const struct op *op)
{
	trig_one(cpu, op, cosine, x87_one);
	OP_NEXT;
}

static void fsincos(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg v, s, c = x87_one;
	unsigned flags;

	if (!trig_operand(f, op, true, &v))
		OP_NEXT;
	flags = denormal_flag(v);
	s = v;
	if (!x87_is_zero(v)) {
		struct angle a = reduce(v);
		cos_fn cos = core_cos(cpu);

		flags |= round_big(f->cw, sine(a, cos), &s) & ~X87_C1;
		flags |= round_big(f->cw, cosine(a, cos), &c);
	}
	x87_take(f, op, flags, X87_C2);
	x87_set(f, 0, s);
	x87_push(f, c);
	OP_NEXT;
}

/* Small arguments: the quotient of a sine and a cosine that have been cut. */
static struct big tangent(struct angle a)
{
	struct big s = sine(a, big_cos), c = cosine(a, big_cos);

	return a.r.e < -2 ? big_div(cut(s), cut(c)) : big_div(s, c);
}

static void fptan(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg v, t;
	unsigned flags;

	if (!trig_operand(f, op, true, &v))
		OP_NEXT;
	flags = denormal_flag(v);
	t = v;
	if (!x87_is_zero(v)) {
		flags |= round_big(f->cw, tangent(reduce(v)), &t);
	}
	x87_take(f, op, flags, X87_C2);
	x87_set(f, 0, t);
	x87_push(f, x87_one);
	OP_NEXT;
}

/* ---- F2XM1 ---- */
/* Small arguments: ln 2 is cut, and so is x * ln 2 where more than that follows. */
static struct big exp2m1(struct big x)
{
	struct big t = big_mul(x, x.e < -2 ? cut(BIG_LN2) : BIG_LN2);

	return big_expm1(x.e < -2 && x.e >= -64 ? cut(t) : t);
}

static unsigned f2xm1_value(const struct fpu_state *f, struct x87_reg v, struct x87_reg *out)
{
	*out = v;
	if (bad(v))
		return answer_nan(f, v, out);
	if (x87_is_zero(v))
		return 0;
	if (x87_exp(v) >= X87_EXP_BIAS) {
		if (x87_is_inf(v) && x87_sign(v))
			out->exp = 0x8000 | X87_EXP_BIAS; /* -1 */
		else if (x87_exp(v) == X87_EXP_BIAS && v.mant == X87_INT_BIT && x87_sign(v))
			out->exp = 0x8000 | (X87_EXP_BIAS - 1); /* -1/2 */
		return x87_is_inf(v) ? 0 : X87_PE;
	}
	if (denormal_flag(v) & ~f->cw)
		return X87_DE;
	return denormal_flag(v) | round_big(f->cw, exp2m1(to_big(v)), out);
}

static void f2xm1(struct cpu *cpu, const struct op *op)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg r;

	if (x87_need1(f, op) && x87_take(f, op, f2xm1_value(f, x87_get(f, 0), &r), 0))
		x87_set(f, 0, r);
	OP_NEXT;
}

/* ---- two operands: the result replaces ST(1), and the stack is popped ---- */
typedef unsigned (*binary_fn)(const struct fpu_state *f, struct x87_reg y, struct x87_reg x,
			      struct x87_reg *out);

static void binary(struct cpu *cpu, const struct op *op, binary_fn fn)
{
	struct fpu_state *f = x87_begin(cpu, op);
	struct x87_reg x = x87_get(f, 0), y = x87_get(f, 1), r = x;
	unsigned flags;

	if (x87_empty(f, 0) || x87_empty(f, 1)) {
		if (!x87_stack_fault(f, op, false))
			return;
		r = x87_default_nan;
	} else {
		if (bad(x) || bad(y))
			flags = host_fadd(f->cw | X87_FLAGS, &r, &y) & X87_FLAGS;
		else
			flags = fn(f, y, x, &r);
		if (!x87_take(f, op, flags, 0))
			return;
	}
	x87_set(f, 1, r);
	x87_pop(f);
}

static unsigned invalid(struct x87_reg *out)
{
	*out = x87_default_nan;
	return X87_IE;
}

static unsigned infinite(bool neg, struct x87_reg *out)
{
	*out = (struct x87_reg){ X87_INT_BIT, (uint16_t)((neg << 15) | X87_EXP_MAX) };
	return 0;
}

static unsigned zero(bool neg, struct x87_reg *out)
{
	*out = (struct x87_reg){ 0, (uint16_t)(neg << 15) };
	return 0;
}

/* y times a logarithm that is zero or infinite, with its sign. */
static unsigned times_limit(struct x87_reg y, bool log_inf, bool log_neg, struct x87_reg *out)
{
	bool neg = x87_sign(y) ^ log_neg;

	if (log_inf)
		return x87_is_zero(y) ? invalid(out) : infinite(neg, out);
	return x87_is_inf(y) ? invalid(out) : zero(neg, out);
}

/* y times a logarithm that is neither zero nor infinite, and is cut before. */
static unsigned times_log(const struct fpu_state *f, struct x87_reg y, struct big log,
			  struct x87_reg *out)
{
	if (x87_is_inf(y))
		return infinite(x87_sign(y) ^ log.neg, out);
	if (x87_is_zero(y))
		return zero(x87_sign(y) ^ log.neg, out);
	return round_big(f->cw, big_mul(to_big(y), cut(log)), out);
}

static unsigned fyl2x_value(const struct fpu_state *f, struct x87_reg y, struct x87_reg x,
			    struct x87_reg *out)
{
	unsigned flags = denormal_flag(x) | denormal_flag(y);
	struct big v = to_big(x);

	if (x87_is_zero(x)) {
		unsigned invalid_flag = times_limit(y, true, true, out);

		return x87_is_inf(y) || x87_is_zero(y) ? invalid_flag : X87_ZE;
	}
	if (x87_sign(x))
		return invalid(out);
	if (x87_is_inf(x))
		return flags | times_limit(y, true, false, out);
	if (v.e == 0 && v.m == (u128)1 << 127)
		return flags | times_limit(y, false, false, out);
	if (flags & ~f->cw)
		return flags;
	return flags | times_log(f, y, big_log2(v), out);
}

/*
 * log2(1 + x) of |x| < 2^-7: the first term of the series is cut, the sum of all others, and the
 * sum of both (by times_log()).
 */
static struct big log2_1p_cut(struct big x)
{
	struct big first = big_mul(x, BIG_LOG2_E);

	return big_add(cut(first), cut(big_sub(big_log2_1p(x), first)));
}

static unsigned yl2xp1_value(const struct fpu_state *f, struct x87_reg y, struct x87_reg x,
			     bool later, struct x87_reg *out)
{
	unsigned flags = denormal_flag(x) | denormal_flag(y);
	struct big v = to_big(x), log;

	if (x87_is_zero(x))
		return flags | times_limit(y, false, x87_sign(x), out);
	if (x87_is_inf(x))
		return x87_sign(x) ? invalid(out) : flags | times_limit(y, true, false, out);
	if (flags & ~f->cw)
		return flags;
	if (x87_sign(x) && x87_exp(x) >= X87_EXP_BIAS) {
		*out = x; /* undefined; Intel's cores give it back */
		return flags | X87_PE;
	}
	/* Near 1 nothing may be lost by the addition. */
	if (later && v.e < -7)
		log = log2_1p_cut(v);
	else
		log = v.e < -2 ? big_log2_1p(v) : big_log2(big_add(big_int(1), v));
	return flags | times_log(f, y, log, out);
}

static unsigned fyl2xp1_value(const struct fpu_state *f, struct x87_reg y, struct x87_reg x,
			      struct x87_reg *out)
{
	return yl2xp1_value(f, y, x, false, out);
}

static unsigned fyl2xp1_later_value(const struct fpu_state *f, struct x87_reg y, struct x87_reg x,
				    struct x87_reg *out)
{
	return yl2xp1_value(f, y, x, true, out);
}

/* A multiple of pi / 4, when an operand is zero or infinite. */
static unsigned quarter_pi(const struct fpu_state *f, unsigned n, bool neg, struct x87_reg *out)
{
	struct big v = big_mul(BIG_PI, big_int(n));

	if (n == 0)
		return zero(neg, out);
	v.e -= 2;
	v.neg = neg;
	return round_big(f->cw, v, out);
}

/* The quotient of the smaller and the larger operand is cut, and so is pi / 2. */
static struct big atan2_of(struct big y, struct big x)
{
	bool y_neg = y.neg, x_neg = x.neg;
	struct big half_pi = cut(BIG_HALF_PI), a;

	y.neg = x.neg = false;
	if (big_less(x, y))
		a = big_sub(half_pi, big_atan(cut(big_div(x, y))));
	else
		a = big_atan(cut(big_div(y, x)));
	if (x_neg)
		a = big_sub(big_add(half_pi, half_pi), a);
	a.neg = y_neg;
	return a;
}

static unsigned fpatan_value(const struct fpu_state *f, struct x87_reg y, struct x87_reg x,
			     struct x87_reg *out)
{
	unsigned flags = denormal_flag(x) | denormal_flag(y);
	bool neg = x87_sign(y);

	if (flags & ~f->cw)
		return flags;
	if (x87_is_inf(y))
		return flags | quarter_pi(f, x87_is_inf(x) ? (x87_sign(x) ? 3 : 1) : 2, neg, out);
	if (x87_is_zero(y) || x87_is_inf(x))
		return flags | quarter_pi(f, x87_sign(x) ? 4 : 0, neg, out);
	if (x87_is_zero(x))
		return flags | quarter_pi(f, 2, neg, out);
	return flags | round_big(f->cw, atan2_of(to_big(y), to_big(x)), out);
}

static void fyl2x(struct cpu *cpu, const struct op *op)
{
	binary(cpu, op, fyl2x_value);
	OP_NEXT;
}

static void fyl2xp1(struct cpu *cpu, const struct op *op)
{
	binary(cpu, op, has_later_cuts(cpu) ? fyl2xp1_later_value : fyl2xp1_value);
	OP_NEXT;
}

static void fpatan(struct cpu *cpu, const struct op *op)
{
	binary(cpu, op, fpatan_value);
	OP_NEXT;
}

static const struct binding x87_trans_rows[] = {
	ROW_X87(FSIN, fsin),   ROW_X87(FCOS, fcos),	  ROW_X87(FSINCOS, fsincos),
	ROW_X87(FPTAN, fptan), ROW_X87(FPATAN, fpatan),	  ROW_X87(F2XM1, f2xm1),
	ROW_X87(FYL2X, fyl2x), ROW_X87(FYL2XP1, fyl2xp1),
};

BINDINGS(x87_trans);
