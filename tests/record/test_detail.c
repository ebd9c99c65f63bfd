// SPDX-License-Identifier: GPL-2.0-or-later
/* Two machines that are equal but for what a test changes: the detail of one names it in the other.
 */
#include <string.h>

#include "record/detail.h"
#include "tests/unit.h"

struct side {
	struct machine *m;
	struct detail d;
};

static struct side there, here;
static char text[512];

static void open_side(struct side *s)
{
	const struct output_sink none = { 0 };
	struct err err = ERR_INIT;
	struct machine_config c;

	machine_config_defaults(&c);
	c.memory = 4 << 20;
	s->m = machine_create(&c, &soft_engine_ops, NULL, &none, &err);
	ck_assert_msg(s->m != NULL, "%s", err.text);
	detail_init(&s->d, s->m, NULL, NULL);
	machine_digest(s->m);
	detail_agreed(&s->d, s->m);
}

static void setup(void)
{
	open_side(&there);
	open_side(&here);
}

static void close_side(struct side *s)
{
	detail_fini(&s->d);
	machine_destroy(s->m);
}

static void teardown(void)
{
	close_side(&there);
	close_side(&here);
}

static void poke(struct side *s, uint64_t gpa, uint8_t value)
{
	ck_assert(memory_write(machine_memory(s->m), gpa, &value, 1));
}

/* Ends an epoch on both sides and compares. */
static const char *compare(void)
{
	struct buf b = BUF_INIT;

	machine_digest(there.m);
	detail_make(&there.d, there.m, &b);
	machine_digest(here.m);
	detail_compare(&here.d, here.m, b.data, b.len, text, sizeof(text));
	buf_free(&b);
	return text;
}

START_TEST(a_register_is_the_cpu)
{
	struct cpu_state s;
	struct engine *e = machine_engine(here.m);

	e->ops->get_state(e, &s);
	s.gpr[3]++;
	ck_assert_int_eq(e->ops->set_state(e, &s, NULL), 0);
	ck_assert_str_eq(compare(), "cpu");
}
END_TEST

START_TEST(a_byte_is_its_page)
{
	poke(&there, 0x5123, 1);
	poke(&there, 0x9000, 7);
	poke(&here, 0x5123, 2);
	poke(&here, 0x9000, 7);
	ck_assert_str_eq(compare(), "memory page at 0x5000");
}
END_TEST

START_TEST(a_page_that_one_side_wrote)
{
	poke(&here, 0x3000, 1);
	poke(&there, 0x4000, 1);
	ck_assert_str_eq(compare(), "memory page at 0x3000 (written here only), "
				    "memory page at 0x4000 (written there only)");
}
END_TEST

START_TEST(a_difference_that_was_there_before)
{
	ck_assert_str_eq(compare(), "the state before this epoch");
}
END_TEST

/* More pages than fit one by one: a group of neighbours. */
START_TEST(many_pages_are_named_in_groups)
{
	for (uint64_t i = 0; i < 2 * DETAIL_GROUPS; i++) {
		poke(&there, i * PAGE_SIZE, 1);
		poke(&here, i * PAGE_SIZE, i == 101 ? 2 : 1);
	}
	ck_assert_str_eq(compare(), "memory: one of 2 pages from 0x64000 to 0x65000");
	for (uint64_t i = 0; i < 2 * DETAIL_GROUPS; i++) {
		poke(&there, i * PAGE_SIZE, 3);
		if (i)
			poke(&here, i * PAGE_SIZE, 3);
	}
	ck_assert_str_eq(compare(), "memory: 512 pages written there, 511 here");
}
END_TEST

START_TEST(an_epoch_begins_after_each)
{
	struct buf b = BUF_INIT;
	size_t full;

	poke(&there, 0x1000, 1);
	machine_digest(there.m);
	detail_make(&there.d, there.m, &b);
	full = b.len;
	buf_clear(&b);
	machine_digest(there.m);
	detail_make(&there.d, there.m, &b);
	ck_assert_uint_lt(b.len, full); /* no pages, and no part changed but memory's */
	buf_free(&b);
}
END_TEST

/* The other side may send anything. */
START_TEST(any_bytes_are_a_detail)
{
	uint8_t junk[64];
	uint64_t seed = 1;

	for (unsigned round = 0; round < 2000; round++) {
		size_t len = round % sizeof(junk);

		for (size_t i = 0; i < len; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			junk[i] = (uint8_t)(seed >> 56);
		}
		poke(&here, round % 8 * PAGE_SIZE, (uint8_t)round);
		machine_digest(here.m);
		detail_compare(&here.d, here.m, junk, len, text, sizeof(text));
		ck_assert_uint_gt(strlen(text), 0);
		ck_assert_uint_lt(strlen(text), sizeof(text));
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_register_is_the_cpu);
	tcase_add_test(tc, a_byte_is_its_page);
	tcase_add_test(tc, a_page_that_one_side_wrote);
	tcase_add_test(tc, a_difference_that_was_there_before);
	tcase_add_test(tc, many_pages_are_named_in_groups);
	tcase_add_test(tc, an_epoch_begins_after_each);
	tcase_add_test(tc, any_bytes_are_a_detail);
}

UNIT_MAIN("detail", add_tests)
