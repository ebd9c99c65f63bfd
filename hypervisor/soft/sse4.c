// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SIMD instructions with an immediate or an implicit operand: shuffles, inserts, extracts, blends,
 * PTEST, MPSADBW. The immediate is part of the op, so these are plain C on the operands instead of
 * one host form for each value.
 */
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/fpu.h"

/* name_do(d, s, imm) on XMM registers with an aligned memory source. */
#define XMM_IMM(name) XMM_FORMS(name, sse_ld128a, name##_do(XMM(op->r0), s, (uint8_t)op->imm))

/* The handlers of name_mmx(d, s, imm) on 64-bit values. */
#define MMX_IMM_HANDLERS(name)                                                               \
	static void name##_mr(struct cpu *cpu, const struct op *op)                          \
	{                                                                                    \
		uint64_t d, s;                                                               \
                                                                                             \
		mmx_check(cpu);                                                              \
		d = mmx_get(cpu, op->r0);                                                    \
		s = mmx_get(cpu, op->r1);                                                    \
		mmx_enter(cpu);                                                              \
		mmx_set(cpu, op->r0, name##_mmx(d, s, (uint8_t)op->imm));                    \
		OP_NEXT;                                                                     \
	}                                                                                    \
	static void name##_mm(struct cpu *cpu, const struct op *op)                          \
	{                                                                                    \
		uint64_t s;                                                                  \
                                                                                             \
		mmx_check(cpu);                                                              \
		s = mem_ld64(cpu, op_lin(cpu, op, 8, false));                                \
		mmx_enter(cpu);                                                              \
		mmx_set(cpu, op->r0, name##_mmx(mmx_get(cpu, op->r0), s, (uint8_t)op->imm)); \
		OP_NEXT;                                                                     \
	}

/* ---- shuffles ---- */
static inline __m128i pshufd_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm a = xmm_of(s), r;

	for (unsigned i = 0; i < 4; i++)
		r.u32[i] = a.u32[(imm >> (2 * i)) & 3];
	return vec_of(r);
}

static inline uint64_t pshufw_mmx(uint64_t d, uint64_t s, uint8_t imm)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < 4; i++)
		r |= (uint64_t)(uint16_t)(s >> (16 * ((imm >> (2 * i)) & 3))) << (16 * i);
	return r;
}

static inline __m128i pshuflw_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm r = xmm_of(s);

	r.u64[0] = pshufw_mmx(0, r.u64[0], imm);
	return vec_of(r);
}

static inline __m128i pshufhw_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm r = xmm_of(s);

	r.u64[1] = pshufw_mmx(0, r.u64[1], imm);
	return vec_of(r);
}

static inline __m128i shufps_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm a = xmm_of(d), b = xmm_of(s), r;

	r.u32[0] = a.u32[imm & 3];
	r.u32[1] = a.u32[(imm >> 2) & 3];
	r.u32[2] = b.u32[(imm >> 4) & 3];
	r.u32[3] = b.u32[(imm >> 6) & 3];
	return vec_of(r);
}

static inline __m128i shufpd_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm a = xmm_of(d), b = xmm_of(s), r;

	r.u64[0] = a.u64[imm & 1];
	r.u64[1] = b.u64[(imm >> 1) & 1];
	return vec_of(r);
}

/* d:s shifted right by bytes. */
static inline __m128i palignr_do(__m128i d, __m128i s, uint8_t imm)
{
	uint8_t all[64] = { 0 };
	union xmm r;

	memcpy(all, &s, 16);
	memcpy(all + 16, &d, 16);
	memcpy(&r, all + (imm < 32 ? imm : 32), 16);
	return vec_of(r);
}

static inline uint64_t palignr_mmx(uint64_t d, uint64_t s, uint8_t imm)
{
	uint64_t all[4] = { s, d }, r;

	memcpy(&r, (const uint8_t *)all + (imm < 16 ? imm : 16), 8);
	return r;
}

XMM_IMM(pshufd)
XMM_IMM(pshuflw)
XMM_IMM(pshufhw)
XMM_IMM(shufps)
XMM_IMM(shufpd)
XMM_HANDLERS(palignr, sse_ld128a, palignr_do(XMM(op->r0), s, (uint8_t)op->imm))
MMX_IMM_HANDLERS(palignr)
MMX_IMM_HANDLERS(pshufw)

static const struct simd_forms palignr_forms = { palignr_xr, palignr_xm, palignr_mr, palignr_mm };
static const struct simd_forms pshufw_forms = { .mr = pshufw_mr, .mm = pshufw_mm };

/* Byte shifts of a whole register: PALIGNR with zeros on one side. */
static void psrldq(struct cpu *cpu, const struct op *op)
{
	uint8_t n = (uint8_t)op->imm;

	sse_check(cpu);
	XMM(op->r0) = palignr_do(_mm_setzero_si128(), XMM(op->r0), n < 16 ? n : 16);
	OP_NEXT;
}

static void pslldq(struct cpu *cpu, const struct op *op)
{
	uint8_t n = (uint8_t)op->imm;

	sse_check(cpu);
	XMM(op->r0) = palignr_do(XMM(op->r0), _mm_setzero_si128(), 16 - (n < 16 ? n : 16));
	OP_NEXT;
}

/* ---- blends ---- */
static inline __m128i select_bits(__m128i mask, __m128i yes, __m128i no)
{
	return _mm_or_si128(_mm_and_si128(mask, yes), _mm_andnot_si128(mask, no));
}

static inline __m128i pblendw_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm r = xmm_of(d), b = xmm_of(s);

	for (unsigned i = 0; i < 8; i++)
		if (imm >> i & 1)
			r.u16[i] = b.u16[i];
	return vec_of(r);
}

static inline __m128i blendps_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm r = xmm_of(d), b = xmm_of(s);

	for (unsigned i = 0; i < 4; i++)
		if (imm >> i & 1)
			r.u32[i] = b.u32[i];
	return vec_of(r);
}

static inline __m128i blendpd_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm r = xmm_of(d), b = xmm_of(s);

	for (unsigned i = 0; i < 2; i++)
		if (imm >> i & 1)
			r.u64[i] = b.u64[i];
	return vec_of(r);
}

XMM_IMM(pblendw)
XMM_IMM(blendps)
XMM_IMM(blendpd)

/* Selected by the sign bits of XMM0. */
#define BLEND_VARIABLE(name, spread)                                        \
	static inline __m128i name##_do(__m128i d, __m128i s, __m128i mask) \
	{                                                                   \
		return select_bits(spread, s, d);                           \
	}                                                                   \
	XMM_FORMS(name, sse_ld128a, name##_do(XMM(op->r0), s, XMM(0)))

static inline __m128i spread_sign32(__m128i v)
{
	return _mm_srai_epi32(v, 31);
}

BLEND_VARIABLE(pblendvb, _mm_cmpgt_epi8(_mm_setzero_si128(), mask))
BLEND_VARIABLE(blendvps, spread_sign32(mask))
BLEND_VARIABLE(blendvpd, _mm_shuffle_epi32(spread_sign32(mask), 0xf5))

/* ---- PTEST ---- */
static void ptest_run(struct cpu *cpu, const struct op *op, __m128i s)
{
	union xmm a = xmm_of(_mm_and_si128(XMM(op->r0), s)),
		  n = xmm_of(_mm_andnot_si128(XMM(op->r0), s));

	flags_set_arith(cpu, (a.u64[0] | a.u64[1] ? 0 : FL_ZF) | (n.u64[0] | n.u64[1] ? 0 : FL_CF));
}

static void ptest_xr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	ptest_run(cpu, op, XMM(op->r1));
	OP_NEXT;
}

static void ptest_xm(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	ptest_run(cpu, op, sse_ld128a(cpu, op));
	OP_NEXT;
}

static const struct simd_forms ptest_forms = { .xr = ptest_xr, .xm = ptest_xm };

/* ---- MPSADBW ---- */
static inline __m128i mpsadbw_do(__m128i d, __m128i s, uint8_t imm)
{
	union xmm a = xmm_of(d), b = xmm_of(s), r;
	unsigned ao = imm & 4, bo = (imm & 3) * 4;

	for (unsigned i = 0; i < 8; i++) {
		unsigned sum = 0;

		for (unsigned j = 0; j < 4; j++) {
			int diff = a.u8[ao + i + j] - b.u8[bo + j];

			sum += (unsigned)(diff < 0 ? -diff : diff);
		}
		r.u16[i] = (uint16_t)sum;
	}
	return vec_of(r);
}

XMM_IMM(mpsadbw)

/* ---- inserts ---- */
#define INSERT(name, bits, lanes)                                        \
	static void name##_r(struct cpu *cpu, const struct op *op)       \
	{                                                                \
		sse_check(cpu);                                          \
		cpu->fpu.xmm[op->r0].u##bits[op->imm & (lanes - 1)] =    \
			(uint##bits##_t)cpu->gpr[op->r1];                \
		OP_NEXT;                                                 \
	}                                                                \
	static void name##_m(struct cpu *cpu, const struct op *op)       \
	{                                                                \
		uint##bits##_t v;                                        \
                                                                         \
		sse_check(cpu);                                          \
		v = mem_ld##bits(cpu, op_lin(cpu, op, bits / 8, false)); \
		cpu->fpu.xmm[op->r0].u##bits[op->imm & (lanes - 1)] = v; \
		OP_NEXT;                                                 \
	}

INSERT(pinsrb, 8, 16)
INSERT(pinsrw_xmm, 16, 8)
INSERT(pinsrd, 32, 4)
INSERT(pinsrq, 64, 2)

static const struct simd_forms pinsrb_forms = { .xr = pinsrb_r, .xm = pinsrb_m };
static const struct simd_forms pinsrd_forms = { .xr = pinsrd_r, .xm = pinsrd_m };
static const struct simd_forms pinsrq_forms = { .xr = pinsrq_r, .xm = pinsrq_m };

static uint64_t with_word(uint64_t v, unsigned i, uint16_t w)
{
	unsigned shift = 16 * (i & 3);

	return (v & ~(0xffffull << shift)) | (uint64_t)w << shift;
}

static void pinsrw_mr(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	mmx_set(cpu, op->r0,
		with_word(mmx_get(cpu, op->r0), (unsigned)op->imm, (uint16_t)cpu->gpr[op->r1]));
	OP_NEXT;
}

static void pinsrw_mm(struct cpu *cpu, const struct op *op)
{
	uint16_t v;

	mmx_check(cpu);
	v = mem_ld16(cpu, op_lin(cpu, op, 2, false));
	mmx_enter(cpu);
	mmx_set(cpu, op->r0, with_word(mmx_get(cpu, op->r0), (unsigned)op->imm, v));
	OP_NEXT;
}

static const struct simd_forms pinsrw_forms = { pinsrw_xmm_r, pinsrw_xmm_m, pinsrw_mr, pinsrw_mm };

static void insertps_run(struct cpu *cpu, const struct op *op, uint32_t v)
{
	union xmm *d = &cpu->fpu.xmm[op->r0];

	d->u32[(op->imm >> 4) & 3] = v;
	for (unsigned i = 0; i < 4; i++)
		if (op->imm >> i & 1)
			d->u32[i] = 0;
}

static void insertps_xr(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	insertps_run(cpu, op, cpu->fpu.xmm[op->r1].u32[(op->imm >> 6) & 3]);
	OP_NEXT;
}

static void insertps_xm(struct cpu *cpu, const struct op *op)
{
	sse_check(cpu);
	insertps_run(cpu, op, mem_ld32(cpu, op_lin(cpu, op, 4, false)));
	OP_NEXT;
}

static const struct simd_forms insertps_forms = { .xr = insertps_xr, .xm = insertps_xm };

/* ---- extracts: general registers get the value zero-extended ---- */
#define EXTRACT(name, bits, lanes)                                                      \
	static void name##_r(struct cpu *cpu, const struct op *op)                      \
	{                                                                               \
		sse_check(cpu);                                                         \
		cpu->gpr[op->r0] = cpu->fpu.xmm[op->r1].u##bits[op->imm & (lanes - 1)]; \
		OP_NEXT;                                                                \
	}                                                                               \
	static void name##_m(struct cpu *cpu, const struct op *op)                      \
	{                                                                               \
		sse_check(cpu);                                                         \
		mem_st##bits(cpu, op_lin(cpu, op, bits / 8, true),                      \
			     cpu->fpu.xmm[op->r1].u##bits[op->imm & (lanes - 1)]);      \
		OP_NEXT;                                                                \
	}                                                                               \
	static const struct extract_forms name##_forms = { name##_r, name##_m };

struct extract_forms {
	op_fn reg, mem;
};

EXTRACT(pextrb, 8, 16)
EXTRACT(pextrw, 16, 8)
EXTRACT(pextrd, 32, 4)
EXTRACT(pextrq, 64, 2)

static void pextrw_mmx(struct cpu *cpu, const struct op *op)
{
	mmx_check(cpu);
	mmx_enter(cpu);
	cpu->gpr[op->r0] = (uint16_t)(mmx_get(cpu, op->r1) >> (16 * (op->imm & 3)));
	OP_NEXT;
}

static bool extract_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	const struct extract_forms *f = (const struct extract_forms *)arg;

	op->fn = opnd_is_mem(d, 0) ? f->mem : f->reg;
	if (opnd_is_mmx(d, 1))
		op->fn = pextrw_mmx;
	return true;
}

#define ROW_EXTRACT(mnem, name)                                               \
	{                                                                     \
		ZYDIS_MNEMONIC_##mnem, extract_bind, (uintptr_t)&name##_forms \
	}

static const struct binding sse4_rows[] = {
	ROW_SIMD(PSHUFD, pshufd),     ROW_SIMD(PSHUFLW, pshuflw),   ROW_SIMD(PSHUFHW, pshufhw),
	ROW_SIMD(PSHUFW, pshufw),     ROW_SIMD(SHUFPS, shufps),	    ROW_SIMD(SHUFPD, shufpd),
	ROW_SIMD(PALIGNR, palignr),   ROW_ONE(PSRLDQ, psrldq),	    ROW_ONE(PSLLDQ, pslldq),
	ROW_SIMD(PBLENDW, pblendw),   ROW_SIMD(BLENDPS, blendps),   ROW_SIMD(BLENDPD, blendpd),
	ROW_SIMD(PBLENDVB, pblendvb), ROW_SIMD(BLENDVPS, blendvps), ROW_SIMD(BLENDVPD, blendvpd),
	ROW_SIMD(PTEST, ptest),	      ROW_SIMD(MPSADBW, mpsadbw),   ROW_SIMD(PINSRB, pinsrb),
	ROW_SIMD(PINSRW, pinsrw),     ROW_SIMD(PINSRD, pinsrd),	    ROW_SIMD(PINSRQ, pinsrq),
	ROW_SIMD(INSERTPS, insertps), ROW_EXTRACT(PEXTRB, pextrb),  ROW_EXTRACT(PEXTRW, pextrw),
	ROW_EXTRACT(PEXTRD, pextrd),  ROW_EXTRACT(PEXTRQ, pextrq),  ROW_EXTRACT(EXTRACTPS, pextrd),
};

BINDINGS(sse4);
