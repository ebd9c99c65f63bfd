// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A call before a deadline: in time, too late, and from a process that is frozen at any moment and
 * woken up later.
 */
#include "base/call_before.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit.h"

#define ROUNDS	 1000
#define LEASE_NS 1000000u
#define SENT_MIN 50 /* on a busy host the sender does not run in each round */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000),
				     .tv_nsec = (long)(ns % 1000000000) };

	nanosleep(&ts, NULL);
}

static void make_pair(int fd[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fd), 0);
}

START_TEST(in_time)
{
	char got[8] = "";
	int fd[2];

	make_pair(fd);
	ck_assert_int_eq(call_before(UINT64_MAX, SYS_write, fd[0], "one", 3), 3);
	ck_assert_int_eq(call_before(now_ns() + 60000000000, SYS_sendto, fd[0], "four", 4), 4);
	ck_assert_int_eq(read(fd[1], got, sizeof(got)), 3);
	ck_assert_int_eq(read(fd[1], got, sizeof(got)), 4);
	ck_assert_mem_eq(got, "four", 4);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

START_TEST(too_late)
{
	int fd[2];
	char c;

	make_pair(fd);
	ck_assert_int_eq(call_before(now_ns(), SYS_write, fd[0], "x", 1), -ETIME);
	ck_assert_int_eq(call_before(0, SYS_sendto, fd[0], "x", 1), -ETIME);
	ck_assert_int_eq(read(fd[1], &c, 1), -1);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

START_TEST(fails)
{
	ck_assert_int_eq(call_before(UINT64_MAX, SYS_write, -1, "x", 1), -EBADF);
	ck_assert_int_eq(call_before(UINT64_MAX, SYS_sendto, 0, NULL, 1), -ENOTSOCK);
}
END_TEST

/* Sends as fast as it can while it has the lease that its parent gives it. */
static void sender(int fd, const _Atomic uint64_t *lease)
{
	for (;;)
		call_before(atomic_load(lease), SYS_write, fd, "x", 1);
}

static unsigned drain(int fd)
{
	unsigned n = 0;
	char c;

	while (read(fd, &c, 1) == 1)
		n++;
	return n;
}

START_TEST(frozen)
{
	_Atomic uint64_t *lease =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned before = 0, after = 0, seed = 1;
	int fd[2], status;
	pid_t pid;

	ck_assert_ptr_ne(lease, MAP_FAILED);
	make_pair(fd);
	pid = fork();
	if (!pid)
		sender(fd[0], lease);
	for (int i = 0; i < ROUNDS || before < SENT_MIN; i++) {
		uint64_t end = now_ns() + LEASE_NS;

		atomic_store(lease, end);
		drain(fd[1]);
		sleep_ns(rand_r(&seed) % (LEASE_NS / 4));
		before += drain(fd[1]);
		kill(pid, SIGSTOP);
		ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
		while (now_ns() <= end)
			sleep_ns(LEASE_NS / 10);
		drain(fd[1]);
		kill(pid, SIGCONT);
		sleep_ns(LEASE_NS / 2);
		after += drain(fd[1]);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	munmap(lease, 4096);
	ck_assert_msg(after == 0, "%u calls were made too late", after);
}
END_TEST

static void suite(TCase *tc)
{
	tcase_add_test(tc, in_time);
	tcase_add_test(tc, too_late);
	tcase_add_test(tc, fails);
	tcase_add_test(tc, frozen);
}

UNIT_MAIN("call_before", suite)
