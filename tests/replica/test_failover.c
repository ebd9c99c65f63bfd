// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of states and events: whole, sound, and kept by whoever walks it. */
#include <signal.h>
#include <unistd.h>

#include "replica/failover.h"
#include "tests/unit.h"

static int sent;

static int count_output(void *ctx, const struct output *out, uint64_t deadline_ns)
{
	sent++;
	return 0;
}

static struct outbox box;
static struct failover f;

static void open_at(enum replica_state s)
{
	outbox_init(&box, count_output, NULL);
	failover_init(&f, &box);
	atomic_store(&f.state, s);
	outbox_set_mode(&box, failover_outbox_mode(s));
}

static void close_all(void)
{
	failover_fini(&f);
	outbox_fini(&box);
}

START_TEST(every_cell_is_a_state_or_cannot_happen)
{
	for (int s = 0; s < REPLICA_STATES; s++) {
		ck_assert_ptr_nonnull(replica_state_name((enum replica_state)s));
		for (int e = 0; e < FAILOVER_EVENTS; e++) {
			int next = failover_next((enum replica_state)s, (enum failover_event)e);

			ck_assert_ptr_nonnull(failover_event_name((enum failover_event)e));
			ck_assert_int_ge(next, -1);
			ck_assert_int_lt(next, REPLICA_STATES);
			if (next < 0)
				continue;
			open_at((enum replica_state)s);
			ck_assert_int_eq(failover_event(&f, (enum failover_event)e), next);
			ck_assert_int_eq(box.mode, failover_outbox_mode((enum replica_state)next));
			close_all();
		}
	}
}
END_TEST

/* One iteration a cell; Check wants each to end with SIGABRT. */
START_TEST(what_cannot_happen_aborts)
{
	enum replica_state s = (enum replica_state)(_i / FAILOVER_EVENTS);
	enum failover_event e = (enum failover_event)(_i % FAILOVER_EVENTS);

	close(STDERR_FILENO); /* there are many */
	if (failover_next(s, e) >= 0)
		raise(SIGABRT);
	open_at(s);
	failover_event(&f, e);
}
END_TEST

/* Who was told that it is lost, or that it is over, never lets anything out again by itself. */
START_TEST(the_end_is_the_end)
{
	static const enum replica_state ends[] = { REPLICA_FENCED, REPLICA_ENDED };

	for (int i = 0; i < 2; i++) {
		for (int e = 0; e < FAILOVER_EVENTS; e++) {
			int next = failover_next(ends[i], (enum failover_event)e);

			ck_assert(next == -1 || next == (int)ends[i]);
		}
		ck_assert_int_eq(failover_outbox_mode(ends[i]), OUTBOX_CLOSED);
		ck_assert(!failover_is_live(ends[i]));
	}
}
END_TEST

/* Into a state whose outputs leave freely: with the arbiter's word, or when no backup can be live.
 */
START_TEST(the_way_to_alone)
{
	for (int s = 0; s < REPLICA_STATES; s++) {
		for (int e = 0; e < FAILOVER_EVENTS; e++) {
			if (s == REPLICA_ALONE ||
			    failover_next((enum replica_state)s, (enum failover_event)e) !=
				    REPLICA_ALONE)
				continue;
			ck_assert(e == FAILOVER_START || e == FAILOVER_WON || e == FAILOVER_BYE ||
				  ((s == REPLICA_JOINING || s == REPLICA_HOLDING) &&
				   (e == FAILOVER_LOST || e == FAILOVER_STAY)));
		}
	}
	ck_assert_int_eq(failover_next(REPLICA_PROTECTED, FAILOVER_LOST), REPLICA_ASKING);
	ck_assert_int_eq(failover_next(REPLICA_COUNTED_ON, FAILOVER_LOST), REPLICA_ASKING);
	ck_assert_int_eq(failover_next(REPLICA_ASKING, FAILOVER_UNKNOWN), REPLICA_ASKING);
	ck_assert_int_eq(failover_next(REPLICA_CLAIMING, FAILOVER_UNKNOWN), REPLICA_CLAIMING);
}
END_TEST

START_TEST(a_generation_comes_with_its_state)
{
	uint64_t next;

	open_at(REPLICA_CLAIMING);
	failover_follow(&f, 7);
	ck_assert(failover_asks(&f, &next));
	ck_assert_uint_eq(next, 8);
	ck_assert_int_eq(failover_take(&f, FAILOVER_WON, 8), REPLICA_ALONE);
	ck_assert_uint_eq(failover_generation(&f), 8);
	ck_assert(!failover_asks(&f, &next));
	close_all();
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, every_cell_is_a_state_or_cannot_happen);
	_tcase_add_test(tc, what_cannot_happen_aborts, SIGABRT, 0, 0,
			REPLICA_STATES * FAILOVER_EVENTS);
	tcase_add_test(tc, the_end_is_the_end);
	tcase_add_test(tc, the_way_to_alone);
	tcase_add_test(tc, a_generation_comes_with_its_state);
}

UNIT_MAIN("failover", add_tests)
