/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verbs in memory: a fabric on which writes can be held back, torn, lost, brought about in another
 * order, and on which anybody may write who knows where.
 */
#ifndef TESTS_NET_FAKE_VERBS_H
#define TESTS_NET_FAKE_VERBS_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/rdma_verbs.h"

#define FAKE_QPS      64
#define FAKE_MEMORIES 64
#define FAKE_HELD     1024

struct verbs_memory {
	uint8_t *at;
	size_t n;
	bool written, there;
};

struct verbs_qp {
	struct verbs_device *device;
	uint32_t number, remote;
	bool there, broken, armed;
	int fd;
	struct verbs_completion *queue;
	size_t first, n, cap;
};

struct verbs_device {
	unsigned holders;
	int events;
	bool gone;
};

struct fake_write {
	struct verbs_qp *qp;
	uint32_t remote;
	struct verbs_write w;
	uint8_t *bytes;
};

static struct {
	pthread_mutex_t lock;
	bool down;   /* the port */
	bool refuse; /* queue pairs cannot be connected */
	bool hold;   /* writes wait for fake_deliver() */
	bool lose;   /* ... or for nobody */
	bool damage; /* a bit of writes that do not tell changes on the way */
	/* These calls do not return; how many are in one. */
	enum { STALL_NEW = 1, STALL_CONNECT = 2, STALL_FREE = 4, STALL_CHECK = 8 } stall;
	unsigned stalled;
	unsigned long writes, made;
	struct verbs_qp qp[FAKE_QPS];
	struct verbs_memory memory[FAKE_MEMORIES];
	struct fake_write held[FAKE_HELD];
	unsigned nheld;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline void fake_lock(void)
{
	pthread_mutex_lock(&fake.lock);
}

static inline void fake_unlock(void)
{
	pthread_mutex_unlock(&fake.lock);
}

static inline void fake_complete(struct verbs_qp *q, struct verbs_completion c)
{
	uint64_t one = 1;

	if (q->n == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 64;
		q->queue = realloc(q->queue, q->cap * sizeof(*q->queue));
		if (!q->queue)
			abort();
	}
	q->queue[q->n++] = c;
	if (c.what == VERBS_WRITTEN || !q->armed)
		return;
	q->armed = false;
	if (write(q->fd, &one, sizeof(one)) < 0)
		abort();
}

static inline struct verbs_qp *fake_find(uint32_t number)
{
	for (unsigned i = 0; i < FAKE_QPS; i++) {
		if (fake.qp[i].there && fake.qp[i].number == number)
			return &fake.qp[i];
	}
	return NULL;
}

static inline void fake_break(struct verbs_qp *q, const char *why)
{
	if (!q->broken)
		fake_complete(q, (struct verbs_completion){ .what = VERBS_BROKEN, .why = why });
	q->broken = true;
}

/* All queue pairs that there are. */
static inline void fake_break_all(void)
{
	fake_lock();
	for (unsigned i = 0; i < FAKE_QPS; i++) {
		if (fake.qp[i].there)
			fake_break(&fake.qp[i], "forced");
	}
	fake_unlock();
}

/* The kernel tells, and gives back what waits in queue pairs; some adapters are not so fast. */
static inline void fake_remove(struct verbs_device *d, bool flush)
{
	uint64_t one = 1;

	fake_lock();
	d->gone = true;
	for (unsigned i = 0; i < FAKE_QPS && flush; i++) {
		if (fake.qp[i].there && fake.qp[i].device == d)
			fake_break(&fake.qp[i], "flushed");
	}
	if (write(d->events, &one, sizeof(one)) < 0)
		abort();
	fake_unlock();
}

/* Where a write goes; NULL: it may not. */
static inline uint8_t *fake_target(const struct verbs_write *w)
{
	const struct verbs_memory *m =
		w->to_key && w->to_key <= FAKE_MEMORIES ? &fake.memory[w->to_key - 1] : NULL;
	uintptr_t at = m ? (uintptr_t)m->at : 0;

	if (!m || !m->there || !m->written || w->to < at || w->len > m->n ||
	    w->to - at > m->n - w->len)
		return NULL;
	return m->at + (w->to - at);
}

/* A part of it arrives; the whole does when it ends with the last byte, and tells then. */
static inline void fake_arrive(struct fake_write *f, size_t from, size_t to, bool whole)
{
	struct verbs_qp *remote = fake_find(f->remote);
	uint8_t *at = fake_target(&f->w);

	if (!f->qp->there || f->qp->broken)
		return;
	if (!remote || remote->broken) {
		fake_break(f->qp, "nobody answers");
		return;
	}
	if (!at) {
		fake_break(f->qp, "the other side has no such memory");
		return;
	}
	memcpy(at + from, f->bytes + from, to - from);
	if (!whole)
		return;
	if (f->w.tells)
		fake_complete(remote, (struct verbs_completion){ .what = VERBS_ARRIVED,
								 .number = f->w.number });
	fake_complete(f->qp, (struct verbs_completion){ .what = VERBS_WRITTEN });
}

/* What is held arrives; backwards: the last one first, and so do its words. */
static inline void fake_deliver(bool backwards)
{
	fake_lock();
	for (unsigned i = 0; i < fake.nheld; i++) {
		struct fake_write *f = &fake.held[backwards ? fake.nheld - 1 - i : i];

		fake_arrive(f, 0, f->w.len, true);
		free(f->bytes);
	}
	fake.nheld = 0;
	fake_unlock();
}

/* The first half of all that is held, and no word of it. */
static inline void fake_tear(void)
{
	fake_lock();
	for (unsigned i = 0; i < fake.nheld; i++)
		fake_arrive(&fake.held[i], 0, fake.held[i].w.len / 2, false);
	fake_unlock();
}

static inline void fake_forget(void)
{
	fake_lock();
	while (fake.nheld)
		free(fake.held[--fake.nheld].bytes);
	fake_unlock();
}

/* ---- the calls ---- */

static inline bool fake_stalls(unsigned call)
{
	bool stalls;

	fake_lock();
	stalls = fake.stall & call;
	fake_unlock();
	return stalls;
}

static inline void fake_stall(unsigned call)
{
	bool did = false;

	while (fake_stalls(call)) {
		fake_lock();
		fake.stalled += !did;
		fake_unlock();
		did = true;
		usleep(1000);
	}
	fake_lock();
	fake.stalled -= did;
	fake_unlock();
}

static inline void fake_set_stall(unsigned calls)
{
	fake_lock();
	fake.stall = calls;
	fake_unlock();
}

static inline unsigned fake_stalled(void)
{
	unsigned n;

	fake_lock();
	n = fake.stalled;
	fake_unlock();
	return n;
}

static inline struct verbs_device *fake_open(const struct sockaddr *local, struct err *err)
{
	struct verbs_device *d = calloc(1, sizeof(*d));

	if (!d)
		abort();
	d->holders = 1;
	d->events = eventfd(0, EFD_NONBLOCK);
	return d;
}

static inline void fake_device_hold(struct verbs_device *d)
{
	fake_lock();
	d->holders++;
	fake_unlock();
}

static inline void fake_device_close(struct verbs_device *d)
{
	bool last;

	fake_lock();
	last = !--d->holders;
	fake_unlock();
	if (!last)
		return;
	close(d->events);
	free(d);
}

static inline int fake_check(struct verbs_device *d, struct err *err)
{
	bool down, gone;
	uint64_t n;

	fake_stall(STALL_CHECK);
	fake_lock();
	if (read(d->events, &n, sizeof(n)) < 0 && errno != EAGAIN)
		abort();
	gone = d->gone;
	down = fake.down;
	fake_unlock();
	if (gone)
		return err_set(err, ENODEV, "RDMA device fake0 is gone");
	return down ? err_set(err, ENETDOWN, "the port is down") : 0;
}

static inline int fake_events(struct verbs_device *d)
{
	return d->events;
}

static inline struct verbs_memory *fake_memory_add(struct verbs_device *d, void *at, size_t n,
						   bool written, uint32_t *key, struct err *err)
{
	struct verbs_memory *m = NULL;

	fake_lock();
	for (unsigned i = 0; i < FAKE_MEMORIES && !m; i++) {
		if (fake.memory[i].there)
			continue;
		m = &fake.memory[i];
		*m = (struct verbs_memory){ at, n, written, true };
		*key = i + 1;
	}
	fake_unlock();
	if (!m)
		abort();
	return m;
}

static inline void fake_memory_remove(struct verbs_memory *m)
{
	fake_lock();
	m->there = false;
	fake_unlock();
}

static inline struct verbs_qp *fake_qp_new(struct verbs_device *d, unsigned writes,
					   unsigned arrivals, struct verbs_address *own,
					   struct err *err)
{
	struct verbs_qp *q = NULL;

	fake_stall(STALL_NEW);
	fake_lock();
	for (unsigned i = 0; i < FAKE_QPS && !q; i++) {
		if (!fake.qp[i].there)
			q = &fake.qp[i];
	}
	if (!q)
		abort();
	*q = (struct verbs_qp){ .device = d, .there = true, .number = (uint32_t)++fake.made };
	q->fd = eventfd(0, EFD_NONBLOCK);
	*own = (struct verbs_address){ .qpn = q->number, .psn = 1, .mtu = 5 };
	fake_unlock();
	return q;
}

static inline int fake_qp_connect(struct verbs_qp *q, const struct verbs_address *theirs,
				  struct err *err)
{
	int ret = 0;

	fake_stall(STALL_CONNECT);
	fake_lock();
	if (fake.refuse)
		ret = err_set(err, EHOSTUNREACH, "nobody has that address");
	q->remote = theirs->qpn;
	fake_unlock();
	return ret;
}

static inline void fake_qp_free(struct verbs_qp *q)
{
	struct verbs_qp *remote;

	fake_stall(STALL_FREE);
	fake_lock();
	remote = fake_find(q->remote);
	if (remote && remote->remote == q->number && remote->n > remote->first + 100000)
		abort(); /* nobody polls */
	q->there = false;
	close(q->fd);
	free(q->queue);
	q->queue = NULL;
	fake_unlock();
}

/* Memory may be written meanwhile, as on hardware. */
__attribute__((no_sanitize("thread"))) static inline void fake_read(uint8_t *to, const void *from,
								    size_t n)
{
	const volatile uint8_t *at = from;

	for (size_t i = 0; i < n; i++)
		to[i] = at[i];
}

static inline int fake_write(struct verbs_qp *q, const struct verbs_write *w)
{
	struct fake_write f = { .qp = q, .w = *w, .remote = q->remote };

	fake_lock();
	fake.writes++;
	f.bytes = malloc(w->len + 1);
	if (!f.bytes)
		abort();
	fake_read(f.bytes, w->from, w->len);
	if (fake.damage && !w->tells && w->len)
		f.bytes[w->len / 2] ^= 4;
	if (fake.hold && fake.nheld < FAKE_HELD) {
		fake.held[fake.nheld++] = f;
	} else {
		if (!fake.lose)
			fake_arrive(&f, 0, w->len, true);
		free(f.bytes);
	}
	fake_unlock();
	return 0;
}

static inline unsigned fake_poll(struct verbs_qp *q, struct verbs_completion *c, unsigned n)
{
	unsigned i;

	fake_lock();
	for (i = 0; i < n && q->first < q->n; i++)
		c[i] = q->queue[q->first++];
	if (q->first == q->n)
		q->first = q->n = 0;
	fake_unlock();
	return i;
}

static inline int fake_arm(struct verbs_qp *q)
{
	fake_lock();
	q->armed = true;
	fake_unlock();
	return 0;
}

static inline int fake_descriptor(struct verbs_qp *q)
{
	return q->fd;
}

static inline void fake_drain(struct verbs_qp *q)
{
	uint64_t n;

	if (read(q->fd, &n, sizeof(n)) < 0)
		return;
}

static const struct verbs_ops fake_verbs = {
	.open = fake_open,
	.hold = fake_device_hold,
	.close = fake_device_close,
	.check = fake_check,
	.events = fake_events,
	.memory_add = fake_memory_add,
	.memory_remove = fake_memory_remove,
	.qp_new = fake_qp_new,
	.qp_connect = fake_qp_connect,
	.qp_free = fake_qp_free,
	.write = fake_write,
	.poll = fake_poll,
	.arm = fake_arm,
	.descriptor = fake_descriptor,
	.drain = fake_drain,
};

#endif
