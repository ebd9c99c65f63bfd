/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A transport without descriptors: two peers in one process that write into each other's ring, as
 * hardware with one-sided writes does. What works over it asks nothing of a transport but peer_ops.
 */
#ifndef TESTS_NET_FAKE_PEER_H
#define TESTS_NET_FAKE_PEER_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/peer.h"

#define FAKE_RING 4096

struct fake_ring {
	uint8_t data[FAKE_RING];
	size_t written, read;
};

struct fake_link {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool over;
	unsigned ends;
	struct fake_ring ring[2];
};

struct fake_peer {
	struct peer base;
	struct fake_link *link;
	struct fake_ring *out, *in;
};

/* Waits for a change, under the lock: false when the time is over. */
static inline bool fake_wait(struct fake_link *l, const struct timespec *until)
{
	return pthread_cond_timedwait(&l->changed, &l->lock, until) != ETIMEDOUT;
}

static inline struct timespec fake_until(int timeout_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += timeout_ms < 0 ? 3600 : timeout_ms / 1000;
	t.tv_nsec += timeout_ms < 0 ? 0 : timeout_ms % 1000 * 1000000l;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static inline int fake_send(struct peer *p, const void *data, size_t n, int timeout_ms,
			    struct err *err)
{
	struct fake_peer *f = (struct fake_peer *)p;
	struct timespec until = fake_until(timeout_ms);
	const uint8_t *at = data;
	int ret = 0;

	pthread_mutex_lock(&f->link->lock);
	while (n && ret == 0) {
		if (f->link->over) {
			ret = err_set(err, EPIPE, "the fake link is over");
		} else if (f->out->written - f->out->read < FAKE_RING) {
			f->out->data[f->out->written++ % FAKE_RING] = *at++;
			n--;
			pthread_cond_broadcast(&f->link->changed);
		} else if (!fake_wait(f->link, &until)) {
			ret = err_set(err, ETIMEDOUT, "the fake ring is full");
		}
	}
	pthread_mutex_unlock(&f->link->lock);
	return ret;
}

static inline ssize_t fake_recv(struct peer *p, void *data, size_t n, int timeout_ms,
				struct err *err)
{
	struct fake_peer *f = (struct fake_peer *)p;
	struct timespec until = fake_until(timeout_ms);
	ssize_t got = -EAGAIN;
	uint8_t *at = data;

	pthread_mutex_lock(&f->link->lock);
	while (f->in->written == f->in->read && !f->link->over && fake_wait(f->link, &until))
		;
	if (f->in->written != f->in->read || f->link->over) {
		for (got = 0; (size_t)got < n && f->in->read < f->in->written; got++)
			at[got] = f->in->data[f->in->read++ % FAKE_RING];
		pthread_cond_broadcast(&f->link->changed);
	}
	pthread_mutex_unlock(&f->link->lock);
	return got;
}

static inline void fake_shutdown(struct peer *p)
{
	struct fake_link *l = ((struct fake_peer *)p)->link;

	pthread_mutex_lock(&l->lock);
	l->over = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static inline void fake_close(struct peer *p)
{
	struct fake_link *l = ((struct fake_peer *)p)->link;

	fake_shutdown(p);
	free(p);
	if (!--l->ends)
		free(l);
}

static const struct peer_ops fake_peer_ops = {
	.scheme = "fake",
	.send = fake_send,
	.recv = fake_recv,
	.shutdown = fake_shutdown,
	.close = fake_close,
};

/* Both ends of a link. */
static inline void fake_peers(struct peer **a, struct peer **b)
{
	struct fake_peer *f[2] = { calloc(1, sizeof(**f)), calloc(1, sizeof(**f)) };
	struct fake_link *l = calloc(1, sizeof(*l));

	if (!f[0] || !f[1] || !l)
		abort();
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	l->ends = 2;
	for (unsigned i = 0; i < 2; i++) {
		*f[i] = (struct fake_peer){ .base = { .ops = &fake_peer_ops, .name = "fake" },
					    .link = l,
					    .out = &l->ring[i],
					    .in = &l->ring[!i] };
	}
	*a = &f[0]->base;
	*b = &f[1]->base;
}

#endif
