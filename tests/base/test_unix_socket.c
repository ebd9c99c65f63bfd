// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "tests/unit.h"

static char dir[] = "/tmp/twinstep-socket-XXXXXX", path[64];

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
}

static void tear_down(void)
{
	unlink(path);
	rmdir(dir);
}

static void make_old(const char *name)
{
	const struct timespec hour_ago[2] = { { .tv_sec = time(NULL) - 3600 },
					      { .tv_sec = time(NULL) - 3600 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, name, hour_ago, 0), 0);
}

START_TEST(only_this_user_may_connect)
{
	struct err err = ERR_INIT;
	mode_t was = umask(0);
	int fd = unix_socket_listen(path, 1, &err);
	struct stat st;

	umask(was);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(accept(fd, NULL, NULL), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(fd);
}
END_TEST

START_TEST(a_socket_left_behind_is_replaced_and_a_live_one_is_not)
{
	struct err err = ERR_INIT;
	int fd = unix_socket_listen(path, 1, &err);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unix_socket_listen(path, 1, &err), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(err.text, path));
	close(fd);
	fd = unix_socket_listen(path, 1, &err);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

START_TEST(what_cannot_be_told_stays)
{
	struct rlimit was, none;
	struct err err = ERR_INIT;

	close(unix_socket_listen(path, 1, &err));
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = was.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(unix_socket_vacate(path, &err), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	ck_assert(!access(path, F_OK) && strstr(err.text, path));
	ck_assert_int_eq(unix_socket_vacate(path, &err), 0);
}
END_TEST

START_TEST(what_was_left_behind_is_swept_away)
{
	struct err err = ERR_INIT;
	char live[96], file[96], other[96];
	int fd, lock;

	snprintf(live, sizeof(live), "%s/live.s", dir);
	snprintf(file, sizeof(file), "%s/file.s", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	close(unix_socket_listen(other, 1, &err));
	close(open(file, O_CREAT | O_WRONLY, 0600));
	fd = unix_socket_listen(live, 1, &err);
	close(unix_socket_listen(path, 1, &err));
	ck_assert_msg(fd >= 0 && !access(path, F_OK), "%s", err.text);
	ck_assert_uint_eq(unix_socket_sweep(dir, "s", 10), 0);
	ck_assert_msg(!access(path, F_OK), "one that was made just now is gone");
	make_old(path);
	make_old(live);
	make_old(file);
	make_old(other);
	lock = open(dir, O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(flock(lock, LOCK_SH), 0);
	ck_assert_uint_eq(unix_socket_sweep(dir, "s", 10), 0); /* somebody makes one */
	close(lock);
	ck_assert_uint_eq(unix_socket_sweep(dir, "s", 10), 1);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert(!access(live, F_OK) && !access(file, F_OK) && !access(other, F_OK));
	close(fd);
	unlink(live);
	unlink(file);
	unlink(other);
	ck_assert_uint_eq(unix_socket_sweep("/nowhere/at/all", "s", 0), 0);
}
END_TEST

START_TEST(other_files_stay)
{
	struct err err = ERR_INIT;
	FILE *f = fopen(path, "w");

	fputs("mine", f);
	fclose(f);
	ck_assert_int_eq(unix_socket_listen(path, 1, &err), -EEXIST);
	ck_assert_int_eq(access(path, R_OK), 0);
}
END_TEST

START_TEST(a_path_must_fit)
{
	struct err err = ERR_INIT;
	char longer[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	ck_assert_int_eq(unix_socket_listen(longer, 1, &err), -EINVAL);
	ck_assert_int_eq(unix_socket_listen("", 1, &err), -EINVAL);
	ck_assert_int_lt(unix_socket_listen("/nowhere/at/all", 1, &err), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, only_this_user_may_connect);
	tcase_add_test(tc, a_socket_left_behind_is_replaced_and_a_live_one_is_not);
	tcase_add_test(tc, what_cannot_be_told_stays);
	tcase_add_test(tc, what_was_left_behind_is_swept_away);
	tcase_add_test(tc, other_files_stay);
	tcase_add_test(tc, a_path_must_fit);
}

UNIT_MAIN("unix_socket", add_tests)
