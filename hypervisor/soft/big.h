/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floating point with 128-bit significands, in integers only, for the transcendental x87 functions:
 * the same bits on every host and with every compiler. Results are cut off, so each operation errs
 * by less than 2^-126.
 */
#ifndef SOFT_BIG_H
#define SOFT_BIG_H

#include <stdbool.h>
#include <stdint.h>

typedef unsigned __int128 u128;

struct big {
	u128 m; /* top bit set, or 0 for zero */
	int e;	/* value = m * 2^(e - 127) */
	bool neg;
};

#define BIG(hi, lo, exp)                              \
	{                                             \
		(u128)(hi) << 64 | (lo), (exp), false \
	}

struct big big_make(u128 m, int e, bool neg); /* normalises m * 2^(e - 127) */
struct big big_int(int64_t v);
struct big big_neg(struct big a);
struct big big_cut(struct big a, unsigned bits); /* to so many significant bits, towards zero */
struct big big_add(struct big a, struct big b);
struct big big_sub(struct big a, struct big b);
struct big big_mul(struct big a, struct big b);
struct big big_div(struct big a, struct big b); /* b is not zero */
/* |a| < |b| */
bool big_less(struct big a, struct big b);

/* Functions; ranges as the callers in x87_trans.c keep them. */
struct big big_sin(struct big r); /* |r| <= pi/4 */
struct big big_cos(struct big r); /* |r| <= pi/4 */
/* (1 - cos(r)) / r^2 of z = r^2, 0 <= z <= (pi/4)^2 */
struct big big_versine_rate(struct big z);
struct big big_expm1(struct big t);   /* |t| <= ln 2 */
struct big big_log2(struct big v);    /* v > 0 */
struct big big_log2_1p(struct big x); /* 1 + x in [sqrt(1/2), sqrt(2)] */
struct big big_atan(struct big q);    /* 0 < q <= 1 */

extern const struct big BIG_LN2, BIG_LOG2_E, BIG_PI, BIG_HALF_PI;

#endif
