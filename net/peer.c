// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/peer_private.h"
#include "base/host_clock.h"

#define BACKLOG 4

int64_t peer_now_ms(void)
{
	return (int64_t)(host_clock_ns(CLOCK_MONOTONIC) / 1000000);
}

int peer_poll(const struct peer *p, short events, int timeout_ms)
{
	struct pollfd pfd = { .fd = p->fd, .events = events };
	int n = poll(&pfd, 1, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n;
}

/* ---- addresses ---- */

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

static int address_unix(const char *path, struct address *a, struct err *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;

	if (strlen(path) >= sizeof(un->sun_path))
		return err_set(err, EINVAL, "socket path '%s' is longer than %zu bytes", path,
			       sizeof(un->sun_path) - 1);
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, path);
	a->len = sizeof(*un);
	return 0;
}

/* HOST:PORT or [V6]:PORT into its two parts. */
static bool address_split(const char *text, char *host, size_t hostlen, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t n;

	if (!colon || !colon[1])
		return false;
	n = (size_t)(colon - text);
	if (text[0] == '[' && n > 2 && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n >= hostlen)
		return false;
	memcpy(host, text, n);
	host[n] = 0;
	*port = colon + 1;
	return true;
}

static int address_parse(const char *text, bool passive, struct address *a, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = passive ? AI_PASSIVE : 0 },
			*res;
	const char *port;
	char host[256];
	int ret;

	memset(a, 0, sizeof(*a));
	if (!strncmp(text, "unix:", 5))
		return address_unix(text + 5, a, err);
	if (!address_split(text, host, sizeof(host), &port))
		return err_set(err, EINVAL,
			       "'%s' is not an address: expected HOST:PORT, [V6]:PORT or unix:PATH",
			       text);
	ret = getaddrinfo(host[0] ? host : NULL, port, &hints, &res);
	if (ret)
		return err_set(err, EINVAL, "cannot resolve '%s': %s", text, gai_strerror(ret));
	memcpy(&a->sa, res->ai_addr, res->ai_addrlen);
	a->len = res->ai_addrlen;
	freeaddrinfo(res);
	return 0;
}

/* ---- connections ---- */

struct peer *peer_from_socket(int fd, const char *name)
{
	struct peer *p = calloc(1, sizeof(*p));
	int one = 1;

	if (!p) {
		close(fd);
		return NULL;
	}
	p->fd = fd;
	pthread_mutex_init(&p->lock, NULL);
	snprintf(p->name, sizeof(p->name), "%s", name);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return p;
}

void peer_close(struct peer *p)
{
	if (!p)
		return;
	peer_tls_end(p);
	close(p->fd);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void peer_shutdown(struct peer *p)
{
	shutdown(p->fd, SHUT_RDWR);
}

const char *peer_name(const struct peer *p)
{
	return p->name;
}

int peer_listen(const char *addr, struct err *err)
{
	struct address a;
	int one = 1, fd, ret = address_parse(addr, true, &a, err);

	if (ret < 0)
		return ret;
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "cannot make a socket for '%s': %s", addr,
			       strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a.sa.ss_family == AF_UNIX)
		unlink(addr + 5);
	if (bind(fd, (struct sockaddr *)&a.sa, a.len) < 0 || listen(fd, BACKLOG) < 0) {
		ret = err_set(err, errno, "cannot listen on '%s': %s", addr, strerror(errno));
		close(fd);
		return ret;
	}
	return fd;
}

static void name_of(const struct sockaddr_storage *sa, socklen_t len, char *name, size_t n)
{
	char host[64], port[16];

	if (sa->ss_family == AF_UNIX ||
	    getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(name, n, "local peer");
	else
		snprintf(name, n, sa->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static struct peer *peer_start(struct peer *p, const struct peer_key *key, bool server,
			       int timeout_ms, struct err *err)
{
	if (!p) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	if (!key || peer_tls_start(p, key, server, timeout_ms, err) == 0)
		return p;
	peer_close(p);
	return NULL;
}

struct peer *peer_accept(int listen_fd, const struct peer_key *key, int timeout_ms, struct err *err)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	char name[96];
	int fd = accept4(listen_fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		err_set(err, errno, "cannot accept a connection: %s", strerror(errno));
		return NULL;
	}
	name_of(&sa, len, name, sizeof(name));
	return peer_start(peer_from_socket(fd, name), key, true, timeout_ms, err);
}

static int connect_within(int fd, const struct address *a, int timeout_ms)
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

int peer_dial(const char *addr, int timeout_ms, struct err *err)
{
	struct address a;
	int fd, ret = address_parse(addr, false, &a, err);

	if (ret < 0)
		return ret;
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "cannot make a socket for '%s': %s", addr,
			       strerror(errno));
	ret = connect_within(fd, &a, timeout_ms);
	if (ret == 0)
		return fd;
	close(fd);
	return err_set(err, -ret, "cannot connect to '%s': %s", addr, strerror(-ret));
}

struct peer *peer_greet(int fd, const char *addr, const struct peer_key *key, int timeout_ms,
			struct err *err)
{
	return peer_start(peer_from_socket(fd, addr), key, false, timeout_ms, err);
}

struct peer *peer_connect(const char *addr, const struct peer_key *key, int timeout_ms,
			  struct err *err)
{
	int fd = peer_dial(addr, timeout_ms, err);

	return fd < 0 ? NULL : peer_greet(fd, addr, key, timeout_ms, err);
}

/* ---- bytes ---- */

/* One attempt: bytes, 0 at the end, -EAGAIN with *events to wait for, or -errno. */
static ssize_t tls_result(struct peer *p, int ret, short *events)
{
	int why = SSL_get_error(p->ssl, ret), reason = ERR_GET_REASON(ERR_peek_error());

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

static ssize_t try_send(struct peer *p, const void *data, size_t n, short *events)
{
	ssize_t ret;

	*events = POLLOUT;
	if (!p->ssl) {
		ret = send(p->fd, data, n, MSG_NOSIGNAL);
		return ret < 0 ? -errno : ret;
	}
	pthread_mutex_lock(&p->lock);
	errno = 0;
	ret = tls_result(p, SSL_write(p->ssl, data, n > 16384 ? 16384 : (int)n), events);
	pthread_mutex_unlock(&p->lock);
	return ret ? ret : -EPIPE;
}

static ssize_t try_recv(struct peer *p, void *data, size_t n, short *events)
{
	ssize_t ret;

	*events = POLLIN;
	if (!p->ssl) {
		ret = recv(p->fd, data, n, 0);
		return ret < 0 ? -errno : ret;
	}
	pthread_mutex_lock(&p->lock);
	errno = 0;
	ret = tls_result(p, SSL_read(p->ssl, data, n > INT32_MAX ? INT32_MAX : (int)n), events);
	pthread_mutex_unlock(&p->lock);
	return ret;
}

int peer_send(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err)
{
	const uint8_t *at = data;
	short events;

	while (n) {
		ssize_t done = try_send(p, at, n, &events);

		if (done > 0) {
			at += done;
			n -= (size_t)done;
			continue;
		}
		if (done == -EINTR)
			continue;
		if (done != -EAGAIN)
			return err_set(err, (int)-done, "cannot send to %s: %s", p->name,
				       strerror((int)-done));
		if (peer_poll(p, events, timeout_ms) == 0)
			return err_set(err, ETIMEDOUT, "%s takes nothing for %d ms", p->name,
				       timeout_ms);
	}
	return 0;
}

ssize_t peer_recv(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err)
{
	int64_t deadline = peer_now_ms() + timeout_ms;
	short events;

	for (;;) {
		ssize_t got = try_recv(p, data, n, &events);
		int64_t left;

		if (got >= 0)
			return got;
		if (got != -EAGAIN && got != -EINTR)
			return err_set(err, (int)-got, "cannot receive from %s: %s", p->name,
				       strerror((int)-got));
		left = timeout_ms < 0 ? -1 : deadline - peer_now_ms();
		if (timeout_ms >= 0 && left <= 0)
			return -EAGAIN;
		peer_poll(p, events, (int)left);
	}
}
