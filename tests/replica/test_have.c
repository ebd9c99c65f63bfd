// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a backup says that it has of a guest's memory: told, taken, asked about; and lists that a
 * backup of ours would not send.
 */
#include <errno.h>
#include <string.h>

#include "replica/have.h"
#include "tests/unit.h"

#define PAGES 20000ul /* of which a message names 16384 at most */

struct rig {
	struct memory mem;
	struct have *h;
	struct err err;
	struct buf sent; /* the last message */
	unsigned messages;
	int fails; /* what sending comes to */
	uint64_t told;
};

static int take(void *ctx, struct buf *message)
{
	struct rig *g = ctx;

	g->messages++;
	buf_clear(&g->sent);
	buf_put(&g->sent, message->data, message->len);
	return g->fails ? g->fails : have_take(g->h, message->data, message->len, &g->err);
}

static void open_rig(struct rig *g)
{
	*g = (struct rig){ .err = ERR_INIT };
	ck_assert_int_eq(memory_init(&g->mem, PAGES * PAGE_SIZE, &g->err), 0);
	g->h = have_new(PAGES);
	ck_assert_ptr_nonnull(g->h);
}

static void close_rig(struct rig *g)
{
	have_free(g->h);
	buf_free(&g->sent);
	memory_fini(&g->mem);
}

static void write_page(struct rig *g, uint64_t page, uint64_t value)
{
	ck_assert(memory_write(&g->mem, page * PAGE_SIZE + 8 * (page % 512), &value, 8));
}

static void tell(struct rig *g)
{
	ck_assert_int_eq(have_tell(&g->mem, take, g, &g->told, &g->err), 0);
	ck_assert(have_is_complete(g->h));
	ck_assert_uint_eq(have_count(g->h), g->told);
}

START_TEST(a_backup_without_memory_says_so)
{
	struct rig g;

	open_rig(&g);
	ck_assert(!have_is_complete(g.h));
	tell(&g);
	ck_assert_uint_eq(g.told, 0);
	ck_assert_uint_eq(g.messages, 1);
	ck_assert_uint_eq(have_next(g.h, 0), PAGES);
	close_rig(&g);
}
END_TEST

static const void *page_of(const struct rig *g, uint64_t page)
{
	return g->mem.base + page * PAGE_SIZE;
}

START_TEST(equal_pages_are_equal_once)
{
	static const uint64_t some[] = { 0, 1, 63, 64, 65, 127, 200, 4095, PAGES - 1 };
	struct rig g;

	open_rig(&g);
	for (unsigned i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		write_page(&g, some[i], some[i] + 1);
	write_page(&g, 300, 0); /* used, and zero */
	tell(&g);
	ck_assert_uint_eq(g.told, sizeof(some) / sizeof(some[0]));
	for (uint64_t i = 0, n = 0; i < PAGES; i++) {
		bool listed = n < g.told && some[n] == i;

		n += listed;
		ck_assert(have_claims(g.h, i) == listed);
		ck_assert(have_equal(g.h, i, page_of(&g, i)) == listed);
		ck_assert(!have_equal(g.h, i, page_of(&g, i)));
	}
	ck_assert_uint_eq(have_next(g.h, 66), 127); /* what was asked stays listed */
	close_rig(&g);
}
END_TEST

START_TEST(other_pages_are_not)
{
	struct rig g;

	open_rig(&g);
	write_page(&g, 5, 1);
	write_page(&g, 6, 2);
	write_page(&g, 7, 3);
	tell(&g);
	ck_assert(!have_equal(g.h, 5, page_of(&g, 6)));
	write_page(&g, 6, 4);
	ck_assert(!have_equal(g.h, 6, page_of(&g, 6)));
	have_forget(g.h, 7);
	ck_assert(!have_equal(g.h, 7, page_of(&g, 7)));
	close_rig(&g);
}
END_TEST

START_TEST(a_long_list_takes_several_messages)
{
	struct rig g;

	open_rig(&g);
	for (uint64_t i = 0; i < PAGES; i++)
		write_page(&g, i, i + 1);
	tell(&g);
	ck_assert_uint_eq(g.messages, 2);
	ck_assert_uint_eq(g.told, PAGES);
	for (uint64_t i = PAGES; i-- > 0;)
		ck_assert(have_equal(g.h, i, page_of(&g, i)));
	close_rig(&g);
}
END_TEST

/* Two connections have two keys: what a guest may have learnt of one is worth nothing. */
START_TEST(hashes_are_of_one_connection)
{
	struct buf first = BUF_INIT;
	struct rig g;

	open_rig(&g);
	write_page(&g, 1, 1);
	tell(&g);
	buf_put(&first, g.sent.data, g.sent.len);
	have_free(g.h);
	g.h = have_new(PAGES);
	tell(&g);
	ck_assert_uint_eq(first.len, g.sent.len);
	ck_assert(memcmp(first.data + 1, g.sent.data + 1, HAVE_KEY) != 0);
	ck_assert(memcmp(first.data + first.len - HAVE_HASH, g.sent.data + first.len - HAVE_HASH,
			 HAVE_HASH) != 0);
	buf_free(&first);
	close_rig(&g);
}
END_TEST

START_TEST(a_connection_that_ends_is_an_error)
{
	struct rig g;

	open_rig(&g);
	g.fails = -EPIPE;
	ck_assert_int_eq(have_tell(&g.mem, take, &g, &g.told, &g.err), -EPIPE);
	ck_assert_int_eq(g.err.code, EPIPE);
	close_rig(&g);
}
END_TEST

/* ---- what nobody of ours sends ---- */

static void head(struct buf *b, uint8_t last, uint8_t key)
{
	buf_clear(b);
	buf_put_u8(b, last);
	for (unsigned i = 0; i < HAVE_KEY; i++)
		buf_put_u8(b, key);
}

static void entry(struct buf *b, uint64_t skip)
{
	static const uint8_t hash[HAVE_HASH];

	buf_put_varint(b, skip);
	buf_put(b, hash, sizeof(hash));
}

static void refused(struct rig *g, const struct buf *b, const char *why)
{
	ck_assert_int_eq(have_take(g->h, b->data, b->len, &g->err), -EBADMSG);
	ck_assert_msg(strstr(g->err.text, why) != NULL, "%s", g->err.text);
	ck_assert(!have_is_complete(g->h) || !strcmp(why, "after its end"));
}

START_TEST(damaged_lists_are_refused_by_name)
{
	struct buf b = BUF_INIT;
	struct rig g;

	open_rig(&g);
	refused(&g, &b, "a message is cut short");
	head(&b, 1, 1);
	b.len--;
	refused(&g, &b, "a message is cut short");
	head(&b, 2, 1);
	refused(&g, &b, "a message of kind 2");
	head(&b, 1, 2);
	refused(&g, &b, "its key changes");
	head(&b, 1, 1);
	entry(&b, 3);
	b.len--;
	refused(&g, &b, "entry 0 is cut short");
	head(&b, 1, 1);
	entry(&b, PAGES);
	refused(&g, &b, "entry 0 is behind the end");
	head(&b, 1, 1);
	entry(&b, UINT64_MAX);
	refused(&g, &b, "entry 0 is behind the end");
	head(&b, 0, 1);
	entry(&b, PAGES - 1);
	ck_assert_int_eq(have_take(g.h, b.data, b.len, &g.err), 0);
	refused(&g, &b, "entry 1 is behind the end");
	head(&b, 1, 1);
	ck_assert_int_eq(have_take(g.h, b.data, b.len, &g.err), 0);
	refused(&g, &b, "after its end");
	buf_free(&b);
	close_rig(&g);
}
END_TEST

START_TEST(a_message_has_a_bound)
{
	struct buf b = BUF_INIT;
	struct rig g;

	open_rig(&g);
	head(&b, 1, 1);
	for (unsigned i = 0; i <= HAVE_FRAME_PAGES; i++)
		entry(&b, 0);
	refused(&g, &b, "more than 16384 pages");
	buf_free(&b);
	close_rig(&g);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_backup_without_memory_says_so);
	tcase_add_test(tc, equal_pages_are_equal_once);
	tcase_add_test(tc, other_pages_are_not);
	tcase_add_test(tc, a_long_list_takes_several_messages);
	tcase_add_test(tc, hashes_are_of_one_connection);
	tcase_add_test(tc, a_connection_that_ends_is_an_error);
	tcase_add_test(tc, damaged_lists_are_refused_by_name);
	tcase_add_test(tc, a_message_has_a_bound);
}

UNIT_MAIN("have", add_tests)
