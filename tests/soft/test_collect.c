// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rounds of collecting written pages: pages of every round, copied in order, give the memory of the
 * machine byte for byte, while a machine beside it that nobody collects from cannot be told from it
 * by its state, its translations or what its digests cover.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "hypervisor/soft/run.h"
#include "tests/soft/guest.h"
#include "tests/unit.h"

#define MEMORY (4ul << 20)
#define CODE   0x10000u
#define PAGES  (MEMORY / PAGE_SIZE)

/* Stores all over the third MiB and the second, across page ends, and with REP. */
GUEST_CODE(scatter, "mov $6364136223846793005, %r8\n"
		    "mov $1442695040888963407, %r9\n"
		    "1: imul %r8, %rax\n"
		    "add %r9, %rax\n"
		    "mov %rax, %rbx\n"
		    "shr $40, %rbx\n"
		    "and $0x1fffff, %ebx\n"
		    "mov %rax, 0x100000(%rbx)\n"
		    "lea 0x100000(%rbx), %rdi\n"
		    "mov %rax, %rcx\n"
		    "shr $57, %rcx\n"
		    "rep stosb\n"
		    "jmp 1b\n");

static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005 + 1442695040888963407;
	return (seed >> 33) % n;
}

static void start(struct guest *g)
{
	struct cpu_state s;

	guest_init(g, MEMORY);
	GUEST_LOAD(g, CODE, scatter);
	guest_long_mode(g, CODE, 0, &s);
}

static void dma(struct guest *a, struct guest *b)
{
	uint64_t gpa = rnd(MEMORY - 0x3000 - 0x300000) + 0x300000, len = rnd(0x2000);
	uint8_t data[0x2000];

	memset(data, (int)rnd(256), sizeof(data));
	for (struct guest *g = a;; g = b) {
		if (len % 2)
			memory_write(&g->mem, gpa, data, len);
		else
			memory_zero(&g->mem, gpa, len);
		if (g == b)
			break;
	}
}

/* What a digest does with the marks; it covers the same pages of both. */
static void digest(struct guest *a, struct guest *b)
{
	uint64_t i;

	a->e->ops->sync_dirty(a->e);
	b->e->ops->sync_dirty(b->e);
	for (i = memory_next_undigested(&a->mem, 0); i < PAGES;
	     i = memory_next_undigested(&a->mem, i + 1)) {
		ck_assert_uint_eq(memory_next_undigested(&b->mem, 0), i);
		memory_set_digested(&a->mem, i);
		memory_set_digested(&b->mem, i);
	}
	ck_assert_uint_eq(memory_next_undigested(&b->mem, 0), PAGES);
}

static void same_state(struct guest *a, struct guest *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	struct cpu_state s, t;

	soft_state_get(guest_cpu(a), &s);
	soft_state_get(guest_cpu(b), &t);
	cpu_state_save(&s, &x);
	cpu_state_save(&t, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.data, y.data, x.len);
	buf_free(&x);
	buf_free(&y);
	ck_assert(memcmp(a->mem.base, b->mem.base, MEMORY) == 0);
	for (unsigned i = 0; i < TLB_SIZE; i++) {
		const struct tlb_entry *p = &guest_cpu(a)->tlb[i], *q = &guest_cpu(b)->tlb[i];

		ck_assert_uint_eq(p->rd, q->rd);
		ck_assert_uint_eq(p->wr & ~(uint64_t)TLB_CLEAN, q->wr & ~(uint64_t)TLB_CLEAN);
		ck_assert(p->addend == 0 || p->gpa == q->gpa);
	}
}

/* As at a recorded sync point: pages find their way into the TLB anew. */
static void flush(struct guest *a, struct guest *b)
{
	a->e->ops->flush_tlb(a->e);
	b->e->ops->flush_tlb(b->e);
}

/* Takes a round over into the copy; returns its pages. */
static uint64_t take_round(struct guest *g, uint8_t *copy)
{
	uint64_t set[PAGES / 64] = { 0 }, n = memory_collect(&g->mem, set), seen = 0;

	for (uint64_t i = page_set_next(set, PAGES, 0); i < PAGES;
	     i = page_set_next(set, PAGES, i + 1)) {
		memory_copy_page(&g->mem, i, copy + i * PAGE_SIZE);
		seen++;
	}
	ck_assert_uint_eq(seen, n);
	return n;
}

START_TEST(rounds_give_the_memory_and_leave_no_trace)
{
	static uint8_t copy[MEMORY];
	struct guest a, b;
	uint64_t rounds = 0, pages = 0, steps = unit_cases(250);

	seed = (uint64_t)_i + 1;
	start(&a);
	start(&b);
	guest_run_to(&a, 1000);
	guest_run_to(&b, 1000);
	memory_collect_begin(&a.mem);
	memcpy(copy, a.mem.base, MEMORY);
	for (unsigned step = 0; step < steps; step++) {
		uint64_t to = a.e->ops->count(a.e) + rnd(rnd(2) ? 5000 : 60);

		guest_run_to(&a, to);
		guest_run_to(&b, to);
		if (!rnd(3))
			dma(&a, &b);
		if (!rnd(4))
			digest(&a, &b);
		if (!rnd(4))
			flush(&a, &b);
		if (rnd(3))
			continue;
		pages += take_round(&a, copy);
		rounds++;
		ck_assert(memcmp(copy, a.mem.base, MEMORY) == 0);
		same_state(&a, &b);
	}
	ck_assert_uint_gt(rounds, steps / 6);
	ck_assert_uint_lt(pages, rounds * PAGES / 2); /* not simply all of them */
	digest(&a, &b);
	memory_collect_end(&a.mem);
	guest_run_to(&a, a.e->ops->count(a.e) + 5000);
	guest_run_to(&b, b.e->ops->count(b.e) + 5000);
	digest(&a, &b);
	same_state(&a, &b);
	ck_assert(memcmp(a.mem.dirty, b.mem.dirty, PAGES) == 0);
	guest_fini(&a);
	guest_fini(&b);
}
END_TEST

START_TEST(a_page_is_collected_once_for_each_round_that_wrote_it)
{
	uint64_t set[PAGES / 64] = { 0 };
	struct guest g;

	guest_init(&g, MEMORY);
	memory_collect_begin(&g.mem);
	guest_poke(&g, 0x5ffc, UINT64_MAX); /* pages 5 and 6 */
	ck_assert_uint_eq(memory_collect(&g.mem, set), 2);
	ck_assert(page_set_has(set, 5) && page_set_has(set, 6) && !page_set_has(set, 7));
	ck_assert_uint_eq(memory_collect(&g.mem, set), 0);
	ck_assert_uint_eq(memory_next_undigested(&g.mem, 0), 5);
	memory_set_digested(&g.mem, 5);
	memory_set_digested(&g.mem, 6);
	guest_poke(&g, 0x6000, 1);
	memory_set_digested(&g.mem, 6); /* a digest before the round */
	ck_assert_uint_eq(memory_next_undigested(&g.mem, 0), PAGES);
	page_set_remove(set, 6);
	ck_assert_uint_eq(memory_collect(&g.mem, set), 1);
	ck_assert_uint_eq(page_set_next(set, PAGES, 6), 6);
	memory_collect_end(&g.mem);
	ck_assert_uint_eq(memory_next_undigested(&g.mem, 0), PAGES);
	guest_fini(&g);
}
END_TEST

START_TEST(pages_never_used_are_skipped_unread)
{
	struct guest g;

	guest_init(&g, MEMORY);
	guest_poke(&g, 700 * PAGE_SIZE, 1);
	ck_assert_uint_le(memory_next_used(&g.mem, 0), 700);
	ck_assert_uint_eq(memory_next_used(&g.mem, 700), 700);
	ck_assert_uint_eq(memory_next_used(&g.mem, 1023), PAGES);
	guest_fini(&g);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, rounds_give_the_memory_and_leave_no_trace, 0, 3);
	tcase_add_test(tc, a_page_is_collected_once_for_each_round_that_wrote_it);
	tcase_add_test(tc, pages_never_used_are_skipped_unread);
}

UNIT_MAIN("soft_collect", add)
