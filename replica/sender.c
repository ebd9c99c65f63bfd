// SPDX-License-Identifier: GPL-2.0-or-later
/* The sender of a session with a backup: sends parcels as they come, and heartbeats in between. */
#include <errno.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

#define FRAME_BYTES (1u << 20)
#define PREPARE_MS  20	     /* longest time between two steps of a join that waits */
#define ALIVE_NS    NS_PER_S /* time between two heartbeats to a backup that prepares */

/*
 * Lock held. True: the stamp is to say that the backup is counted on. It is when the backup has the
 * records of everything that left before it was counted on. From the moment that the backup can
 * read such a stamp, it may go live.
 */
static bool tells(struct session *s, uint64_t now)
{
	struct replica *r = s->r;
	enum replica_state state = failover_state(&r->failover);

	if (r->link.session != s)
		return false;
	if (state == REPLICA_HOLDING && r->link.acked >= r->link.count_from) {
		r->link.counted_ns = now;
		state = failover_event(&r->failover, FAILOVER_TELL);
	}
	return failover_counts_on(state);
}

static void put_stamp(struct session *s, struct buf *b)
{
	struct replica *r = s->r;
	struct wire_stamp stamp = { .sent_ns = replica_lease_clock_ns(),
				    .beat = session_last_beat(s) };

	pthread_mutex_lock(&r->link.lock);
	stamp.released = failover_state(&r->failover) == REPLICA_JOINING
				 ? atomic_load(&r->made)
				 : outbox_released_seq(&r->outbox);
	stamp.protecting = tells(s, stamp.sent_ns);
	/* read with the lock held, as patience_of() needs */
	stamp.silence_ms = patience_ms(&r->patience);
	pthread_mutex_unlock(&r->link.lock);
	wire_stamp_save(&stamp, b);
}

/*
 * Gathers all batches that wait into one frame: a stamp, and for each batch the varint number of
 * its last record and its bytes as a blob.
 */
static struct parcel *gather(struct session *s, struct parcel *p, struct buf *out)
{
	buf_clear(out);
	put_stamp(s, out);
	while (p && p->type == WIRE_RECORDS && out->len < FRAME_BYTES) {
		buf_put_varint(out, p->last);
		buf_put_blob(out, p->data.data, p->data.len);
		queue_release(&s->queue, p->node.bytes);
		parcel_free(p);
		p = parcel_pop(&s->queue);
	}
	return p;
}

/* Time in ms for which the backup may accept no bytes, as it may be loading the state. */
static int takes_within_ms(struct session *s)
{
	return 2 * (int)(link_silence_ns(s) / NS_PER_MS);
}

/*
 * A backup that was refused has time to read why, and ends the connection itself: a reset from here
 * could take the answer away.
 */
static int after_refusal(struct session *s, const struct parcel *p, struct err *err)
{
	uint64_t until = host_mono_ns() + NS_PER_S;

	while (!atomic_load(&s->over) && host_mono_ns() < until)
		replica_nap();
	return err_set(err, EPROTO, "refused: %.*s", (int)(p->data.len < 400 ? p->data.len : 400),
		       (const char *)p->data.data);
}

/* Sends a parcel. *last: nothing may be sent after it. */
static int send_parcel(struct session *s, struct parcel **p, struct buf *out, bool *last,
		       struct err *err)
{
	int timeout = takes_within_ms(s), ret;

	if ((*p)->type == WIRE_RECORDS) {
		*p = gather(s, *p, out);
		return wire_send(&s->wire, WIRE_RECORDS, out->data, out->len, out->len > 4096,
				 timeout, err);
	}
	*last = (*p)->type == WIRE_SWITCH;
	ret = wire_send(&s->wire, (*p)->type, (*p)->data.data, (*p)->data.len, (*p)->compress,
			timeout, err);
	atomic_store(&s->moved_ns, host_mono_ns());
	if ((*p)->type == WIRE_REFUSE && ret == 0)
		ret = after_refusal(s, *p, err);
	queue_release(&s->queue, (*p)->node.bytes);
	parcel_free(*p);
	*p = NULL;
	return ret;
}

static int send_heartbeat(struct session *s, struct buf *out, struct err *err)
{
	buf_clear(out);
	put_stamp(s, out);
	return wire_send(&s->wire, WIRE_HEARTBEAT, out->data, out->len, false, takes_within_ms(s),
			 err);
}

/* Little is left to send ahead: asks for the sync point at which the rest is sent. */
static void become_due(struct session *s)
{
	struct link *l = &s->r->link;

	atomic_store(&s->prepared, true); /* set back by the vCPU thread, when it has looked */
	pthread_mutex_lock(&l->lock);
	l->due |= l->joining == s;
	pthread_mutex_unlock(&l->lock);
	replica_wake(s->r);
}

/*
 * Makes a step of the join when nothing else is to be sent. 1: call again at once; 0: later; -errno
 * and err.
 */
static int prepare(struct session *s, struct err *err)
{
	int ret;

	if (s->prepared || queue_bytes(&s->queue))
		return 0;
	ret = joining_step(s->joining, err);
	if (ret == JOINING_LITTLE)
		become_due(s);
	return ret < 0 ? ret : ret == JOINING_MORE;
}

/*
 * Time between two heartbeats, in ns. With --durability both, outputs wait until the backup has
 * executed records, which only its answers tell; so heartbeats are more frequent then.
 */
static uint64_t period_ns(struct session *s)
{
	struct replica *r = s->r;
	uint64_t held, released;

	if (r->cfg.durable_both) {
		outbox_count(&r->outbox, &held, &released);
		if (held)
			return NS_PER_MS;
	}
	return replica_period_ms(r) * NS_PER_MS;
}

static int wait_ms(const struct session *s, uint64_t period)
{
	int ms = (int)(period / NS_PER_MS) / 2 + 1;

	return s->prepared || ms < PREPARE_MS ? ms : PREPARE_MS;
}

void *link_sender(void *arg)
{
	struct session *s = arg;
	uint64_t period, last = 0, beat = 0;
	bool done = false;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	struct parcel *p = NULL;
	int ret = 0;

	while (ret == 0 && !done && !atomic_load(&s->over)) {
		period = period_ns(s);
		if (!p)
			p = parcel_pop(&s->queue);
		if (p) {
			ret = send_parcel(s, &p, &out, &done, &err);
			last = host_mono_ns();
		} else if (atomic_exchange(&s->asked, false) || host_mono_ns() - last >= period ||
			   host_mono_ns() - beat >= ALIVE_NS) {
			ret = send_heartbeat(s, &out, &err);
			last = beat = host_mono_ns();
		} else {
			ret = prepare(s, &err);
			if (ret == 0)
				queue_wait(&s->queue, wait_ms(s, period));
			ret = ret > 0 ? 0 : ret;
		}
	}
	if (ret < 0)
		link_lost(s, err.text);
	parcel_free(p);
	buf_free(&out);
	return NULL;
}
