// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: what the other side of an RDMA connection, or somebody on its fabric, can do: bytes on the
 * control connection, in good messages or not, bytes in the ring and in the credit cell, and words
 * of writes that arrived. Without seals the frames in the ring are taken at their word; a second
 * reader, with a key, takes nothing of all that. Windows for pages and checksums of pages: nothing
 * is registered but what is shared.
 */
#include <sched.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/rdma_private.h"
#include "tests/net/fake_verbs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SHARED 4u /* pages */

struct rig {
	struct peer *p;
	int outside;
	struct rdma_reader sealed;
	unsigned placed;
	_Alignas(PEER_PAGE) uint8_t memory[SHARED * PEER_PAGE];
	uint8_t aside[RDMA_RING];
};

static void say(struct rig *rig, const void *data, size_t n)
{
	if (n && send(rig->outside, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

/* Until the thread that makes queue pairs has nothing to do: an input does the same each time. */
static void settle(struct rig *rig)
{
	struct rdma_peer *p = rdma_peer_of(rig->p);
	bool works = true;

	while (works) {
		pthread_mutex_lock(&p->lock);
		works = p->maker.job || p->maker.busy || p->maker.gone;
		pthread_mutex_unlock(&p->lock);
		if (works)
			sched_yield();
	}
}

static void look(struct rig *rig)
{
	static uint8_t got[3000];
	struct err err = ERR_INIT;
	ssize_t n = peer_recv(rig->p, got, sizeof(got), 0, &err);

	settle(rig);
	if (n > 0)
		peer_send(rig->p, got, (size_t)n, 0, &err);
	settle(rig);
	while (recv(rig->outside, got, sizeof(got), MSG_DONTWAIT) > 0)
		;
	if (rdma_reader_get(&rig->sealed, got, sizeof(got)) > 0)
		abort();
}

/* A message on the control connection. */
static void message(struct rig *rig, struct rd *in)
{
	uint32_t n = rd_u8(in) * 4u, kind = rd_u8(in) % 11;
	uint8_t head[8];

	if (n > rd_left(in))
		n = (uint32_t)rd_left(in);
	memcpy(head, &n, 4);
	memcpy(head + 4, &kind, 4);
	say(rig, head, sizeof(head));
	say(rig, rd_bytes(in, n), n);
}

/* A frame where the next one is expected, with a number and a length that fit. */
static void frame(struct rig *rig, struct rd *in)
{
	struct rdma_reader *r = &rdma_peer_of(rig->p)->reader;
	uint32_t head[8] = { rd_u16(in) % 300, rd_u8(in) & 3 };
	uint8_t *ring = rdma_peer_of(rig->p)->area;
	uint64_t next = r->next;

	memcpy(head + 2, &next, 8);
	memcpy(ring + r->position % RDMA_RING, head, sizeof(head));
	rdma_reader_announce(r, (uint32_t)next);
	rdma_reader_announce(&rig->sealed, (uint32_t)rig->sealed.next);
}

/* Bytes anywhere in what the other side may write. */
static void scribble(struct rig *rig, struct rd *in)
{
	uint8_t *area = rdma_peer_of(rig->p)->area;
	uint32_t at = rd_u32(in) % RDMA_HALF, n = rd_u8(in);
	uint64_t changed[PEER_PLACE / 64];

	if (at % 16 == 3 && !rig->placed++) { /* once: it waits for an answer, up to a second */
		peer_place(rig->p, n % SHARED, 1, changed);
		settle(rig);
	}

	if (at & 1)
		at = rdma_peer_of(rig->p)->reader.position % RDMA_RING;
	if (n > rd_left(in))
		n = (uint32_t)rd_left(in);
	if (n > RDMA_HALF - at)
		n = RDMA_HALF - at;
	if (n)
		memcpy(area + at, rd_bytes(in, n), n);
}

static void arrival(struct rig *rig, struct rd *in)
{
	struct verbs_qp *q = rdma_peer_of(rig->p)->qp;
	uint32_t number = rd_u32(in);

	if (q && !q->broken)
		fake_complete(q, (struct verbs_completion){ .what = number % 5 ? VERBS_ARRIVED
									       : VERBS_WRITTEN,
							    .number = number });
}

/* What the other side may write: the ring's part of the area, and pages that are shared. */
static void check_windows(const struct rig *rig)
{
	const uint8_t *area = rdma_peer_of(rig->p)->area;

	for (unsigned i = 0; i < FAKE_MEMORIES; i++) {
		const struct verbs_memory *m = &fake.memory[i];

		if (!m->there || !m->written || (m->at == area && m->n == RDMA_HALF))
			continue;
		if (m->at < rig->memory || m->n > sizeof(rig->memory) ||
		    m->at + m->n > rig->memory + sizeof(rig->memory))
			abort();
	}
}

static void act(struct rig *rig, struct rd *in)
{
	size_t n;

	switch (rd_u8(in) % 6) {
	case 0:
		n = rd_left(in) < 20 ? rd_left(in) : 20;
		say(rig, rd_bytes(in, n), n);
		break;
	case 1:
		message(rig, in);
		break;
	case 2:
		frame(rig, in);
		break;
	case 3:
		scribble(rig, in);
		break;
	case 4:
		arrival(rig, in);
		break;
	default:
		look(rig);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t greeting[4] = { 0x44525754, 2, RDMA_FLAG_CLEAR, 0 };
	static const uint8_t key[RDMA_KEY] = { 7 };
	struct rd in = RD_INIT(data, size);
	struct err err = ERR_INIT;
	static struct rig rig;
	int s[2];

	log_set_level(LOG_ERROR);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) < 0)
		abort();
	rig.outside = s[1];
	rig.p = rdma_peer_new(peer_from_socket(s[0], "fuzz"), &fake_verbs, fake_open(NULL, &err),
			      size & 1, true, &err);
	if (!rig.p || rdma_reader_init(&rig.sealed, rdma_peer_of(rig.p)->area, rig.aside, key) < 0)
		abort();
	rig.placed = 0;
	peer_share(rig.p, rig.memory, sizeof(rig.memory));
	if (rd_u8(&in) % 8)
		say(&rig, greeting, sizeof(greeting));
	while (rd_left(&in))
		act(&rig, &in);
	look(&rig);
	check_windows(&rig);
	rdma_reader_fini(&rig.sealed);
	peer_close(rig.p);
	close(s[1]);
	return 0;
}
