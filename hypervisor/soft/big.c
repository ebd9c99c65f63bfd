// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/soft/big.h"

const struct big BIG_LN2 = BIG(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af, -1);
const struct big BIG_PI = BIG(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1, 1);
const struct big BIG_HALF_PI = BIG(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1, 0);

const struct big BIG_LOG2_E = BIG(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e89, 0);
static const struct big ONE = BIG(0x8000000000000000, 0, 0);
static const struct big TWO = BIG(0x8000000000000000, 0, 1);

#define SQRT_2_MANT 0xb504f333f9de6484ull /* sqrt(2) * 2^63, cut off */

/* atan(i / 16) */
static const struct big atan_16th[17] = {
	{ 0 },
	BIG(0xffaaddb967ef4e36, 0xcb2792dc0e2e0d51, -5),
	BIG(0xfeadd4d5617b6e32, 0xc897989f3e888ef8, -4),
	BIG(0xbdcbda5e72d81134, 0x7b0b4f881c9c7488, -3),
	BIG(0xfadbafc96406eb15, 0x6dc79ef5f7a217e6, -3),
	BIG(0x9b13b9b83f5e5e69, 0xc5abb498d27af328, -2),
	BIG(0xb7b0ca0f26f78473, 0x8aa32122dcfe4483, -2),
	BIG(0xd327761e611fe5b6, 0x427c95e9001e7136, -2),
	BIG(0xed63382b0dda7b45, 0x6fe445ecbc3a8d03, -2),
	BIG(0x832bf4a6d9867e2a, 0x4b6a09cb61a515c1, -1),
	BIG(0x8f005d5ef7f59f9b, 0x5c835e1665c43748, -1),
	BIG(0x9a2f80e671bdda20, 0x4226f8e2204ff3bd, -1),
	BIG(0xa4bc7d1934f70924, 0x19a87f2a457dac9f, -1),
	BIG(0xaeac4c38b4d8c080, 0x14725e2f3e52070a, -1),
	BIG(0xb8053e2bc2319e73, 0xcb2da55210a4443d, -1),
	BIG(0xc0ce85b8ac526640, 0x89dd62c46e92fa25, -1),
	BIG(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1, -1),
};

static int clz128(u128 v)
{
	return v >> 64 ? __builtin_clzll((uint64_t)(v >> 64)) : 64 + __builtin_clzll((uint64_t)v);
}

struct big big_make(u128 m, int e, bool neg)
{
	int lead;

	if (!m)
		return (struct big){ 0 };
	lead = clz128(m);
	return (struct big){ m << lead, e - lead, neg };
}

struct big big_int(int64_t v)
{
	return big_make(v < 0 ? -(uint64_t)v : (uint64_t)v, 127, v < 0);
}

struct big big_cut(struct big a, unsigned bits)
{
	a.m &= ~(u128)0 << (128 - bits);
	return a;
}

struct big big_neg(struct big a)
{
	a.neg = !a.neg;
	return a;
}

bool big_less(struct big a, struct big b)
{
	if (!a.m || !b.m)
		return b.m;
	return a.e != b.e ? a.e < b.e : a.m < b.m;
}

struct big big_add(struct big a, struct big b)
{
	u128 low, sum;

	if (big_less(a, b)) {
		struct big t = a;

		a = b;
		b = t;
	}
	if (!b.m)
		return a;
	low = a.e - b.e < 128 ? b.m >> (a.e - b.e) : 0;
	if (a.neg != b.neg)
		return big_make(a.m - low, a.e, a.neg);
	sum = a.m + low;
	if (sum < low) {
		sum = sum >> 1 | (u128)1 << 127;
		a.e++;
	}
	return (struct big){ sum, a.e, a.neg };
}

struct big big_sub(struct big a, struct big b)
{
	return big_add(a, big_neg(b));
}

struct big big_mul(struct big a, struct big b)
{
	uint64_t a1 = (uint64_t)(a.m >> 64), a0 = (uint64_t)a.m, b1 = (uint64_t)(b.m >> 64),
		 b0 = (uint64_t)b.m;
	u128 mid, high, low = (u128)a0 * b0, p = (u128)a1 * b0, q = (u128)a0 * b1;

	if (!a.m || !b.m)
		return (struct big){ 0 };
	mid = (low >> 64) + (uint64_t)p + (uint64_t)q;
	high = (u128)a1 * b1 + (p >> 64) + (q >> 64) + (mid >> 64);
	if (high >> 127)
		return (struct big){ high, a.e + b.e + 1, a.neg ^ b.neg };
	return (struct big){ high << 1 | ((uint64_t)mid >> 63), a.e + b.e, a.neg ^ b.neg };
}

struct big big_div(struct big a, struct big b)
{
	struct big q = { 1, a.e - b.e, a.neg ^ b.neg };
	u128 r = a.m - b.m;

	if (!a.m)
		return a;
	if (a.m < b.m) {
		r = a.m - (b.m - a.m); /* 2a - b */
		q.e--;
	}
	for (int i = 0; i < 127; i++) {
		bool carry = r >> 127;

		r <<= 1;
		q.m <<= 1;
		if (carry || r >= b.m) {
			r -= b.m;
			q.m |= 1;
		}
	}
	return q;
}

static struct big big_div_small(struct big a, uint32_t n)
{
	u128 q = a.m / n, rest = a.m % n;
	int lead;

	if (!a.m)
		return a;
	lead = clz128(q);
	a.m = q << lead | (rest << lead) / n;
	a.e -= lead;
	return a;
}

/* ---- functions ---- */
/*
 * Horner's scheme for series whose terms have quotients z / ((2k + step - 1) (2k + step)), with
 * alternating signs: sin(r) / r (step 1) and cos(r) (step 0). With z <= (pi/4)^2 the terms left out
 * are below 2^-128.
 */
static struct big alternating(struct big z, unsigned step)
{
	struct big acc = ONE;

	for (unsigned k = 17; k > 0; k--)
		acc = big_sub(ONE,
			      big_div_small(big_mul(z, acc), (2 * k + step - 1) * (2 * k + step)));
	return acc;
}

struct big big_sin(struct big r)
{
	return big_mul(r, alternating(big_mul(r, r), 1));
}

struct big big_cos(struct big r)
{
	return alternating(big_mul(r, r), 0);
}

struct big big_versine_rate(struct big z)
{
	struct big acc = ONE;

	for (unsigned k = 17; k > 1; k--)
		acc = big_sub(ONE, big_div_small(big_mul(z, acc), 2 * k * (2 * k - 1)));
	acc.e--;
	return acc;
}

struct big big_expm1(struct big t)
{
	struct big acc = ONE;

	for (unsigned k = 33; k > 1; k--)
		acc = big_add(ONE, big_div_small(big_mul(t, acc), k));
	return big_mul(t, acc);
}

/* s + s^3/3 + s^5/5 ..., or with alternating signs: atanh and atan. */
static struct big odd_powers(struct big s, unsigned terms, bool alternate)
{
	struct big z = big_mul(s, s), acc = { 0 };

	if (alternate)
		z = big_neg(z);
	for (unsigned k = terms; k-- > 0;)
		acc = big_add(big_div_small(ONE, 2 * k + 1), big_mul(z, acc));
	return big_mul(s, acc);
}

/* log2 of (1 + s) / (1 - s), |s| <= 0.172. */
static struct big log2_ratio(struct big s)
{
	struct big r = big_mul(odd_powers(s, 27, false), BIG_LOG2_E);

	r.e++;
	return r;
}

struct big big_log2(struct big v)
{
	struct big m = { v.m, 0, false };
	int e = v.e;

	if (v.m >> 64 > SQRT_2_MANT) {
		m.e--;
		e++;
	}
	return big_add(big_int(e), log2_ratio(big_div(big_sub(m, ONE), big_add(m, ONE))));
}

struct big big_log2_1p(struct big x)
{
	return log2_ratio(big_div(x, big_add(TWO, x)));
}

/* Computes the arctangent by the distance from the nearest sixteenth and the addition theorem. */
struct big big_atan(struct big q)
{
	unsigned i = q.e < -5 ? 0 : (unsigned)((q.m >> (127 - 5 - q.e)) + 1) / 2;
	struct big c = big_div_small(big_int(i), 16);

	if (i == 0)
		return odd_powers(q, 14, true);
	q = big_div(big_sub(q, c), big_add(ONE, big_mul(q, c)));
	return big_add(atan_16th[i], odd_powers(q, 14, true));
}
