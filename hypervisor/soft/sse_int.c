// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packed integer, logical and unpack instructions of SSE2, SSSE3 and SSE4.1, and their MMX forms.
 *
 * Each instruction is one function `op_do(d, s)` on 128-bit vectors that executes the same
 * instruction on the host; macros make the four handlers from it. An MMX form runs on the low
 * halves of vectors. Where an instruction treats the halves of its registers apart (packs,
 * horizontal sums), its MMX form works on both operands in one vector.
 */
#include "hypervisor/soft/fpu.h"

/* Handlers on XMM registers: register source and aligned memory source. */
#define XMM_PAIR(name) XMM_HANDLERS(name, sse_ld128a, name##_do(XMM(op->r0), s))

/* Handlers on MMX registers; mmx_do takes and gives 64-bit values in low halves. */
#define MMX_HANDLERS(name, mmx_do, load)                                                   \
	static void name##_mr(struct cpu *cpu, const struct op *op)                        \
	{                                                                                  \
		__m128i d, s;                                                              \
                                                                                           \
		mmx_check(cpu);                                                            \
		d = vec_low(mmx_get(cpu, op->r0));                                         \
		s = vec_low(mmx_get(cpu, op->r1));                                         \
		mmx_enter(cpu);                                                            \
		mmx_set(cpu, op->r0, vec_low64(mmx_do(d, s)));                             \
		OP_NEXT;                                                                   \
	}                                                                                  \
	static void name##_mm(struct cpu *cpu, const struct op *op)                        \
	{                                                                                  \
		__m128i s;                                                                 \
                                                                                           \
		mmx_check(cpu);                                                            \
		s = load(cpu, op);                                                         \
		mmx_enter(cpu);                                                            \
		mmx_set(cpu, op->r0, vec_low64(mmx_do(vec_low(mmx_get(cpu, op->r0)), s))); \
		OP_NEXT;                                                                   \
	}                                                                                  \
	static const struct simd_forms name##_forms = { name##_xr, name##_xm, name##_mr,   \
							name##_mm };

#define HOST_INSTRUCTION(name, insn)                                \
	static inline __m128i name##_do(__m128i d, __m128i s)       \
	{                                                           \
		__asm__(insn " %1, %0" : "+x"(d) : "xm"(s) : "cc"); \
		return d;                                           \
	}

/* Lane by lane: the MMX form is the XMM form on low halves. */
#define LANES(mnem, name)             \
	HOST_INSTRUCTION(name, #name) \
	XMM_PAIR(name)                \
	MMX_HANDLERS(name, name##_do, sse_ld64)

/* Both operands side by side: low half of the result comes from d, high half from s. */
#define SIDE_BY_SIDE(mnem, name)                               \
	HOST_INSTRUCTION(name, #name)                          \
	static inline __m128i name##_mmx(__m128i d, __m128i s) \
	{                                                      \
		d = vec_pair(d, s);                            \
		return name##_do(d, d);                        \
	}                                                      \
	XMM_PAIR(name)                                         \
	MMX_HANDLERS(name, name##_mmx, sse_ld64)

/* Interleaving of high halves: the upper half of what interleaving the low ones gives. */
#define UNPACK_HIGH(mnem, name, low)                           \
	HOST_INSTRUCTION(name, #name)                          \
	static inline __m128i name##_mmx(__m128i d, __m128i s) \
	{                                                      \
		d = low##_do(d, s);                            \
		return _mm_unpackhi_epi64(d, d);               \
	}                                                      \
	XMM_PAIR(name)                                         \
	MMX_HANDLERS(name, name##_mmx, sse_ld64)

/* Interleaving of low halves: the MMX form reads four bytes of memory. */
#define UNPACK_LOW(mnem, name)        \
	HOST_INSTRUCTION(name, #name) \
	XMM_PAIR(name)                \
	MMX_HANDLERS(name, name##_do, sse_ld32)

#define XMM_ONLY(mnem, name)          \
	HOST_INSTRUCTION(name, #name) \
	XMM_PAIR(name)                \
	static const struct simd_forms name##_forms = { .xr = name##_xr, .xm = name##_xm };

/* Widening moves read only as many bytes as they use. */
#define WIDEN(mnem, name, load)                                     \
	static inline __m128i name##_do(__m128i s)                  \
	{                                                           \
		__m128i d;                                          \
                                                                    \
		__asm__(#name " %1, %0" : "=x"(d) : "x"(s));        \
		return d;                                           \
	}                                                           \
	static void name##_xr(struct cpu *cpu, const struct op *op) \
	{                                                           \
		sse_check(cpu);                                     \
		XMM(op->r0) = name##_do(XMM(op->r1));               \
		OP_NEXT;                                            \
	}                                                           \
	static void name##_xm(struct cpu *cpu, const struct op *op) \
	{                                                           \
		sse_check(cpu);                                     \
		XMM(op->r0) = name##_do(load(cpu, op));             \
		OP_NEXT;                                            \
	}                                                           \
	static const struct simd_forms name##_forms = { .xr = name##_xr, .xm = name##_xm };

#define LANES_LIST(X)           \
	X(PADDB, paddb)         \
	X(PADDW, paddw)         \
	X(PADDD, paddd)         \
	X(PADDQ, paddq)         \
	X(PADDSB, paddsb)       \
	X(PADDSW, paddsw)       \
	X(PADDUSB, paddusb)     \
	X(PADDUSW, paddusw)     \
	X(PSUBB, psubb)         \
	X(PSUBW, psubw)         \
	X(PSUBD, psubd)         \
	X(PSUBQ, psubq)         \
	X(PSUBSB, psubsb)       \
	X(PSUBSW, psubsw)       \
	X(PSUBUSB, psubusb)     \
	X(PSUBUSW, psubusw)     \
	X(PMULLW, pmullw)       \
	X(PMULHW, pmulhw)       \
	X(PMULHUW, pmulhuw)     \
	X(PMULHRSW, pmulhrsw)   \
	X(PMULUDQ, pmuludq)     \
	X(PMADDWD, pmaddwd)     \
	X(PMADDUBSW, pmaddubsw) \
	X(PSADBW, psadbw)       \
	X(PAVGB, pavgb)         \
	X(PAVGW, pavgw)         \
	X(PMINUB, pminub)       \
	X(PMINSW, pminsw)       \
	X(PMAXUB, pmaxub)       \
	X(PMAXSW, pmaxsw)       \
	X(PABSB, pabsb)         \
	X(PABSW, pabsw)         \
	X(PABSD, pabsd)         \
	X(PSIGNB, psignb)       \
	X(PSIGNW, psignw)       \
	X(PSIGND, psignd)       \
	X(PCMPEQB, pcmpeqb)     \
	X(PCMPEQW, pcmpeqw)     \
	X(PCMPEQD, pcmpeqd)     \
	X(PCMPGTB, pcmpgtb)     \
	X(PCMPGTW, pcmpgtw)     \
	X(PCMPGTD, pcmpgtd)     \
	X(PAND, pand)           \
	X(PANDN, pandn)         \
	X(POR, por)             \
	X(PXOR, pxor)
LANES_LIST(LANES)

#define SIDE_BY_SIDE_LIST(X)  \
	X(PACKSSWB, packsswb) \
	X(PACKSSDW, packssdw) \
	X(PACKUSWB, packuswb) \
	X(PHADDW, phaddw)     \
	X(PHADDD, phaddd)     \
	X(PHADDSW, phaddsw)   \
	X(PHSUBW, phsubw)     \
	X(PHSUBD, phsubd)     \
	X(PHSUBSW, phsubsw)
SIDE_BY_SIDE_LIST(SIDE_BY_SIDE)

#define UNPACK_LOW_LIST(X)      \
	X(PUNPCKLBW, punpcklbw) \
	X(PUNPCKLWD, punpcklwd) \
	X(PUNPCKLDQ, punpckldq)
UNPACK_LOW_LIST(UNPACK_LOW)

#define UNPACK_HIGH_LIST(X)                \
	X(PUNPCKHBW, punpckhbw, punpcklbw) \
	X(PUNPCKHWD, punpckhwd, punpcklwd) \
	X(PUNPCKHDQ, punpckhdq, punpckldq)
UNPACK_HIGH_LIST(UNPACK_HIGH)

#define XMM_ONLY_LIST(X)          \
	X(PUNPCKLQDQ, punpcklqdq) \
	X(PUNPCKHQDQ, punpckhqdq) \
	X(PACKUSDW, packusdw)     \
	X(PMINSB, pminsb)         \
	X(PMINSD, pminsd)         \
	X(PMINUW, pminuw)         \
	X(PMINUD, pminud)         \
	X(PMAXSB, pmaxsb)         \
	X(PMAXSD, pmaxsd)         \
	X(PMAXUW, pmaxuw)         \
	X(PMAXUD, pmaxud)         \
	X(PMULDQ, pmuldq)         \
	X(PMULLD, pmulld)         \
	X(PCMPEQQ, pcmpeqq)       \
	X(PCMPGTQ, pcmpgtq)       \
	X(PHMINPOSUW, phminposuw) \
	X(ANDPS, andps)           \
	X(ANDPD, andpd)           \
	X(ANDNPS, andnps)         \
	X(ANDNPD, andnpd)         \
	X(ORPS, orps)             \
	X(ORPD, orpd)             \
	X(XORPS, xorps)           \
	X(XORPD, xorpd)           \
	X(UNPCKLPS, unpcklps)     \
	X(UNPCKHPS, unpckhps)     \
	X(UNPCKLPD, unpcklpd)     \
	X(UNPCKHPD, unpckhpd)
XMM_ONLY_LIST(XMM_ONLY)

#define WIDEN_LIST(X)                   \
	X(PMOVSXBW, pmovsxbw, sse_ld64) \
	X(PMOVSXBD, pmovsxbd, sse_ld32) \
	X(PMOVSXBQ, pmovsxbq, sse_ld16) \
	X(PMOVSXWD, pmovsxwd, sse_ld64) \
	X(PMOVSXWQ, pmovsxwq, sse_ld32) \
	X(PMOVSXDQ, pmovsxdq, sse_ld64) \
	X(PMOVZXBW, pmovzxbw, sse_ld64) \
	X(PMOVZXBD, pmovzxbd, sse_ld32) \
	X(PMOVZXBQ, pmovzxbq, sse_ld16) \
	X(PMOVZXWD, pmovzxwd, sse_ld64) \
	X(PMOVZXWQ, pmovzxwq, sse_ld32) \
	X(PMOVZXDQ, pmovzxdq, sse_ld64)
WIDEN_LIST(WIDEN)

/* PSHUFB: an MMX selector has three index bits. */
HOST_INSTRUCTION(pshufb, "pshufb")
static inline __m128i pshufb_mmx(__m128i d, __m128i s)
{
	return pshufb_do(d, _mm_and_si128(s, _mm_set1_epi8((char)0x87)));
}
XMM_PAIR(pshufb)
MMX_HANDLERS(pshufb, pshufb_mmx, sse_ld64)

/*
 * Shifts: the count is a 64-bit number from a register, from memory or an immediate. With an
 * immediate the first operand is the only register, and the same function serves.
 */
#define SHIFT(mnem, name)                                                              \
	HOST_INSTRUCTION(name, #name)                                                  \
	XMM_PAIR(name)                                                                 \
	MMX_HANDLERS(name, name##_do, sse_ld64)                                        \
	static void name##_xi(struct cpu *cpu, const struct op *op)                    \
	{                                                                              \
		sse_check(cpu);                                                        \
		XMM(op->r0) = name##_do(XMM(op->r0), vec_low(op->imm & 0xff));         \
		OP_NEXT;                                                               \
	}                                                                              \
	static void name##_mi(struct cpu *cpu, const struct op *op)                    \
	{                                                                              \
		__m128i r;                                                             \
                                                                                       \
		mmx_check(cpu);                                                        \
		mmx_enter(cpu);                                                        \
		r = name##_do(vec_low(mmx_get(cpu, op->r0)), vec_low(op->imm & 0xff)); \
		mmx_set(cpu, op->r0, vec_low64(r));                                    \
		OP_NEXT;                                                               \
	}                                                                              \
	static const struct shift_forms name##_shift = { &name##_forms, name##_xi, name##_mi };

struct shift_forms {
	const struct simd_forms *by_operand;
	op_fn xi, mi;
};

static bool shift_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const struct shift_forms *f = (const struct shift_forms *)arg;

	if (!opnd_is_imm(d, 1))
		return simd_bind(d, op, (uintptr_t)f->by_operand);
	op->fn = opnd_is_mmx(d, 0) ? f->mi : f->xi;
	return true;
}

#define SHIFT_LIST(X)   \
	X(PSLLW, psllw) \
	X(PSLLD, pslld) \
	X(PSLLQ, psllq) \
	X(PSRLW, psrlw) \
	X(PSRLD, psrld) \
	X(PSRLQ, psrlq) \
	X(PSRAW, psraw) \
	X(PSRAD, psrad)
SHIFT_LIST(SHIFT)

#define SHIFT_ROW(mnem, name)	      { ZYDIS_MNEMONIC_##mnem, shift_bind, (uintptr_t)&name##_shift },
#define SIMD_ROW(mnem, name)	      ROW_SIMD(mnem, name),
#define SIMD_ROW3(mnem, name, ignore) ROW_SIMD(mnem, name),

static const struct binding sse_int_rows[] = {
	/* clang-format off */
	LANES_LIST(SIMD_ROW)
	SIDE_BY_SIDE_LIST(SIMD_ROW)
	UNPACK_LOW_LIST(SIMD_ROW)
	UNPACK_HIGH_LIST(SIMD_ROW3)
	XMM_ONLY_LIST(SIMD_ROW)
	WIDEN_LIST(SIMD_ROW3)
	SHIFT_LIST(SHIFT_ROW)
	ROW_SIMD(PSHUFB, pshufb),
	/* clang-format on */
};

BINDINGS(sse_int);
