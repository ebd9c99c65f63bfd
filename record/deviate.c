// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/deviate.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/clock.h"

static const struct codec_record *peek(struct deviate *d)
{
	return record_stream_peek(&d->stream, &d->rec, &d->at_end, &d->error);
}

/* The fault is done at the first boundary with its count, behind what the record has for that. */
static void deviate_until(void *ctx, struct machine *m, struct landmark *until)
{
	struct deviate *d = ctx;
	const struct codec_record *rec = peek(d);
	uint64_t count = machine_engine(m)->ops->count(machine_engine(m));

	*until = (struct landmark){ .count = d->off ? d->stop : d->fault.count };
	if (rec && rec->sp.at.count < until->count) {
		*until = rec->sp.at;
		if (d->off)
			*until = (struct landmark){ .count = rec->sp.at.count };
	}
	if (d->off && d->held_count < until->count)
		*until = (struct landmark){ .count = d->held_count };
	if (until->count < count)
		*until = (struct landmark){ .count = count };
}

/* ---- what a fault of the environment makes of the record ---- */

static void hold(struct deviate *d, const struct input *in, uint64_t count)
{
	buf_clear(&d->held_data);
	buf_put(&d->held_data, in->data, in->len);
	d->held = *in;
	d->held.data = d->held_data.data;
	d->held_count = d->held_data.bad ? UINT64_MAX : count;
}

#define HELD_FOR_NEXT (UINT64_MAX - 1) /* a held packet comes behind the next one */

static const uint8_t *corrupt(struct deviate *d, const struct input *packet)
{
	const struct fault *f = &d->fault;

	buf_clear(&d->packet);
	buf_put(&d->packet, packet->data, packet->len);
	for (unsigned i = 0; packet->len && !d->packet.bad && i < fault_width(f); i++) {
		uint64_t bit = (f->bit + i) % (packet->len * 8);

		d->packet.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	return d->packet.bad ? packet->data : d->packet.data;
}

/* The first packet of the NIC behind the fault: how many inputs it becomes, at *in. */
static size_t change_packet(struct deviate *d, const struct input *packet, uint64_t count,
			    struct input *in)
{
	const struct fault *f = &d->fault;
	bool here = packet->port == f->index && fault_is_packet(f->place);

	*in = *packet;
	if (here && d->held_count == HELD_FOR_NEXT) {
		in[1] = d->held;
		d->held_count = UINT64_MAX;
		return 2;
	}
	if (!here || !d->waiting)
		return 1;
	d->waiting = false;
	if (f->place == FAULT_PACKET_LATE || f->place == FAULT_PACKET_SWAPPED)
		hold(d, packet, f->place == FAULT_PACKET_LATE ? count + f->amount : HELD_FOR_NEXT);
	if (f->place == FAULT_PACKET_CORRUPT)
		in->data = corrupt(d, packet);
	in[1] = *packet;
	return f->place == FAULT_PACKET_TWICE ? 2 : f->place == FAULT_PACKET_CORRUPT;
}

/* Time never goes back, also where another machine took another way to here. */
static struct input change_anchor(const struct deviate *d, const struct input *in)
{
	const struct fault *f = &d->fault;
	uint64_t now = clock_now(machine_clock(d->m)),
		 since = in->a > d->began ? in->a - d->began : 0;
	unsigned __int128 a = in->a, b = in->b;

	if (f->place == FAULT_CLOCK_JUMP) {
		a += f->amount;
	} else if (f->place == FAULT_CLOCK_FAST) {
		a += (unsigned __int128)since * f->amount / 1000000;
		b = b * (1000000 + f->amount) / 1000000;
	} else if (f->place == FAULT_CLOCK_STOP && since < f->amount) {
		a = now;
		b = 1;
	}
	a = a > INT64_MAX ? INT64_MAX : a;
	return (struct input){ .kind = INPUT_ANCHOR,
			       .a = a < now ? now : (uint64_t)a,
			       .b = b > CLOCK_RATE_MAX ? CLOCK_RATE_MAX : (uint64_t)b };
}

/* A request that the record's machine had need not be there, or be another one. */
static size_t change_disk(struct deviate *d, struct input *in)
{
	const struct fault *f = &d->fault;
	uint64_t number;

	if (!d->waiting || f->place != FAULT_DISK_ERROR ||
	    !machine_disk_request(d->m, (unsigned)f->index, &number))
		return 0;
	d->waiting = false;
	*in = (struct input){
		.kind = INPUT_DISK_ERROR, .port = (uint8_t)f->index, .a = number, .b = f->amount
	};
	return 1;
}

/* The record's inputs, as they enter a machine that has left it. */
static size_t change(struct deviate *d, const struct sync_point *sp, uint64_t count)
{
	const struct input *digest = NULL;
	struct input *in = d->input;
	size_t n = 0;

	for (size_t i = 0; i < sp->n; i++) {
		const struct input *from = &sp->input[i];

		if (from->kind == INPUT_ANCHOR)
			in[n++] = change_anchor(d, from);
		else if (from->kind == INPUT_NET_RX)
			n += change_packet(d, from, count, &in[n]);
		else if (from->kind == INPUT_DIGEST)
			digest = from;
		else if (from->kind != INPUT_DISK_ERROR)
			in[n++] = *from;
	}
	n += change_disk(d, &in[n]);
	if (digest && d->tap)
		in[n++] = *digest;
	return n;
}

/* ---- the source ---- */

static bool enters_here(const struct codec_record *rec, const struct landmark *at)
{
	return rec->sp.at.count == at->count && rec->sp.at.in_rep == at->in_rep &&
	       (!at->in_rep || rec->sp.at.rcx == at->rcx);
}

static void number(struct deviate *d, struct sync_point *sp)
{
	if (d->tap)
		sp->seq = ++d->seq;
}

static enum sync_verdict take_record(struct deviate *d, const struct landmark *at,
				     struct sync_point *sp)
{
	const struct codec_record *rec = d->rec;

	*sp = rec->sp;
	sp->at = *at;
	number(d, sp);
	d->want = !d->off && rec->has_digest ? rec->digest : 0;
	if (d->off) {
		sp->n = change(d, &rec->sp, at->count);
		sp->input = d->input;
	}
	d->rec = NULL;
	return SYNC_APPLY;
}

static enum sync_verdict take_fault(struct deviate *d, const struct landmark *at,
				    struct sync_point *sp)
{
	d->off = true;
	d->began = machine_now(d->m);
	d->waiting = !fault_is_hardware(d->fault.place);
	*sp = (struct sync_point){ .at = *at, .input = d->input };
	sp->n = fault_inputs(&d->fault, d->m, d->input, SYNC_INPUTS_MAX);
	if (!sp->n && d->waiting && fault_waits(&d->fault, d->m))
		return SYNC_AGAIN; /* nothing enters yet */
	d->applying = true;
	if (d->fault.place == FAULT_LINK_DOWN) {
		d->held = (struct input){ .kind = INPUT_CONTROL, .a = CONTROL_LINK, .b = 1 };
		d->held.port = (uint8_t)d->fault.index;
		d->held_count = at->count + d->fault.amount;
	}
	number(d, sp);
	return sp->n ? SYNC_APPLY : SYNC_END;
}

static enum sync_verdict take_held(struct deviate *d, const struct landmark *at,
				   struct sync_point *sp)
{
	d->input[0] = d->held;
	d->held_count = UINT64_MAX;
	*sp = (struct sync_point){ .at = *at, .input = d->input, .n = 1 };
	number(d, sp);
	return SYNC_APPLY;
}

/* Behind the fault. A machine that waits gets its next input at once. */
static enum sync_verdict go_on(struct deviate *d, enum sync_reason why, const struct landmark *at,
			       struct sync_point *sp)
{
	const struct codec_record *rec = peek(d);
	bool idle = why == SYNC_IDLE;

	if (at->count >= d->stop)
		return SYNC_END;
	if (d->held_count < HELD_FOR_NEXT &&
	    (at->count >= d->held_count || (idle && (!rec || d->held_count < rec->sp.at.count))))
		return take_held(d, at, sp);
	if (!rec)
		return idle ? SYNC_END : SYNC_AGAIN;
	if (!idle && at->count < rec->sp.at.count)
		return SYNC_AGAIN;
	return take_record(d, at, sp);
}

/* SYNC_AGAIN is no answer for a machine that waits. */
static enum sync_verdict begin(struct deviate *d, enum sync_reason why, const struct landmark *at,
			       struct sync_point *sp)
{
	enum sync_verdict v = take_fault(d, at, sp);

	return v == SYNC_AGAIN && why == SYNC_IDLE ? go_on(d, why, at, sp) : v;
}

static enum sync_verdict deviate_next(void *ctx, struct machine *m, enum sync_reason why,
				      const struct landmark *at, struct sync_point *sp)
{
	struct deviate *d = ctx;
	const struct codec_record *rec = peek(d);

	if (d->error.code)
		return SYNC_END;
	if (!d->off) {
		if (rec && enters_here(rec, at))
			return take_record(d, at, sp);
		if (at->count >= d->fault.count)
			return begin(d, why, at, sp);
		if (why != SYNC_IDLE)
			return SYNC_AGAIN;
		err_set(&d->error, EILSEQ, "the machine waits where the recorded one did not");
		return SYNC_END;
	}
	return go_on(d, why, at, sp);
}

static bool deviate_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			    uint64_t digest)
{
	struct deviate *d = ctx;

	d->applying = false;
	if (d->want && d->want != digest) {
		err_set(&d->error, EILSEQ, "divergence at count %llu, before the fault",
			(unsigned long long)sp->at.count);
		return false;
	}
	return !d->tap || d->tap->applied(d->tap->ctx, m, sp, digest);
}

void deviate_init(struct deviate *d, struct machine *m, const struct record_stream *stream,
		  const struct codec_record *rec, const struct fault *fault, uint64_t stop)
{
	memset(d, 0, sizeof(*d));
	d->held_count = UINT64_MAX;
	d->m = m;
	d->stream = *stream;
	d->rec = rec;
	d->fault = *fault;
	d->stop = stop;
	d->source = (struct input_source){
		.ctx = d, .until = deviate_until, .next = deviate_next, .applied = deviate_applied
	};
}

void deviate_fini(struct deviate *d)
{
	buf_free(&d->held_data);
	buf_free(&d->packet);
}

bool deviate_refused(const struct deviate *d)
{
	return d->applying;
}
