// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A watch on RAM is told of every use of its pages, at its count, and changes nothing.
 */
#include "tests/unit.h"

#include "base/buf.h"
#include "tests/soft/guest.h"

#define MEMORY (4ull << 20)
#define CODE   0x1000ull
#define DATA   0x200000ull /* its page is watched */

struct use {
	uint64_t offset, len, count;
	enum memory_use use;
};

static struct guest g;
static struct use told[1000];
static size_t ntold;
static uint64_t pages[MEMORY / PAGE_SIZE / 64];

static void note(void *ctx, uint64_t offset, uint64_t len, enum memory_use use)
{
	/* More may be told of than the set has. */
	if (page_set_has(pages, offset / PAGE_SIZE) && ntold < sizeof(told) / sizeof(told[0]))
		told[ntold++] = (struct use){ offset, len, g.e->ops->count(g.e), use };
}

static const struct memory_watch watch = { .pages = pages, .used = note };

static void watch_page(uint64_t gpa)
{
	page_set_add(pages, gpa / PAGE_SIZE);
	ck_assert_int_eq(memory_set_watch(&g.mem, &watch), 0);
	ntold = 0;
}

static void check_told(const struct use *want, size_t n)
{
	for (size_t i = 0; i < n && i < ntold; i++)
		ck_assert_msg(told[i].offset == want[i].offset && told[i].len == want[i].len &&
				      told[i].count == want[i].count && told[i].use == want[i].use,
			      "%zu: use %d of %#lx+%lu at %lu", i, told[i].use,
			      (unsigned long)told[i].offset, (unsigned long)told[i].len,
			      (unsigned long)told[i].count);
	ck_assert_uint_eq(ntold, n);
}

static void start(const uint8_t *code, const uint8_t *end, unsigned cpl)
{
	struct cpu_state s;

	guest_init(&g, MEMORY);
	memset(pages, 0, sizeof(pages));
	guest_load(&g, CODE, code, end);
	guest_long_mode(&g, CODE, cpl, &s);
}

/* Twenty times around: what is told of the second half, in which all is warm, is checked. */
GUEST_CODE(uses,
	   "	mov	$0x200000, %ebx\n	mov	$0x300000, %edx\n	mov	$20, %ebp\n"
	   "1:	mov	8(%rbx), %rax\n" /* 3 */
	   "	movb	%al, 3(%rbx)\n"
	   "	mov	%rax, 16(%rdx)\n"
	   "	incl	32(%rbx)\n"
	   "	movups	48(%rbx), %xmm0\n"
	   "	movups	%xmm0, 64(%rbx)\n"
	   "	mov	%rax, -4(%rbx)\n" /* from the page before */
	   "	mov	%rbx, %rsi\n	mov	%rdx, %rdi\n	mov	$3, %ecx\n"
	   "	rep movsb\n"
	   "	lea	0x800(%rbx), %rsp\n"
	   "	push	%rax\n"
	   "	pop	%rax\n"
	   "	lea	16(%rdx), %rsp\n"
	   "	dec	%ebp\n"
	   "	jnz	1b\n"
	   "	hlt\n");
#define ROUND 17u /* instructions */

static size_t uses_of_round(struct use *u, uint64_t count)
{
	const struct use want[] = {
		{ DATA + 8, 8, count, MEMORY_READ },
		{ DATA + 3, 1, count + 1, MEMORY_WRITE },
		{ DATA + 32, 4, count + 3, MEMORY_READ },
		{ DATA + 32, 4, count + 3, MEMORY_WRITE },
		{ DATA + 48, 16, count + 4, MEMORY_READ },
		{ DATA + 64, 16, count + 5, MEMORY_WRITE },
		{ DATA, 4, count + 6, MEMORY_WRITE },
		{ DATA, 1, count + 10, MEMORY_READ },
		{ DATA + 1, 1, count + 10, MEMORY_READ },
		{ DATA + 2, 1, count + 10, MEMORY_READ },
		{ DATA + 0x7f8, 8, count + 12, MEMORY_WRITE },
		{ DATA + 0x7f8, 8, count + 13, MEMORY_READ },
	};

	memcpy(u, want, sizeof(want));
	return sizeof(want) / sizeof(want[0]);
}

/* By the supervisor, and by the user, whose accesses may have holds. */
START_TEST(uses_are_told)
{
	struct use want[200];
	size_t n = 0;

	start(uses_start, uses_end, _i ? 3 : 0);
	guest_run_to(&g, 3 + 10 * ROUND);
	watch_page(DATA);
	guest_run_to(&g, 3 + 20 * ROUND);
	for (unsigned i = 10; i < 20; i++)
		n += uses_of_round(want + n, 3 + i * ROUND);
	check_told(want, n);
	/* No more. */
	ck_assert_int_eq(memory_set_watch(&g.mem, NULL), 0);
	guest_poke(&g, DATA, 1);
	ck_assert_uint_eq(ntold, n);
	guest_fini(&g);
}
END_TEST

/* The state behind `uses`, and what no register shows. */
static struct buf state_with(bool watched, struct cpu_state *s)
{
	struct buf hidden = BUF_INIT;

	start(uses_start, uses_end, 0);
	guest_run_to(&g, 3 + 5 * ROUND);
	if (watched)
		watch_page(DATA);
	guest_run_to(&g, 3 + 15 * ROUND);
	if (watched)
		ck_assert_int_eq(memory_set_watch(&g.mem, NULL), 0);
	ck_assert_int_eq(guest_run_to(&g, 10000), ENGINE_EXIT_HALT);
	g.e->ops->get_state(g.e, s);
	g.e->ops->hidden_save(g.e, &hidden);
	buf_put(&hidden, g.mem.base, g.mem.size);
	buf_put(&hidden, g.mem.dirty, g.mem.pages);
	guest_fini(&g);
	return hidden;
}

START_TEST(nothing_changes)
{
	struct cpu_state s[2];
	struct buf with = state_with(true, &s[1]), without = state_with(false, &s[0]);

	ck_assert_uint_gt(ntold, 0);
	ck_assert_uint_eq(s[0].count, s[1].count);
	ck_assert_mem_eq(s[0].gpr, s[1].gpr, sizeof(s[0].gpr));
	ck_assert_uint_eq(with.len, without.len);
	ck_assert_mem_eq(with.data, without.data, with.len);
	buf_free(&with);
	buf_free(&without);
}
END_TEST

/* Entries of page tables are read when a translation is looked up, and only then. */
START_TEST(walks_are_uses)
{
	start(uses_start, uses_end, 0);
	guest_run_to(&g, 3 + 2 * ROUND);
	watch_page(GUEST_PD);
	guest_run_to(&g, 3 + 3 * ROUND);
	check_told(NULL, 0);
	g.e->ops->flush_tlb(g.e);
	guest_run_to(&g, 3 + 3 * ROUND + 1);
	check_told((const struct use[]){ { GUEST_PD, 8, 3 + 3 * ROUND, MEMORY_READ },
					 { GUEST_PD + 8, 8, 3 + 3 * ROUND, MEMORY_READ } },
		   2);
	guest_fini(&g);
}
END_TEST

/* Code that was there before is fetched again, and then stays. */
START_TEST(code_is_fetched)
{
	start(uses_start, uses_end, 0);
	guest_run_to(&g, 3 + 5 * ROUND);
	watch_page(CODE);
	guest_run_to(&g, 3 + 7 * ROUND);
	ck_assert_uint_gt(ntold, 0);
	for (size_t i = 0; i < ntold; i++) {
		ck_assert_int_eq(told[i].use, MEMORY_FETCH);
		ck_assert_uint_le(told[i].count, 3 + 6 * ROUND);
	}
	guest_fini(&g);
}
END_TEST

START_TEST(devices_are_told_of)
{
	uint8_t bytes[8];

	start(uses_start, uses_end, 0);
	watch_page(DATA);
	ck_assert(memory_read(&g.mem, DATA + 5, bytes, 8));
	ck_assert(memory_write(&g.mem, DATA - 2, bytes, 8));
	ck_assert(memory_zero(&g.mem, DATA + 64, 100));
	page_set_add(pages, DATA / PAGE_SIZE - 1);
	ck_assert(memory_write(&g.mem, DATA - 2, bytes, 8));
	page_set_add(pages, 0);
	ck_assert_int_eq(memory_clear(&g.mem, NULL), 0);
	check_told((const struct use[]){ { DATA + 5, 8, 0, MEMORY_READ },
					 { DATA + 64, 100, 0, MEMORY_WRITE },
					 { DATA - 2, 8, 0, MEMORY_WRITE },
					 { 0, MEMORY, 0, MEMORY_WRITE } },
		   4);
	guest_fini(&g);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, uses_are_told, 0, 2);
	tcase_add_test(tc, nothing_changes);
	tcase_add_test(tc, walks_are_uses);
	tcase_add_test(tc, code_is_fetched);
	tcase_add_test(tc, devices_are_told_of);
}

UNIT_MAIN("watch", add)
