// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * RCPPS, RCPSS, RSQRTPS, RSQRTSS. Vendors give different estimates inside the architectural error
 * bound of 1.5 * 2^-12, so they are defined here, in integer arithmetic:
 *
 *   The operand's fraction is cut to 12 bits and replaced by the middle of that interval, m / 2^13
 * with m = 2^13 + 2 * (fraction >> 11) + 1. The result is 1 / x or 1 / sqrt(x) of that middle,
 * rounded to 15 significant bits.
 *
 * The interval costs a relative error of at most 2^-13, the rounding 2^-15. No exception is raised,
 * MXCSR has no influence: denormal operands count as zero and tiny results become zero (SDM vol. 2,
 * RCPPS and RSQRTPS).
 */
#include "hypervisor/soft/fpu.h"

#define F32_SIGN  0x80000000u
#define F32_INF	  0x7f800000u
#define F32_QUIET 0x00400000u
#define F32_NAN	  0xffc00000u /* default */

static uint32_t middle(uint32_t x)
{
	return (1u << 13) + 2 * ((x & 0x7fffff) >> 11) + 1;
}

/* Fraction bits of a value of 15 significant bits. */
static uint32_t fraction(uint32_t q)
{
	return (q & 0x3fff) << 9;
}

static uint32_t rcp(uint32_t x)
{
	uint32_t sign = x & F32_SIGN, e = (x & F32_INF) >> 23, m = middle(x);

	if ((x & ~F32_SIGN) > F32_INF)
		return x | F32_QUIET;
	if (e == 0)
		return sign | F32_INF;
	if (e >= 253)
		return sign; /* infinite, or the result would be tiny */
	return sign | (253 - e) << 23 | fraction(((1u << 28) + m / 2) / m);
}

static uint32_t isqrt(uint64_t v)
{
	uint64_t r = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= v)
			r |= bit;
	return (uint32_t)r;
}

static uint32_t rsqrt(uint32_t x)
{
	uint32_t e = (x & F32_INF) >> 23, odd = !(e & 1), half;

	if ((x & ~F32_SIGN) > F32_INF)
		return x | F32_QUIET;
	if (e == 0)
		return (x & F32_SIGN) | F32_INF;
	if (x & F32_SIGN)
		return F32_NAN;
	if (e == 255)
		return 0;
	/*
	 * x = v * 4^half / 2^.. with v = middle * (1 or 2) in (1, 4); the estimate is in (1/2, 1).
	 */
	half = (e - odd + 1) / 2;
	return (190 - half) << 23 |
	       fraction((isqrt((1ull << 45) / ((uint64_t)middle(x) << odd)) + 1) / 2);
}

#define ESTIMATE(name, fn)                                                                        \
	static void name##ps_run(struct cpu *cpu, const struct op *op, __m128i s)                 \
	{                                                                                         \
		union xmm v = xmm_of(s);                                                          \
                                                                                                  \
		for (unsigned i = 0; i < 4; i++)                                                  \
			cpu->fpu.xmm[op->r0].u32[i] = fn(v.u32[i]);                               \
	}                                                                                         \
	static void name##ps_xr(struct cpu *cpu, const struct op *op)                             \
	{                                                                                         \
		sse_check(cpu);                                                                   \
		name##ps_run(cpu, op, XMM(op->r1));                                               \
		OP_NEXT;                                                                          \
	}                                                                                         \
	static void name##ps_xm(struct cpu *cpu, const struct op *op)                             \
	{                                                                                         \
		sse_check(cpu);                                                                   \
		name##ps_run(cpu, op, sse_ld128a(cpu, op));                                       \
		OP_NEXT;                                                                          \
	}                                                                                         \
	static void name##ss_xr(struct cpu *cpu, const struct op *op)                             \
	{                                                                                         \
		sse_check(cpu);                                                                   \
		cpu->fpu.xmm[op->r0].u32[0] = fn(cpu->fpu.xmm[op->r1].u32[0]);                    \
		OP_NEXT;                                                                          \
	}                                                                                         \
	static void name##ss_xm(struct cpu *cpu, const struct op *op)                             \
	{                                                                                         \
		sse_check(cpu);                                                                   \
		cpu->fpu.xmm[op->r0].u32[0] = fn(mem_ld32(cpu, op_lin(cpu, op, 4, false)));       \
		OP_NEXT;                                                                          \
	}                                                                                         \
	static const struct simd_forms name##ps_forms = { .xr = name##ps_xr, .xm = name##ps_xm }; \
	static const struct simd_forms name##ss_forms = { .xr = name##ss_xr, .xm = name##ss_xm };

ESTIMATE(rcp, rcp)
ESTIMATE(rsqrt, rsqrt)

static const struct binding sse_estimate_rows[] = {
	ROW_SIMD(RCPPS, rcpps),
	ROW_SIMD(RCPSS, rcpss),
	ROW_SIMD(RSQRTPS, rsqrtps),
	ROW_SIMD(RSQRTSS, rsqrtss),
};

BINDINGS(sse_estimate);
