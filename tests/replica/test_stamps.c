// SPDX-License-Identifier: GPL-2.0-or-later
/* How far a backup is behind: stamps of records, and the rate of the log. */
#include <string.h>

#include "replica/link.h"
#include "replica/stamps.h"
#include "tests/unit.h"

static struct stamps s;

START_TEST(the_oldest_one_is_the_lag)
{
	stamps_clear(&s);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000), 0);
	stamps_add(&s, 1, 100);
	stamps_add(&s, 2, 200);
	stamps_add(&s, 5, 500);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000), 900);
	stamps_applied(&s, 1);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000), 800);
	stamps_applied(&s, 4);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000), 500);
	stamps_applied(&s, 5);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000), 0);
}
END_TEST

/* Too many: the newest one stands for what follows, and the lag is never too small. */
START_TEST(a_full_ring_shows_no_less)
{
	stamps_clear(&s);
	for (uint64_t i = 1; i <= STAMPS + 10; i++) {
		ck_assert_int_eq(stamps_full(&s), i > STAMPS);
		stamps_add(&s, i, i * 100);
	}
	stamps_applied(&s, STAMPS - 1);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000000), 1000000 - STAMPS * 100);
	stamps_applied(&s, STAMPS + 9);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000000), 1000000 - STAMPS * 100);
	stamps_applied(&s, STAMPS + 10);
	ck_assert_uint_eq(stamps_lag_ns(&s, 1000000), 0);
}
END_TEST

START_TEST(a_rate_is_that_of_the_last_second)
{
	const uint64_t second = 1000000000;
	struct traffic t = { 0 };

	traffic_note(&t, 1000, 10 * second);
	traffic_note(&t, 1500, 10 * second + second / 2); /* too soon to say */
	ck_assert(traffic_rate(&t, 10 * second + second / 2) == 0);
	traffic_note(&t, 3000, 11 * second);
	ck_assert(traffic_rate(&t, 11 * second) == 2000);
	ck_assert(traffic_rate(&t, 14 * second) == 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, the_oldest_one_is_the_lag);
	tcase_add_test(tc, a_full_ring_shows_no_less);
	tcase_add_test(tc, a_rate_is_that_of_the_last_second);
}

UNIT_MAIN("stamps", add_tests)
