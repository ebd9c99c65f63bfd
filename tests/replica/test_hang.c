// SPDX-License-Identifier: GPL-2.0-or-later
/* The watch over the other side's vCPU thread: what counts as standing still. */
#include "replica/replica_private.h"
#include "tests/unit.h"

#define MS NS_PER_MS

START_TEST(a_beat_that_changes_is_progress)
{
	struct hang_watch w = { 0 };

	for (uint64_t i = 1; i < 100; i++)
		ck_assert_uint_eq(hang_watch_look(&w, 1000 + i, i * 25 * MS, 50 * MS), 0);
}
END_TEST

START_TEST(a_beat_that_does_not_is_counted)
{
	struct hang_watch w = { 0 };

	ck_assert_uint_eq(hang_watch_look(&w, 7, 1000 * MS, 50 * MS), 0);
	ck_assert_uint_eq(hang_watch_look(&w, 7, 1025 * MS, 50 * MS), 25 * MS);
	ck_assert_uint_eq(hang_watch_look(&w, 7, 1050 * MS, 50 * MS), 50 * MS);
	ck_assert_uint_eq(hang_watch_look(&w, 8, 1075 * MS, 50 * MS), 0);
	ck_assert_uint_eq(hang_watch_look(&w, 8, 1080 * MS, 50 * MS), 5 * MS);
}
END_TEST

/* The watcher was away for an hour itself: it has not seen an hour of standing still. */
START_TEST(the_watchers_own_absence_does_not_count)
{
	struct hang_watch w = { 0 };

	hang_watch_look(&w, 7, 1000 * MS, 50 * MS);
	ck_assert_uint_eq(hang_watch_look(&w, 7, 3600000 * MS, 50 * MS), 50 * MS);
}
END_TEST

/* A vCPU thread that has not started (no beat yet) does not hang. */
START_TEST(no_beat_yet)
{
	struct hang_watch w = { 0 };

	for (uint64_t i = 1; i < 100; i++)
		ck_assert_uint_eq(hang_watch_look(&w, 0, i * 25 * MS, 50 * MS), 0);
}
END_TEST

START_TEST(signs_of_life_come_often_enough)
{
	ck_assert_uint_eq(heartbeat_ms(200, 5000), 25);
	ck_assert_uint_eq(heartbeat_ms(3600000, 4000), 500);
	ck_assert_uint_eq(heartbeat_ms(10, 100), 1);
	ck_assert_uint_eq(heartbeat_ms(1, 100), 1);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_beat_that_changes_is_progress);
	tcase_add_test(tc, a_beat_that_does_not_is_counted);
	tcase_add_test(tc, the_watchers_own_absence_does_not_count);
	tcase_add_test(tc, no_beat_yet);
	tcase_add_test(tc, signs_of_life_come_often_enough);
}

UNIT_MAIN("hang", add_tests)
