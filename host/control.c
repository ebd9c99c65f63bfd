// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/thread.h"
#include "base/unix_socket.h"
#include "isolation/jail.h"
#include "host/run_end.h"

#define CLIENTS	    8
#define LINE_MAX_   4096
#define PATIENCE_NS 10000000000ull /* for the rest of a line, and for taking the answer */

struct client {
	int fd; /* -1: free */
	uint64_t since;
	char line[LINE_MAX_];
	size_t len;
	int passed; /* descriptor that came along; -1: none */
};

struct control {
	const struct control_verb *commands;
	void *ctx;
	char *path;
	int listenfd, stopfd;
	bool started;
	pthread_t thread;
	struct client client[CLIENTS];
	int passed; /* with the request that is being answered */
};

/* ---- one request ---- */

static int control_run(struct control *c, const json_t *request, json_t *reply, struct err *err)
{
	const char *name = json_string_value(json_object_get(request, "command"));

	if (!name)
		return err_set(err, EINVAL, "a request is an object with a \"command\"");
	for (const struct control_verb *k = c->commands; k->name; k++) {
		if (!strcmp(k->name, name))
			return k->run(c->ctx, request, reply, err);
	}
	return err_set(err, EINVAL, "this machine knows no such command");
}

/* The answer to one line, allocated, with its newline; NULL when out of memory. */
static char *control_answer(struct control *c, const char *line, size_t len, size_t *n)
{
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL),
	       *reply = json_object();
	struct err err = ERR_INIT;
	char *text;

	if (!json_is_object(request))
		err_set(&err, EINVAL, "a request is one JSON object on one line");
	else if (control_run(c, request, reply, &err) == 0)
		err.code = 0;
	if (err.code) {
		json_object_clear(reply);
		json_object_set_new(reply, "error", json_string(err.text));
	}
	json_object_set_new(reply, "ok", json_boolean(!err.code));
	text = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	json_decref(request);
	if (!text)
		return NULL;
	*n = strlen(text);
	text[(*n)++] = '\n';
	return text;
}

/* ---- clients ---- */

static void client_close(struct client *k)
{
	if (k->fd >= 0)
		close(k->fd);
	if (k->passed >= 0)
		close(k->passed);
	k->fd = k->passed = -1;
	k->len = 0;
}

/* Receives like recv(), and keeps one descriptor that comes along. */
static ssize_t client_recv(struct client *k)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} u;
	struct iovec iov = { .iov_base = k->line + k->len, .iov_len = LINE_MAX_ - k->len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.space,
		.msg_controllen = CMSG_LEN(sizeof(int)) /* of one: others are dropped */
	};
	ssize_t n = recvmsg(k->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (k->passed >= 0)
			close(k->passed);
		memcpy(&k->passed, CMSG_DATA(c), sizeof(int));
	}
	return n;
}

/* Waits for a client that does not read only so long. */
static bool client_send(struct client *k, const char *p, size_t n)
{
	uint64_t end = host_mono_ns() + PATIENCE_NS / 10;

	while (n) {
		struct pollfd wait = { .fd = k->fd, .events = POLLOUT };
		ssize_t done = send(k->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (done < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (done < 0 && (host_mono_ns() > end || poll(&wait, 1, 100) < 0))
			return false;
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return true;
}

static bool client_request(struct control *c, struct client *k, size_t len)
{
	size_t n = 0;
	bool good;
	char *text;

	c->passed = k->passed;
	k->passed = -1;
	text = control_answer(c, k->line, len, &n);
	if (c->passed >= 0)
		close(c->passed);
	c->passed = -1;
	good = text && client_send(k, text, n);
	free(text);
	k->len -= len + 1;
	memmove(k->line, k->line + len + 1, k->len);
	k->since = host_mono_ns();
	return good;
}

/* Reads what is there and answers every whole line. */
static void client_serve(struct control *c, struct client *k)
{
	ssize_t n = client_recv(k);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(k);
		return;
	}
	k->len += (size_t)n;
	while ((end = memchr(k->line, '\n', k->len))) {
		if (!client_request(c, k, (size_t)(end - k->line))) {
			client_close(k);
			return;
		}
	}
	if (k->len == LINE_MAX_)
		client_close(k);
}

/*
 * The socket's mode keeps others out already, as long as nobody changes it or hands a connection
 * on.
 */
static bool client_allowed(int fd)
{
	static const char refusal[] = "{\"error\":\"only root and the user that started the "
				      "machine may ask\",\"ok\":false}\n";

	if (jail_check_peer(fd) == 0)
		return true;
	send(fd, refusal, sizeof(refusal) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
	return false;
}

static void control_accept(struct control *c)
{
	int fd = accept4(c->listenfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 || !client_allowed(fd))
		return;
	for (size_t i = 0; i < CLIENTS; i++) {
		struct client *k = &c->client[i];

		if (k->fd >= 0)
			continue;
		k->fd = fd;
		k->len = 0;
		k->since = host_mono_ns();
		return;
	}
	close(fd);
}

/* A client that says nothing for too long makes room for another. */
static void control_expire(struct control *c)
{
	uint64_t now = host_mono_ns();

	for (size_t i = 0; i < CLIENTS; i++) {
		if (c->client[i].fd >= 0 && now - c->client[i].since > PATIENCE_NS)
			client_close(&c->client[i]);
	}
}

static void *control_thread(void *arg)
{
	struct control *c = arg;
	struct pollfd p[CLIENTS + 2];

	for (;;) {
		p[0] = (struct pollfd){ .fd = c->stopfd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = c->listenfd, .events = POLLIN };
		for (size_t i = 0; i < CLIENTS; i++)
			p[2 + i] = (struct pollfd){ .fd = c->client[i].fd, .events = POLLIN };
		if (poll(p, CLIENTS + 2, 1000) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		for (size_t i = 0; i < CLIENTS; i++) {
			if (c->client[i].fd >= 0 && p[2 + i].revents)
				client_serve(c, &c->client[i]);
		}
		if (p[1].revents)
			control_accept(c);
		control_expire(c);
	}
}

/* ---- opening and closing ---- */

static int control_listen(struct control *c, struct err *err)
{
	c->stopfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->stopfd < 0)
		return err_set(err, errno, "cannot create an eventfd: %s", strerror(errno));
	c->listenfd = unix_socket_listen(c->path, CLIENTS, err);
	if (c->listenfd < 0)
		return err_prefix(err, "control socket");
	jail_will_remove(c->path);
	return 0;
}

int control_start(struct control *c, struct err *err)
{
	int ret = thread_start(&c->thread, THREAD_CONTROL, control_thread, c);

	c->started = ret == 0;
	return ret ? err_set(err, ret, "cannot start the control thread: %s", strerror(ret)) : 0;
}

struct control *control_open(const char *path, const struct control_verb *commands, void *ctx,
			     struct err *err)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c || !(c->path = strdup(path))) {
		free(c);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	c->commands = commands;
	c->ctx = ctx;
	c->listenfd = c->stopfd = c->passed = -1;
	for (size_t i = 0; i < CLIENTS; i++)
		c->client[i].fd = c->client[i].passed = -1;
	if (control_listen(c, err) == 0)
		return c;
	control_close(c);
	return NULL;
}

int control_passed(const struct control *c)
{
	return c->passed;
}

int control_take_passed(struct control *c)
{
	int fd = c->passed;

	c->passed = -1;
	return fd;
}

void control_close(struct control *c)
{
	uint64_t one = 1;

	if (!c)
		return;
	if (c->started && write(c->stopfd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		pthread_join(c->thread, NULL);
	for (size_t i = 0; i < CLIENTS; i++)
		client_close(&c->client[i]);
	if (c->listenfd >= 0) {
		jail_remove(c->path);
		close(c->listenfd);
	}
	if (c->stopfd >= 0)
		close(c->stopfd);
	free(c->path);
	free(c);
}
