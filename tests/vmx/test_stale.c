// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What `twinstep qualify` says of translations and state in use, on the software CPU and on engines
 * made of it that cache longer, guess, or forget.
 */
#include "hypervisor/vmx/stale.h"
#include "tests/unit.h"

static struct engine_ops lying;
static unsigned halts, every;

/* Where the guest halts, every so many times, what it has counted differs. */
static enum engine_exit_kind run_differs(struct engine *e, const struct landmark *until)
{
	enum engine_exit_kind kind = soft_interpret_engine_ops.run(e, until);
	struct err err = ERR_INIT;
	struct cpu_state s;

	if (kind == ENGINE_EXIT_HALT && ++halts % every == 0) {
		e->ops->get_state(e, &s);
		s.gpr[R_RBX]++;
		e->ops->set_state(e, &s, &err);
	}
	return kind;
}

static enum engine_exit_kind run_fails(struct engine *e, const struct landmark *until)
{
	return ENGINE_EXIT_ERROR;
}

static size_t stats(const struct engine *e, struct engine_stat *to, size_t max)
{
	to[0] = (struct engine_stat){ "other", 3 };
	to[1] = (struct engine_stat){ "spurious_faults", 7 };
	return 2;
}

static struct engine *create(struct memory *mem, const struct engine_bus *bus, struct err *err)
{
	struct engine *e = soft_interpret_engine_ops.create(mem, bus, err);

	if (e)
		e->ops = &lying;
	return e;
}

static struct stale ask(enum engine_exit_kind (*run)(struct engine *, const struct landmark *))
{
	struct err err = ERR_INIT;
	struct stale s;

	lying = soft_interpret_engine_ops;
	lying.create = create;
	lying.run = run;
	lying.stats = stats;
	halts = 0;
	ck_assert_int_eq(stale_measure(&lying, 4, &s, &err), 0);
	return s;
}

/* The software CPU: interpreted, translated, and with the other count. */
START_TEST(software_is_as_it_was)
{
	static const struct engine_ops *const ops[] = { &soft_interpret_engine_ops,
							&soft_engine_ops, &soft_exits_engine_ops };
	struct err err = ERR_INIT;
	struct stale s;

	ck_assert_int_eq(stale_measure(ops[_i], 3, &s, &err), 0);
	ck_assert_str_eq(s.error, "");
	ck_assert_uint_eq(s.runs, 3);
	for (unsigned kind = 0; kind < STALE_KINDS; kind++)
		ck_assert_msg(!s.differ[kind], "kind %u differs in %u runs", kind, s.differ[kind]);
	ck_assert_uint_eq(s.spurious, 0);
}
END_TEST

START_TEST(each_run_that_differs_counts)
{
	struct stale s;

	every = 1;
	s = ask(run_differs);
	for (unsigned kind = 0; kind < STALE_KINDS; kind++)
		ck_assert_uint_eq(s.differ[kind], 4);
	ck_assert_uint_eq(s.spurious, STALE_KINDS * 7);
	every = 4;
	s = ask(run_differs);
	for (unsigned kind = 0; kind < STALE_KINDS; kind++)
		ck_assert_uint_eq(s.differ[kind], 1);
}
END_TEST

START_TEST(says_why_it_stopped)
{
	struct stale s = ask(run_fails);

	ck_assert_str_ne(s.error, "");
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, software_is_as_it_was, 0, 3);
	tcase_add_test(tc, each_run_that_differs_counts);
	tcase_add_test(tc, says_why_it_stopped);
}

UNIT_MAIN("stale", add)
