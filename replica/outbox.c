// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "base/log.h"

/* bytes of console output merged into one, because serial ports emit single bytes */
#define CONSOLE_MERGE 256
/* bytes of outputs that may wait; beyond that the guest waits, too */
#define HELD_BYTES_MAX (16u << 20)
#define HELD_MAX       65536
#define LEASE_MARGIN   8 /* a lease ends this fraction (1/8) of the silence early */

/* ---- the list ---- */

static bool held_merge(struct held_list *l, uint64_t needs, const struct output *out)
{
	struct held_output *h = l->last;

	if (!h || out->kind == OUTPUT_NET_TX || h->needs != needs || h->out.kind != out->kind ||
	    h->out.port != out->port || h->out.len + out->len > h->cap)
		return false;
	memcpy(h->data + h->out.len, out->data, out->len);
	h->out.len += out->len;
	l->bytes += out->len;
	return true;
}

void held_add(struct held_list *l, uint64_t needs, const struct output *out)
{
	size_t cap =
		out->kind == OUTPUT_NET_TX || out->len > CONSOLE_MERGE ? out->len : CONSOLE_MERGE;
	struct held_output *h;

	if (held_merge(l, needs, out))
		return;
	h = malloc(sizeof(*h) + cap);
	must(h != NULL);
	*h = (struct held_output){ .needs = needs, .out = *out, .cap = cap };
	if (out->len)
		memcpy(h->data, out->data, out->len);
	h->out.data = h->data;
	if (l->last)
		l->last->next = h;
	else
		l->first = h;
	l->last = h;
	l->n++;
	l->bytes += out->len;
}

struct held_output *held_take(struct held_list *l, uint64_t seq)
{
	struct held_output *h = l->first;

	if (!h || h->needs > seq)
		return NULL;
	l->first = h->next;
	if (!l->first)
		l->last = NULL;
	l->n--;
	l->bytes -= h->out.len;
	return h;
}

/* Puts the output that was taken last back as the oldest. */
static void held_put_back(struct held_list *l, struct held_output *h)
{
	h->next = l->first;
	l->first = h;
	if (!l->last)
		l->last = h;
	l->n++;
	l->bytes += h->out.len;
}

void held_drop(struct held_list *l, uint64_t seq)
{
	struct held_output *h;

	while ((h = held_take(l, seq)))
		free(h);
}

/* ---- the box ---- */

void outbox_init(struct outbox *o, outbox_send *send, void *ctx)
{
	memset(o, 0, sizeof(*o));
	pthread_mutex_init(&o->sending, NULL);
	pthread_mutex_init(&o->lock, NULL);
	o->send = send;
	o->ctx = ctx;
}

void outbox_fini(struct outbox *o)
{
	held_drop(&o->held, UINT64_MAX);
	pthread_mutex_destroy(&o->sending);
	pthread_mutex_destroy(&o->lock);
}

void outbox_set_mode(struct outbox *o, enum outbox_mode mode)
{
	pthread_mutex_lock(&o->lock);
	o->mode = mode;
	o->draining = mode == OUTBOX_OPEN && o->held.first;
	if (mode == OUTBOX_CLOSED)
		held_drop(&o->held, UINT64_MAX);
	pthread_mutex_unlock(&o->lock);
}

bool outbox_add(struct outbox *o, uint64_t needs, const struct output *out)
{
	bool waits;

	pthread_mutex_lock(&o->lock);
	waits = o->mode != OUTBOX_OPEN || o->draining;
	if (waits && o->mode != OUTBOX_CLOSED)
		held_add(&o->held, needs, out);
	if (o->mode == OUTBOX_COPIES)
		held_drop(&o->held, o->released_seq);
	o->released += !waits;
	pthread_mutex_unlock(&o->lock);
	return waits;
}

void outbox_begin(struct outbox *o)
{
	pthread_mutex_lock(&o->sending);
}

void outbox_end(struct outbox *o)
{
	pthread_mutex_unlock(&o->sending);
}

/* Lock held. */
static uint64_t sends_until(const struct outbox *o)
{
	if (o->mode == OUTBOX_OPEN)
		return UINT64_MAX;
	return o->mode == OUTBOX_LEASED ? o->lease_ns : 0;
}

uint64_t outbox_sends_until(struct outbox *o)
{
	uint64_t until;

	pthread_mutex_lock(&o->lock);
	until = sends_until(o);
	pthread_mutex_unlock(&o->lock);
	return until;
}

/* Takes the next output that may leave now; NULL: there is none. */
static struct held_output *take_next(struct outbox *o, uint64_t *deadline)
{
	struct held_output *h = NULL;

	pthread_mutex_lock(&o->lock);
	*deadline = sends_until(o);
	if (host_clock_ns(CLOCK_BOOTTIME) < *deadline)
		h = held_take(&o->held, o->mode == OUTBOX_OPEN ? UINT64_MAX : o->acked);
	if (!h)
		o->draining = o->draining && o->held.first;
	pthread_mutex_unlock(&o->lock);
	return h;
}

/*
 * Notes that an output has left. The backup drops its copies up to released_seq, so that may only
 * count records whose outputs have all left.
 */
static void note_sent(struct outbox *o, uint64_t needs)
{
	const struct held_output *next;

	pthread_mutex_lock(&o->lock);
	next = o->held.first;
	o->released++;
	if (o->mode == OUTBOX_LEASED)
		o->released_seq = next && next->needs <= needs ? needs - 1 : needs;
	pthread_mutex_unlock(&o->lock);
}

/*
 * Puts an output back that could not leave before the lease ended; the next acknowledgement may let
 * it leave.
 */
static void put_back(struct outbox *o, struct held_output *h)
{
	pthread_mutex_lock(&o->lock);
	held_put_back(&o->held, h);
	if (o->mode == OUTBOX_CLOSED)
		held_drop(&o->held, UINT64_MAX);
	pthread_mutex_unlock(&o->lock);
}

void outbox_release(struct outbox *o)
{
	struct held_output *h;
	uint64_t deadline;

	while ((h = take_next(o, &deadline))) {
		if (o->send(o->ctx, &h->out, deadline) == -ETIME) {
			put_back(o, h);
			return;
		}
		note_sent(o, h->needs);
		free(h);
	}
}

void outbox_drain(struct outbox *o)
{
	outbox_begin(o);
	outbox_release(o);
	outbox_end(o);
}

void outbox_start_leases(struct outbox *o, uint64_t made)
{
	pthread_mutex_lock(&o->lock);
	o->lease_ns = 0;
	o->released_seq = made;
	pthread_mutex_unlock(&o->lock);
}

void outbox_take_over(struct outbox *o, uint64_t seq)
{
	pthread_mutex_lock(&o->lock);
	o->lease_ns = 0;
	o->acked = seq;
	pthread_mutex_unlock(&o->lock);
}

void outbox_acknowledged(struct outbox *o, uint64_t seq, uint64_t stamp_ns, uint64_t silence_ns)
{
	uint64_t until = stamp_ns ? stamp_ns + silence_ns - silence_ns / LEASE_MARGIN : 0;

	pthread_mutex_lock(&o->lock);
	o->acked = seq;
	if (until > o->lease_ns)
		o->lease_ns = until;
	pthread_mutex_unlock(&o->lock);
}

uint64_t outbox_released_seq(struct outbox *o)
{
	uint64_t seq;

	pthread_mutex_lock(&o->lock);
	seq = o->released_seq;
	pthread_mutex_unlock(&o->lock);
	return seq;
}

void outbox_forget(struct outbox *o, uint64_t seq)
{
	pthread_mutex_lock(&o->lock);
	if (o->mode == OUTBOX_COPIES) {
		o->released_seq = seq;
		held_drop(&o->held, seq);
	}
	pthread_mutex_unlock(&o->lock);
}

uint64_t outbox_newest_need(struct outbox *o)
{
	uint64_t needs;

	pthread_mutex_lock(&o->lock);
	needs = o->held.last ? o->held.last->needs : 0;
	pthread_mutex_unlock(&o->lock);
	return needs;
}

bool outbox_is_full(struct outbox *o, uint64_t made)
{
	const struct held_list *h = &o->held;
	bool full;

	pthread_mutex_lock(&o->lock);
	full = (h->bytes > HELD_BYTES_MAX || h->n > HELD_MAX) && h->first->needs <= made &&
	       (o->mode == OUTBOX_LEASED || o->mode == OUTBOX_STOPPED);
	pthread_mutex_unlock(&o->lock);
	return full;
}

bool outbox_lease_is_over(struct outbox *o)
{
	bool over;

	pthread_mutex_lock(&o->lock);
	over = o->mode == OUTBOX_LEASED && o->lease_ns &&
	       host_clock_ns(CLOCK_BOOTTIME) >= sends_until(o);
	pthread_mutex_unlock(&o->lock);
	return over;
}

void outbox_count(struct outbox *o, uint64_t *held, uint64_t *released)
{
	pthread_mutex_lock(&o->lock);
	*held = o->held.n;
	*released = o->released;
	pthread_mutex_unlock(&o->lock);
}
