// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rdma:HOST:PORT: a peer over TCP and TLS whose frames go by RDMA writes where that works
 * (rdma_private.h, rdma_path.c).
 *
 * A thread that receives looks at the ring for a short time before it sleeps: between a record and
 * its acknowledgement no system call is made then. A pair that has nothing to say sleeps.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "net/rdma_private.h"

#define SPIN_NS	  20000 /* the receiver looks for so long before it sleeps */
#define LINGER_MS 2	/* what a peer wrote before its end may arrive after that */
#define LEAVE_MS  5	/* writes of ours that are on their way when we end */

static bool allow_clear;

void peer_rdma_allow_clear(void)
{
	allow_clear = true;
}

/* ---- waiting ---- */

enum { FD_CONTROL, FD_QP, FD_WAKE, FDS };

static int shorter(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

static void wake_take(int wake)
{
	uint64_t wakes;

	/* The read fails when the other thread has taken the wake. */
	if (read(wake, &wakes, sizeof(wakes)) < 0)
		return;
}

/*
 * Waits until something is ready, for at most ms. Called with the lock, which is free while the
 * thread waits.
 */
static void rdma_wait(struct rdma_peer *p, bool *waits, int wake, int ms)
{
	struct pollfd fd[FDS] = {
		[FD_CONTROL] = { .fd = p->ended ? -1 : p->control->fd, .events = POLLIN },
		[FD_QP] = { .fd = p->qp ? p->verbs->descriptor(p->qp) : -1, .events = POLLIN },
		[FD_WAKE] = { .fd = wake, .events = POLLIN },
	};
	unsigned ready = 0;

	if (p->out.len > p->out_done)
		fd[FD_CONTROL].events |= POLLOUT;
	ms = shorter(ms, rdma_path_patience(p));
	*waits = true;
	pthread_mutex_unlock(&p->lock);
	if (poll(fd, FDS, ms) > 0) {
		ready = (fd[FD_CONTROL].revents & ~POLLOUT ? READY_CONTROL : 0) |
			(fd[FD_QP].revents ? READY_QP : 0);
		if (fd[FD_WAKE].revents)
			wake_take(wake);
	}
	pthread_mutex_lock(&p->lock);
	*waits = false;
	rdma_path_pump(p, ready);
}

/* Looks at the memory alone, without the lock: what is seen there is looked at again with it. */
static void rdma_spin(struct rdma_peer *p)
{
	uint64_t until;

	if (p->state != PATH_UP)
		return;
	pthread_mutex_unlock(&p->lock);
	until = host_mono_ns() + SPIN_NS;
	while (!rdma_reader_glance(&p->reader) && host_mono_ns() < until)
		__builtin_ia32_pause();
	pthread_mutex_lock(&p->lock);
	rdma_path_pump(p, 0);
}

/* ---- bytes ---- */

static int rdma_send_ends(struct rdma_peer *p, struct err *err)
{
	int code = p->error ? -p->error : p->out_error ? -p->out_error : 0;

	if (!code && (p->ended || atomic_load(&p->over)))
		code = EPIPE;
	if (!code)
		return 0;
	return p->error ? err_set(err, code, "%s", p->err.text)
			: err_set(err, code, "cannot send to %s: %s", p->base.name, strerror(code));
}

static int rdma_send(struct peer *base, const void *data, size_t n, int timeout_ms, struct err *err)
{
	struct rdma_peer *p = rdma_peer_of(base);
	int64_t deadline = host_mono_ms() + timeout_ms, left;
	const uint8_t *at = data;
	int ret;

	pthread_mutex_lock(&p->lock);
	while ((ret = rdma_send_ends(p, err)) == 0) {
		uint64_t kept = p->writer.kept;
		ssize_t took = n ? rdma_writer_put(&p->writer, at, n) : 0;

		if (took < 0) {
			ret = err_set(err, (int)-took, "a frame cannot be sealed");
			break;
		}
		at += took;
		n -= (size_t)took;
		rdma_path_pump(p, 0);
		if (!n && rdma_path_flushed(p))
			break;
		if (took || kept != p->writer.kept)
			deadline = host_mono_ms() + timeout_ms;
		if (took && n)
			continue;
		rdma_path_arm(p);
		if (kept != p->writer.kept)
			continue;
		left = deadline - host_mono_ms();
		if (timeout_ms >= 0 && left <= 0) {
			ret = err_set(err, ETIMEDOUT, "%s takes nothing for %d ms", p->base.name,
				      timeout_ms);
			break;
		}
		rdma_wait(p, &p->tx_waits, p->tx_wake, timeout_ms < 0 ? -1 : (int)left);
	}
	pthread_mutex_unlock(&p->lock);
	return ret;
}

/* Takes bytes that have arrived: their number, 0: there are none, or -errno and err. */
static ssize_t rdma_take(struct rdma_peer *p, void *data, size_t n, struct err *err)
{
	ssize_t got = rdma_reader_get(&p->reader, data, n);

	if (got > 0) {
		p->torn_ms = 0;
		rdma_path_pay(p);
		return got;
	}
	if (got == -EAGAIN)
		rdma_path_torn(p);
	else if (got < 0)
		rdma_path_fail(p, "checksums of pages are damaged", EBADMSG);
	else
		rdma_path_pay(p); /* checksums were read, for which the other side may wait */
	if (p->error && err)
		*err = p->err;
	return p->error;
}

/* The other side is gone, but bytes that it wrote before may still be on their way: takes those. */
static ssize_t rdma_take_last(struct rdma_peer *p, void *data, size_t n, struct err *err)
{
	int64_t until = host_mono_ms() + LINGER_MS;
	ssize_t got = 0;

	while (got == 0 && p->state == PATH_UP && host_mono_ms() <= until) {
		rdma_path_pump(p, 0);
		got = rdma_take(p, data, n, err);
	}
	return got;
}

static ssize_t rdma_recv(struct peer *base, void *data, size_t n, int timeout_ms, struct err *err)
{
	struct rdma_peer *p = rdma_peer_of(base);
	int64_t deadline = host_mono_ms() + timeout_ms, left;
	bool first = true;
	ssize_t got;

	pthread_mutex_lock(&p->lock);
	while ((got = rdma_take(p, data, n, err)) == 0) {
		if (p->ended || atomic_load(&p->over)) {
			got = rdma_take_last(p, data, n, err);
			break;
		}
		if (first) {
			first = false;
			rdma_path_pump(p, 0);
			rdma_spin(p);
			rdma_path_arm(p);
			continue;
		}
		left = timeout_ms < 0 ? -1 : deadline - host_mono_ms();
		if (timeout_ms >= 0 && left <= 0) {
			got = -EAGAIN;
			break;
		}
		rdma_wait(p, &p->rx_waits, p->rx_wake, (int)left);
		rdma_path_arm(p);
	}
	pthread_mutex_unlock(&p->lock);
	return got;
}

/* ---- ends ---- */

/* Lets go what was sent before the end, and waits for that, but not long. */
static void rdma_leave(struct rdma_peer *p)
{
	int64_t until = host_mono_ms() + LEAVE_MS;

	while ((p->unfinished || !rdma_path_flushed(p)) && !p->ended && !p->error &&
	       !p->out_error && host_mono_ms() < until)
		rdma_path_pump(p, 0);
}

static void rdma_shutdown(struct peer *base)
{
	struct rdma_peer *p = rdma_peer_of(base);
	uint64_t one = 1;

	pthread_mutex_lock(&p->lock);
	if (!atomic_exchange(&p->over, true))
		rdma_leave(p);
	pthread_mutex_unlock(&p->lock);
	peer_shutdown(&p->control->base);
	if (write(p->rx_wake, &one, sizeof(one)) < 0 || write(p->tx_wake, &one, sizeof(one)) < 0)
		return;
}

static void rdma_close(struct peer *base)
{
	struct rdma_peer *p = rdma_peer_of(base);
	const int wake[] = { p->rx_wake, p->tx_wake, p->maker.wake };

	if (p->area) {
		pthread_mutex_lock(&p->lock);
		rdma_leave(p);
		pthread_mutex_unlock(&p->lock);
		rdma_maker_fini(p);
		rdma_path_fini(p);
		OPENSSL_cleanse(p->area + RDMA_HALF, RDMA_HALF);
		munmap(p->area, RDMA_AREA);
	}
	if (p->device)
		p->verbs->close(p->device);
	for (size_t i = 0; i < sizeof(wake) / sizeof(*wake); i++) {
		if (wake[i] >= 0)
			close(wake[i]);
	}
	peer_close(&p->control->base);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const char *rdma_path(struct peer *base, char *why, size_t size)
{
	struct rdma_peer *p = rdma_peer_of(base);
	bool up;

	pthread_mutex_lock(&p->lock);
	up = p->state == PATH_UP;
	if (why && size)
		snprintf(why, size, "%s", up ? "" : p->why);
	pthread_mutex_unlock(&p->lock);
	return up ? "rdma" : "tcp";
}

/* ---- beginnings ---- */

static int no_key(struct err *err)
{
	return err_set(err, EINVAL,
		       "rdma: without a key there is nothing to seal with: use a key, or "
		       "--rdma-clear on a fabric that you trust");
}

/* The ring and the keys, when the control connection is authenticated. */
static int rdma_begin(struct rdma_peer *p, struct err *err)
{
	uint8_t key[2][RDMA_KEY];
	bool sealed = peer_tls_export(p->control, "EXPORTER-twinstep-rdma", key[0], sizeof(key));
	int ret;

	if (!sealed && !p->clear)
		return no_key(err);
	p->area = mmap(NULL, RDMA_AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->area == MAP_FAILED) {
		p->area = NULL;
		return err_set(err, ENOMEM, "out of memory");
	}
	ret = rdma_path_init(p, sealed ? key[!p->caller] : NULL, sealed ? key[p->caller] : NULL);
	OPENSSL_cleanse(key, sizeof(key));
	return ret ? err_set(err, ENOMEM, "out of memory") : rdma_maker_init(p, err);
}

static struct rdma_peer *rdma_new(struct peer *control, const struct verbs_ops *verbs,
				  struct verbs_device *device, bool caller, bool clear,
				  struct err *err)
{
	struct rdma_peer *p = calloc(1, sizeof(*p));

	if (!p) {
		verbs->close(device);
		peer_close(control);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	p->base.ops = &peer_rdma_ops;
	snprintf(p->base.name, sizeof(p->base.name), "%s", control->name);
	p->control = peer_stream_of(control);
	p->verbs = verbs;
	p->device = device;
	p->caller = caller;
	p->clear = clear;
	pthread_mutex_init(&p->lock, NULL);
	p->rx_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->tx_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->maker.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->rx_wake >= 0 && p->tx_wake >= 0 && p->maker.wake >= 0)
		return p;
	err_set(err, EMFILE, "out of descriptors");
	rdma_close(&p->base);
	return NULL;
}

struct peer *rdma_peer_new(struct peer *control, const struct verbs_ops *verbs,
			   struct verbs_device *device, bool caller, bool clear, struct err *err)
{
	struct rdma_peer *p = rdma_new(control, verbs, device, caller, clear, err);

	if (!p || rdma_begin(p, err) == 0)
		return p ? &p->base : NULL;
	rdma_close(&p->base);
	return NULL;
}

static struct peer *rdma_dial(const char *addr, int timeout_ms, struct err *err)
{
	struct peer_address own = { .len = sizeof(own.sa) };
	const struct verbs_ops *verbs = verbs_load(err);
	struct peer *control = verbs ? peer_tcp_ops.dial(addr, timeout_ms, err) : NULL;
	struct verbs_device *device;
	struct rdma_peer *p;

	if (!control)
		return NULL;
	if (getsockname(peer_stream_of(control)->fd, (struct sockaddr *)&own.sa, &own.len) < 0) {
		err_set(err, errno, "cannot tell our address: %s", strerror(errno));
		device = NULL;
	} else {
		device = verbs->open((const struct sockaddr *)&own.sa, err);
	}
	if (!device) {
		peer_close(control);
		return NULL;
	}
	p = rdma_new(control, verbs, device, true, allow_clear, err);
	return p ? &p->base : NULL;
}

static int rdma_greet(struct peer *base, const struct peer_key *key, int timeout_ms,
		      struct err *err)
{
	struct rdma_peer *p = rdma_peer_of(base);
	int ret = peer_greet(&p->control->base, key, timeout_ms, err);

	return ret ? ret : rdma_begin(p, err);
}

/* ---- listening ---- */

struct rdma_listener {
	struct peer_listener base;
	struct peer_listener *tcp;
	const struct verbs_ops *verbs;
	struct verbs_device *device;
};

static struct rdma_listener *rdma_listener_of(struct peer_listener *l)
{
	return (struct rdma_listener *)l;
}

static struct peer *rdma_accept(struct peer_listener *base, int timeout_ms, struct err *err)
{
	struct rdma_listener *l = rdma_listener_of(base);
	struct peer *control = peer_accept(l->tcp, timeout_ms, err);

	if (!control)
		return NULL;
	l->verbs->hold(l->device);
	return rdma_peer_new(control, l->verbs, l->device, false, allow_clear, err);
}

static void rdma_listener_wake(struct peer_listener *base)
{
	peer_listener_wake(rdma_listener_of(base)->tcp);
}

static void rdma_listener_close(struct peer_listener *base)
{
	struct rdma_listener *l = rdma_listener_of(base);

	peer_listener_close(l->tcp);
	l->verbs->close(l->device);
	free(l);
}

static const struct peer_listener_ops rdma_listener_ops = {
	.accept = rdma_accept,
	.wake = rdma_listener_wake,
	.close = rdma_listener_close,
};

static struct peer_listener *rdma_listen(const char *addr, const struct peer_key *key,
					 struct err *err)
{
	struct rdma_listener *l = NULL;
	struct verbs_device *device;
	const struct verbs_ops *verbs;
	struct peer_address a;

	if (peer_address_tcp(addr, true, &a, err) < 0)
		return NULL;
	if (!key && !allow_clear) {
		no_key(err);
		return NULL;
	}
	verbs = verbs_load(err);
	device = verbs ? verbs->open((const struct sockaddr *)&a.sa, err) : NULL;
	if (!device)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l) {
		l->base.ops = &rdma_listener_ops;
		l->verbs = verbs;
		l->device = device;
		l->tcp = peer_tcp_ops.listen(addr, key, err);
	} else {
		err_set(err, ENOMEM, "out of memory");
	}
	if (l && l->tcp)
		return &l->base;
	verbs->close(device);
	free(l);
	return NULL;
}

const struct peer_ops peer_rdma_ops = {
	.scheme = "rdma",
	.listen = rdma_listen,
	.dial = rdma_dial,
	.greet = rdma_greet,
	.send = rdma_send,
	.recv = rdma_recv,
	.shutdown = rdma_shutdown,
	.close = rdma_close,
	.path = rdma_path,
	.share = rdma_share,
	.places = rdma_places,
	.place = rdma_place,
};
