// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/deviate.h"

#include <errno.h>
#include <string.h>

static const struct codec_record *peek(struct deviate *d)
{
	int ret;

	if (d->rec || d->at_end)
		return d->rec;
	ret = d->stream.next(d->stream.ctx, &d->rec, &d->error);
	if (ret <= 0) {
		d->rec = NULL;
		d->at_end = true;
	}
	return d->rec;
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
	if (until->count < count)
		*until = (struct landmark){ .count = count };
}

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
	if (d->off && !d->tap && sp->n && sp->input[sp->n - 1].kind == INPUT_DIGEST)
		sp->n--;
	d->rec = NULL;
	return SYNC_APPLY;
}

static enum sync_verdict take_fault(struct deviate *d, const struct landmark *at,
				    struct sync_point *sp)
{
	d->off = d->applying = true;
	*sp = (struct sync_point){ .at = *at, .input = d->input };
	sp->n = fault_inputs(&d->fault, machine_get_config(d->m), d->input, SYNC_INPUTS_MAX);
	number(d, sp);
	return sp->n ? SYNC_APPLY : SYNC_END;
}

/* A machine that waits gets its next input at once. */
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
			return take_fault(d, at, sp);
		if (why != SYNC_IDLE)
			return SYNC_AGAIN;
		err_set(&d->error, EILSEQ, "the machine waits where the recorded one did not");
		return SYNC_END;
	}
	if (at->count >= d->stop)
		return SYNC_END;
	if (!rec)
		return why == SYNC_IDLE ? SYNC_END : SYNC_AGAIN;
	if (why != SYNC_IDLE && at->count < rec->sp.at.count)
		return SYNC_AGAIN;
	return take_record(d, at, sp);
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
	d->m = m;
	d->stream = *stream;
	d->rec = rec;
	d->fault = *fault;
	d->stop = stop;
	d->source = (struct input_source){
		.ctx = d, .until = deviate_until, .next = deviate_next, .applied = deviate_applied
	};
}

bool deviate_refused(const struct deviate *d)
{
	return d->applying;
}
