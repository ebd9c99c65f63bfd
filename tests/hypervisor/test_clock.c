// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "hypervisor/clock.h"
#include "tests/unit.h"

static struct clock c;
static uint64_t count;
static unsigned changes;
static char fired[64];

static uint64_t get_count(void *ctx)
{
	return count;
}

static void changed(void *ctx)
{
	changes++;
}

static void setup(void)
{
	clock_init(&c);
	c.count = get_count;
	c.changed = changed;
	count = 0;
	changes = 0;
	fired[0] = 0;
}

static void fire(void *ctx)
{
	strcat(fired, ctx);
}

START_TEST(time_is_a_function_of_the_count)
{
	count = 1000;
	ck_assert_uint_eq(clock_now(&c), 1000);
	ck_assert_int_eq(clock_anchor(&c, 5000, CLOCK_RATE_ONE / 2), 0);
	ck_assert_uint_eq(clock_now(&c), 5000);
	ck_assert_uint_eq(clock_ns_at(&c, 1003), 5001); /* rounds down */
	/* No overflow in between. */
	ck_assert_uint_eq(clock_ns_at(&c, 1000 + (1ull << 60)), 5000 + (1ull << 59));
}
END_TEST

START_TEST(the_count_of_a_time_is_the_first_one_there)
{
	static const uint32_t rates[] = { 1, 3, 65535, CLOCK_RATE_ONE, 65537, CLOCK_RATE_MAX };

	count = 77;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		ck_assert_int_eq(clock_anchor(&c, 1000 + i, rates[i]), 0);
		for (uint64_t ns = c.anchor_ns + 1; ns < c.anchor_ns + 5000; ns += 37) {
			uint64_t n = clock_count_at(&c, ns);

			ck_assert_uint_ge(clock_ns_at(&c, n), ns);
			ck_assert_uint_lt(clock_ns_at(&c, n - 1), ns);
		}
	}
	ck_assert_uint_eq(clock_count_at(&c, c.anchor_ns), 77);
	ck_assert_uint_eq(clock_count_at(&c, 0), 77);
	ck_assert_int_eq(clock_anchor(&c, c.anchor_ns, 1), 0);
	ck_assert_uint_eq(clock_count_at(&c, UINT64_MAX), UINT64_MAX);
}
END_TEST

START_TEST(time_never_goes_back)
{
	count = 1000;
	ck_assert_int_eq(clock_anchor(&c, 999, CLOCK_RATE_ONE), -EINVAL);
	ck_assert_int_eq(clock_anchor(&c, 2000, 0), -EINVAL);
	ck_assert_int_eq(clock_anchor(&c, 2000, CLOCK_RATE_MAX + 1), -EINVAL);
	ck_assert_int_eq(clock_anchor(&c, (uint64_t)INT64_MAX + 1, CLOCK_RATE_ONE), -EINVAL);
	ck_assert_uint_eq(clock_now(&c), 1000);
	ck_assert_int_eq(clock_anchor(&c, 1000, CLOCK_RATE_MAX), 0);
}
END_TEST

START_TEST(timers_fire_in_the_order_of_deadline_and_slot)
{
	struct timer a, b, d, off;

	timer_init(&c, &a, "a", fire, "a");
	timer_init(&c, &b, "b", fire, "b");
	timer_init(&c, &d, "d", fire, "d");
	timer_init(&c, &off, "off", fire, "off");
	ck_assert_uint_eq(clock_next_deadline(&c), CLOCK_NEVER);
	timer_set(&c, &a, 300);
	timer_set(&c, &b, 200);
	timer_set(&c, &d, 200);
	timer_set(&c, &off, 100);
	timer_stop(&c, &off);
	ck_assert_uint_eq(changes, 4);
	timer_set(&c, &a, 300); /* nothing new */
	ck_assert_uint_eq(changes, 4);
	ck_assert_uint_eq(clock_next_deadline(&c), 200);
	count = 199;
	clock_expire(&c);
	ck_assert_str_eq(fired, "");
	count = 300;
	clock_expire(&c);
	ck_assert_str_eq(fired, "bda");
	ck_assert_uint_eq(clock_next_deadline(&c), CLOCK_NEVER);
}
END_TEST

static struct timer again;
static unsigned times;

static void rearm(void *ctx)
{
	times++;
	timer_set(&c, &again, 1);
}

START_TEST(a_timer_in_the_past_does_not_fire_for_ever)
{
	times = 0;
	timer_init(&c, &again, "again", rearm, NULL);
	timer_set(&c, &again, 1);
	count = 10;
	clock_expire(&c);
	ck_assert_uint_eq(times, 1000);
}
END_TEST

START_TEST(a_saved_clock_is_the_same)
{
	struct timer a, other_a;
	struct clock other;
	struct buf b = BUF_INIT;
	struct rd in;

	timer_init(&c, &a, "a", fire, "a");
	count = 50;
	ck_assert_int_eq(clock_anchor(&c, 5000, 99), 0);
	timer_set(&c, &a, 7777);
	clock_save(&c, &b);
	clock_init(&other);
	timer_init(&other, &other_a, "a", fire, "a");
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_int_eq(clock_restore(&other, &in), 0);
	ck_assert(other.anchor_ns == 5000 && other.anchor_count == 50 && other.rate == 99);
	ck_assert_uint_eq(other_a.deadline, 7777);
	for (size_t len = 0; len < b.len; len++) {
		in = (struct rd)RD_INIT(b.data, len);
		ck_assert_int_eq(clock_restore(&other, &in), -EINVAL);
	}
	b.data[20]++; /* another number of timers */
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_int_eq(clock_restore(&other, &in), -EINVAL);
	buf_free(&b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, time_is_a_function_of_the_count);
	tcase_add_test(tc, the_count_of_a_time_is_the_first_one_there);
	tcase_add_test(tc, time_never_goes_back);
	tcase_add_test(tc, timers_fire_in_the_order_of_deadline_and_slot);
	tcase_add_test(tc, a_timer_in_the_past_does_not_fire_for_ever);
	tcase_add_test(tc, a_saved_clock_is_the_same);
}

UNIT_MAIN("clock", add_tests)
