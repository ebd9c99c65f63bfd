// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SSE floating point: arithmetic, comparisons, rounding and conversions, on the host's SSE unit
 * between fp_begin() and fp_end(). IEEE 754 leaves no choice in these results, so every host gives
 * the same; the estimates RCP and RSQRT, where vendors differ, are in sse_estimate.c.
 *
 * All host operations are volatile assembly: the compiler neither folds them nor moves them across
 * a change of MXCSR.
 */
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/fpu.h"

#define HOST_FP(name, insn)                                                     \
	static inline __m128i name##_do(__m128i d, __m128i s)                   \
	{                                                                       \
		__asm__ volatile(insn " %1, %0" : "+x"(d) : "x"(s) : "memory"); \
		return d;                                                       \
	}

/* lhs and rhs: what `arith` is done on, of the operands d and s. */
#define FP_HANDLERS(name, load, kind, arith, again, lhs, rhs)                                      \
	static inline __m128i name##_run(struct cpu *cpu, __m128i d, __m128i s)                    \
	{                                                                                          \
		uint32_t env = fp_begin(cpu);                                                      \
		__m128i r = name##_do(d, s);                                                       \
                                                                                                   \
		fp_end_arith(cpu, env, r, kind, (struct fp_again){ arith, again##_do, lhs, rhs }); \
		return r;                                                                          \
	}                                                                                          \
	XMM_FORMS(name, load, name##_run(cpu, XMM(op->r0), s))

#define FP_OP(mnem, name, load, kind, arith) \
	HOST_FP(name, #name)                 \
	FP_HANDLERS(name, load, kind, arith, name, FP_LEFT_##arith, s)

/* A conversion has its operand on the right. */
#define FP_LEFT_FP_NARROW s
#define FP_LEFT_FP_OTHER  d
#define FP_LEFT_FP_ADD	  d
#define FP_LEFT_FP_SUB	  d
#define FP_LEFT_FP_ADDSUB d
#define FP_LEFT_FP_MUL	  d
#define FP_LEFT_FP_DIV	  d

/*
 * mnemonic, instruction, how a memory source is read, what can come out tiny, what is done to each
 * lane
 */
#define FP_LIST(X)                                                \
	X(ADDPS, addps, sse_ld128a, FP_PS, FP_ADD)                \
	X(ADDPD, addpd, sse_ld128a, FP_PD, FP_ADD)                \
	X(ADDSS, addss, sse_ld32, FP_SS, FP_ADD)                  \
	X(ADDSD, addsd, sse_ld64, FP_SD, FP_ADD)                  \
	X(SUBPS, subps, sse_ld128a, FP_PS, FP_SUB)                \
	X(SUBPD, subpd, sse_ld128a, FP_PD, FP_SUB)                \
	X(SUBSS, subss, sse_ld32, FP_SS, FP_SUB)                  \
	X(SUBSD, subsd, sse_ld64, FP_SD, FP_SUB)                  \
	X(MULPS, mulps, sse_ld128a, FP_PS, FP_MUL)                \
	X(MULPD, mulpd, sse_ld128a, FP_PD, FP_MUL)                \
	X(MULSS, mulss, sse_ld32, FP_SS, FP_MUL)                  \
	X(MULSD, mulsd, sse_ld64, FP_SD, FP_MUL)                  \
	X(DIVPS, divps, sse_ld128a, FP_PS, FP_DIV)                \
	X(DIVPD, divpd, sse_ld128a, FP_PD, FP_DIV)                \
	X(DIVSS, divss, sse_ld32, FP_SS, FP_DIV)                  \
	X(DIVSD, divsd, sse_ld64, FP_SD, FP_DIV)                  \
	X(MINPS, minps, sse_ld128a, FP_NO_TINY, FP_OTHER)         \
	X(MINPD, minpd, sse_ld128a, FP_NO_TINY, FP_OTHER)         \
	X(MINSS, minss, sse_ld32, FP_NO_TINY, FP_OTHER)           \
	X(MINSD, minsd, sse_ld64, FP_NO_TINY, FP_OTHER)           \
	X(MAXPS, maxps, sse_ld128a, FP_NO_TINY, FP_OTHER)         \
	X(MAXPD, maxpd, sse_ld128a, FP_NO_TINY, FP_OTHER)         \
	X(MAXSS, maxss, sse_ld32, FP_NO_TINY, FP_OTHER)           \
	X(MAXSD, maxsd, sse_ld64, FP_NO_TINY, FP_OTHER)           \
	X(SQRTPS, sqrtps, sse_ld128a, FP_NO_TINY, FP_OTHER)       \
	X(SQRTPD, sqrtpd, sse_ld128a, FP_NO_TINY, FP_OTHER)       \
	X(SQRTSS, sqrtss, sse_ld32, FP_NO_TINY, FP_OTHER)         \
	X(SQRTSD, sqrtsd, sse_ld64, FP_NO_TINY, FP_OTHER)         \
	X(ADDSUBPS, addsubps, sse_ld128a, FP_PS, FP_ADDSUB)       \
	X(ADDSUBPD, addsubpd, sse_ld128a, FP_PD, FP_ADDSUB)       \
	X(CVTSS2SD, cvtss2sd, sse_ld32, FP_NO_TINY, FP_OTHER)     \
	X(CVTSD2SS, cvtsd2ss, sse_ld64, FP_SS, FP_NARROW)         \
	X(CVTPS2PD, cvtps2pd, sse_ld64, FP_NO_TINY, FP_OTHER)     \
	X(CVTPD2PS, cvtpd2ps, sse_ld128a, FP_PS, FP_NARROW)       \
	X(CVTDQ2PS, cvtdq2ps, sse_ld128a, FP_NO_TINY, FP_OTHER)   \
	X(CVTDQ2PD, cvtdq2pd, sse_ld64, FP_NO_TINY, FP_OTHER)     \
	X(CVTPS2DQ, cvtps2dq, sse_ld128a, FP_NO_TINY, FP_OTHER)   \
	X(CVTTPS2DQ, cvttps2dq, sse_ld128a, FP_NO_TINY, FP_OTHER) \
	X(CVTPD2DQ, cvtpd2dq, sse_ld128a, FP_NO_TINY, FP_OTHER)   \
	X(CVTTPD2DQ, cvttpd2dq, sse_ld128a, FP_NO_TINY, FP_OTHER)
FP_LIST(FP_OP)

/*
 * ---- horizontal additions ----
 * Pairs of lanes are moved apart and added by ADDPS or ADDPD: of two NaNs the one in the lower lane
 * wins, on every host.
 */
#define HORIZONTAL(name, vertical, even, odd, kind, arith)    \
	static inline __m128i name##_do(__m128i d, __m128i s) \
	{                                                     \
		return vertical##_do(even, odd);              \
	}                                                     \
	FP_HANDLERS(name, sse_ld128a, kind, arith, vertical, even, odd)

static inline __m128i even32(__m128i d, __m128i s)
{
	return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(d), _mm_castsi128_ps(s), 0x88));
}

static inline __m128i odd32(__m128i d, __m128i s)
{
	return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(d), _mm_castsi128_ps(s), 0xdd));
}

HORIZONTAL(haddps, addps, even32(d, s), odd32(d, s), FP_PS, FP_ADD)
HORIZONTAL(hsubps, subps, even32(d, s), odd32(d, s), FP_PS, FP_SUB)
HORIZONTAL(haddpd, addpd, _mm_unpacklo_epi64(d, s), _mm_unpackhi_epi64(d, s), FP_PD, FP_ADD)
HORIZONTAL(hsubpd, subpd, _mm_unpacklo_epi64(d, s), _mm_unpackhi_epi64(d, s), FP_PD, FP_SUB)

/* ---- CMPxx: one set of handlers for each of the eight predicates ---- */
#define CMP_PREDICATE(name, load, p)        \
	HOST_FP(name##p, #name " $" #p ",") \
	FP_HANDLERS(name##p, load, FP_NO_TINY, FP_OTHER, name##p, d, s)

#define CMP_OP(name, load)                                                      \
	CMP_PREDICATE(name, load, 0)                                            \
	CMP_PREDICATE(name, load, 1)                                            \
	CMP_PREDICATE(name, load, 2)                                            \
	CMP_PREDICATE(name, load, 3)                                            \
	CMP_PREDICATE(name, load, 4)                                            \
	CMP_PREDICATE(name, load, 5)                                            \
	CMP_PREDICATE(name, load, 6)                                            \
	CMP_PREDICATE(name, load, 7)                                            \
	static const struct simd_forms *const name##_table[8] = {               \
		&name##0_forms, &name##1_forms, &name##2_forms, &name##3_forms, \
		&name##4_forms, &name##5_forms, &name##6_forms, &name##7_forms  \
	};

CMP_OP(cmpps, sse_ld128a)
CMP_OP(cmppd, sse_ld128a)
CMP_OP(cmpss, sse_ld32)
CMP_OP(cmpsd, sse_ld64)

/* Legacy encodings use three bits of the predicate. */
static bool cmp_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const struct simd_forms *const *table = (const struct simd_forms *const *)arg;

	if (!opnd_is_xmm(d, 0))
		return false; /* CMPSD of strings */
	return simd_bind(d, op, (uintptr_t)table[op->imm & 7]);
}

/* ---- COMISS and the like ---- */
#define COMPARE(name, load)                                                                \
	static void name##_run(struct cpu *cpu, __m128i a, __m128i b)                      \
	{                                                                                  \
		uint32_t env = fp_begin(cpu);                                              \
		bool z, p, c;                                                              \
                                                                                           \
		__asm__ volatile(#name " %4, %3"                                           \
				 : "=@ccz"(z), "=@ccp"(p), "=@ccc"(c)                      \
				 : "x"(a), "x"(b)                                          \
				 : "memory");                                              \
		fp_end(cpu, env, a, FP_NO_TINY);                                           \
		flags_set_arith(cpu, (z ? FL_ZF : 0) | (p ? FL_PF : 0) | (c ? FL_CF : 0)); \
	}                                                                                  \
	static void name##_xr(struct cpu *cpu, const struct op *op)                        \
	{                                                                                  \
		sse_check(cpu);                                                            \
		name##_run(cpu, XMM(op->r0), XMM(op->r1));                                 \
		OP_NEXT;                                                                   \
	}                                                                                  \
	static void name##_xm(struct cpu *cpu, const struct op *op)                        \
	{                                                                                  \
		sse_check(cpu);                                                            \
		name##_run(cpu, XMM(op->r0), load(cpu, op));                               \
		OP_NEXT;                                                                   \
	}                                                                                  \
	static const struct simd_forms name##_forms = { .xr = name##_xr, .xm = name##_xm };

COMPARE(comiss, sse_ld32)
COMPARE(comisd, sse_ld64)
COMPARE(ucomiss, sse_ld32)
COMPARE(ucomisd, sse_ld64)

/* ---- general registers to floating point ---- */
#define FROM_INT(name, bits, insn, ctype)                                                    \
	static void name##_run(struct cpu *cpu, const struct op *op, ctype v)                \
	{                                                                                    \
		uint32_t env = fp_begin(cpu);                                                \
		__m128i r = XMM(op->r0);                                                     \
                                                                                             \
		__asm__ volatile(insn " %1, %0" : "+x"(r) : "r"(v) : "memory");              \
		fp_end(cpu, env, r, FP_NO_TINY);                                             \
		XMM(op->r0) = r;                                                             \
	}                                                                                    \
	static void name##_r(struct cpu *cpu, const struct op *op)                           \
	{                                                                                    \
		sse_check(cpu);                                                              \
		name##_run(cpu, op, (ctype)cpu->gpr[op->r1]);                                \
		OP_NEXT;                                                                     \
	}                                                                                    \
	static void name##_m(struct cpu *cpu, const struct op *op)                           \
	{                                                                                    \
		sse_check(cpu);                                                              \
		name##_run(cpu, op,                                                          \
			   (ctype)mem_ld##bits(cpu, op_lin(cpu, op, sizeof(ctype), false))); \
		OP_NEXT;                                                                     \
	}

FROM_INT(int32_to_ss, 32, "cvtsi2ssl", uint32_t)
FROM_INT(int64_to_ss, 64, "cvtsi2ssq", uint64_t)
FROM_INT(int32_to_sd, 32, "cvtsi2sdl", uint32_t)
FROM_INT(int64_to_sd, 64, "cvtsi2sdq", uint64_t)

/* ---- floating point to general registers ---- */
#define TO_INT(name, load, insn, ctype)                                         \
	static void name##_run(struct cpu *cpu, const struct op *op, __m128i s) \
	{                                                                       \
		uint32_t env = fp_begin(cpu);                                   \
		ctype v;                                                        \
                                                                                \
		__asm__ volatile(insn " %1, %0" : "=r"(v) : "x"(s) : "memory"); \
		fp_end(cpu, env, s, FP_NO_TINY);                                \
		cpu->gpr[op->r0] = v;                                           \
	}                                                                       \
	static void name##_r(struct cpu *cpu, const struct op *op)              \
	{                                                                       \
		sse_check(cpu);                                                 \
		name##_run(cpu, op, XMM(op->r1));                               \
		OP_NEXT;                                                        \
	}                                                                       \
	static void name##_m(struct cpu *cpu, const struct op *op)              \
	{                                                                       \
		sse_check(cpu);                                                 \
		name##_run(cpu, op, load(cpu, op));                             \
		OP_NEXT;                                                        \
	}

TO_INT(ss_to_int32, sse_ld32, "cvtss2si", uint32_t)
TO_INT(ss_to_int64, sse_ld32, "cvtss2si", uint64_t)
TO_INT(ss_trunc_int32, sse_ld32, "cvttss2si", uint32_t)
TO_INT(ss_trunc_int64, sse_ld32, "cvttss2si", uint64_t)
TO_INT(sd_to_int32, sse_ld64, "cvtsd2si", uint32_t)
TO_INT(sd_to_int64, sse_ld64, "cvtsd2si", uint64_t)
TO_INT(sd_trunc_int32, sse_ld64, "cvttsd2si", uint32_t)
TO_INT(sd_trunc_int64, sse_ld64, "cvttsd2si", uint64_t)

/* Forms of a conversion, by size of the general-register side: [64 bits][memory source]. */
struct convert_forms {
	unsigned int_operand; /* which explicit operand is the integer */
	op_fn fn[2][2];
};

static bool convert_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const struct convert_forms *f = (const struct convert_forms *)arg;

	op->fn = f->fn[d->opnd[f->int_operand].size == 64][opnd_is_mem(d, 1)];
	return true;
}

#define CONVERT(name, operand, narrow, wide)                                    \
	static const struct convert_forms name = {                              \
		operand, { { narrow##_r, narrow##_m }, { wide##_r, wide##_m } } \
	}

CONVERT(cvtsi2ss, 1, int32_to_ss, int64_to_ss);
CONVERT(cvtsi2sd, 1, int32_to_sd, int64_to_sd);
CONVERT(cvtss2si, 0, ss_to_int32, ss_to_int64);
CONVERT(cvttss2si, 0, ss_trunc_int32, ss_trunc_int64);
CONVERT(cvtsd2si, 0, sd_to_int32, sd_to_int64);
CONVERT(cvttsd2si, 0, sd_trunc_int32, sd_trunc_int64);

/*
 * ---- conversions with MMX registers ----
 * They make the MMX registers current, also when they then raise #XM. With a source in memory
 * CVTPI2PS and CVTPI2PD do not, as on Intel's and AMD's cores (SDM vol. 2 says so of CVTPI2PD
 * only). The upper half of a source that the MMX side does not have is zero, which converts without
 * raising anything.
 */
#define FROM_MMX(name, insn, merge)                                              \
	static void name##_run(struct cpu *cpu, const struct op *op, uint64_t v) \
	{                                                                        \
		__m128i s = vec_low(v), r;                                       \
		uint32_t env = fp_begin(cpu);                                    \
                                                                                 \
		__asm__ volatile(insn " %1, %0" : "=x"(r) : "x"(s) : "memory");  \
		fp_end(cpu, env, r, FP_NO_TINY);                                 \
		XMM(op->r0) = merge(XMM(op->r0), r);                             \
	}                                                                        \
	static void name##_xr(struct cpu *cpu, const struct op *op)              \
	{                                                                        \
		sse_check(cpu);                                                  \
		mmx_check(cpu);                                                  \
		mmx_enter(cpu);                                                  \
		name##_run(cpu, op, mmx_get(cpu, op->r1));                       \
		OP_NEXT;                                                         \
	}

static inline __m128i merge_low(__m128i old, __m128i r)
{
	return _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(old), _mm_castsi128_pd(r)));
}

static inline __m128i merge_all(__m128i old, __m128i r)
{
	return r;
}

FROM_MMX(cvtpi2ps, "cvtdq2ps", merge_low)
FROM_MMX(cvtpi2pd, "cvtdq2pd", merge_all)

static void cvtpi2ps_xm(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cvtpi2ps_run(cpu, op, mem_ld64(cpu, op_lin(cpu, op, 8, false)));
	OP_NEXT;
}

static void cvtpi2pd_xm(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	cvtpi2pd_run(cpu, op, mem_ld64(cpu, op_lin(cpu, op, 8, false)));
	OP_NEXT;
}

static const struct simd_forms cvtpi2ps_forms = { .xr = cvtpi2ps_xr, .xm = cvtpi2ps_xm };
static const struct simd_forms cvtpi2pd_forms = { .xr = cvtpi2pd_xr, .xm = cvtpi2pd_xm };

#define TO_MMX(name, insn, low, load)                                           \
	static void name##_run(struct cpu *cpu, const struct op *op, __m128i s) \
	{                                                                       \
		uint32_t env = fp_begin(cpu);                                   \
		__m128i r;                                                      \
                                                                                \
		mmx_enter(cpu);                                                 \
		__asm__ volatile(insn " %1, %0" : "=x"(r) : "x"(s) : "memory"); \
		fp_end(cpu, env, r, FP_NO_TINY);                                \
		mmx_set(cpu, op->r0, vec_low64(r));                             \
	}                                                                       \
	static void name##_mr(struct cpu *cpu, const struct op *op)             \
	{                                                                       \
		sse_check(cpu);                                                 \
		mmx_check(cpu);                                                 \
		name##_run(cpu, op, low(XMM(op->r1)));                          \
		OP_NEXT;                                                        \
	}                                                                       \
	static void name##_mm(struct cpu *cpu, const struct op *op)             \
	{                                                                       \
		sse_check(cpu);                                                 \
		mmx_check(cpu);                                                 \
		name##_run(cpu, op, load(cpu, op));                             \
		OP_NEXT;                                                        \
	}                                                                       \
	static const struct simd_forms name##_forms = { .mr = name##_mr, .mm = name##_mm };

TO_MMX(cvtps2pi, "cvtps2dq", _mm_move_epi64, sse_ld64)
TO_MMX(cvttps2pi, "cvttps2dq", _mm_move_epi64, sse_ld64)
TO_MMX(cvtpd2pi, "cvtpd2dq", , sse_ld128a)
TO_MMX(cvttpd2pi, "cvttpd2dq", , sse_ld128a)

/*
 * ---- ROUNDxx (SSE4.1): rounding from the immediate is put into MXCSR, so two host forms serve
 * ----
 */
static uint32_t round_begin(const struct cpu *cpu, const struct op *op)
{
	uint32_t control = cpu->fpu.mxcsr;

	if (!(op->imm & 4))
		control = (control & ~MXCSR_RC) | (uint32_t)(op->imm & 3) << 13;
	return fp_begin_with(control);
}

#define ROUND(name, load)                                                                     \
	static inline __m128i name##_do(__m128i d, __m128i s, unsigned imm)                   \
	{                                                                                     \
		if (imm & 8)                                                                  \
			__asm__ volatile(#name " $12, %1, %0" : "+x"(d) : "x"(s) : "memory"); \
		else                                                                          \
			__asm__ volatile(#name " $4, %1, %0" : "+x"(d) : "x"(s) : "memory");  \
		return d;                                                                     \
	}                                                                                     \
	static void name##_run(struct cpu *cpu, const struct op *op, __m128i s)               \
	{                                                                                     \
		uint32_t env = round_begin(cpu, op);                                          \
		__m128i r = name##_do(XMM(op->r0), s, (unsigned)op->imm);                     \
                                                                                              \
		fp_end(cpu, env, r, FP_NO_TINY);                                              \
		XMM(op->r0) = r;                                                              \
	}                                                                                     \
	static void name##_xr(struct cpu *cpu, const struct op *op)                           \
	{                                                                                     \
		sse_check(cpu);                                                               \
		name##_run(cpu, op, XMM(op->r1));                                             \
		OP_NEXT;                                                                      \
	}                                                                                     \
	static void name##_xm(struct cpu *cpu, const struct op *op)                           \
	{                                                                                     \
		sse_check(cpu);                                                               \
		name##_run(cpu, op, load(cpu, op));                                           \
		OP_NEXT;                                                                      \
	}                                                                                     \
	static const struct simd_forms name##_forms = { .xr = name##_xr, .xm = name##_xm };

ROUND(roundps, sse_ld128a)
ROUND(roundpd, sse_ld128a)
ROUND(roundss, sse_ld32)
ROUND(roundsd, sse_ld64)

/*
 * ---- DPPS, DPPD (SSE4.1) ----
 * Products of unselected lanes are +0. The sum of DPPS is (p0 + p1) + (p2 + p3); of two NaNs the
 * first operand of an addition wins, so the order matters, which is another in each lane:
 *
 *   lane 0  (p1 + p0) + (p3 + p2)        lane 2  (p3 + p2) + (p1 + p0)
 *   lane 1  (p0 + p1) + (p2 + p3)        lane 3  (p2 + p3) + (p0 + p1)
 *
 * DPPD has p0 + p1 in lane 0 and p1 + p0 in lane 1. Exceptions of the multiplication and of each
 * level of additions are delivered before the next one begins.
 */
#define SWAP_PAIRS  0xb1
#define SWAP_HALVES 0x4e

static inline __m128i lanes32(unsigned bits)
{
	return _mm_set_epi32(bits & 8 ? -1 : 0, bits & 4 ? -1 : 0, bits & 2 ? -1 : 0,
			     bits & 1 ? -1 : 0);
}

static inline __m128i lanes64(unsigned bits)
{
	return _mm_set_epi64x(bits & 2 ? -1 : 0, bits & 1 ? -1 : 0);
}

static void dpps_run(struct cpu *cpu, const struct op *op, __m128i s)
{
	unsigned imm = (unsigned)op->imm;
	__m128i in = lanes32(imm >> 4), out = lanes32(imm), r;
	uint32_t env = fp_begin(cpu);

	r = mulps_do(_mm_and_si128(XMM(op->r0), in), _mm_and_si128(s, in));
	fp_end(cpu, env, r, FP_PS);
	env = fp_begin(cpu);
	r = addps_do(_mm_shuffle_epi32(r, SWAP_PAIRS), r);
	fp_end(cpu, env, r, FP_PS);
	env = fp_begin(cpu);
	r = addps_do(r, _mm_shuffle_epi32(r, SWAP_HALVES));
	fp_end(cpu, env, r, FP_PS);
	XMM(op->r0) = _mm_and_si128(r, out);
}

static void dppd_run(struct cpu *cpu, const struct op *op, __m128i s)
{
	unsigned imm = (unsigned)op->imm;
	__m128i in = lanes64(imm >> 4), out = lanes64(imm), r;
	uint32_t env = fp_begin(cpu);

	r = mulpd_do(_mm_and_si128(XMM(op->r0), in), _mm_and_si128(s, in));
	fp_end(cpu, env, r, FP_PD);
	env = fp_begin(cpu);
	r = addpd_do(r, _mm_shuffle_epi32(r, SWAP_HALVES));
	fp_end(cpu, env, r, FP_PD);
	XMM(op->r0) = _mm_and_si128(r, out);
}

#define RUN_HANDLERS(name)                                          \
	static void name##_xr(struct cpu *cpu, const struct op *op) \
	{                                                           \
		sse_check(cpu);                                     \
		name##_run(cpu, op, XMM(op->r1));                   \
		OP_NEXT;                                            \
	}                                                           \
	static void name##_xm(struct cpu *cpu, const struct op *op) \
	{                                                           \
		sse_check(cpu);                                     \
		name##_run(cpu, op, sse_ld128a(cpu, op));           \
		OP_NEXT;                                            \
	}                                                           \
	static const struct simd_forms name##_forms = { .xr = name##_xr, .xm = name##_xm };

RUN_HANDLERS(dpps)
RUN_HANDLERS(dppd)

#define FP_ROW(mnem, name, load, kind, arith) ROW_SIMD(mnem, name),
#define ROW_CMP(mnem, name)                                              \
	{                                                                \
		ZYDIS_MNEMONIC_##mnem, cmp_bind, (uintptr_t)name##_table \
	}
#define ROW_CONVERT(mnem, name)                                       \
	{                                                             \
		ZYDIS_MNEMONIC_##mnem, convert_bind, (uintptr_t)&name \
	}

static const struct binding sse_fp_rows[] = {
	/* clang-format off */
	FP_LIST(FP_ROW)
	/* clang-format on */
	ROW_SIMD(HADDPS, haddps),
	ROW_SIMD(HADDPD, haddpd),
	ROW_SIMD(HSUBPS, hsubps),
	ROW_SIMD(HSUBPD, hsubpd),
	ROW_CMP(CMPPS, cmpps),
	ROW_CMP(CMPPD, cmppd),
	ROW_CMP(CMPSS, cmpss),
	ROW_CMP(CMPSD, cmpsd),
	ROW_SIMD(COMISS, comiss),
	ROW_SIMD(COMISD, comisd),
	ROW_SIMD(UCOMISS, ucomiss),
	ROW_SIMD(UCOMISD, ucomisd),
	ROW_CONVERT(CVTSI2SS, cvtsi2ss),
	ROW_CONVERT(CVTSI2SD, cvtsi2sd),
	ROW_CONVERT(CVTSS2SI, cvtss2si),
	ROW_CONVERT(CVTTSS2SI, cvttss2si),
	ROW_CONVERT(CVTSD2SI, cvtsd2si),
	ROW_CONVERT(CVTTSD2SI, cvttsd2si),
	ROW_SIMD(CVTPI2PS, cvtpi2ps),
	ROW_SIMD(CVTPI2PD, cvtpi2pd),
	ROW_SIMD(CVTPS2PI, cvtps2pi),
	ROW_SIMD(CVTTPS2PI, cvttps2pi),
	ROW_SIMD(CVTPD2PI, cvtpd2pi),
	ROW_SIMD(CVTTPD2PI, cvttpd2pi),
	ROW_SIMD(ROUNDPS, roundps),
	ROW_SIMD(ROUNDPD, roundpd),
	ROW_SIMD(ROUNDSS, roundss),
	ROW_SIMD(ROUNDSD, roundsd),
	ROW_SIMD(DPPS, dpps),
	ROW_SIMD(DPPD, dppd),
};

BINDINGS(sse_fp);
