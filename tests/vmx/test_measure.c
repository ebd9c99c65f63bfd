// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What `twinstep qualify` measures, on the software CPU and on engines made of it that count
 * wrongly.
 */
#include <errno.h>

#include "hypervisor/vmx/measure.h"
#include "tests/unit.h"

static unsigned runs;

/* Every third time, one too many. */
static enum engine_exit_kind run_wrong(struct engine *e, const struct landmark *until)
{
	enum engine_exit_kind kind = soft_engine_ops.run(e, until);
	struct cpu_state s;
	struct err err = ERR_INIT;

	if (++runs % 3 == 0) {
		e->ops->get_state(e, &s);
		s.count++;
		e->ops->set_state(e, &s, &err);
	}
	return kind;
}

/* The right count at another place: the next instruction has been executed, uncounted. */
static enum engine_exit_kind run_late(struct engine *e, const struct landmark *until)
{
	enum engine_exit_kind kind = soft_engine_ops.run(e, until);
	struct landmark next = { .count = until->count + 1 };
	struct cpu_state s;
	struct err err = ERR_INIT;

	if (kind != ENGINE_EXIT_UNTIL)
		return kind;
	soft_engine_ops.run(e, &next);
	e->ops->get_state(e, &s);
	s.count--;
	e->ops->set_state(e, &s, &err);
	return kind;
}

static enum engine_exit_kind run_fails(struct engine *e, const struct landmark *until)
{
	return ENGINE_EXIT_ERROR;
}

static const char *why(const struct engine *e)
{
	return "because";
}

static struct engine_ops ops;

static struct engine *create(struct memory *mem, const struct engine_bus *bus, struct err *err)
{
	struct engine *e = soft_engine_ops.create(mem, bus, err);

	if (e)
		e->ops = &ops;
	return e;
}

static int measure_with(enum engine_exit_kind (*run)(struct engine *, const struct landmark *),
			struct measure *m)
{
	struct err err = ERR_INIT;

	ops = soft_engine_ops;
	ops.create = create;
	ops.run = run;
	ops.last_error = why;
	return measure_engine(&ops, 3, m, &err);
}

START_TEST(software_is_exact)
{
	struct err err = ERR_INIT;
	struct measure m;

	ck_assert_int_eq(measure_engine(&soft_engine_ops, 2, &m, &err), 0);
	ck_assert(m.exact);
	ck_assert_uint_eq(m.row[0].expected,
			  1000002); /* MOV, half a million times INC and LOOP, HLT */
	ck_assert_uint_eq(m.row[2].expected, 2 + 2000 * 7);
	for (unsigned i = 0; i < MEASURE_PROGRAMS; i++) {
		ck_assert_uint_eq(m.row[i].runs, 2);
		ck_assert_uint_gt(m.row[i].expected, 300);
	}
	ck_assert_uint_gt(m.landings, 30);
	ck_assert_uint_eq(m.landing.overflows, 0);
}
END_TEST

START_TEST(wrong_count_is_seen)
{
	struct measure m;

	ck_assert_int_eq(measure_with(run_wrong, &m), 0);
	ck_assert(!m.exact);
	for (unsigned i = 0; i < MEASURE_PROGRAMS; i++) {
		/* Where interrupts come from outside, a program is many runs of the engine. */
		if (m.row[i].interrupted) {
			ck_assert_uint_eq(m.row[i].wrong, 3);
			continue;
		}
		ck_assert_uint_eq(m.row[i].wrong, 1);
		ck_assert_int_eq(m.row[i].high, 1);
		ck_assert_int_eq(m.row[i].low, 0);
	}
}
END_TEST

START_TEST(wrong_place_is_seen)
{
	struct measure m;

	ck_assert_int_eq(measure_with(run_late, &m), 0);
	ck_assert(!m.exact);
	ck_assert_uint_eq(m.missed, m.landings);
	ck_assert_uint_eq(m.row[0].wrong, 0);
}
END_TEST

START_TEST(failure_is_told)
{
	struct measure m;

	ck_assert_int_eq(measure_with(run_fails, &m), 0);
	ck_assert(!m.exact);
	ck_assert_str_eq(m.error, "because");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, software_is_exact);
	tcase_add_test(tc, wrong_count_is_seen);
	tcase_add_test(tc, wrong_place_is_seen);
	tcase_add_test(tc, failure_is_told);
}

UNIT_MAIN("measure", add_tests)
