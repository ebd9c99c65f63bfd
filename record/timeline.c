// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Moving along a recording.
 *
 * All positions are moments (engine.h). A moment without deliveries, (N, 0), is the first boundary
 * with count N after everything that the record has for it was applied; that is where checkpoints
 * are taken and where the machine is stopped by its count alone. The others are reached from there
 * by the engine's probe.
 *
 * Backward means: from the nearest checkpoint before, once more forward, and the last place of
 * interest on the way is remembered; when there is none, from the checkpoint before that one. A
 * watched access is then the moment in front of it.
 */
#include "record/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "record/shots.h"

#define SLICE 4000000u /* instructions after which config.asked() is asked */

/* Use of the probe's boundaries. */
enum mode {
	MODE_STOP,    /* the run ends there */
	MODE_COLLECT, /* the last one before `limit` is remembered */
};

struct timeline {
	struct timeline_config config;
	struct shots shots;
	struct replay replay;
	struct input_source source;
	uint64_t stop; /* the machine is stopped at this count */
	uint64_t next_shot;
	uint64_t restores;
	struct timeline_where now;
	bool at_end;
	enum machine_end end; /* how, at the end */
	struct deviate deviate;
	void (*on_inputs)(void *ctx, const struct sync_point *sp);
	void *on_inputs_ctx;

	struct timeline_probe wanted;
	struct engine_probe probe;
	enum mode mode;
	struct moment limit; /* what lies there or behind is of no interest */
	bool every;	     /* every boundary is a stop */
	/* The access since the last boundary. */
	bool accessed;
	struct timeline_where access;
	/* The stop that was found. */
	bool found;
	enum timeline_stop kind;
	struct timeline_where hit;
};

static bool is_before(const struct moment *a, const struct moment *b)
{
	return a->count < b->count || (a->count == b->count && a->events < b->events);
}

static struct engine *engine_of(const struct timeline *t)
{
	return machine_engine(t->config.m);
}

static uint64_t count_of(const struct timeline *t)
{
	return engine_of(t)->ops->count(engine_of(t));
}

/* ---- the source: the replay's, and a count at which it ends ---- */

static void timeline_until(void *ctx, struct machine *m, struct landmark *until)
{
	struct timeline *t = ctx;

	t->replay.source.until(t->replay.source.ctx, m, until);
	if (until->count > t->stop || (until->count == t->stop && until->in_rep))
		*until = (struct landmark){ .count = t->stop };
}

static bool enters_here(const struct codec_record *rec, const struct landmark *at)
{
	return rec && rec->sp.at.count == at->count && rec->sp.at.in_rep == at->in_rep &&
	       (!at->in_rep || rec->sp.at.rcx == at->rcx);
}

static enum sync_verdict timeline_next(void *ctx, struct machine *m, enum sync_reason why,
				       const struct landmark *at, struct sync_point *sp)
{
	struct timeline *t = ctx;

	if (at->count >= t->stop && !enters_here(t->replay.rec, at))
		return SYNC_END;
	return t->replay.source.next(t->replay.source.ctx, m, why, at, sp);
}

static bool timeline_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			     uint64_t digest)
{
	struct timeline *t = ctx;

	if (t->on_inputs)
		t->on_inputs(t->on_inputs_ctx, sp);
	return t->replay.source.applied(t->replay.source.ctx, m, sp, digest);
}

/* ---- the probe ---- */

static void note_hit(struct timeline *t, enum timeline_stop kind, const struct timeline_where *w)
{
	t->found = true;
	t->kind = kind;
	t->hit = *w;
}

static void on_access(void *ctx, size_t i, const struct moment *from, uint64_t lin, uint64_t size)
{
	struct timeline *t = ctx;
	uint64_t start = t->wanted.watch[i].address;

	t->accessed = true;
	t->access = (struct timeline_where){ .at = *from, .watch = i };
	t->access.address = lin - start < t->wanted.watch[i].length ? lin : start;
	if (t->mode == MODE_COLLECT && is_before(from, &t->limit))
		note_hit(t, TIMELINE_WATCH, &t->access);
}

static bool is_breakpoint(const struct timeline *t, uint64_t linear)
{
	for (size_t i = 0; i < t->wanted.nbreakpoints; i++) {
		if (t->wanted.breakpoint[i] == linear)
			return true;
	}
	return false;
}

static bool on_boundary(void *ctx, const struct moment *at, uint64_t linear)
{
	struct timeline *t = ctx;
	struct timeline_where here = { .at = *at };
	bool accessed = t->accessed;

	t->accessed = false;
	t->now.at = *at;
	if (t->mode == MODE_COLLECT) {
		if (!is_before(at, &t->limit))
			return true;
		if (t->every)
			note_hit(t, TIMELINE_THERE, &here);
		else if (is_breakpoint(t, linear))
			note_hit(t, TIMELINE_BREAKPOINT, &here);
		return false;
	}
	if (accessed && !t->every) {
		here.watch = t->access.watch;
		here.address = t->access.address;
		note_hit(t, TIMELINE_WATCH, &here);
	} else if (t->every) {
		note_hit(t, TIMELINE_THERE, &here);
	} else if (is_breakpoint(t, linear)) {
		note_hit(t, TIMELINE_BREAKPOINT, &here);
	}
	return t->found;
}

static void probe_off(struct timeline *t)
{
	if (!t->probe.boundary)
		return;
	t->probe = (struct engine_probe){ 0 };
	engine_of(t)->ops->debug(engine_of(t), NULL);
}

/* every: all boundaries; else breakpoints and watches. */
static void probe_on(struct timeline *t, enum mode mode, bool every)
{
	struct engine_probe *p = &t->probe;

	*p = (struct engine_probe){
		.ctx = t, .step = every, .boundary = on_boundary, .access = on_access
	};
	if (!every) {
		p->nbreakpoints = t->wanted.nbreakpoints;
		memcpy(p->breakpoint, t->wanted.breakpoint, sizeof(p->breakpoint));
		p->nwatches = t->wanted.nwatches;
		memcpy(p->watch, t->wanted.watch, sizeof(p->watch));
	}
	t->mode = mode;
	t->every = every;
	t->found = t->accessed = false;
	engine_of(t)->ops->debug(engine_of(t), p);
}

/* ---- running ---- */

static enum timeline_stop fail(const struct timeline *t, struct err *err)
{
	if (!err->code && t->replay.error.code)
		*err = t->replay.error;
	if (!err->code)
		err_set(err, EIO, "the machine cannot go on at count %" PRIu64, count_of(t));
	return TIMELINE_FAILED;
}

/*
 * Reaches the end, after everything else. Events whose delivery ends the machine are not counted.
 */
static enum timeline_stop reach_end(struct timeline *t, enum machine_end end)
{
	bool shut = end == MACHINE_TRIPLE || end == MACHINE_STUCK;

	t->at_end = true;
	t->end = end;
	t->now.at = (struct moment){ .count = count_of(t), .events = shut ? UINT32_MAX : 0 };
	return TIMELINE_END;
}

/* The place of the record that enters next. */
static struct logstream_place place_now(const struct timeline *t)
{
	struct logstream_place p = t->config.stream->place;

	if (t->replay.rec)
		p.records--;
	return p;
}

static int take_shot(struct timeline *t, struct err *err)
{
	struct logstream_place place = place_now(t);
	struct engine *e = engine_of(t);
	struct landmark at;

	e->ops->landmark(e, &at);
	if (at.in_rep)
		return 0;
	t->next_shot = at.count + t->shots.spacing;
	return shots_take(&t->shots, &place, err);
}

/* Runs until (stop, 0), or a boundary that the probe wants (THERE then as well: see found). */
static enum timeline_stop run_slice(struct timeline *t, uint64_t stop, struct err *err)
{
	enum machine_end end;

	t->stop = stop;
	end = machine_run(t->config.m, &t->source, err);
	if (t->replay.error.code || end == MACHINE_FAILED || end == MACHINE_DIVERGED)
		return fail(t, err);
	if (end == MACHINE_PROBED)
		return TIMELINE_THERE;
	if (end != MACHINE_ENDED || count_of(t) < stop)
		return reach_end(t, end);
	t->now.at = (struct moment){ .count = stop };
	return TIMELINE_THERE;
}

/*
 * At a boundary that the probe found, before any delivery, the record's inputs enter before
 * anything else.
 */
static enum timeline_stop settle(struct timeline *t, struct err *err)
{
	struct moment at = t->now.at;

	return at.events ? TIMELINE_THERE : run_slice(t, at.count, err);
}

/* Runs to (stop, 0) in slices, with checkpoints on the way. */
static enum timeline_stop run(struct timeline *t, uint64_t stop, struct err *err)
{
	enum timeline_stop why = TIMELINE_THERE;

	if (t->at_end)
		return TIMELINE_END;
	while (why == TIMELINE_THERE && count_of(t) < stop) {
		uint64_t count = count_of(t), to = stop;

		if (to > count + SLICE)
			to = count + SLICE;
		if (to > t->next_shot)
			to = t->next_shot > count ? t->next_shot : count + 1;
		why = run_slice(t, to, err);
		if (why != TIMELINE_THERE)
			break;
		if (t->found && t->mode == MODE_STOP)
			return settle(t, err);
		if (t->mode == MODE_COLLECT && t->probe.boundary &&
		    !is_before(&t->now.at, &t->limit))
			break;
		if (t->now.at.events == 0 && count_of(t) >= t->next_shot && take_shot(t, err) < 0)
			return fail(t, err);
		if (count_of(t) < stop && t->config.asked && t->config.asked(t->config.asked_ctx))
			why = TIMELINE_ASKED;
	}
	return why;
}

static int restore(struct timeline *t, size_t index, struct err *err)
{
	const struct shot *s = t->shots.list[index];
	int ret;

	t->replay.rec = NULL;
	t->replay.at_end = false;
	t->at_end = false;
	t->restores++;
	ret = shots_restore(&t->shots, index, err);
	if (ret == 0)
		ret = logstream_go(t->config.stream, &s->place, err);
	t->now = (struct timeline_where){ .at = { .count = s->count } };
	t->next_shot = s->count + t->shots.spacing;
	return ret;
}

/* To (count, 0). */
static enum timeline_stop seek_count(struct timeline *t, uint64_t count, struct err *err)
{
	ssize_t i = shots_find(&t->shots, count);
	bool ahead = !t->at_end && t->now.at.events == 0 && t->now.at.count <= count;

	if (i < 0)
		return TIMELINE_BEGIN;
	probe_off(t);
	t->found = false;
	if (!(ahead && t->shots.list[i]->count <= t->now.at.count) &&
	    restore(t, (size_t)i, err) < 0)
		return fail(t, err);
	return run(t, count, err);
}

enum timeline_stop timeline_seek(struct timeline *t, const struct moment *to, struct err *err)
{
	enum timeline_stop why = seek_count(t, to->count, err);

	while (why == TIMELINE_THERE && is_before(&t->now.at, to))
		why = timeline_step(t, err);
	return why;
}

enum timeline_stop timeline_run_to(struct timeline *t, uint64_t count, struct err *err)
{
	probe_off(t);
	t->found = false;
	return run(t, count, err);
}

enum timeline_stop timeline_step(struct timeline *t, struct err *err)
{
	enum timeline_stop why;

	probe_on(t, MODE_STOP, true);
	why = run(t, UINT64_MAX, err);
	probe_off(t);
	return why;
}

enum timeline_stop timeline_forward(struct timeline *t, struct err *err)
{
	enum timeline_stop why;

	probe_on(t, MODE_STOP, false);
	why = run(t, UINT64_MAX, err);
	probe_off(t);
	if (why != TIMELINE_THERE)
		return why;
	t->now.watch = t->hit.watch;
	t->now.address = t->hit.address;
	return t->kind;
}

/* ---- backward ---- */

/*
 * From checkpoint `index` up to `limit`: the last place of interest, in t->hit when t->found. The
 * checkpoint's own moment is one of the places.
 */
static enum timeline_stop collect(struct timeline *t, size_t index, const struct moment *limit,
				  bool every, struct err *err)
{
	struct landmark at;
	enum timeline_stop why;
	struct cpu_state s;

	if (restore(t, index, err) < 0)
		return fail(t, err);
	probe_on(t, MODE_COLLECT, every);
	t->limit = *limit;
	engine_of(t)->ops->landmark(engine_of(t), &at);
	engine_of(t)->ops->get_state(engine_of(t), &s);
	if (is_before(&t->now.at, limit) &&
	    (every || is_breakpoint(t, s.seg[SEG_CS].base + at.rip)))
		note_hit(t, every ? TIMELINE_THERE : TIMELINE_BREAKPOINT, &t->now);
	why = run(t, limit->events ? limit->count + 1 : limit->count, err);
	probe_off(t);
	return why;
}

static enum timeline_stop go_to_hit(struct timeline *t, struct err *err)
{
	struct timeline_where hit = t->hit;
	enum timeline_stop kind = t->kind, why = timeline_seek(t, &hit.at, err);

	if (why != TIMELINE_THERE)
		return why;
	t->now = hit;
	return kind;
}

/* Index of the last checkpoint before a moment; -1: none. */
static ssize_t shot_before(const struct timeline *t, const struct moment *at)
{
	ssize_t i = shots_find(&t->shots, at->count);

	return i >= 0 && t->shots.list[i]->count == at->count && !at->events ? i - 1 : i;
}

enum timeline_stop timeline_back(struct timeline *t, struct err *err)
{
	struct moment limit = t->now.at;
	ssize_t i;

	while ((i = shot_before(t, &limit)) >= 0) {
		uint64_t count = t->shots.list[i]->count;
		enum timeline_stop why = collect(t, (size_t)i, &limit, false, err);

		if (why != TIMELINE_THERE && why != TIMELINE_END)
			return why;
		if (t->found)
			return go_to_hit(t, err);
		limit = (struct moment){ .count = count };
	}
	if (restore(t, 0, err) < 0)
		return fail(t, err);
	return TIMELINE_BEGIN;
}

enum timeline_stop timeline_step_back(struct timeline *t, struct err *err)
{
	struct moment limit = t->now.at;
	ssize_t i = shot_before(t, &limit);
	uint64_t from = limit.events && limit.events != UINT32_MAX ? limit.count : limit.count - 1;
	enum timeline_stop why;

	if (i < 0 || from < t->shots.list[0]->count)
		return TIMELINE_BEGIN;
	/* Stepping is slow: a checkpoint right before makes the way short. */
	why = seek_count(t, from, err);
	if (why != TIMELINE_THERE)
		return why;
	if (take_shot(t, err) < 0)
		return fail(t, err);
	i = shot_before(t, &limit);
	why = collect(t, (size_t)i, &limit, true, err);
	if (why != TIMELINE_THERE && why != TIMELINE_END)
		return why;
	return go_to_hit(t, err);
}

/* ---- off the record ---- */

/* Runs in slices, so that config.asked() can be called in between; *asked: it ended the run. */
static enum machine_end run_deviating(struct timeline *t, uint64_t bound, bool *asked,
				      struct err *err)
{
	struct deviate *source = &t->deviate;
	enum machine_end end;

	do {
		uint64_t count = count_of(t);

		source->stop = bound - count < SLICE || bound < count ? bound : count + SLICE;
		end = machine_run(t->config.m, &source->source, err);
		*asked = t->config.asked && t->config.asked(t->config.asked_ctx);
	} while (end == MACHINE_ENDED && !*asked && !source->error.code && !source->hangs &&
		 source->stop < bound && count_of(t) >= source->stop);
	return end;
}

enum machine_end timeline_deviate(struct timeline *t, struct deviation *d, struct err *err)
{
	struct deviate *source = &t->deviate;
	struct err broken = ERR_INIT;
	enum machine_end end;
	bool asked;

	probe_off(t);
	deviate_init(source, t->config.m, &t->replay.stream, t->replay.rec, d->fault, d->nfaults,
		     d->bound);
	end = run_deviating(t, d->bound, &asked, &broken);
	deviate_fini(source);
	t->at_end = true; /* there is no way on from here */
	d->refused = deviate_refused(source);
	if (d->refused)
		return MACHINE_ENDED;
	if (source->error.code || broken.code) {
		*err = source->error.code ? source->error : broken;
		return MACHINE_FAILED;
	}
	if (asked && end == MACHINE_ENDED) {
		err_set(err, EINTR, "a run was told to end");
		return MACHINE_FAILED;
	}
	if (end == MACHINE_ENDED && (source->hangs || count_of(t) >= d->bound))
		return MACHINE_SPINNING;
	return end;
}

enum machine_end timeline_end(const struct timeline *t)
{
	return t->end;
}

/* ---- the rest ---- */

void timeline_where(const struct timeline *t, struct timeline_where *w)
{
	*w = t->now;
}

void timeline_set_probe(struct timeline *t, const struct timeline_probe *p)
{
	must(p->nbreakpoints <= PROBE_BREAKPOINTS && p->nwatches <= PROBE_WATCHES);
	t->wanted = *p;
}

void timeline_on_inputs(struct timeline *t, void (*fn)(void *ctx, const struct sync_point *sp),
			void *ctx)
{
	t->on_inputs = fn;
	t->on_inputs_ctx = ctx;
}

void timeline_get_stats(const struct timeline *t, struct timeline_stats *s)
{
	*s = (struct timeline_stats){ .checkpoints = t->shots.n,
				      .bytes = t->shots.bytes,
				      .spacing = t->shots.spacing,
				      .restores = t->restores };
}

const struct codec_record *timeline_next_record(const struct timeline *t)
{
	return t->replay.rec;
}

struct timeline *timeline_open(const struct timeline_config *c, struct err *err)
{
	const struct engine_ops *ops = machine_engine(c->m)->ops;
	struct record_stream records = logstream_records(c->stream);
	struct timeline *t;

	if (!ops->debug || !ops->hidden_save) {
		err_set(err, ENOTSUP, "engine %s cannot be walked backwards: use --engine soft",
			ops->name);
		return NULL;
	}
	t = calloc(1, sizeof(*t));
	if (!t) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	t->config = *c;
	t->config.memory_max = c->memory_max ? c->memory_max : 1ull << 30;
	t->config.spacing = c->spacing ? c->spacing : 2000000;
	t->source = (struct input_source){ .ctx = t,
					   .until = timeline_until,
					   .next = timeline_next,
					   .applied = timeline_applied };
	replay_init(&t->replay, c->m, &records);
	t->now.at.count = count_of(t);
	if (shots_init(&t->shots, &t->config, err) == 0) {
		detail_fini(&t->replay.detail);
		detail_init(&t->replay.detail, c->m, shots_page_dirty, &t->shots);
		if (run_slice(t, t->now.at.count, err) == TIMELINE_THERE && take_shot(t, err) == 0)
			return t;
		if (!err->code)
			fail(t, err);
	}
	timeline_close(t);
	return NULL;
}

void timeline_close(struct timeline *t)
{
	if (!t)
		return;
	probe_off(t);
	replay_fini(&t->replay);
	shots_fini(&t->shots);
	free(t);
}
