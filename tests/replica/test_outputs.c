// SPDX-License-Identifier: GPL-2.0-or-later
/* Outputs that wait for their records: order, merging of console bytes, release up to a record. */
#include <string.h>

#include "replica/replica_private.h"
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

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, leave_in_order_when_acknowledged);
	tcase_add_test(tc, console_bytes_merge);
	tcase_add_test(tc, frames_do_not_merge);
}

UNIT_MAIN("outputs", add_tests)
