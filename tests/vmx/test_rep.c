// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * REP instructions that the processor may have begun, which the engine completes in software: how
 * long a kick waits for that, and what the boundary is called meanwhile.
 */
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

/* The processor has begun the instruction at RIP and shows RF, with so many iterations left. */
static void set_up(void)
{
	const uint64_t pdpt = TABLES | 7;
	struct err err = ERR_INIT;

	ck_assert_int_eq(bench_start(&b, &soft_interpret_engine_ops, 2, &program, &err), 0);
	put_table(TABLES, TABLES + 0x1000);
	put_table(TABLES + 0x1000, TABLES + 0x2000);
	put_table(TABLES + 0x2000, PAGE);
	memory_write(&b.mem, 0x1008, &pdpt, 8);
	v = calloc(1, sizeof(*v));
	memset(&page, 0, sizeof(page));
	v->run = &page;
	v->soft = b.e;
	v->mem = &b.mem;
	v->source = &vmx_count_pmu;
	v->until.count = UINT64_MAX;
	v->at_landmark = true;
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
	step();
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

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_kick_does_not_wait_for_the_end);
	tcase_add_test(tc, what_was_left_goes_on);
	tcase_add_test(tc, nothing_enters_where_there_is_no_name);
	tcase_add_loop_test(tc, a_short_one_is_completed, 0, 2);
	tcase_add_test(tc, where_software_began_it_the_place_has_a_name);
}

UNIT_MAIN("rep", add)
