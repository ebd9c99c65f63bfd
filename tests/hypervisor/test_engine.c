// SPDX-License-Identifier: GPL-2.0-or-later
/* Which engine a machine is given that has been executed somewhere else before. */
#include <errno.h>
#include <string.h>

#include "hypervisor/engine.h"
#include "hypervisor/traits.h"
#include "tests/unit.h"

/* Of a processor that no host has. */
static struct traits strange(void)
{
	struct traits t;

	traits_of_soft(2, &t);
	for (unsigned i = 0; i < TRAITS; i++)
		t.number[i] ^= 0x5a5a0000u + i;
	return t;
}

/* Of the objections that make all engines unfit none is told when one is taken after all. */
START_TEST(strange_traits_are_no_reason_to_tell)
{
	const struct traits t = strange();
	const struct engine_past past = { .traits = &t, .version = 2 };
	struct err err = ERR_INIT;
	const char *passed = "";
	const struct engine_ops *ops = engine_find("auto", &past, &passed, &err);

	ck_assert_ptr_nonnull(ops);
	ck_assert(!passed || !strstr(passed, "another processor"));
}
END_TEST

/* The software CPU of a record that it has made itself. */
START_TEST(own_traits_are_kept)
{
	struct traits t;
	const struct engine_past past = { .counter = "retired", .traits = &t, .version = 2 };
	struct err err = ERR_INIT;
	const struct engine_ops *ops;
	struct traits got;
	char differs[TRAITS_TEXT];

	traits_of_soft(2, &t);
	ops = engine_find("auto", &past, NULL, &err);
	ck_assert_ptr_nonnull(ops);
	traits_of(ops, 2, &got);
	ck_assert(!traits_differ(&t, &got, differs, sizeof(differs)));
}
END_TEST

/* By its family's name the first engine that fits is taken, with other traits rather than none. */
START_TEST(family_is_taken_with_other_traits)
{
	const struct traits t = strange();
	const struct engine_past past = { .counter = "retired", .traits = &t, .version = 2 };
	const struct engine_past none = { .counter = "retired" };
	struct err err = ERR_INIT;
	const struct engine_ops *any = engine_find("vmx", &none, NULL, &err);

	ck_assert_ptr_eq(engine_find("vmx", &past, NULL, &err), any);
	if (!any)
		ck_assert_int_eq(err.code, ENODEV);
}
END_TEST

/* Engines, families, and names that no engine has: those of later programs among them. */
START_TEST(executor_by_name)
{
	ck_assert_int_eq(engine_executor("soft"), ENGINE_SOFTWARE);
	ck_assert_int_eq(engine_executor("soft:interpret"), ENGINE_SOFTWARE);
	ck_assert_int_eq(engine_executor("soft:exits"), ENGINE_SOFTWARE);
	ck_assert_int_eq(engine_executor("vmx"), ENGINE_SILICON);
	ck_assert_int_eq(engine_executor("vmx:pmu"), ENGINE_SILICON);
	ck_assert_int_eq(engine_executor("vmx:exits"), ENGINE_SILICON);
	ck_assert_int_eq(engine_executor("vmx:step"), ENGINE_SILICON);
	ck_assert_int_eq(engine_executor("vmx:later"), ENGINE_UNKNOWN);
	ck_assert_int_eq(engine_executor("auto"), ENGINE_UNKNOWN);
	ck_assert_int_eq(engine_executor(""), ENGINE_UNKNOWN);
	ck_assert_int_eq(engine_executor(NULL), ENGINE_UNKNOWN);
}
END_TEST

/* The family has a reason where none of its engines can be used. */
START_TEST(unusable_by_name)
{
	const char *pmu = vmx_pmu_engine_ops.probe(), *exits = vmx_engine_ops.probe();

	ck_assert_ptr_null(engine_unusable("soft"));
	ck_assert_ptr_null(engine_unusable("auto"));
	ck_assert_ptr_null(engine_unusable("vmx:later"));
	ck_assert_ptr_null(engine_unusable(NULL));
	ck_assert(!engine_unusable("vmx:pmu") == !pmu);
	ck_assert(!engine_unusable("vmx:exits") == !exits);
	ck_assert(!engine_unusable("vmx") == (!pmu || !exits));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, executor_by_name);
	tcase_add_test(tc, unusable_by_name);
	tcase_add_test(tc, strange_traits_are_no_reason_to_tell);
	tcase_add_test(tc, own_traits_are_kept);
	tcase_add_test(tc, family_is_taken_with_other_traits);
}

UNIT_MAIN("engine", add_tests)
