/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random states for single instructions: numbers that floating point finds interesting. */
#ifndef TESTS_SOFT_OPERANDS_H
#define TESTS_SOFT_OPERANDS_H

#include "hypervisor/soft/x87.h"
#include "tests/soft/silicon.h"

/* ---- SSE and MMX ---- */
static const uint32_t sse_edges32[] = {
	0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
	0xffc12345, 0x7f800001, 0xff923456, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff,
	0x00800000, 0x80800000, 0x7f7fffff, 0xff7fffff, 0x3f000000, 0x3effffff, 0x4b000000,
	0x4b000001, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0xdf000000, 0x3fc00000,
	0x40200000, 0xc0200000, 0x34000000, 0x01000000, 0x7e800000,
};

static const uint64_t sse_edges64[] = {
	0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000,
	0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8123456789abc,
	0x7ff0000000000001, 0xfff4000000000000, 0x0000000000000001, 0x800fffffffffffff,
	0x0010000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 0x3fe0000000000000,
	0x3fdfffffffffffff, 0x4330000000000000, 0x41dfffffffc00000, 0x41e0000000000000,
	0xc1e0000000000000, 0xc1e0000000200000, 0x43e0000000000000, 0xc3e0000000000000,
	0x4004000000000000, 0x380fffffe0000000, 0x36a0000000000000, 0x47efffffe0000000,
	0x47effffff0000000, 0x47f0000000000000, 0x3690000000000000, 0x3ca0000000000000,
	0x0020000000000000,
};

static inline uint64_t sse_random_lane(void)
{
	uint64_t r = sil_random();

	switch (sil_below(6)) {
	case 0:
		return r;
	case 1:
		return (uint64_t)sse_edges32[sil_below(33)] << 32 | sse_edges32[sil_below(33)];
	case 2:
		return sse_edges64[sil_below(33)];
	case 3: /* doubles of moderate size */
		return (r & 0x800fffffffffffff) | (uint64_t)(1023 - 70 + sil_below(140)) << 52;
	case 4: /* floats of moderate size */
		return (r & 0x807fffff807fffff) | (uint64_t)(127 - 30 + sil_below(60)) << 55 |
		       (uint64_t)(127 - 30 + sil_below(60)) << 23;
	default: /* text with zeros */
		return r & 0x0303030303030303 & -(uint64_t)(r >> 63);
	}
}

static inline void sse_random_state(struct sil_state *s)
{
	uint32_t mxcsr = MXCSR_MASKS | sil_below(64) | (sil_below(2) ? sil_below(4) << 13 : 0);

	memset(s, 0, sizeof(*s));
	if (sil_below(4) == 0)
		mxcsr |= MXCSR_FTZ;
	if (sil_below(4) == 0)
		mxcsr |= MXCSR_DAZ;
	if (sil_below(4) == 0)
		mxcsr &= ~(sil_below(64) << 7);
	s->fx[0] = 0x7f;
	s->fx[1] = 3;
	memcpy(s->fx + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = sse_random_lane();

		memcpy(s->fx + 32 + 16 * i, &v, 8);
		memset(s->fx + 40 + 16 * i, 0xff, 2);
	}
	s->fx[4] = (uint8_t)sil_random();
	s->fx[3] = (uint8_t)(sil_below(8) << 3);
	for (unsigned i = 0; i < 32; i++) {
		uint64_t v = sse_random_lane();

		memcpy(s->fx + 160 + 8 * i, &v, 8);
	}
	for (unsigned i = 0; i < SIL_MEM; i += 8) {
		uint64_t v = sse_random_lane();

		memcpy(s->mem + i, &v, 8);
	}
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = sil_below(2) ? sil_random() : (uint64_t)((int64_t)sil_below(40) - 20);
	s->flags = sil_random() & SIL_FLAGS;
}

/* ---- x87 ---- */
static inline uint64_t x87_random_mant(void)
{
	static const uint64_t edges[] = {
		0x8000000000000000, 0xffffffffffffffff, 0x8000000000000001, 0xc000000000000000,
		0xfffff00000000000, 0xfffffffffffff800, 0xffffff0000000000, 0xffffff8000000000,
		0x8000008000000000, 0x8000000000000400,
	};

	return sil_below(2) ? edges[sil_below(10)] : sil_random() | X87_INT_BIT;
}

static inline struct x87_reg x87_random_value(void)
{
	static const struct x87_reg special[] = {
		{ 0, 0 },
		{ X87_INT_BIT, 0x7fff },
		{ 0xc000000000000000, 0x7fff },
		{ 0xa000000000000000, 0x7fff },
		{ 0xffffffffffffffff, 0x7fff },
		{ 1, 0 },
		{ 0x7fffffffffffffff, 0 },
		{ X87_INT_BIT, 0 }, /* pseudo-denormal */
		{ X87_INT_BIT, 1 },
		{ 0xffffffffffffffff, 0x7ffe },
		{ 0, 0x7fff },			/* pseudo-infinity */
		{ 0x4000000000000000, 0x3fff }, /* unnormal */
		{ X87_INT_BIT, 0x3fff },
		{ X87_INT_BIT, 0x403e }, /* 2^63 */
		{ X87_INT_BIT, 0x403d },
		{ 0xde0b6b3a763fffff, 0x403a }, /* 10^18 and its neighbours */
		{ 0xde0b6b3a76400000, 0x403a },
		{ 0x8000000000000000, 0x3ffe },
		{ 0xc000000000000000, 0x3fff },
		{ 0xa000000000000000, 0x4000 },
	};
	struct x87_reg v;

	switch (sil_below(5)) {
	case 0:
		v = special[sil_below(20)];
		break;
	case 1:
		v = (struct x87_reg){ x87_random_mant(), (uint16_t)(1 + sil_below(0x7ffe)) };
		break;
	case 2: /* where results of conversions to float and double are tiny or huge */
		v = (struct x87_reg){
			x87_random_mant(),
			(uint16_t)(0x3fff + (sil_below(2) ? -1 : 1) *
						    (sil_below(2) ? 120 + (int)sil_below(40)
								  : 1015 + (int)sil_below(70)))
		};
		break;
	default:
		v = (struct x87_reg){ x87_random_mant(), (uint16_t)(0x3fff - 40 + sil_below(110)) };
	}
	v.exp ^= (uint16_t)(sil_below(2) << 15);
	return v;
}

/* Memory operands: something for every size. */
static inline void x87_random_memory(uint8_t *mem)
{
	struct x87_reg v = x87_random_value();
	uint64_t bits;
	double d;
	float f;

	memcpy(mem, &v.mant, 8);
	memcpy(mem + 8, &v.exp, 2);
	switch (sil_below(5)) {
	case 0:
		bits = sil_random();
		break;
	case 1: /* double of any size */
		bits = sil_random() & (sil_below(2) ? ~0ull : 0xbfffffffffffffff);
		break;
	case 2:
		d = (double)(int64_t)sil_random() / 3;
		f = (float)d;
		memcpy(mem, &d, 8);
		if (sil_below(2)) {
			memcpy(mem, &f, 4);
			memcpy(mem + 4, &f, 4);
		}
		return;
	case 3: {
		static const uint64_t edges[] = { 0,
						  0x8000000000000000,
						  0x7f8000007f800001,
						  0x7ff0000000000001,
						  0xfff8000000000000,
						  0x0000000000000001,
						  0x8000000080000001,
						  0x7fffffffffffffff,
						  0x000fffffffffffff,
						  0x00000000807fffff };

		bits = edges[sil_below(10)];
		break;
	}
	default:
		return; /* the 80-bit value */
	}
	memcpy(mem, &bits, 8);
}

static inline void x87_random_state(struct sil_state *s, bool pending)
{
	uint16_t cw = (uint16_t)(0x40 | (sil_below(4) ? 0x3f : sil_below(64)) | sil_below(4) << 10 |
				 (sil_below(2) ? 3 : sil_below(4)) << 8);
	uint16_t sw = (uint16_t)(sil_random() & (X87_CC | X87_TOP | X87_SF | X87_FLAGS));

	if (!pending)
		sw &= (uint16_t) ~(~cw & X87_FLAGS);
	else if (sw & ~cw & X87_FLAGS)
		sw |= X87_ES | X87_B;
	memset(s, 0, sizeof(*s));
	memcpy(s->fx, &cw, 2);
	memcpy(s->fx + 2, &sw, 2);
	s->fx[4] = (uint8_t)(sil_below(3) ? 0xff << (sil_below(3)) : (int)sil_random());
	if (sil_below(3)) { /* ST(7) empty: room to push */
		unsigned top = (sw >> 11) & 7;

		s->fx[4] |= (uint8_t)sil_random();
		s->fx[4] &= (uint8_t) ~(1u << ((top + 7) & 7));
	}
	s->fx[24] = 0x80;
	s->fx[25] = 0x1f;
	for (unsigned i = 0; i < 8; i++) {
		struct x87_reg v = x87_random_value();

		memcpy(s->fx + 32 + 16 * i, &v.mant, 8);
		memcpy(s->fx + 40 + 16 * i, &v.exp, 2);
	}
	x87_random_memory(s->mem);
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = sil_random();
	s->flags = sil_random() & SIL_FLAGS;
}

#endif
