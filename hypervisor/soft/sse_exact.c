// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The precision flag beside an unmasked overflow or underflow.
 *
 * While both are masked, MXCSR.PE says whether the delivered result is inexact. While one is not,
 * it says whether the result with an unbounded exponent would be (IEEE 754, 7.4 and 7.5: the value
 * that a trap handler is given). The host runs with everything masked, so the lanes concerned are
 * done again in x87 extended precision, whose exponent is wide enough for every sum, product and
 * quotient of two doubles: that result is exact in the narrow format when the x87 raised nothing
 * and the bits below the format's last one are zero.
 */
#include <math.h>

#include "hypervisor/soft/fpu.h"

#define X87_OPERATE(insn)                                                             \
	__asm__ volatile("fnclex\n\tfldt %3\n\tfldt %2\n\t" insn " %%st(1), %%st\n\t" \
			 "fstpt %0\n\tfstp %%st(0)\n\tfnstsw %1"                      \
			 : "=m"(r), "=a"(sw)                                          \
			 : "m"(a), "m"(b)                                             \
			 : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)")

struct format {
	unsigned lanes, bits; /* of the significand */
	int min, max; /* exponents of the smallest and the largest normal number, as frexpl() counts
		       */
};

static const struct format formats[] = {
	[FP_PS] = { 4, 24, -125, 128 },
	[FP_SS] = { 1, 24, -125, 128 },
	[FP_PD] = { 2, 53, -1021, 1024 },
	[FP_SD] = { 1, 53, -1021, 1024 },
};

static long double operate(enum fp_arith arith, long double a, long double b, bool *inexact)
{
	long double r = a;
	uint16_t sw = 0;

	if (arith == FP_SUB)
		b = -b;
	if (arith == FP_ADD || arith == FP_SUB)
		X87_OPERATE("fadd");
	else if (arith == FP_MUL)
		X87_OPERATE("fmul");
	else if (arith == FP_DIV)
		X87_OPERATE("fdiv");
	*inexact = sw & X87_PE;
	return r;
}

static long double lane_of(const struct cpu *cpu, __m128i v, bool single, unsigned i)
{
	union xmm x = xmm_of(v);
	bool daz = cpu->fpu.mxcsr & MXCSR_DAZ;
	double d;
	float f;

	if (single) {
		memcpy(&f, &x.u32[i], sizeof(f));
		return daz && fpclassify(f) == FP_SUBNORMAL ? 0 : f;
	}
	memcpy(&d, &x.u64[i], sizeof(d));
	return daz && fpclassify(d) == FP_SUBNORMAL ? 0 : d;
}

/* 1.0 in all lanes but number i, which is that of v. */
static __m128i alone(__m128i v, bool single, unsigned i)
{
	union xmm x = xmm_of(single ? _mm_castps_si128(_mm_set1_ps(1))
				    : _mm_castpd_si128(_mm_set1_pd(1)));
	union xmm from = xmm_of(v);

	if (single)
		x.u32[i] = from.u32[i];
	else
		x.u64[i] = from.u64[i];
	return vec_of(x);
}

/* Exceptions that lane i raises by itself, everything masked. */
static uint32_t lane_flags(const struct cpu *cpu, bool single, unsigned i, const struct fp_again *x)
{
	uint32_t want = fp_begin_with((cpu->fpu.mxcsr & ~MXCSR_FLAGS) | MXCSR_MASKS), now;

	(void)x->run(alone(x->a, single, i), alone(x->b, single, i));
	__asm__ volatile("stmxcsr %0" : "=m"(now));
	want = MXCSR_DEFAULT;
	__asm__ volatile("ldmxcsr %0" : : "m"(want));
	return now & MXCSR_FLAGS;
}

static bool lane_inexact(const struct cpu *cpu, const struct format *f, unsigned i,
			 const struct fp_again *x)
{
	bool single = f->bits == 24 && x->arith != FP_NARROW, inexact;
	uint32_t mxcsr = cpu->fpu.mxcsr, flags = lane_flags(cpu, single, i, x);
	enum fp_arith arith = x->arith == FP_ADDSUB ? (i & 1 ? FP_ADD : FP_SUB) : x->arith;
	long double r = operate(arith, lane_of(cpu, x->a, single, i), lane_of(cpu, x->b, single, i),
				&inexact);
	uint64_t mant;
	int exponent;

	if (!isfinite(r) || r == 0)
		return flags & MXCSR_PE;
	frexpl(r, &exponent);
	/* Just outside the range a result that rounds into it is inexact either way. */
	if (!(exponent > f->max && !(mxcsr & MXCSR_OE << 7)) &&
	    !(exponent < f->min && !(mxcsr & MXCSR_UM)))
		return flags & MXCSR_PE;
	memcpy(&mant, &r, sizeof(mant));
	return inexact || (mant & (UINT64_MAX >> f->bits));
}

uint32_t fp_precision(const struct cpu *cpu, enum fp_kind kind, const struct fp_again *x)
{
	const struct format *f = &formats[kind];
	unsigned n = x->arith == FP_NARROW && f->lanes > 2 ? 2 : f->lanes;

	for (unsigned i = 0; i < n; i++) {
		if (lane_inexact(cpu, f, i, x))
			return MXCSR_PE;
	}
	return 0;
}
