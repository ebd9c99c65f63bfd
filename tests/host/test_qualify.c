// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of `twinstep qualify` that need no VT-x: what is read of the kernel, and what threads
 * hold. */
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

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, what_is_open_in_part_is_named);
	tcase_add_test(tc, a_list_that_is_short_is_not_overrun);
	tcase_add_test(tc, the_watchdog_is_told);
	tcase_add_test(tc, vectors_are_held);
}

UNIT_MAIN("qualify", add)
