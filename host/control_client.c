// SPDX-License-Identifier: GPL-2.0-or-later
/* Asking a control socket. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/host_clock.h"
#include "host/control.h"
#include "host/run_end.h"

#define ANSWER_MAX (1u << 20)

int control_connect(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, ret = 0;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		ret = -errno;
	if (ret && fd >= 0)
		close(fd);
	return ret ? ret : fd;
}

static int client_connect(const char *who, struct err *err)
{
	char *path;
	int fd, ret = control_path(who, false, &path, err);

	if (ret < 0)
		return ret;
	fd = control_connect(path);
	if (fd < 0)
		fd = err_set(err, -fd, "cannot reach '%s' at %s: %s", who, path,
			     fd == -ENOENT || fd == -ECONNREFUSED ? "no such machine is running"
								  : strerror(-fd));
	free(path);
	return fd;
}

/* send(), with a descriptor along when pass is not -1. */
static ssize_t send_with(int fd, void *data, size_t n, int pass)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	struct iovec iov = { .iov_base = data, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.space,
			      .msg_controllen = sizeof(u.space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (pass < 0)
		return send(fd, data, n, MSG_NOSIGNAL);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pass, sizeof(int));
	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static int client_send(int fd, const json_t *request, int pass, struct err *err)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;
	int ret = 0;

	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	text[n++] = '\n'; /* in place of the NUL: one line */
	/* EPIPE: it does not listen to us, and has said why before it hung up. */
	if (send_with(fd, text, n, pass) != (ssize_t)n && errno != EPIPE)
		ret = err_set(err, errno, "cannot send the request: %s", strerror(errno));
	free(text);
	return ret;
}

/* Receives a line into b. */
static int client_receive(int fd, struct buf *b, int timeout_ms, struct err *err)
{
	uint64_t end = host_mono_ns() + (uint64_t)timeout_ms * 1000000;

	while (!b->len || b->data[b->len - 1] != '\n') {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = host_mono_ns();
		char chunk[4096];
		ssize_t n;

		if (now >= end || poll(&p, 1, (int)((end - now) / 1000000) + 1) == 0)
			return err_set(err, ETIMEDOUT, "no answer within %d ms", timeout_ms);
		n = recv(fd, chunk, sizeof(chunk), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, n < 0 ? errno : EPIPE,
				       "the machine closed the connection: it has ended");
		if (b->len + (size_t)n > ANSWER_MAX)
			return err_set(err, EBADMSG, "the answer is too long");
		buf_put(b, chunk, (size_t)n);
	}
	return b->bad ? err_set(err, ENOMEM, "out of memory") : 0;
}

static json_t *client_parse(const struct buf *b, struct err *err)
{
	json_t *answer = json_loadb((const char *)b->data, b->len, 0, NULL);
	const char *text = json_string_value(json_object_get(answer, "error"));

	if (json_is_true(json_object_get(answer, "ok")))
		return answer;
	err_set(err, EREMOTEIO, "%s", text ? text : "the answer makes no sense");
	json_decref(answer);
	return NULL;
}

json_t *control_request_fd(const char *who, const json_t *request, int pass, int timeout_ms,
			   struct err *err)
{
	struct buf b = BUF_INIT;
	json_t *answer = NULL;
	int fd = client_connect(who, err);

	if (fd < 0)
		return NULL;
	if (client_send(fd, request, pass, err) == 0 &&
	    client_receive(fd, &b, timeout_ms, err) == 0)
		answer = client_parse(&b, err);
	close(fd);
	buf_free(&b);
	return answer;
}

json_t *control_request(const char *who, const json_t *request, int timeout_ms, struct err *err)
{
	return control_request_fd(who, request, -1, timeout_ms, err);
}

json_t *control_ask(const char *who, const char *command, int timeout_ms, struct err *err)
{
	json_t *request = json_pack("{s:s}", "command", command);
	json_t *answer = control_request(who, request, timeout_ms, err);

	json_decref(request);
	return answer;
}
