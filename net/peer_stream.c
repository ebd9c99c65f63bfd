// SPDX-License-Identifier: GPL-2.0-or-later
/* TCP and local sockets: a socket, and TLS over it where there is a key. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/peer_private.h"
#include "base/host_clock.h"
#include "base/tcp_options.h"
#include "base/unix_socket.h"

#define RTO_MIN_US    30000
#define DELACK_MAX_US 10000

/* Waits for events (POLLIN, POLLOUT); 1 ready, 0 timeout, -errno. */
static int peer_poll(const struct peer_stream *s, short events, int timeout_ms)
{
	struct pollfd pfd = { .fd = s->fd, .events = events };
	int n = poll(&pfd, 1, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n;
}

/* ---- connections ---- */

/*
 * Nothing waits to be sent, and a segment that was lost is sent again after 30 ms rather than 200,
 * where the kernel lets a socket choose (Linux 6.15): the other side has to acknowledge sooner
 * than that, then.
 */
static void send_soon(int fd)
{
	int one = 1, again = RTO_MIN_US, ack = DELACK_MAX_US;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_RTO_MIN_US, &again, sizeof(again));
	setsockopt(fd, IPPROTO_TCP, TCP_DELACK_MAX_US, &ack, sizeof(ack));
}

struct peer_stream *peer_stream_new(const struct peer_ops *ops, int fd, const char *name,
				    struct err *err)
{
	struct peer_stream *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	s->base.ops = ops;
	snprintf(s->base.name, sizeof(s->base.name), "%s", name);
	s->fd = fd;
	pthread_mutex_init(&s->lock, NULL);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	send_soon(fd);
	return s;
}

struct peer *peer_from_socket(int fd, const char *name)
{
	struct peer_stream *s = peer_stream_new(&peer_tcp_ops, fd, name, NULL);

	return s ? &s->base : NULL;
}

static void stream_close(struct peer *p)
{
	struct peer_stream *s = peer_stream_of(p);

	peer_tls_end(s);
	close(s->fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int stream_release(struct peer *p)
{
	struct peer_stream *s = peer_stream_of(p);
	int fd = s->fd;

	pthread_mutex_destroy(&s->lock);
	free(s);
	return fd;
}

static void stream_shutdown(struct peer *p)
{
	shutdown(peer_stream_of(p)->fd, SHUT_RDWR);
}

static int connect_within(int fd, const struct peer_address *a, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);

	if (connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&pfd, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static struct peer *stream_dial(const struct peer_ops *ops, const struct peer_address *a,
				const char *text, int timeout_ms, struct err *err)
{
	int ret, fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct peer_stream *s;

	if (fd < 0) {
		err_set(err, errno, "cannot make a socket for '%s': %s", text, strerror(errno));
		return NULL;
	}
	ret = connect_within(fd, a, timeout_ms);
	if (ret < 0) {
		close(fd);
		err_set(err, -ret, "cannot connect to '%s': %s", text, strerror(-ret));
		return NULL;
	}
	s = peer_stream_new(ops, fd, text, err);
	return s ? &s->base : NULL;
}

static int stream_greet(struct peer *p, const struct peer_key *key, int timeout_ms, struct err *err)
{
	struct peer_stream *s = peer_stream_of(p);
	int64_t left, deadline = host_mono_ms() + timeout_ms;
	int ret = key ? peer_tls_begin(s, key, false, err) : 0;
	short events;

	while (key && ret == 0) {
		ret = peer_tls_step(s, &events, err);
		if (ret != -EAGAIN)
			break;
		left = deadline - host_mono_ms();
		if (left <= 0 || peer_poll(s, events, (int)left) == 0)
			return peer_tls_too_slow(s, timeout_ms, err);
		ret = 0;
	}
	return ret;
}

/* ---- bytes ---- */

/* Result of one attempt: bytes, 0 at the end, -EAGAIN with *events to wait for, or -errno. */
static ssize_t tls_result(struct peer_stream *s, int ret, short *events)
{
	int why = SSL_get_error(s->ssl, ret), reason = ERR_GET_REASON(ERR_peek_error());

	if (ret > 0)
		return ret;
	ERR_clear_error();
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
		*events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		return -EAGAIN;
	}
	if (why == SSL_ERROR_ZERO_RETURN || (why == SSL_ERROR_SYSCALL && !errno) ||
	    (why == SSL_ERROR_SSL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING))
		return 0;
	return why == SSL_ERROR_SYSCALL ? -errno : -EBADMSG; /* forged, or damaged */
}

ssize_t peer_stream_try_send(struct peer_stream *s, const void *data, size_t n, short *events)
{
	ssize_t ret;

	*events = POLLOUT;
	if (!s->ssl) {
		ret = send(s->fd, data, n, MSG_NOSIGNAL);
		return ret < 0 ? -errno : ret;
	}
	pthread_mutex_lock(&s->lock);
	errno = 0;
	ret = tls_result(s, SSL_write(s->ssl, data, n > 16384 ? 16384 : (int)n), events);
	pthread_mutex_unlock(&s->lock);
	return ret ? ret : -EPIPE;
}

ssize_t peer_stream_try_recv(struct peer_stream *s, void *data, size_t n, short *events)
{
	ssize_t ret;

	*events = POLLIN;
	if (!s->ssl) {
		ret = recv(s->fd, data, n, 0);
		return ret < 0 ? -errno : ret;
	}
	pthread_mutex_lock(&s->lock);
	errno = 0;
	ret = tls_result(s, SSL_read(s->ssl, data, n > INT32_MAX ? INT32_MAX : (int)n), events);
	pthread_mutex_unlock(&s->lock);
	return ret;
}

static int stream_send(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err)
{
	struct peer_stream *s = peer_stream_of(p);
	const uint8_t *at = data;
	short events;

	while (n) {
		ssize_t done = peer_stream_try_send(s, at, n, &events);

		if (done > 0) {
			at += done;
			n -= (size_t)done;
			continue;
		}
		if (done == -EINTR)
			continue;
		if (done != -EAGAIN)
			return err_set(err, (int)-done, "cannot send to %s: %s", s->base.name,
				       strerror((int)-done));
		if (peer_poll(s, events, timeout_ms) == 0)
			return err_set(err, ETIMEDOUT, "%s takes nothing for %d ms", s->base.name,
				       timeout_ms);
	}
	return 0;
}

static ssize_t stream_recv(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err)
{
	struct peer_stream *s = peer_stream_of(p);
	int64_t deadline = host_mono_ms() + timeout_ms;
	short events;

	for (;;) {
		ssize_t got = peer_stream_try_recv(s, data, n, &events);
		int64_t left;

		if (got >= 0)
			return got;
		if (got != -EAGAIN && got != -EINTR)
			return err_set(err, (int)-got, "cannot receive from %s: %s", s->base.name,
				       strerror((int)-got));
		left = timeout_ms < 0 ? -1 : deadline - host_mono_ms();
		if (timeout_ms >= 0 && left <= 0)
			return -EAGAIN;
		peer_poll(s, events, (int)left);
	}
}

/* ---- the two kinds ---- */

static struct peer_listener *tcp_listen(const char *addr, const struct peer_key *key,
					struct err *err)
{
	struct peer_address a;

	if (addr && peer_address_tcp(addr, true, &a, err) < 0)
		return NULL;
	return peer_stream_listen(&peer_tcp_ops, addr ? &a : NULL, addr, NULL, key, err);
}

static struct peer *tcp_dial(const char *addr, int timeout_ms, struct err *err)
{
	struct peer_address a;

	if (peer_address_tcp(addr, false, &a, err) < 0)
		return NULL;
	return stream_dial(&peer_tcp_ops, &a, addr, timeout_ms, err);
}

static struct peer_listener *unix_listen(const char *path, const struct peer_key *key,
					 struct err *err)
{
	struct peer_address a;

	if (peer_address_unix(path, &a, err) < 0 || unix_socket_vacate(path, err) < 0)
		return NULL;
	return peer_stream_listen(&peer_unix_ops, &a, path, path, key, err);
}

static struct peer *unix_dial(const char *path, int timeout_ms, struct err *err)
{
	struct peer_address a;

	if (peer_address_unix(path, &a, err) < 0)
		return NULL;
	return stream_dial(&peer_unix_ops, &a, path, timeout_ms, err);
}

const struct peer_ops peer_tcp_ops = {
	.scheme = "",
	.way = "tcp",
	.listen = tcp_listen,
	.dial = tcp_dial,
	.release = stream_release,
	.greet = stream_greet,
	.send = stream_send,
	.recv = stream_recv,
	.shutdown = stream_shutdown,
	.close = stream_close,
};

const struct peer_ops peer_unix_ops = {
	.scheme = "unix",
	.way = "unix",
	.listen = unix_listen,
	.dial = unix_dial,
	.release = stream_release,
	.greet = stream_greet,
	.send = stream_send,
	.recv = stream_recv,
	.shutdown = stream_shutdown,
	.close = stream_close,
};
