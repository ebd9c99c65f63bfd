// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/keeper.h"

#include <cap-ng.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "isolation/seccomp.h"

#define NAMES 8
#define KEPT  16

struct keeper {
	int fd;
	pid_t pid;
	unsigned wait_ms;
	pthread_mutex_t lock;
	uint64_t nr; /* of the last request; the lock guards it, and the road */
};

#define NR_KILLED      0 /* no answer: whoever was to give it was killed */
#define RESTART_NAP_NS 20000000

/* The user that started the machine, as this process sees it; without a jail the one that asks. */
static uid_t owner;
static bool owner_known;
static char names[NAMES][KEEPER_DATA];
static unsigned nnames;
static keeper_promise *promise; /* NULL: nobody may ask, or somebody has */
static void *promise_ctx;
static keeper_attach *attach;
static void *attach_ctx;
static bool attach_taps;
static int kept[KEPT];
static unsigned nkept;

void keeper_allow_remove(const char *path)
{
	if (nnames < NAMES && strlen(path) < KEEPER_DATA)
		strcpy(names[nnames++], path);
}

void keeper_allow_promise(keeper_promise *fn, void *ctx)
{
	promise = fn;
	promise_ctx = ctx;
}

void keeper_allow_attach(keeper_attach *fn, void *ctx, bool taps)
{
	attach = fn;
	attach_ctx = ctx;
	attach_taps = taps;
}

void keeper_keep(int fd)
{
	must(nkept < KEPT);
	kept[nkept++] = fd;
}

static int give_promise(struct keeper_message *m)
{
	struct err err = ERR_INIT;
	keeper_promise *fn = promise;
	int ret;

	promise = NULL;
	ret = fn ? fn(promise_ctx, m->arg, &err)
		 : err_set(&err, EPERM, "the jail's keeper does not do that");
	memset(m->data, 0, sizeof(m->data));
	memcpy(m->data, err.text, sizeof(m->data) - 1);
	return ret;
}

static int remove_name(const struct keeper_message *m)
{
	for (unsigned i = 0; i < nnames; i++) {
		if (memchr(m->data, 0, KEEPER_DATA) && !strcmp(names[i], (const char *)m->data))
			return unlink(names[i]) < 0 ? -errno : 0;
	}
	return -EPERM;
}

int keeper_peer_allowed(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return -errno;
	return cred.uid == 0 || cred.uid == (owner_known ? owner : geteuid()) ? 0 : -EPERM;
}

/* ---- messages, with a descriptor along ---- */

union passage {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int))];
};

static bool send_message(int to, struct keeper_message *m, int pass)
{
	union passage u = { 0 };
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.space,
			      .msg_controllen = CMSG_LEN(sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (pass < 0)
		return send(to, m, sizeof(*m), MSG_NOSIGNAL) == (ssize_t)sizeof(*m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pass, sizeof(int));
	return sendmsg(to, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(*m);
}

/* *passed: a descriptor to close, or -1. There is room for one, so the kernel drops others. */
static bool receive_message(int from, struct keeper_message *m, int *passed)
{
	union passage u;
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.space,
			      .msg_controllen = CMSG_LEN(sizeof(int)) };
	ssize_t n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*passed = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(passed, CMSG_DATA(c), sizeof(int));
	return n == (ssize_t)sizeof(*m);
}

static void serve(int fd, keeper_service *service, void *ctx)
{
	struct keeper_message m;
	int passed, pass;
	bool sent;

	while (receive_message(fd, &m, &passed)) {
		pass = -1;
		if (m.op == KEEPER_PEER)
			m.result = keeper_peer_allowed(passed);
		else if (m.op == KEEPER_REMOVE)
			m.result = remove_name(&m);
		else if (m.op == KEEPER_ATTACH)
			m.result = attach ? attach(attach_ctx, m.arg) : -EPERM;
		else if (m.op == KEEPER_PROMISE)
			m.result = give_promise(&m);
		else if (service)
			pass = service(ctx, &m);
		else
			m.result = -EPERM;
		if (passed >= 0)
			close(passed);
		sent = send_message(fd, &m, pass);
		if (pass >= 0)
			close(pass);
		if (!sent)
			return;
	}
}

static void close_between(int a, int b)
{
	if (a + 1 <= b - 1)
		close_range((unsigned)a + 1, (unsigned)b - 1, 0);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void close_others(int fd, int keep_fd)
{
	int keep[KEPT + 2], last = STDERR_FILENO;
	unsigned n = nkept;

	memcpy(keep, kept, nkept * sizeof(kept[0]));
	keep[n++] = fd;
	if (keep_fd >= 0)
		keep[n++] = keep_fd;
	qsort(keep, n, sizeof(keep[0]), by_number);
	for (unsigned i = 0; i < n; last = keep[i++])
		close_between(last, keep[i]);
	close_range((unsigned)last + 1, ~0u, 0);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
}

/* Root may have given the pair a directory of somebody else's, and NICs. */
static void drop_rights(const struct keeper_post *post)
{
	bool network =
		attach && attach_taps && capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN);

	capng_clear(CAPNG_SELECT_BOTH);
	if (geteuid() == 0 && !post->network)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_DAC_OVERRIDE);
	if (network) /* a tap interface that is nobody's */
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0);
}

static _Noreturn void work(int fd, const struct keeper_post *post)
{
	enum thread_role role = post->network ? THREAD_COURIER : THREAD_KEEPER;

	prctl(PR_SET_NAME, thread_role_name(role));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (seccomp_prepare(1u << role) == 0)
		seccomp_enter(role);
	serve(fd, post->service, post->ctx);
	_exit(0);
}

static bool asker_is_gone(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

/*
 * A service's process may be killed, by whoever is short of memory or means another one, and cannot
 * be started again out of the jail. So this one stays, looks at no request, and starts the next.
 * The request that was under way has no answer; its asker is told, and asks again.
 */
static _Noreturn void watch(int fd, const struct keeper_post *post)
{
	struct keeper_message killed = { .result = -EAGAIN, .nr = NR_KILLED };
	int status;

	prctl(PR_SET_NAME, "keeper-watch");
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			work(fd, post);
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || WIFEXITED(status) ||
		    asker_is_gone(fd))
			_exit(0);
		send(fd, &killed, sizeof(killed), MSG_NOSIGNAL | MSG_DONTWAIT);
		host_sleep_ns(RESTART_NAP_NS);
	}
}

/* Names and descriptors that other keepers may be asked for are not this one's. */
static void forget_names(void)
{
	nnames = 0;
	nkept = 0;
	promise = NULL;
	attach = NULL;
}

static _Noreturn void keeper_main(int fd, const struct keeper_post *post)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL); /* it ends with its asker, by end of file */
	if (post->service)
		forget_names();
	close_others(fd, post->fd);
	drop_rights(post);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (post->service)
		watch(fd, post);
	work(fd, post);
}

struct keeper *keeper_start(const struct keeper_post *post, struct err *err)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int fd[2];

	if (!k || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0) {
		free(k);
		err_set(err, errno, "cannot make a socket for the jail's keeper: %s",
			strerror(errno));
		return NULL;
	}
	owner = geteuid();
	owner_known = true;
	k->pid = fork();
	if (k->pid == 0)
		keeper_main(fd[1], post);
	close(fd[1]);
	k->fd = fd[0];
	k->wait_ms = post->wait_ms;
	pthread_mutex_init(&k->lock, NULL);
	if (k->pid > 0)
		return k;
	err_set(err, errno, "cannot start the jail's keeper: %s", strerror(errno));
	keeper_end(k);
	return NULL;
}

/* 0: something is there, or the end; -ETIMEDOUT. until_ns 0: for ever. */
static int wait_for_answer(const struct keeper *k, uint64_t until_ns)
{
	struct pollfd p = { .fd = k->fd, .events = POLLIN };

	while (until_ns) {
		uint64_t now = host_mono_ns();

		if (now >= until_ns)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((until_ns - now) / 1000000) + 1) > 0)
			return 0;
	}
	return 0;
}

/* fd NULL: a descriptor that comes along is not taken. */
static bool receive_answer(struct keeper *k, struct keeper_message *m, int *fd)
{
	return fd ? receive_message(k->fd, m, fd)
		  : recv(k->fd, m, sizeof(*m), 0) == (ssize_t)sizeof(*m);
}

static void drop_descriptor(int *fd)
{
	if (!fd)
		return;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Answers to requests that nobody waits for any more are passed over. */
static int take_answer(struct keeper *k, struct keeper_message *m, uint64_t until_ns, int *fd)
{
	for (;;) {
		int ret = wait_for_answer(k, until_ns);

		if (ret < 0)
			return ret;
		errno = 0;
		if (!receive_answer(k, m, fd)) {
			drop_descriptor(fd);
			if (errno == EINTR)
				continue;
			return -EIO;
		}
		if (m->nr == k->nr)
			return 0;
		drop_descriptor(fd);
		if (m->nr == NR_KILLED)
			return -EAGAIN;
	}
}

static int call_with(struct keeper *k, struct keeper_message *m, int pass, int *fd)
{
	uint64_t now = host_mono_ns();
	uint64_t until = k->wait_ms ? now + k->wait_ms * UINT64_C(1000000) : 0;
	struct keeper_message old;
	int ret = -EIO;

	pthread_mutex_lock(&k->lock);
	while (recv(k->fd, &old, sizeof(old), MSG_DONTWAIT) > 0)
		;
	m->nr = ++k->nr;
	if (send_message(k->fd, m, pass))
		ret = take_answer(k, m, until, fd);
	pthread_mutex_unlock(&k->lock);
	return ret;
}

int keeper_call(struct keeper *k, struct keeper_message *m)
{
	return call_with(k, m, -1, NULL);
}

int keeper_call_for_fd(struct keeper *k, struct keeper_message *m, int *fd)
{
	*fd = -1;
	return call_with(k, m, -1, fd);
}

int keeper_check_peer(struct keeper *k, int fd)
{
	struct keeper_message m = { .op = KEEPER_PEER };
	int ret = call_with(k, &m, fd, NULL);

	return ret ? ret : m.result;
}

int keeper_remove(struct keeper *k, const char *path)
{
	struct keeper_message m = { .op = KEEPER_REMOVE };
	int ret;

	if (strlen(path) >= KEEPER_DATA)
		return -ENAMETOOLONG;
	strcpy((char *)m.data, path);
	ret = keeper_call(k, &m);
	return ret ? ret : m.result;
}

int keeper_ask_attach(struct keeper *k, uint64_t which)
{
	struct keeper_message m = { .op = KEEPER_ATTACH, .arg = which };
	int ret = keeper_call(k, &m);

	return ret ? ret : m.result;
}

int keeper_promise_memory(struct keeper *k, uint64_t bytes, struct err *err)
{
	struct keeper_message m = { .op = KEEPER_PROMISE, .arg = bytes };

	if (keeper_call(k, &m) < 0)
		return err_set(err, EIO, "the jail's keeper is gone");
	m.data[sizeof(m.data) - 1] = 0;
	return m.result < 0 ? err_set(err, -m.result, "%s", (const char *)m.data) : 0;
}

void keeper_end(struct keeper *k)
{
	if (!k)
		return;
	close(k->fd);
	if (k->pid > 0)
		waitpid(k->pid, NULL, 0);
	pthread_mutex_destroy(&k->lock);
	free(k);
}
