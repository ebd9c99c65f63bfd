// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * RCPPS, RCPSS, RSQRTPS, RSQRTSS. Vendors give different estimates inside the architectural error
 * bound of 1.5 * 2^-12, so they come from tables, which integer arithmetic fills. The bits are
 * those of Intel's cores: the operand's fraction is cut to 11 bits (RSQRT: 10) and replaced by the
 * middle of that interval; the result is 1 / x or 1 / sqrt(x) of that middle, rounded to nearest to
 * 13 significant bits.
 *
 * No exception is raised, MXCSR has no influence: denormal operands count as zero and tiny results
 * become zero (SDM vol. 2, RCPPS and RSQRTPS).
 */
#include "hypervisor/soft/fpu.h"

#define F32_SIGN  0x80000000u
#define F32_INF	  0x7f800000u
#define F32_QUIET 0x00400000u
#define F32_NAN	  0xffc00000u /* default */

#define RCP_BITS   11
#define RSQRT_BITS 10

/*
 * Fraction bits of the results, of 12 bits each. rsqrt has the even exponents first, then the odd
 * ones: the lowest bit of a biased exponent is the top bit of an index.
 */
static uint16_t rcp_table[1u << RCP_BITS], rsqrt_table[2u << RSQRT_BITS];

static uint32_t isqrt(uint64_t v)
{
	uint64_t r = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= v)
			r |= bit;
	return (uint32_t)r;
}

__attribute__((constructor)) static void fill_tables(void)
{
	for (uint32_t i = 0; i < 1u << RCP_BITS; i++) {
		uint32_t m = (2u << RCP_BITS) + 2 * i + 1; /* middle, times 2^12 */

		rcp_table[i] = ((1u << 25) + m / 2) / m & 0xfff;
	}
	for (uint32_t i = 0; i < 2u << RSQRT_BITS; i++) {
		uint64_t m = (2u << RSQRT_BITS) + 2 * (i & ((1u << RSQRT_BITS) - 1)) + 1;
		unsigned twice = !(i >> RSQRT_BITS); /* x = m * 2^odd: of an even biased exponent */

		rsqrt_table[i] = (isqrt((1ull << 39) / (m << twice)) + 1) / 2 & 0xfff;
	}
}

static uint32_t rcp(uint32_t x)
{
	uint32_t sign = x & F32_SIGN, e = (x & F32_INF) >> 23;

	if ((x & ~F32_SIGN) > F32_INF)
		return x | F32_QUIET;
	if (e == 0)
		return sign | F32_INF;
	if (e >= 253)
		return sign; /* infinite, or the result would be tiny */
	return sign | (253 - e) << 23 | (uint32_t)rcp_table[(x & 0x7fffff) >> 12] << 11;
}

static uint32_t rsqrt(uint32_t x)
{
	uint32_t e = (x & F32_INF) >> 23;

	if ((x & ~F32_SIGN) > F32_INF)
		return x | F32_QUIET;
	if (e == 0)
		return (x & F32_SIGN) | F32_INF;
	if (x & F32_SIGN)
		return F32_NAN;
	if (e == 255)
		return 0;
	/* Estimates of [1, 4) are in (1/2, 1]; each factor of 4 beyond takes 1 from the exponent.
	 */
	return (190 - (e + 1) / 2) << 23 | (uint32_t)rsqrt_table[(x & 0xffffff) >> 13] << 11;
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
