// SPDX-License-Identifier: GPL-2.0-or-later
/* The rules that both engines share, reason by reason. */
#include "hypervisor/boundary.h"
#include "tests/unit.h"

static struct boundary b;
static bool stuck, kick, spin, stop;
static unsigned kicks;

static bool is_stuck(void *engine)
{
	return stuck;
}

static bool take_kick(void *engine)
{
	kicks += kick;
	return kick;
}

static bool take_spin(void *engine)
{
	return spin;
}

#define ON 99 /* run() does not end */

static int ends(uint64_t count)
{
	static const struct boundary_ops ops = { is_stuck, take_kick, take_spin };
	const struct landmark until = { .count = count };
	enum engine_exit_kind kind;

	return boundary_exit(&b, &ops, NULL, &until, &kind) ? (int)kind : ON;
}

static void setup(void)
{
	b = (struct boundary){ .count = 10, .retired = true, .named = true, .stop_wanted = &stop };
	stuck = kick = spin = stop = false;
	kicks = 0;
}

START_TEST(the_order_of_reasons)
{
	b.halted = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_HALT);
	b.window_wanted = true;
	b.events.rflags = FL_IF;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_WINDOW);
	stop = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_BUS);
	ck_assert(!stop);
	spin = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_SPIN);
	kick = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_KICK);
	stuck = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_STUCK);
	b.events.shutdown = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_SHUTDOWN);
	ck_assert_int_eq(ends(10), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(kicks, 1);
}
END_TEST

START_TEST(kicks_and_stops_wait_for_a_landmark)
{
	kick = stop = true;
	b.named = false;
	ck_assert_int_eq(ends(11), ON);
	ck_assert(stop && !kicks);
	ck_assert_int_eq(ends(10), ON); /* one instruction later */
	b.in_rep = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_KICK);
	kick = false;
	ck_assert_int_eq(ends(11), ON); /* a stop waits for the instruction's end */
	b.in_rep = false;
	b.named = true;
	ck_assert_int_eq(ends(11), ENGINE_EXIT_BUS);
}
END_TEST

START_TEST(a_landmark_inside_rep_is_named_by_rcx)
{
	struct landmark until = { .count = 10, .in_rep = true, .rip = 0x1000, .rcx = 5 };

	b.rip = 0x1000;
	b.rcx = 6;
	b.in_rep = true;
	ck_assert(!boundary_reached(&b, &until));
	b.rcx = 5;
	ck_assert(boundary_reached(&b, &until));
	b.rip = 0x1002;
	ck_assert(!boundary_reached(&b, &until));
	until.count = 9; /* behind it already */
	ck_assert(boundary_reached(&b, &until));
	until.count = 10;
	b.retired = false; /* exits have no places inside */
	ck_assert(boundary_reached(&b, &until));
}
END_TEST

START_TEST(the_order_of_events)
{
	struct boundary_events e = { .rflags = FL_IF };

	ck_assert_int_eq(boundary_event(&e), BOUNDARY_NONE);
	e.intr = true;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_INTR);
	e.nmi = true;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_NMI);
	e.blocked = true;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_INTR);
	e.debug = true;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_DEBUG);
	e.event = true;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_EVENT);
}
END_TEST

START_TEST(shadows_hold_events_back)
{
	struct boundary_events e = { .rflags = FL_IF, .intr = true, .nmi = true, .debug = true };

	e.shadow = true; /* STI: interrupts alone */
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_DEBUG);
	e.debug = false;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_NMI);
	e.nmi = false;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_NONE);
	e.debug = e.nmi = e.movss = true;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_NONE);
	e.shadow = e.movss = e.debug = e.nmi = false;
	e.rflags = 0;
	ck_assert_int_eq(boundary_event(&e), BOUNDARY_NONE);
}
END_TEST

START_TEST(an_interrupt_is_accepted_when_nothing_is_before_it)
{
	struct boundary_events e = { .rflags = FL_IF };

	ck_assert(boundary_can_interrupt(&e));
	e.shadow = true;
	ck_assert(!boundary_can_interrupt(&e));
	e = (struct boundary_events){ .rflags = FL_IF, .intr = true };
	ck_assert(!boundary_can_interrupt(&e));
	e = (struct boundary_events){ .rflags = FL_IF, .nmi = true };
	ck_assert(!boundary_can_interrupt(&e));
	e = (struct boundary_events){ .rflags = FL_IF, .debug = true };
	ck_assert(!boundary_can_interrupt(&e));
	e = (struct boundary_events){ .rflags = FL_IF, .event = true };
	ck_assert(!boundary_can_interrupt(&e));
	e = (struct boundary_events){ .rflags = FL_IF, .shutdown = true };
	ck_assert(!boundary_can_interrupt(&e));
	e = (struct boundary_events){ 0 };
	ck_assert(!boundary_can_interrupt(&e));
}
END_TEST

START_TEST(what_ends_hlt)
{
	struct boundary_events e = { .intr = true };

	ck_assert(!boundary_wakes(&e));
	e.rflags = FL_IF;
	ck_assert(boundary_wakes(&e));
	e = (struct boundary_events){ .nmi = true, .blocked = true };
	ck_assert(!boundary_wakes(&e));
	e.blocked = false;
	ck_assert(boundary_wakes(&e));
	b.halted = true;
	b.events = e;
	ck_assert_int_eq(ends(11), ON);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, the_order_of_reasons);
	tcase_add_test(tc, kicks_and_stops_wait_for_a_landmark);
	tcase_add_test(tc, a_landmark_inside_rep_is_named_by_rcx);
	tcase_add_test(tc, the_order_of_events);
	tcase_add_test(tc, shadows_hold_events_back);
	tcase_add_test(tc, an_interrupt_is_accepted_when_nothing_is_before_it);
	tcase_add_test(tc, what_ends_hlt);
}

UNIT_MAIN("boundary", add_tests)
