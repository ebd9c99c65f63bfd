// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void replay_diverge(struct replay *r, const struct landmark *at, const char *what)
{
	r->diverged = true;
	r->diverged_count = at->count;
	r->diverged_rip = at->rip;
	snprintf(r->differs, sizeof(r->differs), "%s", what);
	err_set(&r->error, EILSEQ, "divergence at count %" PRIu64 ", RIP 0x%" PRIx64 ": %s",
		at->count, at->rip, what);
}

const struct codec_record *record_stream_peek(const struct record_stream *s,
					      const struct codec_record **rec, bool *at_end,
					      struct err *err)
{
	if (*rec || *at_end)
		return *rec;
	if (s->next(s->ctx, rec, err) <= 0) {
		*rec = NULL;
		*at_end = true;
	}
	return *rec;
}

static const struct codec_record *replay_peek(struct replay *r)
{
	return record_stream_peek(&r->stream, &r->rec, &r->at_end, &r->error);
}

bool replay_ended_by_source(const struct replay_end *end)
{
	return end->end == MACHINE_ENDED || end->end == MACHINE_FAILED ||
	       end->end == MACHINE_DIVERGED || end->end == MACHINE_SPINNING;
}

/*
 * True: the machine ends at the landmark of the recorded end. A recording that was stopped ends
 * with the record that stopped it. If a checkpoint was taken at that record too, a machine restored
 * from it is not stopped again: it already stands at the end.
 */
static bool ends_at_landmark(const struct replay_end *end)
{
	return replay_ended_by_source(end) || end->end == MACHINE_STOPPED;
}

/*
 * After the last record the machine runs to where the recording ended. A machine that ended by
 * itself does so again before one more instruction has retired.
 */
static void replay_until_end(struct replay *r, struct landmark *until)
{
	const struct replay_end *end = r->error.code ? NULL : r->stream.end(r->stream.ctx);
	struct engine *e = machine_engine(r->m);

	if (!end)
		*until = (struct landmark){ .count = e->ops->count(e) };
	else if (ends_at_landmark(end))
		*until = (struct landmark){
			.count = end->count, .in_rep = end->in_rep, .rip = end->rip, .rcx = end->rcx
		};
	else
		*until = (struct landmark){ .count = end->count + 1 };
}

static void replay_until(void *ctx, struct machine *m, struct landmark *until)
{
	struct replay *r = ctx;
	const struct codec_record *rec = replay_peek(r);
	uint64_t count = machine_engine(m)->ops->count(machine_engine(m));

	if (rec)
		*until = rec->sp.at;
	else
		replay_until_end(r, until);
	if (until->count > r->stop_count)
		*until = (struct landmark){ .count = r->stop_count };
	if (until->count < count)
		*until = (struct landmark){ .count = count };
}

/* True: this is the boundary that the record names. Else text says which one it is. */
static bool replay_is_here(const struct codec_record *rec, const struct landmark *at, char *text,
			   size_t n)
{
	const struct landmark *want = &rec->sp.at;

	if (at->count != want->count)
		snprintf(text, n, "record %" PRIu64 " enters at count %" PRIu64, rec->sp.seq,
			 want->count);
	else if (at->in_rep != want->in_rep || (at->in_rep && at->rcx != want->rcx))
		snprintf(text, n,
			 "record %" PRIu64 " enters at another iteration of a REP instruction",
			 rec->sp.seq);
	else if (codec_rip_check(at->rip) != rec->rip_check)
		snprintf(text, n, "RIP is another one than in record %" PRIu64, rec->sp.seq);
	else
		return true;
	return false;
}

/* A kick on the way from the last record to the end must not end the run early. */
static bool replay_at_end(struct replay *r, const struct landmark *at)
{
	const struct replay_end *end = r->error.code ? NULL : r->stream.end(r->stream.ctx);

	return !end || at->count > end->count ||
	       (at->count == end->count && at->in_rep == end->in_rep &&
		(!at->in_rep || at->rcx == end->rcx));
}

static enum sync_verdict replay_next(void *ctx, struct machine *m, enum sync_reason why,
				     const struct landmark *at, struct sync_point *sp)
{
	struct replay *r = ctx;
	const struct codec_record *rec = replay_peek(r);
	char text[200];

	if (atomic_load(&r->stop))
		return SYNC_END;
	if (at->count >= r->stop_count && (!rec || rec->sp.at.count > r->stop_count))
		return SYNC_END;
	if (!rec)
		return why == SYNC_KICK && !replay_at_end(r, at) ? SYNC_AGAIN : SYNC_END;
	if (why == SYNC_KICK && at->count < rec->sp.at.count)
		return SYNC_AGAIN;
	if (!replay_is_here(rec, at, text, sizeof(text))) {
		if (why == SYNC_KICK)
			return SYNC_AGAIN;
		replay_diverge(r, at, text);
		return SYNC_END;
	}
	*sp = rec->sp;
	sp->at = *at;
	return SYNC_APPLY;
}

static bool replay_compare(struct replay *r, struct machine *m, const struct sync_point *sp,
			   uint64_t digest)
{
	const struct codec_record *rec = r->rec;
	char text[400];

	r->digests++;
	if (digest == rec->digest) {
		detail_agreed(&r->detail, m);
		return true;
	}
	detail_compare(&r->detail, m, rec->detail, rec->detail_len, text, sizeof(text));
	replay_diverge(r, &sp->at, text);
	return false;
}

static bool replay_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			   uint64_t digest)
{
	struct replay *r = ctx;
	const struct codec_record *rec = r->rec;

	r->records++;
	if (rec->has_digest && !replay_compare(r, m, sp, digest))
		return false;
	r->rec = NULL;
	if (r->stream.applied)
		r->stream.applied(r->stream.ctx, m, rec);
	return true;
}

static bool replay_spins(void *ctx, struct machine *m)
{
	return atomic_load(&((struct replay *)ctx)->stop);
}

void replay_init(struct replay *r, struct machine *m, const struct record_stream *stream)
{
	*r = (struct replay){ .stream = *stream, .m = m, .stop_count = UINT64_MAX };
	r->source = (struct input_source){ .ctx = r,
					   .until = replay_until,
					   .next = replay_next,
					   .applied = replay_applied,
					   .spins = replay_spins };
	detail_init(&r->detail, m, NULL, NULL);
}

void replay_fini(struct replay *r)
{
	machine_on_dirty_page(r->m, NULL, NULL);
	detail_fini(&r->detail);
}

const struct input_source *replay_source(struct replay *r)
{
	return &r->source;
}

void replay_stop(struct replay *r)
{
	atomic_store(&r->stop, true);
	machine_kick(r->m);
}

static int end_differs(struct replay *r, const char *what, struct err *err)
{
	struct engine *e = machine_engine(r->m);
	struct landmark at;

	e->ops->landmark(e, &at);
	replay_diverge(r, &at, what);
	*err = r->error;
	return -EILSEQ;
}

/*
 * Checks that the machine stands where the recording ended, and ended in the same way. A guest that
 * spun at its end was somewhere past that landmark, so there is no digest to compare.
 */
static int end_compare(struct replay *r, const struct replay_end *want, enum machine_end end,
		       struct err *err)
{
	struct engine *e = machine_engine(r->m);
	bool alike = end == want->end || (end == MACHINE_ENDED && ends_at_landmark(want));
	char text[160];

	if (!alike || e->ops->count(e) != want->count) {
		snprintf(text, sizeof(text),
			 "the recorded machine ended otherwise (%d) at count %" PRIu64 ", not (%d)",
			 want->end, want->count, end);
		return end_differs(r, text, err);
	}
	if (end == MACHINE_EXIT && machine_exit_code(r->m) != want->exit_code)
		return end_differs(r, "the guest's exit status is another one than recorded", err);
	if (want->end == MACHINE_SPINNING)
		return 0;
	r->digests++;
	if (machine_digest(r->m) != want->digest)
		return end_differs(r, "the last digest is another one than in the record", err);
	return 0;
}

int replay_verdict(struct replay *r, enum machine_end end, struct err *err)
{
	struct engine *e = machine_engine(r->m);
	bool cut_off = atomic_load(&r->stop) || e->ops->count(e) >= r->stop_count;
	const struct replay_end *want;

	if (end == MACHINE_SPINNING)
		end = MACHINE_ENDED;

	/* A divergence is the cause of what came after it. */
	if (!r->error.code && end != MACHINE_FAILED && end != MACHINE_DIVERGED &&
	    !(end == MACHINE_ENDED && cut_off))
		replay_peek(r);
	if (r->error.code) {
		*err = r->error;
		return -err->code;
	}
	if (end == MACHINE_FAILED || end == MACHINE_DIVERGED)
		return err->code ? -err->code
				 : end_differs(r, "a record could not be applied", err);
	if (end == MACHINE_ENDED && cut_off)
		return 0;
	if (r->rec)
		return end_differs(r, "the machine ended before its record did", err);
	want = r->stream.end(r->stream.ctx);
	return want ? end_compare(r, want, end, err) : 0;
}
