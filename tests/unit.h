/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Main function of a unit-test program: runs a Check suite and prints one line a test, as tests/run
 * counts them: ok 1 - <file>:<suite>:<test>: Passed          not ok 2 - <file>:<suite>:<test>:
 * <message> Use: START_TEST(...) ... END_TEST, a static TCase builder, and UNIT_MAIN("name",
 * add_tests).
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static inline int unit_run(const char *name, void (*add)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	add(tc);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_set_tap(sr, "-");
	srunner_run_all(sr, CK_SILENT);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT_MAIN(name, add)                \
	int main(void)                      \
	{                                   \
		return unit_run(name, add); \
	}

#endif
