// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A listening socket whose handshakes go on side by side, so that connections that say nothing
 * keep nobody waiting. When there are too many of them, the oldest of the host that has the most
 * gives way: to keep a peer out, a flood has to come from the peer's own host, or from as many
 * hosts as there is room for handshakes.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "net/peer_private.h"

#define BACKLOG	   64
#define HANDSHAKES 32
#define REST_MS	   200 /* without descriptors or memory for a connection that waits */

struct handshake {
	struct peer_stream *s;
	int64_t deadline;
	short events;
	bool begun; /* it has said something */
};

struct stream_listener {
	struct peer_listener base;
	const struct peer_ops *ops; /* of the peers */
	const struct peer_key *key;
	char *path; /* of a local socket; NULL: it has no file */
	int fd;	    /* -1: nobody can come */
	int wake;
	int64_t rest_until;
	struct handshake handshakes[HANDSHAKES]; /* the oldest first */
	unsigned nhandshakes;
};

static struct stream_listener *listener_of(struct peer_listener *l)
{
	return (struct stream_listener *)l;
}

static struct peer_stream *handshake_remove(struct stream_listener *l, unsigned i)
{
	struct peer_stream *s = l->handshakes[i].s;

	l->nhandshakes--;
	memmove(&l->handshakes[i], &l->handshakes[i + 1],
		(l->nhandshakes - i) * sizeof(l->handshakes[0]));
	return s;
}

static void handshake_drop(struct stream_listener *l, unsigned i)
{
	peer_close(&handshake_remove(l, i)->base);
}

/* Length of the host's part of a name: all before the port, or everything where there is none. */
static size_t host_length(const char *name)
{
	const char *port = strrchr(name, ':');

	return port ? (size_t)(port - name) : strlen(name);
}

static bool same_host(const struct handshake *a, const struct handshake *b)
{
	const char *x = a->s->base.name, *y = b->s->base.name;
	size_t n = host_length(x);

	return n == host_length(y) && memcmp(x, y, n) == 0;
}

/* The oldest handshake of the host that has the most of them. */
static unsigned handshake_to_drop(const struct stream_listener *l)
{
	unsigned worst = 0, most = 0;

	for (unsigned i = 0; i < l->nhandshakes; i++) {
		unsigned n = 0;

		for (unsigned k = i; k < l->nhandshakes; k++)
			n += same_host(&l->handshakes[i], &l->handshakes[k]);
		if (n > most) {
			most = n;
			worst = i;
		}
	}
	return worst;
}

static int handshake_add(struct stream_listener *l, struct peer_stream *s, struct err *err)
{
	int ret = 0;

	if (l->nhandshakes == HANDSHAKES) {
		unsigned i = handshake_to_drop(l);

		ret = err_set(err, EBUSY, "%s is refused: %u others wait for their handshake",
			      l->handshakes[i].s->base.name, HANDSHAKES);
		handshake_drop(l, i);
	}
	l->handshakes[l->nhandshakes++] = (struct handshake){
		.s = s, .deadline = host_mono_ms() + PEER_SILENT_MS, .events = POLLIN
	};
	return ret;
}

/* A connection that waits, where one does: *s, or NULL with err (or without, if it is gone). */
static void take_connection(struct stream_listener *l, struct peer_stream **s, struct err *err)
{
	struct peer_address a = { .len = sizeof(a.sa) };
	char name[PEER_NAME_LEN];
	int fd = accept4(l->fd, (struct sockaddr *)&a.sa, &a.len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	*s = NULL;
	if (fd >= 0) {
		peer_address_name(&a, name, sizeof(name));
		*s = peer_stream_new(l->ops, fd, name, err);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		err_set(err, errno, "cannot accept a connection: %s", strerror(errno));
		l->rest_until = host_mono_ms() + REST_MS;
	}
}

/* Takes the next connection in. A peer, or NULL: it has to shake hands first, or err says more. */
static struct peer *admit(struct stream_listener *l, struct err *err)
{
	struct peer_stream *s;

	take_connection(l, &s, err);
	if (!s)
		return NULL;
	if (!l->key)
		return &s->base;
	if (peer_tls_begin(s, l->key, true, err) < 0)
		peer_close(&s->base);
	else
		handshake_add(l, s, err);
	return NULL;
}

/* The time for a handshake begins with its first byte. */
static int handshake_step(struct handshake *h, int64_t now, struct err *err)
{
	if (!h->begun) {
		h->begun = true;
		h->deadline = now + PEER_GREET_MS;
	}
	return peer_tls_step(h->s, &h->events, err);
}

/* Goes on with handshakes until the first one of them ends: its peer, or NULL and perhaps err. */
static struct peer *handshakes_step(struct stream_listener *l, const struct pollfd *ready,
				    unsigned n, struct err *err)
{
	int64_t now = host_mono_ms();

	for (unsigned i = 0; i < n; i++) {
		struct handshake *h = &l->handshakes[i];
		int ret = ready[i].revents ? handshake_step(h, now, err) : -EAGAIN;

		if (ret == 0)
			return &handshake_remove(l, i)->base;
		if (ret == -EAGAIN && now < h->deadline)
			continue;
		if (ret == -EAGAIN)
			peer_tls_too_slow(h->s, h->begun ? PEER_GREET_MS : PEER_SILENT_MS, err);
		else if (peer_tls_is_silent(h->s)) /* `up` and `doctor` look like that */
			*err = (struct err)ERR_INIT;
		handshake_drop(l, i);
		return NULL;
	}
	return NULL;
}

static int earlier(int64_t at, int64_t now, int timeout)
{
	int64_t left = at > now ? at - now : 0;

	return timeout < 0 || left < timeout ? (int)left : timeout;
}

enum { WAKE, LISTEN, FIRST };

/* Fills in what is waited for; returns for how long. */
static int prepare_wait(const struct stream_listener *l, struct pollfd *p, int64_t deadline)
{
	int64_t now = host_mono_ms();
	bool rests = now < l->rest_until;
	int timeout = deadline < 0 ? -1 : earlier(deadline, now, -1);

	p[WAKE] = (struct pollfd){ .fd = l->wake, .events = POLLIN };
	p[LISTEN] = (struct pollfd){ .fd = rests ? -1 : l->fd, .events = POLLIN };
	if (rests)
		timeout = earlier(l->rest_until, now, timeout);
	for (unsigned i = 0; i < l->nhandshakes; i++) {
		const struct handshake *h = &l->handshakes[i];

		p[FIRST + i] = (struct pollfd){ .fd = h->s->fd, .events = h->events };
		timeout = earlier(h->deadline, now, timeout);
	}
	return timeout;
}

static struct peer *listener_accept(struct peer_listener *base, int timeout_ms, struct err *err)
{
	struct stream_listener *l = listener_of(base);
	int64_t deadline = timeout_ms < 0 ? -1 : host_mono_ms() + timeout_ms;
	struct err why = ERR_INIT;
	struct peer *p = NULL;

	while (!p && !why.code) {
		struct pollfd ready[FIRST + HANDSHAKES] = { 0 };
		unsigned n = l->nhandshakes;
		int timeout = prepare_wait(l, ready, deadline), some;
		uint64_t wakes;

		some = poll(ready, FIRST + n, timeout);
		if (some > 0 && ready[WAKE].revents) {
			if (read(l->wake, &wakes, sizeof(wakes)) > 0)
				err_set(&why, EAGAIN, "woken");
			continue;
		}
		p = handshakes_step(l, ready + FIRST, some < 0 ? 0 : n, &why);
		if (!p && !why.code && some > 0 && ready[LISTEN].revents)
			p = admit(l, &why);
		if (!p && !why.code && deadline >= 0 && host_mono_ms() >= deadline)
			err_set(&why, EAGAIN, "nobody came");
	}
	if (!p && err)
		*err = why;
	return p;
}

static void listener_wake(struct peer_listener *base)
{
	uint64_t one = 1;

	/* The write fails when 2^64 - 2 wakes wait already: then the listener is awake. */
	if (write(listener_of(base)->wake, &one, sizeof(one)) < 0)
		return;
}

static const char *listener_path(const struct peer_listener *base)
{
	return ((const struct stream_listener *)base)->path;
}

static void listener_close(struct peer_listener *base)
{
	struct stream_listener *l = listener_of(base);

	while (l->nhandshakes)
		handshake_drop(l, l->nhandshakes - 1);
	if (l->fd >= 0)
		close(l->fd);
	if (l->wake >= 0)
		close(l->wake);
	free(l->path);
	free(l);
}

static const struct peer_listener_ops listener_ops = {
	.accept = listener_accept,
	.wake = listener_wake,
	.path = listener_path,
	.close = listener_close,
};

static int open_socket(struct stream_listener *l, const struct peer_address *a, const char *text,
		       struct err *err)
{
	int one = 1;

	l->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_set(err, errno, "cannot make a socket for '%s': %s", text,
			       strerror(errno));
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l->fd, (const struct sockaddr *)&a->sa, a->len) < 0 || listen(l->fd, BACKLOG) < 0)
		return err_set(err, errno, "cannot listen on '%s': %s", text, strerror(errno));
	return 0;
}

struct peer_listener *peer_stream_listen(const struct peer_ops *ops, const struct peer_address *a,
					 const char *text, const char *path,
					 const struct peer_key *key, struct err *err)
{
	struct stream_listener *l = calloc(1, sizeof(*l));

	if (!l) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	l->base.ops = &listener_ops;
	l->ops = ops;
	l->key = key;
	l->fd = -1;
	l->path = path ? strdup(path) : NULL;
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0 || (path && !l->path))
		err_set(err, ENOMEM, "cannot listen: out of memory or descriptors");
	else if (!a || open_socket(l, a, text, err) == 0)
		return &l->base;
	listener_close(&l->base);
	return NULL;
}
