// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "record/pages.h"
#include "tests/unit.h"

#define RAM MEMORY_MIN

static void fill(uint8_t *page, uint8_t with)
{
	memset(page, with, PAGE_SIZE);
}

/* What each of checkpoint, log and wire has: the bytes are those of docs/log-format.md. */
START_TEST(the_bytes_of_a_list)
{
	uint8_t data[PAGE_SIZE];
	struct buf b = BUF_INIT;

	fill(data, 0xab);
	pages_put(&b, 3, data);
	pages_put(&b, 200, NULL);
	ck_assert_uint_eq(b.len, 1 + PAGE_SIZE + 2);
	ck_assert_uint_eq(b.data[0], 3 << 1);
	ck_assert_mem_eq(b.data + 1, data, PAGE_SIZE);
	ck_assert_uint_eq(b.data[1 + PAGE_SIZE], 0x80 | ((200 << 1 | 1) & 0x7f));
	ck_assert_uint_eq(b.data[2 + PAGE_SIZE], (200 << 1 | 1) >> 7);
	buf_free(&b);
}
END_TEST

START_TEST(a_page_of_zeros_has_no_bytes)
{
	uint8_t data[PAGE_SIZE];
	struct buf b = BUF_INIT;
	struct page page;
	struct rd in;

	fill(data, 1);
	pages_put(&b, 7, NULL);
	pages_put(&b, 8, data);
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_int_eq(pages_get(&in, 0, 9, &page), 0);
	ck_assert_uint_eq(page.number, 7);
	ck_assert_ptr_null(page.data);
	ck_assert_int_eq(pages_get(&in, 8, 9, &page), 0);
	ck_assert_uint_eq(page.number, 8);
	ck_assert_mem_eq(page.data, data, PAGE_SIZE);
	ck_assert_uint_eq(rd_left(&in), 0);
	buf_free(&b);
}
END_TEST

START_TEST(a_list_lands_in_memory)
{
	struct err err = ERR_INIT;
	struct buf b = BUF_INIT;
	struct memory mem;
	uint8_t data[PAGE_SIZE];
	struct rd in;

	ck_assert_int_eq(memory_init(&mem, RAM, &err), 0);
	memset(mem.base, 0x55, mem.size);
	memset(mem.dirty, 1, mem.pages);
	fill(data, 2);
	pages_put(&b, mem.pages - 1, data); /* in any order */
	pages_put(&b, 0, NULL);
	pages_put(&b, 5, data);
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_int_eq(pages_load(&in, &mem), 0);
	memory_load_end(&mem);
	ck_assert(memory_page_is_zero(mem.base));
	ck_assert_mem_eq(mem.base + 5 * PAGE_SIZE, data, PAGE_SIZE);
	ck_assert_mem_eq(mem.base + (mem.pages - 1) * PAGE_SIZE, data, PAGE_SIZE);
	ck_assert_uint_eq(mem.base[PAGE_SIZE], 0x55);
	for (uint64_t i = 0; i < mem.pages; i++)
		ck_assert_uint_eq(mem.dirty[i], 0);
	memory_fini(&mem);
	buf_free(&b);
}
END_TEST

static int load(struct memory *mem, const struct buf *b, size_t len)
{
	struct rd in = RD_INIT(b->data, len);

	return pages_load(&in, mem);
}

START_TEST(what_is_no_list_is_refused)
{
	struct err err = ERR_INIT;
	struct buf b = BUF_INIT;
	struct memory mem;
	uint8_t data[PAGE_SIZE];
	struct page page;
	struct rd in;

	ck_assert_int_eq(memory_init(&mem, RAM, &err), 0);
	fill(data, 3);
	pages_put(&b, 1, data);
	ck_assert_int_eq(load(&mem, &b, b.len), 0);
	ck_assert_int_eq(load(&mem, &b, b.len - 1), -EINVAL);
	ck_assert_int_eq(load(&mem, &b, 1), -EINVAL);
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_int_eq(pages_get(&in, 2, 9, &page), -EINVAL);
	buf_clear(&b);
	pages_put(&b, mem.pages, NULL);
	ck_assert_int_eq(load(&mem, &b, b.len), -EINVAL);
	buf_clear(&b);
	pages_put(&b, UINT64_MAX >> 1, NULL);
	ck_assert_int_eq(load(&mem, &b, b.len), -EINVAL);
	memory_fini(&mem);
	buf_free(&b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, the_bytes_of_a_list);
	tcase_add_test(tc, a_page_of_zeros_has_no_bytes);
	tcase_add_test(tc, a_list_lands_in_memory);
	tcase_add_test(tc, what_is_no_list_is_refused);
}

UNIT_MAIN("pages", add_tests)
