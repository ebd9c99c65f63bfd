// SPDX-License-Identifier: GPL-2.0-or-later
/* Following a guest's events: lines that come later, in pieces, and in a file that replaces
 * another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/guest_log.h"
#include "tests/unit.h"

static char dir[] = "/tmp/twinstep-log-XXXXXX", path[60], old[60];

static void append(const char *text)
{
	FILE *f = fopen(path, "ae");

	fputs(text, f);
	fclose(f);
}

/* Called between two looks: what happens meanwhile, step by step. */
static bool step(void *ctx)
{
	switch ((*(unsigned *)ctx)++) {
	case 1: /* the file was not there before */
		append("{\"time\":\"t1\",\"event\":\"start\",\"text\":\"a\"}\n{\"time\":\"t2\",");
		return false;
	case 2: /* the rest of the line, and more before the file is put aside */
		append("\"event\":\"live\",\"text\":\"b\"}\n");
		rename(path, old);
		append("{\"time\":\"t3\",\"event\":\"left\",\"text\":\"c\"}\n");
		return false;
	default:
		return *(unsigned *)ctx > 6;
	}
}

static void follow(bool json, char **text)
{
	unsigned steps = 0;
	size_t n;
	FILE *f = open_memstream(text, &n);

	strcpy(dir, "/tmp/twinstep-log-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/events", dir);
	snprintf(old, sizeof(old), "%s/events.1", dir);
	guest_log_follow(f, path, json, step, &steps);
	fclose(f);
	unlink(path);
	unlink(old);
	rmdir(dir);
}

START_TEST(each_line_comes_once_and_whole)
{
	char *text;

	follow(true, &text);
	ck_assert_str_eq(text, "{\"time\":\"t1\",\"event\":\"start\",\"text\":\"a\"}\n"
			       "{\"time\":\"t2\",\"event\":\"live\",\"text\":\"b\"}\n"
			       "{\"time\":\"t3\",\"event\":\"left\",\"text\":\"c\"}\n");
	free(text);
}
END_TEST

START_TEST(people_get_words)
{
	char *text;

	follow(false, &text);
	ck_assert_ptr_nonnull(strstr(text, "live          b\n"));
	ck_assert_ptr_nonnull(strstr(text, "t3"));
	free(text);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, each_line_comes_once_and_whole);
	tcase_add_test(tc, people_get_words);
}

UNIT_MAIN("guest_log", add_tests)
