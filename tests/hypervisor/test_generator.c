// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "hypervisor/generator.h"
#include "tests/unit.h"

static void check_draws(struct generator *g, const char *hex, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t v = generator_next(g);

		for (unsigned k = 0; k < 8; k++) {
			char two[3] = { hex[2 * (i + k)], hex[2 * (i + k) + 1] };

			ck_assert_uint_eq(v >> 8 * k & 0xff, strtoul(two, NULL, 16));
		}
	}
}

/* RFC 8439, A.1: test vectors 1 and 2, key and nonce all zero, blocks 0 and 1. */
START_TEST(it_is_chacha20)
{
	struct generator g;

	generator_init(&g);
	check_draws(&g,
		    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
		    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
		    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
		    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
		    128);
}
END_TEST

START_TEST(a_seed_changes_what_comes)
{
	const uint8_t seed[GENERATOR_SEED_LEN] = { 1 }, other[GENERATOR_SEED_LEN] = { 2 };
	struct generator a, b;

	generator_init(&a);
	generator_init(&b);
	generator_seed(&a, seed);
	generator_seed(&b, seed);
	ck_assert_uint_eq(generator_next(&a), generator_next(&b));
	generator_seed(&a, seed);
	generator_seed(&b, other);
	ck_assert_uint_ne(generator_next(&a), generator_next(&b));
	/* Seeding again goes on from the key before. */
	generator_init(&a);
	generator_seed(&a, seed);
	generator_init(&b);
	generator_seed(&b, seed);
	generator_seed(&b, seed);
	ck_assert_uint_ne(generator_next(&a), generator_next(&b));
}
END_TEST

START_TEST(nothing_of_the_past_stays_after_a_seed)
{
	const uint8_t seed[GENERATOR_SEED_LEN] = { 3 };
	struct generator g;

	generator_init(&g);
	generator_next(&g);
	generator_seed(&g, seed);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(g.out[i], 0);
	ck_assert(g.block == 0 && g.used == 16);
}
END_TEST

START_TEST(a_saved_generator_goes_on)
{
	const uint8_t seed[GENERATOR_SEED_LEN] = { 9 };

	for (unsigned drawn = 0; drawn < 20; drawn++) {
		struct generator a, b;
		struct buf out = BUF_INIT;
		struct rd in;

		generator_init(&a);
		generator_seed(&a, seed);
		for (unsigned i = 0; i < drawn; i++)
			generator_next(&a);
		generator_save(&a, &out);
		generator_init(&b);
		in = (struct rd)RD_INIT(out.data, out.len);
		ck_assert_int_eq(generator_restore(&b, &in), 0);
		ck_assert_uint_eq(rd_left(&in), 0);
		for (unsigned i = 0; i < 20; i++)
			ck_assert_uint_eq(generator_next(&a), generator_next(&b));
		buf_free(&out);
	}
}
END_TEST

/* key, u64 block, u8 words used */
static int restore(uint64_t block, uint8_t used, size_t len)
{
	struct generator g;
	struct buf b = BUF_INIT;
	struct rd in;
	int ret;

	for (unsigned i = 0; i < 8; i++)
		buf_put_u32(&b, i);
	buf_put_u64(&b, block);
	buf_put_u8(&b, used);
	generator_init(&g);
	in = (struct rd)RD_INIT(b.data, len < b.len ? len : b.len);
	ret = generator_restore(&g, &in);
	buf_free(&b);
	return ret;
}

START_TEST(what_no_generator_saves_is_refused)
{
	ck_assert_int_eq(restore(1, 2, SIZE_MAX), 0);
	ck_assert_int_eq(restore(0, 16, SIZE_MAX), 0);
	ck_assert_int_eq(restore(0, 2, SIZE_MAX), -EINVAL); /* words of a block before the first */
	ck_assert_int_eq(restore(1, 3, SIZE_MAX), -EINVAL);
	ck_assert_int_eq(restore(1, 18, SIZE_MAX), -EINVAL);
	ck_assert_int_eq(restore(1, 2, 40), -EINVAL);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, it_is_chacha20);
	tcase_add_test(tc, a_seed_changes_what_comes);
	tcase_add_test(tc, nothing_of_the_past_stays_after_a_seed);
	tcase_add_test(tc, a_saved_generator_goes_on);
	tcase_add_test(tc, what_no_generator_saves_is_refused);
}

UNIT_MAIN("generator", add_tests)
