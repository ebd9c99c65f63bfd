// SPDX-License-Identifier: GPL-2.0-or-later
/* AES-NI and PCLMULQDQ: FIPS 197 vectors through the instructions, and carry-less products against
 * long multiplication. Random operands against the host CPU: test_sse.c walks all forms. */
#include "tests/soft/silicon.h"
#include "tests/unit.h"

struct vec {
	uint8_t b[16];
};

/* Executes one instruction on XMM0 = d and XMM1 = s; returns XMM0. */
static struct vec run(const char *bytes, size_t n, struct vec d, struct vec s)
{
	static struct sil_state in, out;
	struct op op;
	struct vec r;

	sil_cpu();
	memset(&in, 0, sizeof(in));
	memset(&op, 0, sizeof(op));
	in.fx[24] = 0x80;
	in.fx[25] = 0x1f;
	memcpy(in.fx + 160, d.b, 16);
	memcpy(in.fx + 176, s.b, 16);
	ck_assert_int_eq(decode_op((const uint8_t *)bytes, n, MODE_64, 0, &op), DECODE_OK);
	sil_soft_run(&op, &in, &out);
	ck_assert_int_eq(out.fault, SIL_NO_FAULT);
	memcpy(r.b, out.fx + 160, 16);
	return r;
}

#define AESENC	   "\x66\x0f\x38\xdc\xc1", 5
#define AESENCLAST "\x66\x0f\x38\xdd\xc1", 5
#define AESDEC	   "\x66\x0f\x38\xde\xc1", 5
#define AESDECLAST "\x66\x0f\x38\xdf\xc1", 5
#define AESIMC	   "\x66\x0f\x38\xdb\xc1", 5

static struct vec xor16(struct vec a, struct vec b)
{
	for (unsigned i = 0; i < 16; i++)
		a.b[i] ^= b.b[i];
	return a;
}

/* One step of the AES-128 key schedule. */
static struct vec next_key(struct vec key, uint8_t rcon)
{
	char insn[] = "\x66\x0f\x3a\xdf\xc1?";
	struct vec assist, k = key;

	insn[5] = (char)rcon;
	assist = run(insn, 6, key, key);
	for (unsigned i = 0; i < 16; i++)
		k.b[i] ^= i < 4 ? assist.b[12 + i] : k.b[i - 4];
	return k;
}

/* FIPS 197, appendix C.1. */
START_TEST(fips_197)
{
	static const uint8_t rcon[10] = { 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36 };
	static const struct vec expect = { { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8,
					     0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a } };
	struct vec key[11], text, t;

	for (unsigned i = 0; i < 16; i++) {
		key[0].b[i] = (uint8_t)i;
		text.b[i] = (uint8_t)(i * 0x11);
	}
	for (unsigned i = 0; i < 10; i++)
		key[i + 1] = next_key(key[i], rcon[i]);
	t = xor16(text, key[0]);
	for (unsigned i = 1; i < 10; i++)
		t = run(AESENC, t, key[i]);
	t = run(AESENCLAST, t, key[10]);
	ck_assert_mem_eq(t.b, expect.b, 16);

	t = xor16(t, key[10]);
	for (unsigned i = 9; i > 0; i--)
		t = run(AESDEC, t, run(AESIMC, key[i], key[i]));
	t = run(AESDECLAST, t, key[0]);
	ck_assert_mem_eq(t.b, text.b, 16);
}
END_TEST

static struct vec long_product(uint64_t a, uint64_t b)
{
	uint64_t lo = 0, hi = 0;
	struct vec r;

	for (unsigned i = 0; i < 64; i++) {
		if (!(b >> i & 1))
			continue;
		lo ^= a << i;
		hi ^= i ? a >> (64 - i) : 0;
	}
	memcpy(r.b, &lo, 8);
	memcpy(r.b + 8, &hi, 8);
	return r;
}

START_TEST(carry_less_product)
{
	for (unsigned i = 0; i < 400; i++) {
		uint64_t a[2] = { sil_random(), sil_random() },
			 b[2] = { sil_random(), sil_random() };
		char insn[] = "\x66\x0f\x3a\x44\xc1?";
		struct vec x, y, r, expect;

		memcpy(x.b, a, 16);
		memcpy(y.b, b, 16);
		insn[5] = (char)i;
		r = run(insn, 6, x, y);
		expect = long_product(a[i & 1], b[i >> 4 & 1]);
		ck_assert_mem_eq(r.b, expect.b, 16);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, fips_197);
	tcase_add_test(tc, carry_less_product);
}

UNIT_MAIN("aes", add_tests)
