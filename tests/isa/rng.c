/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/isa/isa.h"

#include <string.h>

/* splitmix64 */
uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

bool rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

uint64_t rng_edge(struct rng *r)
{
	static const uint64_t edge[] = {
		0,
		1,
		2,
		~0ull,
		~1ull,
		0x7f,
		0x80,
		0xff,
		0x100,
		0x7fff,
		0x8000,
		0xffff,
		0x10000,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x100000000,
		0x7fffffffffffffff,
		0x8000000000000000,
		0xffffffff80000000,
		0xffffffffffff8000,
		0xffffffffffffff80,
		0x00ff00ff00ff00ff,
		0x5555555555555555,
		0x8000000080000000,
		0x8000800080008000,
		0x8080808080808080,
		0x7f7f7f7f7f7f7f7f,
	};
	uint64_t v = rng_next(r);

	switch (rng_below(r, 8)) {
	case 0:
		return edge[rng_below(r, sizeof(edge) / sizeof(edge[0]))];
	case 1:
		return 1ull << (v & 63);
	case 2:
		return (1ull << (v & 63)) - 1;
	case 3:
		return v & 0xff;
	case 4:
		return (uint64_t)(int64_t)(int32_t)v;
	case 5:
		return (uint64_t)(int64_t)(int16_t)v;
	case 6:
		return edge[rng_below(r, sizeof(edge) / sizeof(edge[0]))] ^ (v & 3);
	default:
		return v;
	}
}

uint32_t rng_float(struct rng *r)
{
	static const uint32_t special[] = { 0,		0x80000000, 0x3f800000, 0xbf800000,
					    0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
					    0x7f800001, 0xff812345, 0x7fffffff, 1,
					    0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff,
					    0xff7fffff, 0x4f000000, 0xcf000000, 0x4effffff,
					    0x5f000000, 0xdf000000, 0x3f000000, 0x40200000 };
	uint64_t v = rng_next(r);

	switch (rng_below(r, 6)) {
	case 0:
	case 1:
		return special[rng_below(r, sizeof(special) / sizeof(special[0]))];
	case 2: /* about 1 */
		return (uint32_t)(v & 0x80ffffff) | (uint32_t)(0x3c + (v >> 40 & 7)) << 24;
	case 3: { /* an integer */
		float f = (float)(int32_t)(v >> (v & 31));
		uint32_t u;

		memcpy(&u, &f, sizeof(u));
		return u;
	}
	case 4: /* denormal */
		return (uint32_t)(v & 0x807fffff);
	default:
		return (uint32_t)v;
	}
}

uint64_t rng_double(struct rng *r)
{
	static const uint64_t special[] = {
		0,
		0x8000000000000000,
		0x3ff0000000000000,
		0xbff0000000000000,
		0x7ff0000000000000,
		0xfff0000000000000,
		0x7ff8000000000000,
		0xfff8000000000000,
		0x7ff0000000000001,
		0xfff4000000000123,
		1,
		0x8000000000000001,
		0x000fffffffffffff,
		0x0010000000000000,
		0x7fefffffffffffff,
		0x41dfffffffc00000,
		0xc1e0000000000000,
		0x43e0000000000000,
		0x3fe0000000000000,
		0x36a0000000000000,
		0x47efffffe0000000,
		0x3810000000000000,
		0x4004000000000000,
	};
	uint64_t v = rng_next(r);

	switch (rng_below(r, 6)) {
	case 0:
	case 1:
		return special[rng_below(r, sizeof(special) / sizeof(special[0]))];
	case 2:
		return (v & 0x800fffffffffffff) | (uint64_t)(0x3f0 + (v >> 58)) << 52;
	case 3: {
		double d = (double)(int64_t)((int64_t)v >> (v & 63));
		uint64_t u;

		memcpy(&u, &d, sizeof(u));
		return u;
	}
	case 4:
		return v & 0x800fffffffffffff;
	default:
		return v;
	}
}

void rng_x87(struct rng *r, uint8_t out[10])
{
	uint64_t mant = rng_next(r) | 1ull << 63;
	uint16_t exp;
	uint64_t v = rng_next(r);

	switch (rng_below(r, 12)) {
	case 0:
		mant = 0, exp = 0;
		break;
	case 1:
		mant = 1ull << 63, exp = 0x7fff;
		break;
	case 2: /* NaN */
		exp = 0x7fff;
		mant = (v & 1) ? mant | 1ull << 62 : (mant & ~(1ull << 62)) | 1;
		break;
	case 3: /* denormal */
		exp = 0;
		mant &= ~(1ull << 63);
		break;
	case 4: /* unsupported formats, or anything */
		exp = (uint16_t)v;
		mant = rng_next(r);
		break;
	case 5: /* one and powers of two */
		mant = 1ull << 63;
		exp = (uint16_t)(0x3fff - 4 + (v & 7));
		break;
	case 6: /* small integer */
		mant = (v & 0xffff) << 48 | 1ull << 63;
		exp = (uint16_t)(0x3fff + (v >> 32 & 15));
		break;
	case 7:
		exp = (uint16_t)(v & 0x7fff);
		break;
	default: /* about 1 */
		exp = (uint16_t)(0x3fff - 32 + (v & 63));
		break;
	}
	exp |= (uint16_t)(rng_below(r, 2) << 15);
	memcpy(out, &mant, 8);
	memcpy(out + 8, &exp, 2);
}
