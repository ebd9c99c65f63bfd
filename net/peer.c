// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the transport that an address is for; calls go through the transport's table. */
#include "net/peer.h"

#include <errno.h>
#include <string.h>

static const struct peer_ops *const transports[] = { &peer_unix_ops, &peer_rdma_ops,
						     &peer_tcp_ops };

/* The last one takes what has no scheme. *rest: the address behind it. */
static const struct peer_ops *transport_of(const char *addr, const char **rest)
{
	const struct peer_ops *const *t = transports;
	size_t n;

	for (;; t++) {
		n = strlen((*t)->scheme);
		if (!n || (!strncmp(addr, (*t)->scheme, n) && addr[n] == ':'))
			break;
	}
	*rest = n ? addr + n + 1 : addr;
	return *t;
}

struct peer_listener *peer_listen(const char *addr, const struct peer_key *key, struct err *err)
{
	const char *rest = NULL;
	const struct peer_ops *ops = addr ? transport_of(addr, &rest) : &peer_tcp_ops;

	return ops->listen(rest, key, err);
}

struct peer *peer_accept(struct peer_listener *l, int timeout_ms, struct err *err)
{
	return l->ops->accept(l, timeout_ms, err);
}

void peer_listener_wake(struct peer_listener *l)
{
	if (l)
		l->ops->wake(l);
}

const char *peer_listener_path(const struct peer_listener *l)
{
	return l->ops->path ? l->ops->path(l) : NULL;
}

void peer_listener_close(struct peer_listener *l)
{
	if (l)
		l->ops->close(l);
}

struct peer *peer_dial(const char *addr, int timeout_ms, struct err *err)
{
	const char *rest;
	const struct peer_ops *ops = transport_of(addr, &rest);

	return ops->dial(rest, timeout_ms, err);
}

int peer_greet(struct peer *p, const struct peer_key *key, int timeout_ms, struct err *err)
{
	return p->ops->greet(p, key, timeout_ms, err);
}

int peer_dial_socket(const char *addr, int timeout_ms, struct err *err)
{
	const char *rest;
	const struct peer_ops *ops = transport_of(addr, &rest);
	struct peer *p;

	if (!ops->release)
		return err_set(err, EOPNOTSUPP,
			       "'%s': such a connection cannot be given to another process", addr);
	p = ops->dial(rest, timeout_ms, err);
	return p ? ops->release(p) : -err->code;
}

struct peer *peer_connect(const char *addr, const struct peer_key *key, int timeout_ms,
			  struct err *err)
{
	struct peer *p = peer_dial(addr, timeout_ms, err);

	if (!p || peer_greet(p, key, timeout_ms, err) == 0)
		return p;
	peer_close(p);
	return NULL;
}

int peer_send(struct peer *p, const void *data, size_t n, int timeout_ms, struct err *err)
{
	return p->ops->send(p, data, n, timeout_ms, err);
}

ssize_t peer_recv(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err)
{
	return p->ops->recv(p, data, n, timeout_ms, err);
}

int peer_recv_all(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err)
{
	for (size_t have = 0; have < n;) {
		ssize_t r = peer_recv(p, (uint8_t *)data + have, n - have, timeout_ms, err);

		if (r == 0)
			return err_set(err, EPIPE, "it hung up");
		if (r == -EAGAIN)
			return err_set(err, ETIMEDOUT, "it says nothing for %d ms", timeout_ms);
		if (r < 0)
			return (int)r;
		have += (size_t)r;
	}
	return 0;
}

void peer_shutdown(struct peer *p)
{
	p->ops->shutdown(p);
}

void peer_close(struct peer *p)
{
	if (p)
		p->ops->close(p);
}

const char *peer_path(struct peer *p, char *why, size_t size)
{
	if (p->ops->path)
		return p->ops->path(p, why, size);
	if (why && size)
		why[0] = 0;
	return p->ops->way ? p->ops->way : "";
}

void peer_share(struct peer *p, void *memory, uint64_t n)
{
	if (p->ops->share)
		p->ops->share(p, memory, n);
}

enum peer_places peer_places(struct peer *p)
{
	return p->ops->places ? p->ops->places(p) : PEER_PLACES_NOT;
}

int peer_place(struct peer *p, uint64_t page, unsigned n, uint64_t *changed)
{
	return p->ops->place ? p->ops->place(p, page, n, changed) : -EAGAIN;
}

const char *peer_name(const struct peer *p)
{
	return p->name;
}
