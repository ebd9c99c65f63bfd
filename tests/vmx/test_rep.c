// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * REP instructions that the processor may have begun, which the engine completes in software: how
 * long a kick waits for that, and what the boundary is called meanwhile.
 */
#include <pthread.h>
#include <unistd.h>

#include "hypervisor/vmx/vmx.c"
#include "hypervisor/vmx/bench.h"
#include "tests/unit.h"

#define FAR	(1ull << 39) /* the second entry of the first table: one page, in many ways */
#define PAGE	0xc0000ull
#define TABLES	0xd0000ull
#define MANY	(1ull << 38)
#define LONGEST (REP_PARTS_MAX * 4096ull + 8192)

static struct bench b;
static struct vmx *v;
static struct twvmx_run page;

static const char code[] = "\xf3\xaa\xf4"; /* REP STOSB, HLT */
static const struct bench_program program = {
	.name = "rep", .code = code, .end = code + sizeof(code) - 1, .long_mode = true
};

static void put_table(uint64_t table, uint64_t to)
{
	for (unsigned i = 0; i < 512; i++) {
		uint64_t entry = to | 7;

		memory_write(&b.mem, table + 8 * i, &entry, 8);
	}
}

static void put_tables_for_many(void)
{
	const uint64_t pdpt = TABLES | 7;

	put_table(TABLES, TABLES + 0x1000);
	put_table(TABLES + 0x1000, TABLES + 0x2000);
	put_table(TABLES + 0x2000, PAGE);
	memory_write(&b.mem, 0x1008, &pdpt, 8);
}

/* The processor has begun the instruction at RIP and shows RF, with so many iterations left. */
static void set_up(void)
{
	struct err err = ERR_INIT;

	ck_assert_int_eq(bench_start(&b, &soft_interpret_engine_ops, 2, &program, &err), 0);
	put_tables_for_many();
	v = calloc(1, sizeof(*v));
	memset(&page, 0, sizeof(page));
	v->run = &page;
	v->soft = b.e;
	v->mem = &b.mem;
	v->source = &vmx_count_pmu;
	v->until.count = UINT64_MAX;
	v->at_landmark = true;
	landing_init(&v->landing);
	b.e->ops->get_state(b.e, &v->st);
	v->st.rflags |= FL_RF;
	v->st.gpr[R_RDI] = FAR;
	v->st.gpr[R_RCX] = MANY;
}

static void tear_down(void)
{
	free(v);
	bench_stop(&b);
}

/* As the run loop does. */
static void step(void)
{
	v->at_landmark = false;
	ck_assert(soft_step(v, true));
}

/* The next move of the run loop, from inside an instruction: never into the processor. */
static void go_on(void)
{
	ck_assert_msg(advance(v), "%s", v->error);
}

static enum engine_exit_kind ends(void)
{
	enum engine_exit_kind kind = ENGINE_EXIT_COUNT_;

	run_ends(v, &v->until, &kind);
	return kind;
}

/* A kick waits some milliseconds, then its sender is told; the place has no name. */
START_TEST(a_kick_does_not_wait_for_the_end)
{
	struct landmark at;

	page.kick = 1;
	step();
	ck_assert(v->st.in_rep);
	ck_assert_uint_gt(v->st.gpr[R_RCX], MANY - LONGEST);
	ck_assert_uint_lt(v->st.gpr[R_RCX], MANY);
	vmx_landmark(&v->e, &at);
	ck_assert(!at.in_rep);
	ck_assert_uint_eq(v->count, 0);
	ck_assert_uint_eq(v->reps_left, 1);
	ck_assert_int_eq(ends(), ENGINE_EXIT_SPIN);
	ck_assert_uint_eq(page.kick, 1); /* it waits on */
}
END_TEST

/* It goes on from there, and the end is a place like any other. */
START_TEST(what_was_left_goes_on)
{
	struct landmark at;

	page.kick = 1;
	step();
	ends();
	v->st.gpr[R_RCX] = 3 * 4096;
	go_on();
	ck_assert(!v->st.in_rep);
	ck_assert_uint_eq(v->st.gpr[R_RCX], 0);
	ck_assert_uint_eq(v->count, 1);
	ck_assert_uint_eq(v->reps_completed, 1);
	vmx_landmark(&v->e, &at);
	ck_assert(!at.in_rep);
	ck_assert_int_eq(ends(), ENGINE_EXIT_KICK);
	ck_assert_uint_eq(page.kick, 0);
}
END_TEST

/* Inside, nothing may enter: neither an interrupt nor a stop. */
START_TEST(nothing_enters_where_there_is_no_name)
{
	page.kick = 1;
	step();
	page.kick = 0;
	v->window_wanted = true;
	v->st.rflags |= FL_IF;
	ck_assert(boundary_can_interrupt(&(struct boundary_events){ .rflags = v->st.rflags }));
	ck_assert_int_eq(ends(), ENGINE_EXIT_COUNT_);
}
END_TEST

/* Kicked or not, a short one is completed. */
START_TEST(a_short_one_is_completed)
{
	page.kick = (uint32_t)_i;
	v->st.gpr[R_RCX] = 5 * 4096;
	step();
	ck_assert(!v->st.in_rep);
	ck_assert_uint_eq(v->count, 1);
	ck_assert_uint_eq(v->reps_completed, (unsigned)_i); /* one that nobody waited for is none */
	ck_assert_uint_eq(v->reps_left, 0);
}
END_TEST

/* Without RF the software CPU has begun it, and a kick stops where a landmark with RCX names it. */
START_TEST(where_software_began_it_the_place_has_a_name)
{
	struct landmark at;

	page.kick = 1;
	soft_engine_cpu(v->soft)->kicked = 1;
	v->st.rflags &= ~(uint64_t)FL_RF;
	step();
	vmx_landmark(&v->e, &at);
	ck_assert(at.in_rep);
	ck_assert_uint_eq(v->reps_left, 0);
	ck_assert_int_eq(ends(), ENGINE_EXIT_KICK);
}
END_TEST

static void *kick_once(void *ctx)
{
	vmx_kick(&v->e);
	return NULL;
}

/* A kick that comes while software is at it: without an end in sight, this test would not end. */
START_TEST(a_kick_that_comes_meanwhile_is_noticed)
{
	pthread_t kicker;

	v->source = _i ? &vmx_count_exits : &vmx_count_pmu;
	ck_assert_int_eq(pthread_create(&kicker, NULL, kick_once, NULL), 0);
	while (!v->st.in_rep && v->st.gpr[R_RCX])
		step();
	pthread_join(kicker, NULL);
	ck_assert_uint_eq(v->reps_left, 1);
	ck_assert_int_eq(ends(), ENGINE_EXIT_SPIN);
}
END_TEST

/*
 * Counting exits, software has the whole of an instruction that touched device memory once: that
 * counts, although the part that ends it touches none.
 */
START_TEST(an_exit_in_one_part_is_an_exit_of_the_whole)
{
	const uint64_t device = BENCH_MEMORY | 7;

	memory_write(&b.mem, TABLES + 0x2000, &device, 8);
	v->source = &vmx_count_exits;
	v->st.rflags &= ~(uint64_t)FL_RF;
	page.kick = 1;
	step();
	ck_assert(v->st.in_rep);
	ck_assert_int_eq(ends(), ENGINE_EXIT_SPIN);
	ck_assert_uint_eq(v->count, 0);
	v->st.gpr[R_RDI] = FAR + 4096;
	v->st.gpr[R_RCX] = 4096;
	go_on();
	ck_assert(!v->st.in_rep);
	ck_assert_uint_eq(v->count, 1);
	ck_assert(v->at_landmark);
	ck_assert_int_eq(ends(), ENGINE_EXIT_KICK);
}
END_TEST

static bool over;

/* Again and again: a kick that comes before the guest has gone on ends run() where it stands. */
static void *kick_often(void *ctx)
{
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		b.e->ops->kick(b.e);
		usleep(1000);
	}
	return NULL;
}

/* The software CPU says the same where it counts exits. */
START_TEST(software_that_counts_exits_says_so_too)
{
	enum engine_exit_kind kind = ENGINE_EXIT_KICK;
	struct err err = ERR_INIT;
	struct cpu_state s;
	pthread_t kicker;

	bench_stop(&b);
	ck_assert_int_eq(bench_start(&b, &soft_exits_engine_ops, 2, &program, &err), 0);
	put_tables_for_many();
	b.e->ops->get_state(b.e, &s);
	s.gpr[R_RDI] = FAR;
	s.gpr[R_RCX] = MANY;
	ck_assert_int_eq(b.e->ops->set_state(b.e, &s, &err), 0);
	ck_assert_int_eq(pthread_create(&kicker, NULL, kick_often, NULL), 0);
	while (kind == ENGINE_EXIT_KICK)
		kind = bench_run(&b, UINT64_MAX);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_join(kicker, NULL);
	ck_assert_int_eq(kind, ENGINE_EXIT_SPIN);
	ck_assert_int_eq(bench_run(&b, UINT64_MAX), ENGINE_EXIT_SPIN); /* the kick waits on */
	b.e->ops->get_state(b.e, &s);
	ck_assert(s.in_rep);
	ck_assert_uint_gt(s.gpr[R_RCX], 0);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_kick_does_not_wait_for_the_end);
	tcase_add_test(tc, what_was_left_goes_on);
	tcase_add_test(tc, nothing_enters_where_there_is_no_name);
	tcase_add_loop_test(tc, a_short_one_is_completed, 0, 2);
	tcase_add_test(tc, where_software_began_it_the_place_has_a_name);
	tcase_add_loop_test(tc, a_kick_that_comes_meanwhile_is_noticed, 0, 2);
	tcase_add_test(tc, an_exit_in_one_part_is_an_exit_of_the_whole);
	tcase_add_test(tc, software_that_counts_exits_says_so_too);
}

UNIT_MAIN("rep", add)
