// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file_io.h"
#include "tests/unit.h"

static int file_of(const char *content, size_t len)
{
	char path[] = "/tmp/twinstep-file-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(write(fd, content, len), (ssize_t)len);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

START_TEST(a_file_is_read_whole)
{
	struct err err = ERR_INIT;
	int fd = file_of("ab\0cd", 5);
	char *data;
	size_t len;

	ck_assert_int_eq(file_read_whole(fd, "x", 5, &data, &len, &err), 0);
	ck_assert_uint_eq(len, 5);
	ck_assert_mem_eq(data, "ab\0cd\0", 6);
	free(data);
	close(fd);
	fd = file_of("", 0);
	ck_assert_int_eq(file_read_whole(fd, "x", 5, &data, &len, &err), 0);
	ck_assert_uint_eq(len, 0);
	ck_assert_str_eq(data, "");
	free(data);
	close(fd);
}
END_TEST

START_TEST(what_is_no_small_file_is_refused)
{
	struct err err = ERR_INIT;
	int fd = file_of("123456", 6), pipes[2];
	char *data;
	size_t len;

	ck_assert_int_eq(file_read_whole(fd, "big", 5, &data, &len, &err), -EFBIG);
	ck_assert_ptr_nonnull(strstr(err.text, "'big' has 6 bytes"));
	close(fd);
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(file_read_whole(pipes[0], "pipe", 5, &data, &len, &err), -EINVAL);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(file_read_whole(fd, "/", 5, &data, &len, &err), -EINVAL);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

START_TEST(a_small_text_is_cut_at_its_buffer)
{
	char path[] = "/tmp/twinstep-text-XXXXXX", text[8];
	int fd = mkstemp(path);

	ck_assert_int_eq(write(fd, "one\ntwo three\n", 14), 14);
	close(fd);
	ck_assert_uint_eq(file_read_text(path, text, sizeof(text)), 7);
	ck_assert_str_eq(text, "one\ntwo");
	file_read_line(path, text, sizeof(text));
	ck_assert_str_eq(text, "one");
	file_read_line(path, text, 3);
	ck_assert_str_eq(text, "on");
	unlink(path);
	ck_assert_uint_eq(file_read_text(path, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_file_is_read_whole);
	tcase_add_test(tc, what_is_no_small_file_is_refused);
	tcase_add_test(tc, a_small_text_is_cut_at_its_buffer);
}

UNIT_MAIN("file_io", add_tests)
