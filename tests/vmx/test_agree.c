// SPDX-License-Identifier: GPL-2.0-or-later
/* What `twinstep qualify` compares between a processor and the software CPU, on engines that lie.
 */
#include "hypervisor/vmx/agree.h"
#include "tests/unit.h"

static unsigned runs;

/* Another processor: a bit of EBX differs when the guest has halted. */
static enum engine_exit_kind run_differs(struct engine *e, const struct landmark *until)
{
	enum engine_exit_kind kind = soft_engine_ops.run(e, until);
	struct err err = ERR_INIT;
	struct cpu_state s;

	if (kind == ENGINE_EXIT_HALT) {
		e->ops->get_state(e, &s);
		s.gpr[R_RBX] ^= 1;
		e->ops->set_state(e, &s, &err);
	}
	return kind;
}

/* An unsteady one: at every 50th stop a register is another. */
static enum engine_exit_kind run_unsteady(struct engine *e, const struct landmark *until)
{
	enum engine_exit_kind kind = soft_engine_ops.run(e, until);
	struct err err = ERR_INIT;
	struct cpu_state s;

	if (kind == ENGINE_EXIT_UNTIL && ++runs % 50 == 0) {
		e->ops->get_state(e, &s);
		s.gpr[R_RBP] ^= 1;
		e->ops->set_state(e, &s, &err);
	}
	return kind;
}

static enum engine_exit_kind run_fails(struct engine *e, const struct landmark *until)
{
	return ENGINE_EXIT_ERROR;
}

static enum engine_exit_kind (*run_how)(struct engine *e, const struct landmark *until);
static struct engine_ops lying;

static struct engine *create(struct memory *mem, const struct engine_bus *bus, struct err *err)
{
	struct engine *e = soft_engine_ops.create(mem, bus, err);

	if (e)
		e->ops = &lying;
	return e;
}

static struct agree ask(enum engine_exit_kind (*run)(struct engine *, const struct landmark *))
{
	struct err err = ERR_INIT;
	struct agree a;

	runs = 0;
	run_how = run;
	lying = soft_engine_ops;
	lying.create = create;
	lying.run = run_how;
	ck_assert_int_eq(agree_engine(&lying, 3, &a, &err), 0);
	return a;
}

START_TEST(agrees_with_itself)
{
	struct agree a = ask(soft_engine_ops.run);

	ck_assert_str_eq(a.error, "");
	ck_assert(a.all);
	ck_assert_uint_eq(a.repeats, 3);
	ck_assert_uint_eq(a.unsteady, 0);
	for (unsigned i = 0; i < TRAITS; i++)
		ck_assert(a.same[i]);
}
END_TEST

START_TEST(sees_another_processor)
{
	struct agree a = ask(run_differs);

	ck_assert(!a.all);
	for (unsigned i = 0; i < TRAITS; i++)
		ck_assert(!a.same[i]);
}
END_TEST

START_TEST(sees_an_unsteady_run)
{
	struct agree a = ask(run_unsteady);

	ck_assert(a.all);
	ck_assert_uint_eq(a.repeats, 3);
	ck_assert_uint_ge(a.unsteady, 2);
}
END_TEST

/* What records of the software CPU say of it is what its programs come to, in both machines. */
START_TEST(the_software_cpu_has_its_traits)
{
	char error[BENCH_ERROR] = "";
	struct err err = ERR_INIT;
	uint32_t number[TRAITS];
	struct traits t;

	for (unsigned version = 1; version <= 2; version++) {
		traits_of(&soft_engine_ops, version, &t);
		ck_assert_int_eq(agree_numbers(&soft_engine_ops, version, number, error, &err), 0);
		ck_assert_str_eq(error, "");
		ck_assert_uint_eq(t.n, TRAITS);
		for (unsigned i = 0; i < TRAITS; i++) {
			ck_assert_uint_ne(number[i], 0);
			ck_assert_msg(number[i] == t.number[i], "version %u, %s: %#x, not %#x",
				      version, trait_name[i], number[i], t.number[i]);
		}
	}
}
END_TEST

START_TEST(says_why_it_stopped)
{
	struct agree a = ask(run_fails);

	ck_assert_str_ne(a.error, "");
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, agrees_with_itself);
	tcase_add_test(tc, sees_another_processor);
	tcase_add_test(tc, sees_an_unsteady_run);
	tcase_add_test(tc, the_software_cpu_has_its_traits);
	tcase_add_test(tc, says_why_it_stopped);
}

UNIT_MAIN("agree", add)
