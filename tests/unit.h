/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Main function of a unit-test program: runs a Check suite and prints one line a test, as tests/run
 * counts them:
 *
 *	ok 1 - <file>:<suite>:<test>: Passed
 *	not ok 2 - <file>:<suite>:<test>: <message>
 *
 * Use: START_TEST(...) ... END_TEST, a static TCase builder, and UNIT_MAIN("name", add_tests). A
 * test that waits for the host (whose result hangs on a timeout, on throughput or on how soon a
 * thread gets a turn) is added with tcase_add_host_test() instead of tcase_add_test(): tests/run
 * gives it a second chance, alone. No other test has one.
 *
 * usage of such a program: PROGRAM [TEST...]     these tests; all without arguments
 *                          PROGRAM --waits       only names the tests that wait for the host, and
 *                                                tells whether the program mostly waits
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_THREAD__
#define UNIT_THREAD_SANITIZER 1
#else
#define UNIT_THREAD_SANITIZER 0
#endif

/*
 * Long tests run a share of their cases under the address sanitizer, where each takes ten times as
 * long: what an instruction computes is for the plain build to find, and a bad access shows in few
 * of them. UNIT_ALL_CASES=1 in the environment runs all of them. The share is odd, so that strides
 * that are multiplied by it stay odd.
 */
#ifdef __SANITIZE_ADDRESS__
#define UNIT_SHARE 7u
#else
#define UNIT_SHARE 1u
#endif

static inline unsigned unit_share(void)
{
	return getenv("UNIT_ALL_CASES") ? 1 : UNIT_SHARE;
}

/* How many of `n` cases a test runs. */
static inline unsigned unit_cases(unsigned n)
{
	return (n + unit_share() - 1) / unit_share();
}

/* A number from the environment, or `otherwise`. */
static inline uint64_t unit_setting(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v ? strtoull(v, NULL, 0) : otherwise;
}

static char **unit_only; /* tests to run, up to a NULL; all when it points to NULL */
static bool unit_names_waits;

static inline bool unit_wanted(const char *test)
{
	bool wanted = !unit_only || !*unit_only;

	for (char **p = unit_only; p && *p && !wanted; p++)
		wanted = strcmp(*p, test) == 0;
	return wanted;
}

static inline void unit_add(TCase *tc, const TTest *test, int start, int end)
{
	if (unit_wanted(test->name))
		_tcase_add_test(tc, test, 0, 0, start, end);
}

static inline void unit_add_host(TCase *tc, const TTest *test, int start, int end)
{
	if (unit_names_waits)
		printf("waits for the host: %s\n", test->name);
	unit_add(tc, test, start, end);
}

#undef tcase_add_test
#undef tcase_add_loop_test
#define tcase_add_test(tc, test)		 unit_add(tc, test, 0, 1)
#define tcase_add_loop_test(tc, test, s, e)	 unit_add(tc, test, s, e)
#define tcase_add_host_test(tc, test)		 unit_add_host(tc, test, 0, 1)
#define tcase_add_host_loop_test(tc, test, s, e) unit_add_host(tc, test, s, e)

/* Called by `add`: the program sleeps most of its time, so that tests/run runs it beside others. */
static inline void unit_mostly_waits(void)
{
	if (unit_names_waits)
		puts("mostly waits");
}

/* Takes the program's arguments, where main() is not that of UNIT_MAIN: before unit_run(). */
static inline void unit_arguments(int argc, char **argv)
{
	unit_names_waits = argc > 1 && strcmp(argv[1], "--waits") == 0;
	unit_only = unit_names_waits ? NULL : argv + 1;
	/* What has passed is told even if the program is killed. */
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Runs a suite with what `add` puts into it; returns an exit status. */
static inline int unit_run(const char *name, void (*add)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *sr = srunner_create(suite);
	int failed = 0;

	tcase_set_timeout(tc, 300);
	add(tc);
	suite_add_tcase(suite, tc);
	srunner_set_tap(sr, "-");
	if (!unit_names_waits) {
		srunner_run_all(sr, CK_SILENT);
		failed = srunner_ntests_failed(sr);
	}
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT_MAIN(name, add)                \
	int main(int argc, char **argv)     \
	{                                   \
		unit_arguments(argc, argv); \
		return unit_run(name, add); \
	}

#endif
