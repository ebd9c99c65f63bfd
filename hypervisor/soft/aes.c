// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * AES-NI and PCLMULQDQ, each by the host's instruction of that name. The round constant of
 * AESKEYGENASSIST is not an immediate here: it only enters by XOR into two lanes (SDM vol. 2), so
 * one host form serves all.
 */
#include "hypervisor/soft/fpu.h"

#define FORMS(name) XMM_FORMS(name, sse_ld128a, name##_do(XMM(op->r0), s, (uint8_t)op->imm))

#define HOST(name, insn)                                                   \
	static inline __m128i name##_do(__m128i d, __m128i s, uint8_t imm) \
	{                                                                  \
		__asm__(insn " %1, %0" : "+x"(d) : "x"(s));                \
		return d;                                                  \
	}                                                                  \
	FORMS(name)

HOST(aesenc, "aesenc")
HOST(aesenclast, "aesenclast")
HOST(aesdec, "aesdec")
HOST(aesdeclast, "aesdeclast")
HOST(aesimc, "aesimc")

static inline __m128i aeskeygenassist_do(__m128i d, __m128i s, uint8_t imm)
{
	__asm__("aeskeygenassist $0, %1, %0" : "=x"(d) : "x"(s));
	return _mm_xor_si128(d, _mm_set_epi32(imm, 0, imm, 0));
}

/* Bits 0 and 4 select the halves. */
static inline __m128i pclmulqdq_do(__m128i d, __m128i s, uint8_t imm)
{
	if (imm & 1)
		d = _mm_unpackhi_epi64(d, d);
	if (imm & 0x10)
		s = _mm_unpackhi_epi64(s, s);
	__asm__("pclmulqdq $0, %1, %0" : "+x"(d) : "x"(s));
	return d;
}

FORMS(aeskeygenassist)
FORMS(pclmulqdq)

static const struct binding aes_rows[] = {
	ROW_SIMD(AESENC, aesenc),	ROW_SIMD(AESENCLAST, aesenclast),
	ROW_SIMD(AESDEC, aesdec),	ROW_SIMD(AESDECLAST, aesdeclast),
	ROW_SIMD(AESIMC, aesimc),	ROW_SIMD(AESKEYGENASSIST, aeskeygenassist),
	ROW_SIMD(PCLMULQDQ, pclmulqdq),
};

BINDINGS(aes);
