// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Outputs that wait for their records: order, merging of console bytes, release up to a record, and
 * the lease.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "replica/outbox.h"
#include "tests/unit.h"

static void add(struct held_list *l, uint64_t needs, enum output_kind kind, uint8_t port,
		const char *text)
{
	struct output out = {
		.kind = kind, .port = port, .data = (const uint8_t *)text, .len = strlen(text)
	};

	held_add(l, needs, &out);
}

static void expect(struct held_list *l, uint64_t seq, const char *text)
{
	struct held_output *h = held_take(l, seq);

	if (!text) {
		ck_assert_ptr_null(h);
		return;
	}
	ck_assert_ptr_nonnull(h);
	ck_assert_uint_eq(h->out.len, strlen(text));
	ck_assert_mem_eq(h->out.data, text, h->out.len);
	free(h);
}

START_TEST(leave_in_order_when_acknowledged)
{
	struct held_list l = { 0 };

	add(&l, 5, OUTPUT_NET_TX, 0, "one");
	add(&l, 5, OUTPUT_NET_TX, 0, "two");
	add(&l, 7, OUTPUT_NET_TX, 0, "three");
	expect(&l, 4, NULL);
	expect(&l, 5, "one");
	expect(&l, 6, "two");
	expect(&l, 6, NULL);
	expect(&l, 7, "three");
	expect(&l, UINT64_MAX, NULL);
	ck_assert_uint_eq(l.n, 0);
	ck_assert_uint_eq(l.bytes, 0);
}
END_TEST

START_TEST(console_bytes_merge)
{
	struct held_list l = { 0 };
	char all[301] = "";

	add(&l, 5, OUTPUT_CONSOLE, 0, "a");
	add(&l, 5, OUTPUT_CONSOLE, 0, "b");
	add(&l, 5, OUTPUT_CONSOLE, 1, "other port");
	add(&l, 5, OUTPUT_CONSOLE, 0, "c");
	add(&l, 6, OUTPUT_CONSOLE, 0, "other record");
	ck_assert_uint_eq(l.n, 4);
	expect(&l, 9, "ab");
	expect(&l, 9, "other port");
	expect(&l, 9, "c");
	expect(&l, 9, "other record");
	/* No more than a buffer's worth in one, and nothing lost at the seam. */
	for (unsigned i = 0; i < 300; i++)
		add(&l, 5, OUTPUT_CONSOLE, 0, "x");
	ck_assert_uint_eq(l.bytes, 300);
	for (struct held_output *h; (h = held_take(&l, 5)); free(h))
		strncat(all, (const char *)h->out.data, h->out.len);
	ck_assert_uint_eq(strlen(all), 300);
}
END_TEST

START_TEST(frames_do_not_merge)
{
	struct held_list l = { 0 };

	add(&l, 5, OUTPUT_NET_TX, 0, "a");
	add(&l, 5, OUTPUT_NET_TX, 0, "b");
	ck_assert_uint_eq(l.n, 2);
	held_drop(&l, 4);
	ck_assert_uint_eq(l.n, 2);
	held_drop(&l, 5);
	ck_assert_uint_eq(l.n, 0);
	ck_assert_ptr_null(l.last);
	add(&l, 6, OUTPUT_NET_TX, 0, "");
	expect(&l, 6, "");
}
END_TEST

/* ---- the box ---- */

#define LEASE_NS 3600000000000ull

static char left[256];
static bool late;

static int keep(void *ctx, const struct output *out, uint64_t deadline_ns)
{
	if (late)
		return -ETIME;
	strncat(left, (const char *)out->data, out->len);
	return 0;
}

static void say(struct outbox *o, uint64_t needs, const char *text)
{
	struct output out = { .kind = OUTPUT_NET_TX,
			      .data = (const uint8_t *)text,
			      .len = strlen(text) };

	if (!outbox_add(o, needs, &out))
		strcat(left, text);
}

static void open_box(struct outbox *o, enum outbox_mode mode)
{
	left[0] = 0;
	late = false;
	outbox_init(o, keep, NULL);
	outbox_set_mode(o, mode);
}

static uint64_t now_ns(void)
{
	return host_clock_ns(CLOCK_BOOTTIME);
}

START_TEST(an_output_waits_for_record_and_lease)
{
	struct outbox o;

	open_box(&o, OUTBOX_LEASED);
	outbox_start_leases(&o, 4);
	say(&o, 5, "a");
	say(&o, 5, "b");
	say(&o, 6, "c");
	outbox_acknowledged(&o, 5, 0, LEASE_NS);
	outbox_drain(&o);
	ck_assert_str_eq(left, "");
	outbox_acknowledged(&o, 5, now_ns(), LEASE_NS);
	outbox_drain(&o);
	ck_assert_str_eq(left, "ab");
	ck_assert_uint_eq(outbox_released_seq(&o), 5);
	ck_assert_uint_eq(outbox_newest_need(&o), 6);
	ck_assert(!outbox_lease_is_over(&o));
	outbox_start_leases(&o, 5);
	ck_assert(!outbox_lease_is_over(&o));			   /* there was none yet */
	outbox_acknowledged(&o, 6, now_ns() - LEASE_NS, LEASE_NS); /* that lease is over */
	ck_assert(outbox_lease_is_over(&o));
	outbox_drain(&o);
	ck_assert_str_eq(left, "ab");
	outbox_fini(&o);
}
END_TEST

/* A frame that came too late stays the first one, and counts as not left. */
START_TEST(what_is_late_waits_again)
{
	struct outbox o;

	open_box(&o, OUTBOX_LEASED);
	outbox_start_leases(&o, 4);
	say(&o, 5, "a");
	say(&o, 5, "b");
	outbox_acknowledged(&o, 5, now_ns(), LEASE_NS);
	late = true;
	outbox_drain(&o);
	ck_assert_str_eq(left, "");
	ck_assert_uint_eq(outbox_released_seq(&o), 4);
	late = false;
	outbox_drain(&o);
	ck_assert_str_eq(left, "ab");
	outbox_fini(&o);
}
END_TEST

/* Going on alone: what waited leaves first, and what comes meanwhile goes behind it. */
START_TEST(order_is_kept_when_the_way_opens)
{
	uint64_t held, released;
	struct outbox o;

	open_box(&o, OUTBOX_LEASED);
	say(&o, 5, "a");
	outbox_set_mode(&o, OUTBOX_STOPPED);
	say(&o, 6, "b");
	outbox_drain(&o);
	ck_assert_str_eq(left, "");
	outbox_set_mode(&o, OUTBOX_OPEN);
	say(&o, 7, "c");
	ck_assert_str_eq(left, "");
	outbox_drain(&o);
	say(&o, 8, "d");
	ck_assert_str_eq(left, "abcd");
	outbox_count(&o, &held, &released);
	ck_assert_uint_eq(held, 0);
	ck_assert_uint_eq(released, 4);
	outbox_fini(&o);
}
END_TEST

START_TEST(copies_are_kept_until_they_have_left)
{
	struct outbox o;

	open_box(&o, OUTBOX_COPIES);
	say(&o, 5, "a");
	say(&o, 6, "b");
	outbox_drain(&o);
	ck_assert_str_eq(left, "");
	outbox_forget(&o, 7);
	say(&o, 7, "c"); /* the primary was quicker */
	say(&o, 8, "d");
	outbox_set_mode(&o, OUTBOX_OPEN);
	outbox_drain(&o);
	ck_assert_str_eq(left, "d");
	outbox_fini(&o);
}
END_TEST

START_TEST(a_closed_box_lets_nothing_out)
{
	uint64_t held, released;
	struct outbox o;

	open_box(&o, OUTBOX_STOPPED);
	say(&o, 5, "a");
	outbox_set_mode(&o, OUTBOX_CLOSED);
	say(&o, 6, "b");
	outbox_drain(&o);
	outbox_count(&o, &held, &released);
	ck_assert_str_eq(left, "");
	ck_assert_uint_eq(held, 0);
	ck_assert_uint_eq(outbox_sends_until(&o), 0);
	outbox_fini(&o);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, leave_in_order_when_acknowledged);
	tcase_add_test(tc, console_bytes_merge);
	tcase_add_test(tc, frames_do_not_merge);
	tcase_add_test(tc, an_output_waits_for_record_and_lease);
	tcase_add_test(tc, what_is_late_waits_again);
	tcase_add_test(tc, order_is_kept_when_the_way_opens);
	tcase_add_test(tc, copies_are_kept_until_they_have_left);
	tcase_add_test(tc, a_closed_box_lets_nothing_out);
}

UNIT_MAIN("outbox", add_tests)
