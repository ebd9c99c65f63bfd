// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest that stays frozen is as good as dead, so two processes know of it: the keeper, which has
 * the agent's line, and this one. The keeper thaws when it is told to or this one is gone; this one
 * thaws itself when the keeper is.
 */
#include "host/guest_freeze.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "host/guest_agent.h"

/* What the keeper says: once for freezing, once for thawing. */
struct word {
	int64_t filesystems;
	struct err err;
};

/* To nobody, if this is why it thaws. */
static void word_send(int fd, const struct word *w)
{
	send(fd, w, sizeof(*w), MSG_NOSIGNAL);
}

/* False: the keeper is gone. */
static bool word_receive(int fd, struct word *w)
{
	ssize_t n;

	do
		n = recv(fd, w, sizeof(*w), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*w);
}

static int freeze(struct agent *a, struct word *w)
{
	json_t *none = json_object(), *n = agent_ask(a, "guest-fsfreeze-freeze", none, &w->err);
	struct err ignored = ERR_INIT;

	w->filesystems = json_integer_value(n);
	/* Whatever it has come to by then, it is undone. */
	if (!n)
		agent_tell(a, "guest-fsfreeze-thaw", &ignored);
	json_decref(n);
	json_decref(none);
	return n ? 0 : -w->err.code;
}

static int thaw(struct agent *a, uint64_t patience_ms, struct err *err)
{
	json_t *none = json_object(), *n;

	agent_wait_from_now(a, patience_ms);
	n = agent_ask(a, "guest-fsfreeze-thaw", none, err);
	json_decref(n);
	json_decref(none);
	return n ? 0 : -err->code;
}

/* ---- the keeper ---- */

static void wait_for_end(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) < 0 && errno == EINTR)
		;
}

/* Signals that end the command, from a terminal or a service manager, are not for it. */
static void keep(const struct guest_freeze *f, int fd)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct word w = { .err = ERR_INIT };
	struct agent a;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	setsid();
	if (agent_connect(&a, f->where, f->patience_ms, &w.err) == 0 && freeze(&a, &w) == 0) {
		word_send(fd, &w);
		wait_for_end(fd);
		thaw(&a, f->patience_ms, &w.err);
	}
	word_send(fd, &w);
	agent_close(&a);
}

/* ---- the other side ---- */

static int start_keeper(struct guest_freeze *f, struct err *err)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		return err_set(err, errno, "cannot make a pair of sockets: %s", strerror(errno));
	f->keeper = fork();
	if (f->keeper == 0) {
		close(fd[0]);
		keep(f, fd[1]);
		_exit(0);
	}
	close(fd[1]);
	f->fd = fd[0];
	if (f->keeper > 0)
		return 0;
	err_set(err, errno, "cannot start a process: %s", strerror(errno));
	close(f->fd);
	return -err->code;
}

static void end_keeper(struct guest_freeze *f)
{
	close(f->fd);
	while (waitpid(f->keeper, NULL, 0) < 0 && errno == EINTR)
		;
	f->where = NULL;
}

/* Without a keeper. */
static int thaw_anew(const struct guest_freeze *f, struct err *err)
{
	struct agent a;
	int ret = agent_connect(&a, f->where, f->patience_ms, err);

	if (ret == 0)
		ret = thaw(&a, f->patience_ms, err);
	agent_close(&a);
	return ret;
}

int guest_freeze_begin(struct guest_freeze *f, const char *where, uint64_t patience_ms,
		       struct err *err)
{
	struct word w = { .err = ERR_INIT };
	int ret;

	*f = (struct guest_freeze){ .where = where, .patience_ms = patience_ms, .fd = -1 };
	ret = start_keeper(f, err);
	if (ret < 0) {
		f->where = NULL;
		return ret;
	}
	if (!word_receive(f->fd, &w)) {
		err_set(&w.err, EIO, "%s: the process that freezes was killed", where);
		thaw_anew(f, &(struct err)ERR_INIT);
	}
	f->filesystems = w.filesystems;
	f->since_ns = host_mono_ns();
	if (!w.err.code)
		return 0;
	*err = w.err;
	end_keeper(f);
	return -err->code;
}

int guest_freeze_end(struct guest_freeze *f, struct err *err)
{
	struct word w = { .err = ERR_INIT };

	if (!f->where)
		return 0;
	shutdown(f->fd, SHUT_WR);
	if (!word_receive(f->fd, &w))
		thaw_anew(f, &w.err);
	end_keeper(f);
	if (!w.err.code)
		return 0;
	*err = w.err;
	return -err->code;
}
