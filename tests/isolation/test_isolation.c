// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the jail rests on: threads made by one thread for all, the keeper, memory that is gone
 * afterwards, the lists.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "hypervisor/memory.h"
#include "isolation/host_info.h"
#include "isolation/jail.h"
#include "isolation/keeper.h"
#include "isolation/seccomp.h"
#include "isolation/spec.h"
#include "tests/unit.h"

static pthread_t seen_self;

static void *inner(void *arg)
{
	seen_self = pthread_self();
	return arg;
}

static void *outer(void *arg)
{
	pthread_t t;
	void *result = NULL;

	if (thread_start(&t, THREAD_DISK, inner, arg))
		return NULL;
	pthread_join(t, &result);
	return result;
}

START_TEST(hosted_threads_start_threads)
{
	int what = 0;
	void *result = NULL;

	ck_assert_int_eq(thread_host(THREAD_VCPU, outer, &what, &result), 0);
	ck_assert_ptr_eq(result, &what);
	ck_assert(!pthread_equal(seen_self, pthread_self()));
	/* And once more: nothing is left over. */
	ck_assert_int_eq(thread_host(THREAD_VCPU, outer, &what, &result), 0);
	ck_assert_ptr_eq(result, &what);
}
END_TEST

/*
 * What a thread may not do, those that it creates may not either: this shows who created a thread.
 */
static void *is_restricted(void *arg)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) ? arg : NULL;
}

static void *restrict_and_start(void *arg)
{
	pthread_t t;
	void *result = arg;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (thread_start(&t, THREAD_DISK, is_restricted, arg) == 0)
		pthread_join(t, &result);
	return result;
}

/* Whoever creates a thread may be late: the new one has long asked for others by then. */
static bool late;

int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int ret;

	*(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
	ret = next(t, attr, fn, arg);
	if (late)
		usleep(30000);
	return ret;
}

START_TEST(hosted_threads_are_made_by_the_host)
{
	int what = 0;
	void *result;

	for (int i = 0; i < 10; i++) {
		late = i & 1;
		ck_assert_int_eq(thread_host(THREAD_VCPU, restrict_and_start, &what, &result), 0);
		ck_assert_ptr_null(result);
	}
}
END_TEST

/* Asks for threads until it is told that there will be none. */
static void *ask_on(void *arg)
{
	int ret;

	do {
		pthread_t t;

		ret = thread_start(&t, THREAD_DISK, is_restricted, arg);
		if (ret == 0)
			pthread_join(t, NULL);
	} while (ret == 0);
	return (void *)(intptr_t)ret;
}

static void *leave_one_behind(void *arg)
{
	return (void *)(intptr_t)thread_start(arg, THREAD_ACCEPTOR, ask_on, NULL);
}

/* It must not do so itself: in a jail it may not, and whoever waits for it would wait for ever. */
START_TEST(without_a_host_no_thread_is_made)
{
	for (int i = 0; i < 200; i++) {
		pthread_t behind;
		void *result;

		ck_assert_int_eq(thread_host(THREAD_VCPU, leave_one_behind, &behind, &result), 0);
		ck_assert_ptr_null(result);
		pthread_join(behind, &result);
		ck_assert_int_eq((intptr_t)result, ECANCELED);
	}
	ck_assert_ptr_eq(outer(&late), &late); /* who was the host creates its own */
}
END_TEST

static int double_it(void *ctx, struct keeper_message *m)
{
	m->result = m->op == KEEPER_SERVICE ? 0 : -EPERM;
	m->arg *= 2;
	return -1;
}

START_TEST(keeper_removes_what_was_named)
{
	char dir[] = "/tmp/twinstep-test-XXXXXX", mine[64], other[64];
	struct err err = ERR_INIT;
	struct keeper *k;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(mine, sizeof(mine), "%s/mine", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	close(open(mine, O_CREAT | O_WRONLY, 0600));
	close(open(other, O_CREAT | O_WRONLY, 0600));
	keeper_allow_remove(mine);
	k = keeper_start(&(struct keeper_post){ .fd = -1 }, &err);
	ck_assert_ptr_nonnull(k);
	ck_assert_int_eq(keeper_remove(k, other), -EPERM);
	ck_assert_int_eq(access(other, F_OK), 0);
	ck_assert_int_eq(keeper_remove(k, mine), 0);
	ck_assert_int_ne(access(mine, F_OK), 0);
	keeper_end(k);
	unlink(other);
	rmdir(dir);
}
END_TEST

static int ask_to_double(struct keeper *k, uint64_t arg)
{
	struct keeper_message m = { .op = KEEPER_SERVICE, .arg = arg };
	int ret = keeper_call(k, &m);

	ck_assert(ret < 0 || m.arg == 2 * arg);
	return ret;
}

START_TEST(a_service_is_a_keeper_of_its_own)
{
	const struct keeper_post post = { .service = double_it, .fd = -1, .wait_ms = 300 };
	struct err err = ERR_INIT;
	struct keeper *k;

	keeper_allow_remove("/tmp/twinstep-not-the-services");
	k = keeper_start(&post, &err);
	ck_assert_ptr_nonnull(k);
	ck_assert_int_eq(ask_to_double(k, 21), 0);
	ck_assert_int_eq(keeper_remove(k, "/tmp/twinstep-not-the-services"), -EPERM);
	keeper_end(k);
}
END_TEST

/* Dies of a request, or is slow. */
static int die_or_double(void *ctx, struct keeper_message *m)
{
	if (m->arg == 666)
		kill(getpid(), SIGKILL);
	if (m->arg == 1000)
		usleep(400000);
	return double_it(ctx, m);
}

START_TEST(a_service_that_is_killed_comes_back)
{
	const struct keeper_post post = { .service = die_or_double, .fd = -1, .wait_ms = 300 };
	struct err err = ERR_INIT;
	struct keeper *k = keeper_start(&post, &err);

	ck_assert_ptr_nonnull(k);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(ask_to_double(k, 666), -EAGAIN);
		ck_assert_int_eq(ask_to_double(k, 4), 0);
	}
	keeper_end(k);
}
END_TEST

START_TEST(a_late_answer_is_nobodys)
{
	const struct keeper_post post = { .service = die_or_double, .fd = -1, .wait_ms = 300 };
	struct err err = ERR_INIT;
	struct keeper *k = keeper_start(&post, &err);

	ck_assert_int_eq(ask_to_double(k, 1000), -ETIMEDOUT);
	ck_assert_int_eq(ask_to_double(k, 5), 0); /* passes over the answer before */
	usleep(10000);
	ck_assert_int_eq(ask_to_double(k, 1000), -ETIMEDOUT);
	usleep(400000);
	ck_assert_int_eq(ask_to_double(k, 6), 0);
	keeper_end(k);
}
END_TEST

START_TEST(memory_is_wiped)
{
	struct err err = ERR_INIT;
	struct memory m;
	uint64_t word = 0;
	int fd;

	ck_assert_int_eq(memory_init(&m, 1 << 20, &err), 0);
	ck_assert(memory_write(&m, 4096, "a secret", 8));
	fd = dup(m.fd);
	ck_assert_int_eq(pread(fd, &word, 8, 4096), 8);
	ck_assert_uint_ne(word, 0);
	memory_fini(&m);
	ck_assert_int_eq(pread(fd, &word, 8, 4096), 8);
	ck_assert_uint_eq(word, 0);
	close(fd);
}
END_TEST

START_TEST(memory_is_sealed)
{
	struct err err = ERR_INIT;
	struct memory first, second;
	int seals;

	ck_assert_int_eq(memory_prepare(&err), 0);
	ck_assert_int_eq(memory_prepare(&err), 0); /* no second one */
	ck_assert_int_eq(memory_init(&first, 1 << 20, &err), 0);
	ck_assert_int_eq(memory_init(&second, 2 << 20, &err), 0);
	ck_assert_int_ne(first.fd, second.fd);
	ck_assert_int_eq(lseek(first.fd, 0, SEEK_END), 1 << 20);
	ck_assert_int_eq(ftruncate(first.fd, 2 << 20), -1);
	ck_assert_int_eq(ftruncate(second.fd, 0), -1);
	seals = fcntl(first.fd, F_GET_SEALS);
	ck_assert_int_eq(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	memory_fini(&first);
	memory_fini(&second);
}
END_TEST

/* A failed check ends any thread as abort() does, and not for having asked too much, also in a
 * namespace's first process. */
START_TEST(every_role_may_abort)
{
	void (*volatile end)(void) =
		abort; /* not known to be the end, for which sanitizers make calls of their own */

	for (enum thread_role r = THREAD_MAIN; r < THREAD_KEEPER; r++) {
		int status;
		pid_t pid = jail_fork();

		if (pid == 0) {
			const struct rlimit none = { 0, 0 };

			setrlimit(RLIMIT_CORE, &none);
			signal(SIGABRT, SIG_DFL);
			signal(SIGSEGV, SIG_DFL); /* what abort() does in the end, where SIGABRT is
						     not delivered */
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
			if (seccomp_prepare(1u << r) || seccomp_enter(r))
				_exit(1);
			end();
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) != SIGSYS, "%s: status 0x%x",
			      thread_role_name(r), status);
	}
}
END_TEST

START_TEST(lists_are_sound)
{
	static const char *const never[] = { "execve", "execveat", "fork",   "vfork",
					     "socket", "connect",  "ptrace", "kill",
					     "mount",  "unshare",  "setns",  "keyctl",
					     "bpf",    "open",	   "bind",   "openat2" };

	ck_assert_int_eq(seccomp_prepare(~0u),
			 0); /* the kernel's numbers are known for all of them */
	ck_assert_uint_le(seccomp_count(THREAD_VCPU), 45);
	for (size_t i = 0; i < seccomp_ncalls; i++) {
		const struct seccomp_call *c = &seccomp_calls[i];

		ck_assert(c->roles && c->why[0]);
		ck_assert_msg(!(c->rare & ~c->roles), "%s is rare for a role that does not have it",
			      c->name);
		/* The keeper may bind a capture anew: a socket that it was given. */
		if (c->roles == 1u << THREAD_KEEPER && !strcmp(c->name, "bind"))
			continue;
		/* A courier makes connections, and has nothing else. */
		if (c->roles == 1u << THREAD_COURIER &&
		    (!strcmp(c->name, "socket") || !strcmp(c->name, "connect")))
			continue;
		for (size_t j = 0; j < sizeof(never) / sizeof(never[0]); j++)
			ck_assert_str_ne(c->name, never[j]);
	}
}
END_TEST

/* A host of made-up files. */
static void put_file(const char *root, const char *path, const char *text)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "mkdir -p $(dirname %s%s)", root, path);
	ck_assert_int_eq(system(full), 0);
	snprintf(full, sizeof(full), "%s%s", root, path);
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(host_is_described)
{
	static const struct {
		const char *active, *control;
		enum host_smt smt;
	} smt[] = {
		{ "1\n", "on\n", HOST_SMT_ON },	       { "0\n", "off\n", HOST_SMT_OFF },
		{ "0\n", "forceoff\n", HOST_SMT_OFF }, { "0\n", "notsupported\n", HOST_SMT_ABSENT },
		{ "", "", HOST_SMT_UNKNOWN },
	};
	char root[] = "/tmp/twinstep-test-XXXXXX", command[64];
	struct host_info h;

	ck_assert_ptr_nonnull(mkdtemp(root));
	host_info_read(&h, root);
	ck_assert_uint_eq(h.cpus, 0);
	ck_assert_uint_eq(h.memory, 0);
	ck_assert_int_eq(h.smt, HOST_SMT_UNKNOWN);
	put_file(root, "/sys/devices/system/cpu/online", "0-3,8,10-11\n");
	put_file(root, "/proc/meminfo",
		 "MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n");
	for (size_t i = 0; i < sizeof(smt) / sizeof(smt[0]); i++) {
		put_file(root, "/sys/devices/system/cpu/smt/active", smt[i].active);
		put_file(root, "/sys/devices/system/cpu/smt/control", smt[i].control);
		host_info_read(&h, root);
		ck_assert_int_eq(h.smt, smt[i].smt);
		ck_assert(host_smt_name(h.smt)[0]);
	}
	ck_assert_uint_eq(h.cpus, 7);
	ck_assert_uint_eq(h.memory, 2 << 20);
	ck_assert_uint_eq(h.memory_available, 1 << 20);
	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

/* In a process that ends: settings of this kind cannot be taken back. */
START_TEST(speculation_is_restricted)
{
	int ret = spec_protect();
	bool offered = true;
	struct host_info h;

	for (enum spec_control c = 0; c < SPEC_L1D_FLUSH; c++) {
		ck_assert_int_ne(spec_state(c), SPEC_OPEN);
		offered &= spec_state(c) == SPEC_PROTECTED || spec_state(c) == SPEC_NOT_AFFECTED;
	}
	ck_assert_int_eq(ret, offered ? 0 : -EOPNOTSUPP);
	host_info_read(&h, "");
	offered = spec_core_known() || h.smt == HOST_SMT_OFF || h.smt == HOST_SMT_ABSENT;
	ck_assert_int_eq(spec_core_create(), offered ? 0 : -EOPNOTSUPP);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, hosted_threads_start_threads);
	tcase_add_test(tc, hosted_threads_are_made_by_the_host);
	tcase_add_test(tc, without_a_host_no_thread_is_made);
	tcase_add_test(tc, keeper_removes_what_was_named);
	tcase_add_test(tc, a_service_is_a_keeper_of_its_own);
	tcase_add_test(tc, a_service_that_is_killed_comes_back);
	tcase_add_host_test(tc, a_late_answer_is_nobodys);
	tcase_add_test(tc, memory_is_wiped);
	tcase_add_test(tc, memory_is_sealed);
	tcase_add_test(tc, every_role_may_abort);
	tcase_add_test(tc, lists_are_sound);
	tcase_add_test(tc, host_is_described);
	tcase_add_test(tc, speculation_is_restricted);
}

UNIT_MAIN("isolation", add_tests)
