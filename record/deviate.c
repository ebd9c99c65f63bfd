// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/deviate.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/clock.h"

static const struct codec_record *peek(struct deviate *d)
{
	return record_stream_peek(&d->stream, &d->rec, &d->at_end, &d->error);
}

/* True: a fault has been done, so the machine has left the record. */
static bool is_off(const struct deviate *d)
{
	return d->next > 0;
}

static const struct fault *next_fault(const struct deviate *d)
{
	return d->next < d->nfaults ? &d->fault[d->next].f : NULL;
}

#define HELD_FOR_NEXT (UINT64_MAX - 1) /* a held packet enters after the next one */

/* The fault whose held packet comes next; NULL: none is held until a count. */
static struct deviate_fault *next_held(struct deviate *d)
{
	struct deviate_fault *first = NULL;

	for (size_t i = 0; i < d->next; i++) {
		struct deviate_fault *f = &d->fault[i];

		if (f->held_count < (first ? first->held_count : HELD_FOR_NEXT))
			first = f;
	}
	return first;
}

/*
 * True: the machine is past the record's end but may go on. If the recorded guest ended by itself,
 * this one may do so later; until then its timers go on, at the present rate of time, but no other
 * input comes.
 */
static bool is_alone(struct deviate *d)
{
	const struct replay_end *end;

	if (peek(d) || !d->stream.end)
		return false;
	end = d->stream.end(d->stream.ctx);
	return end && !replay_ended_by_source(end);
}

/* Time of the next timer of such a guest; CLOCK_NEVER: none fires before the clock's end. */
static uint64_t alone_due(const struct deviate *d)
{
	const struct clock *c = machine_clock(d->m);
	uint64_t due = clock_next_deadline(c);

	return due > INT64_MAX || clock_now(c) > INT64_MAX ? CLOCK_NEVER : due;
}

static void stop_for_timer(const struct deviate *d, struct landmark *until)
{
	uint64_t due = alone_due(d);
	uint64_t count = due == CLOCK_NEVER ? UINT64_MAX : clock_count_at(machine_clock(d->m), due);

	if (count < until->count)
		*until = (struct landmark){ .count = count };
}

/*
 * Stops at the next fault. A fault is done at the first boundary with its count, after the record's
 * inputs for that count.
 */
static void deviate_until(void *ctx, struct machine *m, struct landmark *until)
{
	struct deviate *d = ctx;
	const struct codec_record *rec = peek(d);
	const struct fault *f = next_fault(d);
	const struct deviate_fault *held = next_held(d);
	uint64_t count = machine_engine(m)->ops->count(machine_engine(m));

	*until = (struct landmark){ .count = d->stop };
	if (f && f->count < until->count)
		until->count = f->count;
	if (rec && rec->sp.at.count < until->count) {
		*until = rec->sp.at;
		if (is_off(d))
			*until = (struct landmark){ .count = rec->sp.at.count };
	}
	if (held && held->held_count < until->count)
		*until = (struct landmark){ .count = held->held_count };
	if (is_off(d) && is_alone(d))
		stop_for_timer(d, until);
	if (until->count < count)
		*until = (struct landmark){ .count = count };
}

/* ---- what a fault of the environment makes of the record ---- */

static void hold(struct deviate_fault *f, const struct input *in, uint64_t count)
{
	buf_clear(&f->held_data);
	buf_put(&f->held_data, in->data, in->len);
	f->held = *in;
	f->held.data = f->held_data.data;
	f->held_count = f->held_data.bad ? UINT64_MAX : count;
}

static const uint8_t *corrupt(struct deviate_fault *df, const struct input *packet)
{
	const struct fault *f = &df->f;

	buf_clear(&df->packet);
	buf_put(&df->packet, packet->data, packet->len);
	for (unsigned i = 0; packet->len && !df->packet.bad && i < fault_width(f); i++) {
		uint64_t bit = (f->bit + i) % (packet->len * 8);

		df->packet.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	return df->packet.bad ? packet->data : df->packet.data;
}

/* True: the fault is meant for the packet that the record has just brought. */
static bool is_of_packet(const struct deviate *d, const struct fault *f)
{
	return !f->packet || (d->rx_count == f->count + 1 && d->rx_number == f->packet);
}

/* Applies a fault to the packet at *in: leaves 0 to 2 packets there, and returns how many. */
static size_t change_packet(const struct deviate *d, struct deviate_fault *df, uint64_t count,
			    struct input *in)
{
	const struct fault *f = &df->f;

	if (!fault_is_packet(f->place) || in->port != f->index)
		return 1;
	if (df->held_count == HELD_FOR_NEXT) {
		in[1] = df->held;
		df->held_count = UINT64_MAX;
		return 2;
	}
	if (!df->waiting || !is_of_packet(d, f))
		return 1;
	df->waiting = false;
	if (f->place == FAULT_PACKET_LATE || f->place == FAULT_PACKET_SWAPPED)
		hold(df, in, f->place == FAULT_PACKET_LATE ? count + f->amount : HELD_FOR_NEXT);
	if (f->place == FAULT_PACKET_CORRUPT)
		in->data = corrupt(df, in);
	in[1] = *in;
	return f->place == FAULT_PACKET_TWICE ? 2 : f->place == FAULT_PACKET_CORRUPT;
}

/*
 * Applies all faults to a packet, one after the other: each gets the first packet that those before
 * it have left.
 */
static size_t change_packets(struct deviate *d, const struct input *packet, uint64_t count,
			     struct input *in)
{
	size_t n = 1;

	*in = *packet;
	for (size_t i = 0; i < d->next && n; i++) {
		struct input first[2] = { *in };
		size_t now = change_packet(d, &d->fault[i], count, first);

		memmove(in + now, in + 1, (n - 1) * sizeof(*in));
		memcpy(in, first, now * sizeof(*in));
		n += now - 1;
	}
	return n;
}

static void count_packet(struct deviate *d, uint64_t count)
{
	d->rx_number = count == d->rx_count ? d->rx_number + 1 : 1;
	d->rx_count = count;
}

struct time {
	unsigned __int128 ns, rate;
};

static void change_time(const struct deviate_fault *df, uint64_t now, struct time *t)
{
	const struct fault *f = &df->f;
	unsigned __int128 since = t->ns > df->began ? t->ns - df->began : 0;

	if (f->place == FAULT_CLOCK_JUMP) {
		t->ns += f->amount;
	} else if (f->place == FAULT_CLOCK_FAST) {
		t->ns += since * f->amount / 1000000;
		t->rate = t->rate * (1000000 + f->amount) / 1000000;
	} else if (f->place == FAULT_CLOCK_SLOW) {
		t->ns -= since * f->amount / 1000000;
		t->rate = t->rate * (1000000 - f->amount) / 1000000;
	} else if (f->place == FAULT_CLOCK_STOP && since < f->amount) {
		t->ns = now;
		t->rate = 1;
	}
	t->ns = t->ns > INT64_MAX ? INT64_MAX : t->ns;
	t->rate = t->rate > CLOCK_RATE_MAX ? CLOCK_RATE_MAX : t->rate;
}

/*
 * Changes an anchor so that time never goes back, although this machine has come here in another
 * way than the recorded one.
 */
static struct input change_anchor(const struct deviate *d, const struct input *in)
{
	uint64_t now = clock_now(machine_clock(d->m));
	struct time t = { in->a, in->b };

	for (size_t i = 0; i < d->next; i++)
		change_time(&d->fault[i], now, &t);
	return (struct input){ .kind = INPUT_ANCHOR,
			       .a = t.ns < now ? now : (uint64_t)t.ns,
			       .b = t.rate < 1 ? 1 : (uint64_t)t.rate };
}

/*
 * Changes a disk input. The request that the recorded machine had may not exist here, or be a
 * different one.
 */
static size_t change_disk(struct deviate *d, struct deviate_fault *df, struct input *in)
{
	const struct fault *f = &df->f;
	uint64_t number;

	if (!df->waiting || f->place != FAULT_DISK_ERROR ||
	    !machine_disk_request(d->m, (unsigned)f->index, &number))
		return 0;
	df->waiting = false;
	*in = (struct input){
		.kind = INPUT_DISK_ERROR, .port = (uint8_t)f->index, .a = number, .b = f->amount
	};
	return 1;
}

/*
 * Begins to try to lose an interrupt. When the number of lost interrupts has grown after a sync
 * point, the try has succeeded.
 */
static void try_to_lose(struct deviate *d, struct deviate_fault *df)
{
	d->losing = df;
	d->lost = machine_lost_interrupts(d->m);
}

/*
 * Changes an interrupt. One can be lost only if it is requested at a sync point, where timers run;
 * so this is tried at each sync point until it succeeds. A spurious one waits until the CPU accepts
 * it.
 */
static size_t change_interrupt(struct deviate *d, struct deviate_fault *df, struct input *in)
{
	size_t n;

	if (!df->waiting || (df->f.place != FAULT_IRQ_LOST && df->f.place != FAULT_IRQ_SPURIOUS))
		return 0;
	n = fault_inputs(&df->f, d->m, in, 1);
	if (df->f.place == FAULT_IRQ_LOST)
		try_to_lose(d, df);
	else
		df->waiting = !n;
	return n;
}

/* Changes at most one interrupt at a sync point; returns the number of inputs for that. */
static size_t change_interrupts(struct deviate *d, struct input *in)
{
	size_t n = 0;

	for (size_t i = 0; i < d->next && n == 0; i++)
		n = change_interrupt(d, &d->fault[i], in);
	return n;
}

/* The record's inputs, as they enter a machine that has left it. */
static size_t change(struct deviate *d, const struct sync_point *sp, uint64_t count)
{
	const struct input *digest = NULL;
	struct input *in = d->input;
	size_t n = 0;

	/* An anchor is a record's first input. Then interrupts: what enters may ask for one. */
	if (sp->n && sp->input[0].kind == INPUT_ANCHOR)
		in[n++] = change_anchor(d, &sp->input[0]);
	n += change_interrupts(d, &in[n]);
	for (size_t i = 0; i < sp->n; i++) {
		const struct input *from = &sp->input[i];

		if (from->kind == INPUT_NET_RX)
			count_packet(d, sp->at.count);
		if (from->kind == INPUT_NET_RX)
			n += change_packets(d, from, count, &in[n]);
		else if (from->kind == INPUT_DIGEST)
			digest = from;
		else if (from->kind != INPUT_DISK_ERROR && from->kind != INPUT_ANCHOR)
			in[n++] = *from;
	}
	for (size_t i = 0; i < d->next; i++)
		n += change_disk(d, &d->fault[i], &in[n]);
	/* A record has no room for more inputs; the rest is lost. */
	if (n > SYNC_INPUTS_MAX - 1)
		n = SYNC_INPUTS_MAX - 1;
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
	if (is_off(d)) {
		sp->n = change(d, &rec->sp, at->count);
		sp->input = d->input;
	} else if (rec->has_digest) {
		d->want = rec->digest;
	}
	d->rec = NULL;
	return SYNC_APPLY;
}

static enum sync_verdict take_fault(struct deviate *d, const struct landmark *at,
				    struct sync_point *sp)
{
	struct deviate_fault *df = &d->fault[d->next++];
	const struct fault *f = &df->f;

	df->began = machine_now(d->m);
	df->waiting = !fault_is_hardware(f->place);
	if (f->place == FAULT_IRQ_LOST)
		try_to_lose(d, df);
	*sp = (struct sync_point){ .at = *at, .input = d->input };
	sp->n = fault_inputs(f, d->m, d->input, SYNC_INPUTS_MAX);
	if (sp->n && fault_stays(f->place)) { /* only now is it known that the fault has a target */
		df->bits = fault_bits_now(f, d->m);
		df->held_count = at->count + 1;
	}
	if (!sp->n && df->waiting && fault_waits(f, d->m))
		return SYNC_AGAIN; /* nothing enters yet */
	if (f->place == FAULT_IRQ_SPURIOUS)
		df->waiting = false;
	d->applying = true;
	if (fault_ends(f, &df->held))
		df->held_count = at->count + f->amount;
	number(d, sp);
	return sp->n ? SYNC_APPLY : SYNC_END;
}

/* Keeps the bits of a fault that stays, at every boundary until the fault is over. */
static enum sync_verdict renew(struct deviate *d, struct deviate_fault *df,
			       const struct landmark *at, struct sync_point *sp)
{
	bool over = at->count >= df->f.count && at->count - df->f.count >= df->f.amount;

	*sp = (struct sync_point){ .at = *at, .input = d->input };
	sp->n = over ? 0 : fault_renew(&df->f, d->m, df->bits, d->input, SYNC_INPUTS_MAX);
	df->held_count = over ? UINT64_MAX : at->count + 1;
	if (!sp->n)
		return SYNC_AGAIN;
	number(d, sp);
	return SYNC_APPLY;
}

static enum sync_verdict take_held(struct deviate *d, struct deviate_fault *df,
				   const struct landmark *at, struct sync_point *sp)
{
	d->input[0] = df->held;
	df->held_count = UINT64_MAX;
	*sp = (struct sync_point){ .at = *at, .input = d->input, .n = 1 };
	number(d, sp);
	return SYNC_APPLY;
}

/*
 * True: an event with this count is due. It comes at its count, or as soon as the machine waits in
 * HLT and the record has nothing before it.
 */
static bool is_due(uint64_t count, const struct landmark *at, enum sync_reason why,
		   const struct codec_record *rec)
{
	return at->count >= count || (why == SYNC_IDLE && (!rec || count < rec->sp.at.count));
}

/*
 * True: timers have fired for too long without the machine going on. Interrupts may be enabled and
 * yet not be delivered, because a controller masks them or waits for the end of another one; then
 * no count would end the run. A guest that waits for a single timer gets it at once, however late
 * that is.
 */
static bool waits_in_vain(struct deviate *d, uint64_t count, uint64_t now)
{
	if (!d->wait_steps || count != d->wait_count) {
		d->wait_count = count;
		d->wait_ns = now;
		d->wait_steps = 0;
	}
	d->wait_steps++;
	d->hangs = now - d->wait_ns > DEVIATE_WAIT_NS || d->wait_steps > DEVIATE_WAIT_STEPS;
	return d->hangs;
}

static enum sync_verdict go_alone(struct deviate *d, enum sync_reason why,
				  const struct landmark *at, struct sync_point *sp)
{
	const struct clock *c = machine_clock(d->m);
	uint64_t now = clock_now(c), due = alone_due(d);

	if (due == CLOCK_NEVER || !is_alone(d))
		return why == SYNC_IDLE ? SYNC_END : SYNC_AGAIN;
	if (why != SYNC_IDLE && now < due)
		return SYNC_AGAIN;
	if (waits_in_vain(d, at->count, now))
		return SYNC_END;
	*sp = (struct sync_point){ .at = *at, .input = d->input };
	sp->n = change_interrupts(d, d->input);
	d->input[sp->n++] =
		(struct input){ .kind = INPUT_ANCHOR, .a = now < due ? due : now, .b = c->rate };
	number(d, sp);
	return SYNC_APPLY;
}

/* Decides what enters after the first fault. A machine that waits gets its next input at once. */
static enum sync_verdict go_on(struct deviate *d, enum sync_reason why, const struct landmark *at,
			       struct sync_point *sp)
{
	const struct codec_record *rec = peek(d);
	struct deviate_fault *held = next_held(d);
	const struct fault *f = next_fault(d);

	if (at->count >= d->stop)
		return SYNC_END;
	if (held && fault_stays(held->f.place)) {
		/* A machine that waits changes nothing. */
		if (at->count >= held->held_count && renew(d, held, at, sp) == SYNC_APPLY)
			return SYNC_APPLY;
	} else if (held && is_due(held->held_count, at, why, rec)) {
		return take_held(d, held, at, sp);
	}
	if (f && is_due(f->count, at, why, rec)) {
		enum sync_verdict v = take_fault(d, at, sp);

		return v == SYNC_AGAIN && why == SYNC_IDLE ? go_on(d, why, at, sp) : v;
	}
	if (!rec)
		return go_alone(d, why, at, sp);
	if (why != SYNC_IDLE && at->count < rec->sp.at.count)
		return SYNC_AGAIN;
	return take_record(d, at, sp);
}

/* Does the first fault. A machine that waits must not get SYNC_AGAIN as an answer. */
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

	d->want = 0;
	if (d->error.code)
		return SYNC_END;
	if (is_off(d))
		return go_on(d, why, at, sp);
	if (rec && enters_here(rec, at))
		return take_record(d, at, sp);
	if (at->count >= d->fault[0].f.count)
		return begin(d, why, at, sp);
	/* The log would have to name a place inside an instruction that has none. */
	if (rec && rec->sp.at.count < at->count) {
		err_set(&d->error, EILSEQ, "the machine has passed count %llu, where inputs enter",
			(unsigned long long)rec->sp.at.count);
		return SYNC_END;
	}
	if (why != SYNC_IDLE)
		return SYNC_AGAIN;
	err_set(&d->error, EILSEQ, "the machine waits where the recorded one did not");
	return SYNC_END;
}

static bool deviate_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			    uint64_t digest)
{
	struct deviate *d = ctx;

	d->applying = false;
	if (d->losing)
		d->losing->waiting = machine_lost_interrupts(m) == d->lost;
	d->losing = NULL;
	if (d->want && d->want != digest) {
		err_set(&d->error, EILSEQ, "divergence at count %llu, before the fault",
			(unsigned long long)sp->at.count);
		return false;
	}
	return !d->tap || d->tap->applied(d->tap->ctx, m, sp, digest);
}

void deviate_init(struct deviate *d, struct machine *m, const struct record_stream *stream,
		  const struct codec_record *rec, const struct fault *faults, size_t nfaults,
		  uint64_t stop)
{
	must(nfaults > 0 && nfaults <= DEVIATE_FAULTS);
	memset(d, 0, sizeof(*d));
	d->m = m;
	d->stream = *stream;
	d->rec = rec;
	d->nfaults = nfaults;
	for (size_t i = 0; i < nfaults; i++)
		d->fault[i] = (struct deviate_fault){ .f = faults[i], .held_count = UINT64_MAX };
	d->stop = stop;
	d->source = (struct input_source){
		.ctx = d, .until = deviate_until, .next = deviate_next, .applied = deviate_applied
	};
}

void deviate_fini(struct deviate *d)
{
	for (size_t i = 0; i < d->nfaults; i++) {
		buf_free(&d->fault[i].held_data);
		buf_free(&d->fault[i].packet);
	}
}

bool deviate_refused(const struct deviate *d)
{
	return d->applying;
}
