// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file of promises: never more than there is, dead processes do not count, and any bytes are
 * safe to read.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/host_file.h"
#include "isolation/keeper.h"
#include "isolation/process.h"
#include "tests/unit.h"

static char dir[64], path[80];

static void begin(void)
{
	strcpy(dir, "/tmp/twinstep-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/host", dir);
}

static void end(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static void write_file(const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, n), (ssize_t)n);
	close(fd);
}

static struct host_entry entry(const char *name, pid_t pid, uint64_t bytes)
{
	struct host_entry e = {
		.pid = pid, .start = process_start(pid), .promised = bytes, .memory = bytes
	};

	strcpy(e.name, name);
	e.limits.cpu_weight = 300;
	e.limits.io[IO_WRITE_OPS] = 9;
	return e;
}

/* A process that lives until it is killed. */
static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static void end_sleeper(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

START_TEST(promises_add_up)
{
	pid_t a = sleeper(), b = sleeper();
	struct host_entry ea = entry("a", a, 600), eb = entry("b", b, 500);
	struct host_state s;
	struct err err = ERR_INIT;

	begin();
	ck_assert_int_eq(host_file_read(path, &s, &err), 0); /* there is none yet */
	ck_assert_uint_eq(s.n, 0);
	ck_assert_int_eq(host_file_promise(path, &ea, 1000, &err), 0);
	ck_assert_int_eq(host_file_promise(path, &eb, 1000, &err), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err.text, "a 0 MiB (process"));
	eb.promised = 400;
	ck_assert_int_eq(host_file_promise(path, &eb, 1000, &err), 0);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(s.n, 2);
	ck_assert_uint_eq(host_file_promised(&s), 1000);
	ck_assert_int_eq(s.entry[1].pid, b);
	ck_assert_uint_eq(s.entry[1].limits.cpu_weight, 300);
	ck_assert_uint_eq(s.entry[1].limits.io[IO_WRITE_OPS], 9);
	/* One process has one entry. */
	eb.promised = 300;
	ck_assert_int_eq(host_file_promise(path, &eb, 1000, &err), 0);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(host_file_promised(&s), 900);
	/* A dead process holds nothing, even before it is waited for. */
	kill(a, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, (id_t)a, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(host_file_promised(&s), 300);
	waitpid(a, NULL, 0);
	eb.promised = 1000;
	ck_assert_int_eq(host_file_promise(path, &eb, 1000, &err), 0);
	end_sleeper(b);
	end();
}
END_TEST

START_TEST(a_limit_counts_more_than_the_host)
{
	struct host_entry e = entry("me", getpid(), 600);
	struct host_state s;
	struct err err = ERR_INIT;

	begin();
	ck_assert_int_eq(host_file_set_limit(path, 500, &err), 0);
	ck_assert_int_eq(host_file_promise(path, &e, 1000, &err), -ENOMEM);
	ck_assert_int_eq(host_file_set_limit(path, 2000, &err), 0);
	e.promised = 1500;
	ck_assert_int_eq(host_file_promise(path, &e, 1000, &err), 0);
	ck_assert_int_eq(host_file_set_limit(path, 0, &err), 0);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(s.limit, 0);
	ck_assert_uint_eq(s.n, 1);
	e.promised = UINT64_MAX; /* nothing wraps */
	ck_assert_int_eq(host_file_promise(path, &e, 1000, &err), -ENOMEM);
	end();
	ck_assert_uint_eq(host_file_room(1ull << 30), (1ull << 30) - (64ull << 20));
	ck_assert_uint_eq(host_file_room(1ull << 20), 0);
}
END_TEST

/* Eight ask at once, five fit. */
START_TEST(all_at_once)
{
	struct host_state s;
	struct err err = ERR_INIT;
	pid_t pid[8];
	int go[2], done[2];
	char byte;
	int granted = 0;

	begin();
	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(pipe(done), 0);
	for (int i = 0; i < 8; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			struct host_entry e = entry("one", getpid(), 100);

			close(go[1]);
			if (read(go[0], &byte, 1) < 0)
				_exit(1);
			byte = host_file_promise(path, &e, 599, &err) == 0 ? 'y' : 'n';
			if (write(done[1], &byte, 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
	}
	close(go[1]);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(read(done[0], &byte, 1), 1);
		granted += byte == 'y';
	}
	ck_assert_int_eq(granted, 5);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(s.n, 5);
	for (int i = 0; i < 8; i++)
		end_sleeper(pid[i]);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(s.n, 0);
	end();
}
END_TEST

START_TEST(hostile_files)
{
#define HEAD "twinstep-host 1 x\n"
	static const struct {
		const char *text, *line;
	} bad[] = {
		{ "\n", "line 1" },
		{ "twinstep-host 2 x\nlimit 0\n", "line 1" },
		{ "twinstep-host 1 x", "line 0" },
		{ HEAD, "line 1" },
		{ HEAD "limit\n", "line 2" },
		{ HEAD "limit -5\n", "line 2" },
		{ HEAD "limit 99999999999999999999\n", "line 2" },
		{ HEAD "limit 5 5\n", "line 2" },
		{ HEAD "limit 5", "line 1" },
		{ HEAD "limit 0\nrubbish\n", "line 3" },
		{ HEAD "limit 0\nvm\n", "line 3" },
		{ HEAD "limit 0\nvm a 1 2 3\n", "line 3" },
		{ HEAD "limit 0\nvm a/b 1 2 3 4 5 6 7 8 9 10 11 12 13\n", "line 3" },
		{ HEAD "limit 0\nvm a 0 2 3 4 5 6 7 8 9 10 11 12 13\n", "line 3" },
		{ HEAD "limit 0\nvm a 1 2 9223372036854775807 4 5 6 7 8 9 10 11 12 13\n",
		  "line 3" },
		{ HEAD "limit 0\nvm a 1 2 3 4 5 6 7 0 9 10 11 12 13\n", "line 3" },
		{ HEAD "limit 0\nvm a 1  2 3 4 5 6 7 8 9 10 11 12 13\n", "line 3" },
		{ HEAD "limit 0\nvm a 1 2 3 4 5 6 7 8 9 10 11 12 13\nvm", "line 4" },
	};
	static const char earlier[] = HEAD "limit 7\nvm a 1 2 3 4 5 6 7 8 9 10 11 12 13\n";
	struct host_entry e = entry("me", getpid(), 1);
	struct host_state s;
	struct err err = ERR_INIT;

	begin();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(bad[i].text, strlen(bad[i].text));
		ck_assert_msg(host_file_read(path, &s, &err) == -EBADMSG, "%s: %s", bad[i].text,
			      err.text);
		ck_assert_msg(strstr(err.text, path) &&
				      (bad[i].line[5] == '0' || strstr(err.text, bad[i].line)),
			      "%s: %s", bad[i].text, err.text);
		ck_assert_int_lt(host_file_promise(path, &e, 1000, &err), 0);
	}
	write_file("twinstep-host 1 x\nlimit 0\n\0\n", 28);
	ck_assert_int_eq(host_file_read(path, &s, &err), -EBADMSG);
	/* Of an earlier boot: the limit stays, the promises do not. */
	write_file(earlier, strlen(earlier));
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(s.limit, 7);
	ck_assert_uint_eq(s.n, 0);
	end();
#undef HEAD
}
END_TEST

START_TEST(files_of_the_wrong_kind)
{
	struct host_state s;
	struct err err = ERR_INIT;
	char *big = calloc(1, 70000);

	begin();
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	ck_assert_int_lt(host_file_read(path, &s, &err), 0);
	ck_assert_int_lt(host_file_set_limit(path, 1, &err), 0);
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(host_file_read(path, &s, &err),
			 -EINVAL); /* and does not wait for a writer */
	unlink(path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_lt(host_file_read(path, &s, &err), 0);
	rmdir(path);
	write_file("", 0);
	chmod(path, 0666);
	ck_assert_int_eq(host_file_read(path, &s, &err), -EINVAL);
	chmod(path, 0600);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	memset(big, 'a', 70000);
	write_file(big, 70000);
	ck_assert_int_eq(host_file_read(path, &s, &err), -EFBIG);
	free(big);
	end();
}
END_TEST

static int promise_once(void *ctx, uint64_t bytes, struct err *err)
{
	struct host_entry e = entry("jailed", *(pid_t *)ctx, bytes);

	return host_file_promise(path, &e, 1000, err);
}

/* In its jail a backup cannot reach the file: the keeper, with its own filter, does it, once. */
START_TEST(through_the_keeper)
{
	struct host_state s;
	struct err err = ERR_INIT;
	pid_t me = getpid();
	struct keeper *k;

	begin();
	keeper_allow_promise(promise_once, &me);
	k = keeper_start(&(struct keeper_post){ .fd = -1 }, &err);
	ck_assert_ptr_nonnull(k);
	ck_assert_int_eq(keeper_promise_memory(k, 700, &err), 0);
	ck_assert_int_eq(keeper_promise_memory(k, 10, &err), -EPERM);
	ck_assert_int_eq(host_file_read(path, &s, &err), 0);
	ck_assert_uint_eq(host_file_promised(&s), 700);
	keeper_end(k);
	keeper_allow_promise(promise_once, &me);
	k = keeper_start(&(struct keeper_post){ .fd = -1 }, &err);
	ck_assert_int_eq(keeper_promise_memory(k, 2000, &err), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err.text, "no memory for machine jailed"));
	keeper_end(k);
	end();
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, promises_add_up);
	tcase_add_test(tc, a_limit_counts_more_than_the_host);
	tcase_add_test(tc, all_at_once);
	tcase_add_test(tc, hostile_files);
	tcase_add_test(tc, files_of_the_wrong_kind);
	if (!UNIT_THREAD_SANITIZER) /* it makes calls that the keeper's filter does not allow */
		tcase_add_test(tc, through_the_keeper);
}

UNIT_MAIN("host_file", add_tests)
