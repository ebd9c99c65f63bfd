// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/keeper.h"

#include <cap-ng.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "isolation/seccomp.h"

#define NAMES 8
#define KEPT  16

struct keeper {
	int fd;
	pid_t pid;
	pthread_mutex_t lock;
};

/* Who started the machine, as this process sees it; without a jail that is whoever asks. */
static uid_t owner;
static bool owner_known;
static char names[NAMES][KEEPER_DATA];
static unsigned nnames;
static keeper_promise *promise; /* NULL: nobody may ask, or somebody has */
static void *promise_ctx;
static keeper_attach *attach;
static void *attach_ctx;
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

void keeper_allow_attach(keeper_attach *fn, void *ctx)
{
	attach = fn;
	attach_ctx = ctx;
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
	int passed;

	while (receive_message(fd, &m, &passed)) {
		if (m.op == KEEPER_PEER)
			m.result = keeper_peer_allowed(passed);
		else if (m.op == KEEPER_REMOVE)
			m.result = remove_name(&m);
		else if (m.op == KEEPER_ATTACH)
			m.result = attach ? attach(attach_ctx, m.arg) : -EPERM;
		else if (m.op == KEEPER_PROMISE)
			m.result = give_promise(&m);
		else if (service)
			service(ctx, &m);
		else
			m.result = -EPERM;
		if (passed >= 0)
			close(passed);
		if (!send_message(fd, &m, -1))
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
static void drop_rights(void)
{
	bool network = attach && capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN);

	capng_clear(CAPNG_SELECT_BOTH);
	if (geteuid() == 0)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_DAC_OVERRIDE);
	if (network) /* a tap interface that is nobody's */
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0);
}

static _Noreturn void keeper_main(int fd, keeper_service *service, void *ctx, int keep_fd)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL); /* it ends with its asker, by end of file */
	prctl(PR_SET_NAME, thread_role_name(THREAD_KEEPER));
	close_others(fd, keep_fd);
	drop_rights();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (seccomp_prepare(1u << THREAD_KEEPER) == 0)
		seccomp_enter(THREAD_KEEPER);
	serve(fd, service, ctx);
	_exit(0);
}

struct keeper *keeper_start(keeper_service *service, void *ctx, int keep_fd, struct err *err)
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
		keeper_main(fd[1], service, ctx, keep_fd);
	close(fd[1]);
	k->fd = fd[0];
	pthread_mutex_init(&k->lock, NULL);
	if (k->pid > 0)
		return k;
	err_set(err, errno, "cannot start the jail's keeper: %s", strerror(errno));
	keeper_end(k);
	return NULL;
}

static int call_with(struct keeper *k, struct keeper_message *m, int pass)
{
	ssize_t n = -1;

	pthread_mutex_lock(&k->lock);
	if (send_message(k->fd, m, pass)) {
		do
			n = recv(k->fd, m, sizeof(*m), 0);
		while (n < 0 && errno == EINTR);
	}
	pthread_mutex_unlock(&k->lock);
	return n == (ssize_t)sizeof(*m) ? 0 : -EIO;
}

int keeper_call(struct keeper *k, struct keeper_message *m)
{
	return call_with(k, m, -1);
}

int keeper_check_peer(struct keeper *k, int fd)
{
	struct keeper_message m = { .op = KEEPER_PEER };
	int ret = call_with(k, &m, fd);

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

int keeper_ask_attach(struct keeper *k, uint64_t nth)
{
	struct keeper_message m = { .op = KEEPER_ATTACH, .arg = nth };
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
