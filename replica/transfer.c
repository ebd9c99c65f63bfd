// SPDX-License-Identifier: GPL-2.0-or-later
/* The machine's state to a backup that joins. The guest stands still; vCPU thread. */
#include "record/pages.h"
#include "replica/replica_private.h"

#define TRANSFER_MAX  (64u << 20) /* bytes of state under way to a backup */
#define PAGES_A_FRAME 256

static bool wait_for_room(struct session *s)
{
	do
		replica_beat(s->r);
	while (queue_bytes(&s->queue) > TRANSFER_MAX && !atomic_load(&s->over) && replica_nap());
	return !atomic_load(&s->over);
}

static bool push_pages(struct session *s, struct buf *b)
{
	struct parcel *p = parcel_new(WIRE_PAGES, b);

	if (p)
		p->compress = true;
	session_push(s, p);
	return wait_for_room(s);
}

static void send_pages(struct session *s)
{
	const struct memory *mem = machine_memory(s->r->m);
	struct buf b = BUF_INIT;
	unsigned n = 0;

	for (uint64_t i = 0; i < mem->pages; i++) {
		const uint8_t *page = mem->base + i * PAGE_SIZE;

		if (!memory_page_is_zero(page)) {
			pages_put(&b, i, page);
			n++;
		}
		if (i % PAGES_A_FRAME == 0)
			replica_beat(s->r);
		if ((n < PAGES_A_FRAME && i + 1 < mem->pages) || !b.len)
			continue;
		n = 0;
		if (!push_pages(s, &b))
			break;
	}
	buf_free(&b);
}

void link_send_state(struct session *s, uint64_t seq)
{
	struct buf b = BUF_INIT;

	buf_put_u64(&b, seq);
	machine_save(s->r->m, &b);
	session_push(s, parcel_new(WIRE_STATE, &b));
	send_pages(s);
	session_push(s, parcel_new(WIRE_STATE_END, &b));
}

/* What was said to be lost while the disks were said to follow was not heard by them. */
static void part_if_lost(struct replica *r, const struct session *s)
{
	pthread_mutex_lock(&r->link.lock);
	if (r->link.session != s)
		disks_part(r);
	pthread_mutex_unlock(&r->link.lock);
}

void link_transfer(struct replica *r, struct session *s, uint64_t seq)
{
	struct err err = ERR_INIT;

	batch_restart(&r->batch);
	if (joining_finish(s->joining, seq, &err) < 0)
		link_lost(s, err.text);
	part_if_lost(r, s);
	link_rest(&r->link, s);
}
