// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of `twinstep qualify` that need no VT-x: what is read of the kernel, and what threads
 * hold. */
#include <sched.h>
#include <stdlib.h>

#include "host/qualify_checks.c"
#include "host/qualify_keep.h"
#include "tests/unit.h"

static char dir[] = "/tmp/twinstep-test-qualify.XXXXXX";

static void put(const char *name, const char *line)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "%s\n", line);
	fclose(f);
}

static void drop(const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

static void set_up(void)
{
	snprintf(dir, sizeof(dir), "/tmp/twinstep-test-qualify.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void tear_down(void)
{
	static const char *const names[] = { "l1tf",	      "mds",	  "meltdown",
					     "itlb_multihit", "retbleed", "nmi_watchdog" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		drop(names[i]);
	rmdir(dir);
}

/* What is open for those who run guests stands behind a mitigation for all others. */
START_TEST(what_is_open_in_part_is_named)
{
	char list[200], *l = list;

	put("meltdown", "Mitigation: PTI");
	put("retbleed", "Not affected");
	vulnerabilities_read(dir, l, sizeof(list));
	ck_assert_str_eq(l, "");
	put("l1tf", "Mitigation: PTE Inversion; VMX: vulnerable, SMT disabled");
	put("itlb_multihit", "KVM: Vulnerable");
	put("mds", "Vulnerable: Clear CPU buffers attempted, no microcode");
	vulnerabilities_read(dir, l, sizeof(list));
	ck_assert_ptr_nonnull(strstr(l, " l1tf"));
	ck_assert_ptr_nonnull(strstr(l, " itlb_multihit"));
	ck_assert_ptr_nonnull(strstr(l, " mds"));
	ck_assert_ptr_null(strstr(l, "meltdown"));
	ck_assert_ptr_null(strstr(l, "retbleed"));
}
END_TEST

START_TEST(a_list_that_is_short_is_not_overrun)
{
	char list[6] = "";

	put("l1tf", "Vulnerable");
	vulnerabilities_read(dir, list, sizeof(list)); /* room for " l1t", and its end */
	ck_assert_str_eq(list, "");
	vulnerabilities_read("/nowhere", list, sizeof(list));
	ck_assert_str_eq(list, "");
}
END_TEST

START_TEST(the_watchdog_is_told)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/nmi_watchdog", dir);
	ck_assert_str_eq(watchdog_read(path), "not in this kernel");
	put("nmi_watchdog", "0");
	ck_assert_str_eq(watchdog_read(path), "off, so not checked");
	put("nmi_watchdog", "1");
	ck_assert_str_eq(watchdog_read(path), "on, and whether it still barks was not looked at");
}
END_TEST

/* Where nobody changes them, vectors are as they were. */
START_TEST(vectors_are_held)
{
	struct qualify_keep *k = qualify_keep_begin();

	ck_assert(!k || qualify_keep_end(k));
}
END_TEST

/* ---- a counter whose thread moves ---- */

static struct engine_ops moving;
static int last_cpu;

/* One too many where it was on another CPU before. */
static enum engine_exit_kind run_loses(struct engine *e, const struct landmark *until)
{
	enum engine_exit_kind kind = soft_engine_ops.run(e, until);
	struct err err = ERR_INIT;
	struct cpu_state s;
	int cpu = sched_getcpu();

	if (last_cpu >= 0 && cpu != last_cpu) {
		e->ops->get_state(e, &s);
		s.count++;
		e->ops->set_state(e, &s, &err);
	}
	last_cpu = cpu;
	return kind;
}

static enum engine_exit_kind run_fails(struct engine *e, const struct landmark *until)
{
	return ENGINE_EXIT_ERROR;
}

static struct engine *create(struct memory *mem, const struct engine_bus *bus, struct err *err)
{
	struct engine *e = soft_engine_ops.create(mem, bus, err);

	if (e)
		e->ops = &moving;
	return e;
}

static struct qualify_moved move_with(enum engine_exit_kind (*run)(struct engine *,
								   const struct landmark *))
{
	struct err err = ERR_INIT;
	struct qualify_moved m;
	cpu_set_t before, after;

	moving = soft_engine_ops;
	moving.create = create;
	moving.run = run;
	last_cpu = -1;
	sched_getaffinity(0, sizeof(before), &before);
	ck_assert_int_eq(qualify_move(&moving, 1, &m, &err), 0);
	sched_getaffinity(0, sizeof(after), &after);
	ck_assert(CPU_EQUAL(&before, &after));
	ck_assert_uint_eq(m.cpus, (unsigned)CPU_COUNT(&before));
	return m;
}

START_TEST(a_count_that_moves_along_is_exact)
{
	struct qualify_moved m = move_with(soft_engine_ops.run);

	ck_assert(qualify_moved_well(&m));
	ck_assert_uint_eq(m.moves > 0, m.cpus > 1);
	ck_assert_uint_eq(m.runs > 0, m.cpus > 1);
	ck_assert_uint_eq(m.stops > 0, m.cpus > 1);
}
END_TEST

START_TEST(a_count_that_is_lost_on_the_way_is_seen)
{
	struct qualify_moved m = move_with(run_loses);

	ck_assert_uint_eq(m.wrong + m.missed > 0, m.cpus > 1);
	ck_assert_int_eq(qualify_moved_well(&m), m.cpus == 1);
}
END_TEST

START_TEST(an_engine_that_fails_on_the_way_is_seen)
{
	struct qualify_moved m = move_with(run_fails);

	ck_assert_int_eq(qualify_moved_well(&m), m.cpus == 1);
	ck_assert_int_eq(m.error[0] != 0, m.cpus > 1);
}
END_TEST

/* Both measurements decide, and both are told. */
START_TEST(moves_decide_about_the_count)
{
	static struct qualify_moved moved;
	static struct measure pmu = { .exact = true, .landings = 40 };
	const struct check_input in = { .pmu = &pmu, .moved = &moved };
	struct check c;

	moved = (struct qualify_moved){ .cpus = 1 };
	check_counting(&in, &c);
	ck_assert_int_eq(c.state, CHECK_GOOD);
	ck_assert_ptr_nonnull(strstr(c.text, "one CPU only"));
	moved = (struct qualify_moved){
		.cpus = 2, .moves = 70, .runs = 10, .wrong = 3, .stops = 40, .missed = 1
	};
	check_counting(&in, &c);
	ck_assert_int_eq(c.state, CHECK_BAD);
	ck_assert_str_eq(c.text, "0 of 0 runs wrong, 0 of 40 stops missed; 3 of 10 and 1 of 40 "
				 "while the thread moved 70 times between 2 CPUs");
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, what_is_open_in_part_is_named);
	tcase_add_test(tc, a_list_that_is_short_is_not_overrun);
	tcase_add_test(tc, the_watchdog_is_told);
	tcase_add_test(tc, vectors_are_held);
	tcase_add_test(tc, a_count_that_moves_along_is_exact);
	tcase_add_test(tc, a_count_that_is_lost_on_the_way_is_seen);
	tcase_add_test(tc, an_engine_that_fails_on_the_way_is_seen);
	tcase_add_test(tc, moves_decide_about_the_count);
}

UNIT_MAIN("qualify", add)
