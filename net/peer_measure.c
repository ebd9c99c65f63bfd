// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A request is u32 bytes that follow it, u32 bytes that are wanted back when they are there. Pages
 * are placed in memory of MEMORY bytes, which both share. Little endian, as all hosts of pairs are.
 */
#include "net/peer_measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/host_clock.h"

#define BYTES_MAX 65536u
#define MEMORY	  (16u << 20)
#define PATIENCE  5000 /* ms */
#define SETTLE_MS 5000 /* until RDMA is up */
#define BAD_REQUEST \
	"the other side asks for what a measurement does not: is it `twinstep qualify --connect`?"

struct request {
	uint32_t bytes, back;
};

static uint8_t *memory_new(struct err *err)
{
	void *m = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m != MAP_FAILED)
		return m;
	err_set(err, ENOMEM, "out of memory");
	return NULL;
}

/* All n bytes: 1, 0 at an end before the first one, or -errno and err. */
static int receive(struct peer *p, void *data, size_t n, int timeout_ms, struct err *err)
{
	ssize_t got = peer_recv(p, data, n, timeout_ms, err);
	int ret;

	if (got == -EAGAIN)
		return err_set(err, ETIMEDOUT, "%s said nothing for %d ms", peer_name(p),
			       timeout_ms);
	if (got <= 0)
		return (int)got;
	ret = peer_recv_all(p, (uint8_t *)data + got, n - (size_t)got, timeout_ms, err);
	if (ret < 0)
		return err_prefix(err, "%s", peer_name(p));
	return 1;
}

/* ---- the side that answers ---- */

static int answer(struct peer *p, uint8_t *bytes, struct err *err)
{
	struct request q;
	int ret;

	while ((ret = receive(p, &q, sizeof(q), -1, err)) > 0) {
		if (q.bytes > BYTES_MAX || q.back > BYTES_MAX)
			return err_set(err, EBADMSG, "%s: %s", peer_name(p), BAD_REQUEST);
		ret = q.bytes ? receive(p, bytes, q.bytes, PATIENCE, err) : 1;
		if (ret == 0)
			return err_set(err, EPIPE, "%s: it hung up", peer_name(p));
		if (ret > 0 && q.back)
			ret = peer_send(p, bytes, q.back, PATIENCE, err);
		if (ret < 0)
			break;
	}
	return ret;
}

int peer_measure_answer(struct peer *p, struct err *err)
{
	uint8_t *memory = memory_new(err), *bytes = memory ? calloc(1, BYTES_MAX) : NULL;
	int ret = -ENOMEM;

	if (bytes) {
		peer_share(p, memory, MEMORY);
		ret = answer(p, bytes, err);
		peer_share(p, NULL, 0);
	} else if (memory) {
		err_set(err, ENOMEM, "out of memory");
	}
	free(bytes);
	if (memory)
		munmap(memory, MEMORY);
	return ret;
}

/* ---- the side that asks ---- */

/* The request with its bytes, in one piece as a record would be. */
static int ask(struct peer *p, uint8_t *bytes, uint32_t n, uint32_t back, struct err *err)
{
	struct request q = { n - (uint32_t)sizeof(q), back };
	int ret;

	memcpy(bytes, &q, sizeof(q));
	ret = peer_send(p, bytes, n, PATIENCE, err);
	if (ret < 0 || !back)
		return ret;
	ret = receive(p, bytes, back, PATIENCE, err);
	return ret > 0 ? 0 : ret ? ret : err_set(err, EPIPE, "%s: it hung up", peer_name(p));
}

static int trip(struct peer *p, uint8_t *bytes, struct err *err)
{
	return ask(p, bytes, PEER_MEASURE_RECORD, PEER_MEASURE_RECORD, err);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int measure_trips(struct peer *p, uint8_t *bytes, unsigned n, struct peer_measure *m,
			 struct err *err)
{
	uint64_t *ns = calloc(n, sizeof(*ns));
	int ret = ns ? 0 : err_set(err, ENOMEM, "out of memory");

	for (unsigned i = 0; i < n && ret == 0; i++) {
		uint64_t start = host_mono_ns();

		ret = trip(p, bytes, err);
		ns[i] = host_mono_ns() - start;
	}
	if (ret == 0) {
		qsort(ns, n, sizeof(*ns), ascending);
		m->trips = n;
		m->median_us = (double)ns[n / 2] / 1000;
		m->p99_us = (double)ns[n - 1 - n / 100] / 1000;
		m->longest_us = (double)ns[n - 1] / 1000;
	}
	free(ns);
	return ret;
}

static double mbyte(uint64_t bytes, uint64_t start)
{
	return (double)bytes * 1000 / (double)(host_mono_ns() - start);
}

static int measure_stream(struct peer *p, uint8_t *bytes, unsigned ms, struct peer_measure *m,
			  struct err *err)
{
	uint64_t start = host_mono_ns(), sent = 0;
	int ret = 0;

	while (ret == 0 && host_mono_ns() - start < ms * 1000000ull) {
		ret = ask(p, bytes, BYTES_MAX, 0, err);
		sent += BYTES_MAX;
	}
	if (ret == 0)
		ret = trip(p, bytes, err); /* the last one is there when it is answered */
	m->stream_mbyte = mbyte(sent, start);
	return ret;
}

static int measure_placing(struct peer *p, uint8_t *bytes, unsigned ms, struct peer_measure *m,
			   struct err *err)
{
	uint64_t start = host_mono_ns(), placed = 0, changed[PEER_PLACE / 64];

	for (uint64_t page = 0; host_mono_ns() - start < ms * 1000000ull;
	     page = (page + PEER_PLACE) % (MEMORY / PEER_PAGE)) {
		if (peer_place(p, page, PEER_PLACE, changed) < 0)
			return 0; /* there is no such way any more */
		placed += PEER_PLACE * PEER_PAGE;
	}
	if (trip(p, bytes, err) < 0)
		return -err->code;
	m->placed_mbyte = mbyte(placed, start);
	return 0;
}

/* Waits until the best way is in use, for that one is to be measured; not longer than SETTLE_MS. */
static int settle(struct peer *p, uint8_t *bytes, bool rdma, struct err *err)
{
	int64_t until = host_mono_ms() + SETTLE_MS;
	int ret;

	do {
		ret = trip(p, bytes, err);
	} while (ret == 0 && rdma && strcmp(peer_path(p, NULL, 0), "rdma") != 0 &&
		 host_mono_ms() < until);
	return ret;
}

int peer_measure_ask(struct peer *p, unsigned trips, unsigned ms, struct peer_measure *m,
		     struct err *err)
{
	uint8_t *memory = memory_new(err), *bytes = memory ? calloc(1, BYTES_MAX) : NULL;
	int ret = bytes ? 0 : err_set(err, ENOMEM, "out of memory");

	*m = (struct peer_measure){ 0 };
	if (ret == 0) {
		peer_share(p, memory, MEMORY);
		ret = settle(p, bytes, p->ops->place != NULL, err);
	}
	if (ret == 0)
		ret = measure_trips(p, bytes, trips, m, err);
	if (ret == 0)
		ret = measure_stream(p, bytes, ms, m, err);
	if (ret == 0 && peer_places(p) == PEER_PLACES_NOW)
		ret = measure_placing(p, bytes, ms, m, err);
	if (ret == 0)
		snprintf(m->path, sizeof(m->path), "%s", peer_path(p, m->why, sizeof(m->why)));
	if (bytes)
		peer_share(p, NULL, 0);
	free(bytes);
	if (memory)
		munmap(memory, MEMORY);
	return ret;
}
