// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1).
 *
 * A set of elements is a bit mask, bit i for element i; `a` is the first operand (set, ranges,
 * needle), `b` the second (text).
 */
#include "hypervisor/soft/flags.h"
#include "hypervisor/soft/fpu.h"

#define CTL_WORDS      0x01u
#define CTL_SIGNED     0x02u
#define CTL_AGGREGATE  0x0cu
#define CTL_RANGES     0x04u
#define CTL_EACH       0x08u
#define CTL_ORDERED    0x0cu
#define CTL_NEGATIVE   0x10u
#define CTL_MASKED     0x20u
#define CTL_HIGH_INDEX 0x40u /* index: most significant; mask: one element wide */

struct strings {
	__m128i a, b;
	unsigned ctl;
	unsigned n; /* elements in a register */
	unsigned len_a, len_b;
};

static uint32_t first_bits(unsigned n)
{
	return (1u << n) - 1;
}

/* Mask of the elements that are all ones. */
static uint32_t mask_of(const struct strings *s, __m128i v)
{
	if (s->ctl & CTL_WORDS)
		v = _mm_packs_epi16(v, _mm_setzero_si128());
	return (uint32_t)_mm_movemask_epi8(v);
}

/* Element i of v everywhere. */
static __m128i spread(const struct strings *s, __m128i v, unsigned i)
{
	union xmm u = xmm_of(v);

	return s->ctl & CTL_WORDS ? _mm_set1_epi16(u.s16[i]) : _mm_set1_epi8(u.s8[i]);
}

static uint32_t equal(const struct strings *s, __m128i x, __m128i y)
{
	return mask_of(s, s->ctl & CTL_WORDS ? _mm_cmpeq_epi16(x, y) : _mm_cmpeq_epi8(x, y));
}

/* Signed comparison. */
static uint32_t greater(const struct strings *s, __m128i x, __m128i y)
{
	return mask_of(s, s->ctl & CTL_WORDS ? _mm_cmpgt_epi16(x, y) : _mm_cmpgt_epi8(x, y));
}

static uint32_t any(const struct strings *s)
{
	uint32_t r = 0;

	for (unsigned j = 0; j < s->len_a; j++)
		r |= equal(s, spread(s, s->a, j), s->b);
	return r & first_bits(s->len_b);
}

static uint32_t ranges(const struct strings *s)
{
	__m128i bias = _mm_setzero_si128(), a, b;
	uint32_t r = 0;

	if (!(s->ctl & CTL_SIGNED))
		bias = s->ctl & CTL_WORDS ? _mm_set1_epi16((short)0x8000)
					  : _mm_set1_epi8((char)0x80);
	a = _mm_xor_si128(s->a, bias);
	b = _mm_xor_si128(s->b, bias);
	for (unsigned j = 0; j + 1 < s->len_a; j += 2)
		r |= ~greater(s, spread(s, a, j), b) & ~greater(s, b, spread(s, a, j + 1));
	return r & first_bits(s->len_b);
}

/* Elements beyond both strings are equal, beyond one of them different. */
static uint32_t each(const struct strings *s)
{
	uint32_t in_a = first_bits(s->len_a), in_b = first_bits(s->len_b);

	return (equal(s, s->a, s->b) & in_a & in_b) | (first_bits(s->n) & ~in_a & ~in_b);
}

/* Places where the needle begins; it may go on past the end of the register. */
static uint32_t ordered(const struct strings *s)
{
	uint32_t r = first_bits(s->n), in_b = first_bits(s->len_b);

	for (unsigned j = 0; j < s->len_a; j++) {
		uint32_t past = first_bits(j) << (s->n - j);
		uint32_t hit = equal(s, spread(s, s->a, j), s->b) & in_b;

		r &= hit >> j | past;
	}
	return r;
}

/* IntRes2 of the SDM. */
static uint32_t aggregate(const struct strings *s)
{
	uint32_t r;

	switch (s->ctl & CTL_AGGREGATE) {
	case CTL_RANGES:
		r = ranges(s);
		break;
	case CTL_EACH:
		r = each(s);
		break;
	case CTL_ORDERED:
		r = ordered(s);
		break;
	default:
		r = any(s);
	}
	if (s->ctl & CTL_NEGATIVE)
		r ^= s->ctl & CTL_MASKED ? first_bits(s->len_b) : first_bits(s->n);
	return r;
}

/* Number of elements before the first that is zero. */
static unsigned implicit_length(const struct strings *s, __m128i v)
{
	return (unsigned)__builtin_ctz(equal(s, v, _mm_setzero_si128()) | 1u << s->n);
}

/* |v|, at most n. */
static unsigned explicit_length(const struct strings *s, int64_t v)
{
	uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;

	return size < s->n ? (unsigned)size : s->n;
}

static uint32_t run(struct cpu *cpu, const struct op *op, __m128i b, bool explicit_lengths,
		    struct strings *s)
{
	uint32_t r;

	s->a = XMM(op->r0);
	s->b = b;
	s->ctl = (unsigned)op->imm & 0x7f;
	s->n = s->ctl & CTL_WORDS ? 8 : 16;
	if (!explicit_lengths) {
		s->len_a = implicit_length(s, s->a);
		s->len_b = implicit_length(s, s->b);
	} else if (op->cc) {
		s->len_a = explicit_length(s, (int64_t)cpu->gpr[R_RAX]);
		s->len_b = explicit_length(s, (int64_t)cpu->gpr[R_RDX]);
	} else {
		s->len_a = explicit_length(s, (int32_t)cpu->gpr[R_RAX]);
		s->len_b = explicit_length(s, (int32_t)cpu->gpr[R_RDX]);
	}
	r = aggregate(s);
	flags_set_arith(cpu, (r ? FL_CF : 0) | (s->len_b < s->n ? FL_ZF : 0) |
				     (s->len_a < s->n ? FL_SF : 0) | (r & 1 ? FL_OF : 0));
	return r;
}

static void give_index(struct cpu *cpu, const struct op *op, __m128i b, bool explicit_lengths)
{
	struct strings s;
	uint32_t r = run(cpu, op, b, explicit_lengths, &s);

	if (!r)
		cpu->gpr[R_RCX] = s.n;
	else if (s.ctl & CTL_HIGH_INDEX)
		cpu->gpr[R_RCX] = 31 - (unsigned)__builtin_clz(r);
	else
		cpu->gpr[R_RCX] = (unsigned)__builtin_ctz(r);
}

static void give_mask(struct cpu *cpu, const struct op *op, __m128i b, bool explicit_lengths)
{
	struct strings s;
	uint32_t r = run(cpu, op, b, explicit_lengths, &s);
	union xmm *out = &cpu->fpu.xmm[0];

	if (!(s.ctl & CTL_HIGH_INDEX)) {
		out->u64[0] = r;
		out->u64[1] = 0;
		return;
	}
	for (unsigned i = 0; i < s.n; i++) {
		if (s.ctl & CTL_WORDS)
			out->u16[i] = r >> i & 1 ? 0xffff : 0;
		else
			out->u8[i] = r >> i & 1 ? 0xff : 0;
	}
}

/* The memory operand need not be aligned. */
#define STRING_HANDLERS(name, give, explicit_lengths)                 \
	static void name##_xr(struct cpu *cpu, const struct op *op)   \
	{                                                             \
		sse_check(cpu);                                       \
		give(cpu, op, XMM(op->r1), explicit_lengths);         \
		OP_NEXT;                                              \
	}                                                             \
	static void name##_xm(struct cpu *cpu, const struct op *op)   \
	{                                                             \
		sse_check(cpu);                                       \
		give(cpu, op, sse_ld128u(cpu, op), explicit_lengths); \
		OP_NEXT;                                              \
	}                                                             \
	static const struct simd_forms name##_forms = { .xr = name##_xr, .xm = name##_xm };

STRING_HANDLERS(pcmpestri, give_index, true)
STRING_HANDLERS(pcmpestrm, give_mask, true)
STRING_HANDLERS(pcmpistri, give_index, false)
STRING_HANDLERS(pcmpistrm, give_mask, false)

/* op->cc: explicit lengths are 64 bits wide. */
static bool string_bind(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->cc = d->ins.raw.rex.W;
	return simd_bind(d, op, arg);
}

#define ROW_STRING(mnem, name)                                               \
	{                                                                    \
		ZYDIS_MNEMONIC_##mnem, string_bind, (uintptr_t)&name##_forms \
	}

static const struct binding sse42_rows[] = {
	ROW_STRING(PCMPESTRI, pcmpestri),
	ROW_STRING(PCMPESTRM, pcmpestrm),
	ROW_STRING(PCMPISTRI, pcmpistri),
	ROW_STRING(PCMPISTRM, pcmpistrm),
};

BINDINGS(sse42);
