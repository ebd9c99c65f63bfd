// SPDX-License-Identifier: GPL-2.0-or-later
// What explore draws, how it makes a list of changes short, and what it calls a failure.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/explore.h"
#include "tests/unit.h"

static struct err err;

START_TEST(draws)
{
	const struct explore_space s = { .after = 5000, .end = 9000, .nnics = 1 };
	struct fault a[DEVIATE_FAULTS], b[DEVIATE_FAULTS];
	bool seen[FAULT_PLACES] = { false };

	for (uint64_t n = 0; n < 500; n++) {
		size_t count = explore_draw(&s, 7, n, 16, a);

		ck_assert_uint_ge(count, 1);
		ck_assert_uint_le(count, 16);
		ck_assert_uint_eq(explore_draw(&s, 7, n, 16, b), count);
		ck_assert_mem_eq(a, b, count * sizeof(*a));
		for (size_t i = 0; i < count; i++) {
			ck_assert(a[i].count >= 5000 && a[i].count < 9000);
			ck_assert(!i || a[i].count >= a[i - 1].count);
			ck_assert_uint_eq(a[i].index, 0);
			seen[a[i].place] = true;
		}
	}
	ck_assert(seen[FAULT_CLOCK_JUMP] && seen[FAULT_CLOCK_SLOW] && seen[FAULT_PACKET_LATE]);
	ck_assert(!seen[FAULT_DISK_SLOW]); /* there is no disk */
}
END_TEST

static bool has(const struct fault *f, size_t n, uint64_t count)
{
	for (size_t i = 0; i < n; i++) {
		if (f[i].count == count)
			return true;
	}
	return false;
}

/* Numbers 3 and 11 together. */
static int both(void *ctx, const struct fault *f, size_t n)
{
	return has(f, n, 3) && has(f, n, 11);
}

static int broken(void *ctx, const struct fault *f, size_t n)
{
	return -EPIPE;
}

static const struct explore_space space = { .after = 0, .end = 100000 };

START_TEST(shrinks)
{
	struct fault f[16];
	size_t n = 16;

	for (unsigned i = 0; i < 16; i++)
		f[i] = (struct fault){ .count = i };
	ck_assert_int_eq(explore_shrink(&space, 1, f, &n, both, NULL), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert(f[0].count == 3 && f[1].count == 11);
	ck_assert_int_eq(explore_shrink(&space, 1, f, &n, broken, NULL), -EPIPE);
	n = 1;
	ck_assert_int_eq(explore_shrink(&space, 1, f, &n, broken, NULL), 0); /* nothing goes away */
}
END_TEST

/* One that is close to where it was does it alone, but none of those that were drawn. */
static int nearby(void *ctx, const struct fault *f, size_t n)
{
	uint64_t from = *(uint64_t *)ctx;

	for (size_t i = 0; i < n; i++) {
		if (f[i].count > 40000 && f[i].count < 44000)
			return 1;
		ck_assert(f[i].count < 100000 && (!i || f[i - 1].count <= f[i].count));
	}
	return n == 16 && f[0].count == from;
}

START_TEST(shrinks_elsewhere)
{
	struct fault f[16];
	uint64_t first = 30000;
	size_t n = 16;

	for (unsigned i = 0; i < 16; i++)
		f[i] = (struct fault){ .count = first + i * 100 };
	ck_assert_int_eq(explore_shrink(&space, 1, f, &n, nearby, &first), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert(f[0].count > 40000 && f[0].count < 44000);
}
END_TEST

/* As timing is: that a list fails says nothing of what else does. */
struct anyhow {
	uint64_t seed;
	struct fault drawn[DEVIATE_FAULTS];
	size_t ndrawn;
};

static int anyhow(void *ctx, const struct fault *f, size_t n)
{
	const struct anyhow *a = ctx;
	uint64_t h = a->seed;

	for (size_t i = 0; i < n; i++) {
		if (!has(a->drawn, a->ndrawn, f[i].count))
			return 0;
		h = (h ^ f[i].count) * 0x9e3779b97f4a7c15ull;
	}
	return n == a->ndrawn || (h >> 32) % 6 == 0;
}

/* Each that is left is needed, whatever it was that failed. */
START_TEST(shrinks_to_what_is_needed)
{
	const struct explore_space s = { .after = 0, .end = 10000000 };
	struct fault f[DEVIATE_FAULTS], rest[DEVIATE_FAULTS];
	unsigned several = 0, fewer = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct anyhow a = { .seed = seed };
		size_t n = a.ndrawn = explore_draw(&s, 1, seed, 16, a.drawn);

		memcpy(f, a.drawn, n * sizeof(*f));
		ck_assert_int_eq(explore_shrink(&s, 1, f, &n, anyhow, &a), 0);
		ck_assert(n && n <= a.ndrawn && anyhow(&a, f, n));
		several += n > 1;
		fewer += n < a.ndrawn;
		for (size_t out = 0; n > 1 && out < n; out++) {
			memcpy(rest, f, out * sizeof(*f));
			memcpy(rest + out, f + out + 1, (n - out - 1) * sizeof(*f));
			ck_assert_int_eq(anyhow(&a, rest, n - 1), 0);
		}
	}
	ck_assert(several > 10 && fewer > 10);
}
END_TEST

static int judge(const struct explore_failure *f, unsigned status, const char *shown)
{
	struct explore_answer a = { .t = { .end = MACHINE_EXIT, .status = status } };
	int ret;

	buf_put(&a.shown, shown, strlen(shown));
	ret = explore_judge(f, &a, &err);
	buf_free(&a.shown);
	return ret;
}

START_TEST(failures)
{
	struct explore_failure any = { .golden = { .end = MACHINE_EXIT, .status = 4 } },
			       status = { .by_status = true, .status = 1 },
			       line = { .console = "^bad" },
			       check = { .check = "false", .patience_s = 600 };

	ck_assert_int_eq(judge(&any, 4, ""), 0);
	ck_assert_int_eq(judge(&any, 5, ""), 1);
	ck_assert_int_eq(judge(&status, 5, ""), 0);
	ck_assert_int_eq(judge(&status, 1, ""), 1);
	ck_assert_int_eq(regcomp(&line.expression, "^bad", REG_EXTENDED | REG_NOSUB), 0);
	ck_assert_int_eq(judge(&line, 0, "not bad\r\nworse\n"), 0);
	ck_assert_int_eq(judge(&line, 0, "good\r\nbad"), 1);
	regfree(&line.expression);
	ck_assert_int_eq(judge(&check, 0, ""), 1);
	check.check = "true";
	ck_assert_int_eq(judge(&check, 0, ""), 0);
	check.check = "/nothing/here";
	ck_assert_int_eq(judge(&check, 0, ""), -ENOEXEC);
}
END_TEST

/* A program that does not come to its end is not waited for. */
START_TEST(a_check_that_hangs)
{
	char path[] = "/tmp/twinstep-check-XXXXXX";
	static const char script[] = "#!/bin/sh\nexec sleep 10000\n";
	struct explore_failure f = { .check = path, .patience_s = 1 };
	int fd = mkstemp(path);

	ck_assert_int_eq(write(fd, script, strlen(script)), (ssize_t)strlen(script));
	fchmod(fd, 0700);
	close(fd);
	ck_assert_int_eq(judge(&f, 0, ""), -ETIMEDOUT);
	unlink(path);
}
END_TEST

/* What a worker that a guest has taken over may say. */
START_TEST(answers_that_cannot_be)
{
	const struct experiment_try t = { .end = MACHINE_PROBED };
	const struct explore_space s = { .nnics = MACHINE_NICS, .ndisks = MACHINE_DISKS };
	const uint8_t no_flag = 2;
	struct experiment_try bad_t = t;
	struct explore_space bad_s = s;

	ck_assert(explore_answer_can_be(&t, &s, EXPLORE_SHOWN));
	ck_assert(!explore_answer_can_be(&t, &s, EXPLORE_SHOWN + 1));
	ck_assert(!explore_answer_can_be(&t, &s, UINT64_MAX));
	bad_t.end = (enum machine_end)(MACHINE_PROBED + 1);
	ck_assert(!explore_answer_can_be(&bad_t, &s, 0));
	bad_t = t;
	memcpy(&bad_t.refused, &no_flag, 1);
	ck_assert(!explore_answer_can_be(&bad_t, &s, 0));
	bad_s.nnics++;
	ck_assert(!explore_answer_can_be(&t, &bad_s, 0));
	bad_s = s;
	bad_s.ndisks = UINT_MAX;
	ck_assert(!explore_answer_can_be(&t, &bad_s, 0));
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, draws);
	tcase_add_test(tc, shrinks);
	tcase_add_test(tc, shrinks_elsewhere);
	tcase_add_test(tc, shrinks_to_what_is_needed);
	tcase_add_test(tc, failures);
	tcase_add_test(tc, a_check_that_hangs);
	tcase_add_test(tc, answers_that_cannot_be);
}

UNIT_MAIN("explore", add)
