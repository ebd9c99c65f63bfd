// SPDX-License-Identifier: GPL-2.0-or-later
/* How long silence may last: it follows what was late, within bounds, and is what stamps have said.
 */
#include "replica/patience.h"
#include "tests/unit.h"

#define MS 1000000ull
#define S  (1000 * MS)

START_TEST(it_follows_what_was_late)
{
	struct patience p;

	patience_init(&p, 400, 2000);
	ck_assert_uint_eq(patience_ms(&p), 400);
	ck_assert(!patience_note(&p, 100 * MS, 5000 * S));
	ck_assert_uint_eq(patience_ms(&p), 400);
	ck_assert(patience_note(&p, 250 * MS, 5001 * S));
	ck_assert_uint_eq(patience_ms(&p), 750);
	ck_assert(!patience_note(&p, 200 * MS, 5002 * S)); /* less does not undo that */
	ck_assert_uint_eq(patience_ms(&p), 750);
	ck_assert(patience_note(&p, 90 * S, 5003 * S));
	ck_assert_uint_eq(patience_ms(&p), 2000);
	ck_assert(!patience_note(&p, UINT64_MAX, 5004 * S));
	ck_assert_uint_eq(patience_ms(&p), 2000);
}
END_TEST

START_TEST(it_forgets_after_two_turns)
{
	struct patience p;

	patience_init(&p, 400, 2000);
	patience_note(&p, 300 * MS, 5000 * S);
	patience_note(&p, MS, 5000 * S + PATIENCE_TURN_NS);
	ck_assert_uint_eq(patience_ms(&p), 900);
	ck_assert(patience_note(&p, MS, 5000 * S + 2 * PATIENCE_TURN_NS));
	ck_assert_uint_eq(patience_ms(&p), 400);
	patience_note(&p, 300 * MS, 9000 * S);
	ck_assert(patience_note(&p, MS,
				99000 * S)); /* nothing for long: nor is that a turn's worth */
	ck_assert_uint_eq(patience_ms(&p), 400);
}
END_TEST

START_TEST(without_room_it_stays)
{
	struct patience p;

	patience_init(&p, 400, 0);
	ck_assert(!patience_note(&p, 9 * S, 5000 * S));
	ck_assert_uint_eq(patience_ms(&p), 400);
}
END_TEST

/* A stamp that was sent before the change has said less: a lease may not build on more. */
START_TEST(what_a_stamp_has_said_counts)
{
	struct patience p;

	patience_init(&p, 400, 2000);
	ck_assert_uint_eq(patience_of(&p, 10 * S), 400 * MS);
	patience_note(&p, 500 * MS, 5000 * S);
	ck_assert_uint_eq(patience_of(&p, 5000 * S), 400 * MS); /* it may have been read before */
	ck_assert_uint_eq(patience_of(&p, 5000 * S + 1), 1500 * MS);
	patience_note(&p, 600 * MS, 5010 * S);
	ck_assert_uint_eq(patience_of(&p, 5000 * S + 1),
			  400 * MS); /* 1500 was said; less is safe */
	ck_assert_uint_eq(patience_of(&p, 5010 * S + 1), 1800 * MS);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, it_follows_what_was_late);
	tcase_add_test(tc, it_forgets_after_two_turns);
	tcase_add_test(tc, without_room_it_stays);
	tcase_add_test(tc, what_a_stamp_has_said_counts);
}

UNIT_MAIN("patience", add_tests)
