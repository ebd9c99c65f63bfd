// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/experiment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "record/liveness.h"
#include "record/ram_fates.h"
#include "record/tcp_streams.h"

/* ---- outputs ---- */

/* Every output as its stream, count and bytes; times may differ. */
struct trace_entry {
	uint64_t count, offset, len;
	uint64_t stream; /* kind and port, or one of a TCP connection */
};

struct trace {
	struct trace_entry *entry;
	size_t n, room;
	struct buf bytes;
	bool bad;
};

struct experiments {
	struct experiments_config config;
	struct machine *m;
	struct trace golden_sent, sent; /* as they came */
	struct trace golden, trace;	/* as they are compared: by stream */
	bool recording;			/* into golden_sent */
	bool deviating;			/* into sent */
	uint64_t end_count, golden_state;
	struct experiment_moment *moment; /* config.when */
	uint64_t happened;
	size_t nmoments, room;
	struct err moments_err; /* why no more of them could be kept */
	/* So many packets have arrived at this count. */
	uint64_t rx_count;
	unsigned rx_number;
	enum machine_end golden_end;
	unsigned golden_status;
	struct ram_fates fates; /* of bytes that flips are in */
};

static void trace_put(struct trace *t, uint64_t stream, uint64_t count, const uint8_t *data,
		      size_t len)
{
	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 256;
		struct trace_entry *e = realloc(t->entry, room * sizeof(*e));

		if (!e) {
			t->bad = true;
			return;
		}
		t->entry = e;
		t->room = room;
	}
	t->entry[t->n++] = (struct trace_entry){
		.count = count, .offset = t->bytes.len, .len = len, .stream = stream
	};
	buf_put(&t->bytes, data, len);
	t->bad |= t->bytes.bad;
}

static void trace_add(struct trace *t, const struct output *out)
{
	trace_put(t, (uint64_t)out->kind << 8 | out->port, out->count, out->data, out->len);
}

static unsigned kind_of(uint64_t stream)
{
	return stream & TCP_STREAM ? OUTPUT_NET_TX : (unsigned)(stream >> 8);
}

static bool is_text(uint64_t stream)
{
	return kind_of(stream) == OUTPUT_CONSOLE || kind_of(stream) == OUTPUT_DEBUG;
}

static void trace_clear(struct trace *t)
{
	t->n = 0;
	buf_clear(&t->bytes);
}

static void trace_free(struct trace *t)
{
	free(t->entry);
	buf_free(&t->bytes);
}

void experiments_emit(void *ctx, const struct output *out)
{
	struct experiments *x = *(struct experiments **)ctx;

	if (x && x->recording)
		trace_add(&x->golden_sent, out);
	else if (x && x->deviating)
		trace_add(&x->sent, out);
}

/* ---- what is compared ---- */

static int by_stream(const void *a, const void *b)
{
	const struct trace_entry *x = a, *y = b;

	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The trace that TCP's payload goes to, and the count of the frame that it was in. */
struct payload {
	struct trace *to; /* NULL: it is only to be known what came before */
	uint64_t count;
};

static void take_payload(void *ctx, uint64_t stream, const uint8_t *data, size_t len)
{
	struct payload *p = ctx;

	if (p->to)
		trace_put(p->to, stream, p->count, data, len);
}

/* A frame's payload goes to its connection's streams; false: it has none. */
static bool split_entry(struct tcp_streams *tcp, const struct trace *t, size_t i, struct trace *to)
{
	const struct trace_entry *e = &t->entry[i];
	struct payload p = { to, e->count };

	return kind_of(e->stream) == OUTPUT_NET_TX &&
	       tcp_streams_add(tcp, e->stream & 0xff, t->bytes.data + e->offset, e->len,
			       take_payload, &p);
}

/* What was sent from a count on, behind what `before` has, as streams. */
static void split(const struct trace *sent, const struct trace *before, uint64_t from,
		  struct trace *to)
{
	struct tcp_streams *tcp = tcp_streams_new();

	trace_clear(to);
	for (size_t i = 0; tcp && before && i < before->n && before->entry[i].count < from; i++)
		split_entry(tcp, before, i, NULL);
	for (size_t i = 0; tcp && i < sent->n; i++) {
		const struct trace_entry *e = &sent->entry[i];

		if (!split_entry(tcp, sent, i, to))
			trace_put(to, e->stream, e->count, sent->bytes.data + e->offset, e->len);
	}
	to->bad |= sent->bad || !tcp || tcp_streams_bad(tcp);
	tcp_streams_free(tcp);
	if (to->n)
		qsort(to->entry, to->n, sizeof(*to->entry), by_stream);
}

/* The first entry of a stream, from a count on, or of one behind it. */
static size_t find_entry(const struct trace *t, uint64_t stream, uint64_t from)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct trace_entry *e = &t->entry[middle];

		if (e->stream < stream || (e->stream == stream && e->count < from))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The next stream from *stream on that either of the two has. */
static bool next_stream(const struct experiments *x, uint64_t *stream)
{
	size_t a = find_entry(&x->golden, *stream, 0), b = find_entry(&x->trace, *stream, 0);
	uint64_t next = UINT64_MAX;

	if (a < x->golden.n)
		next = x->golden.entry[a].stream;
	if (b < x->trace.n && x->trace.entry[b].stream < next)
		next = x->trace.entry[b].stream;
	*stream = next;
	return a < x->golden.n || b < x->trace.n;
}

/* The outputs of a stream from `from` on, as bytes. */
static void stream_bytes(const struct trace *t, uint64_t stream, uint64_t from, struct buf *out)
{
	for (size_t i = find_entry(t, stream, from); i < t->n && t->entry[i].stream == stream; i++)
		buf_put(out, t->bytes.data + t->entry[i].offset, t->entry[i].len);
}

/* Count at which byte `at` of the stream came; none when it has no such byte. */
static uint64_t byte_count(const struct trace *t, uint64_t stream, uint64_t from, size_t at,
			   uint64_t none)
{
	uint64_t seen = 0;

	for (size_t i = find_entry(t, stream, from); i < t->n && t->entry[i].stream == stream;
	     i++) {
		seen += t->entry[i].len;
		if (seen > at)
			return t->entry[i].count;
	}
	return none;
}

/* A stream as it is compared: without what may differ, and where in the stream each byte was. */
struct view {
	struct buf bytes;
	struct buf at; /* a uint64_t for each byte */
	size_t all;    /* bytes of the stream */
};

static void view_free(struct view *v)
{
	buf_free(&v->bytes);
	buf_free(&v->at);
}

static uint64_t view_at(const struct view *v, size_t i)
{
	uint64_t at;

	if (!v->at.len)
		return i;
	memcpy(&at, v->at.data + i * sizeof(at), sizeof(at));
	return at;
}

static void view_put(struct view *to, const struct view *from, size_t begin, size_t end)
{
	buf_put(&to->bytes, from->bytes.data + begin, end - begin);
	for (size_t i = begin; i < end; i++) {
		uint64_t at = view_at(from, i);

		buf_put(&to->at, &at, sizeof(at));
	}
}

static void view_mask(struct view *v, const regex_t *mask)
{
	struct view rest = { BUF_INIT, BUF_INIT, v->all };
	size_t done = 0, end = v->bytes.len;
	const char *text;

	/* regexec() is told where the text ends; a NUL behind it is for those that look over it. */
	buf_put_u8(&v->bytes, 0);
	if (v->bytes.bad)
		return;
	v->bytes.len = end;
	text = (const char *)v->bytes.data;
	for (size_t from = 0; from < end;) {
		regmatch_t at = { .rm_so = (regoff_t)from, .rm_eo = (regoff_t)end };
		int flags = REG_STARTEND | (from && text[from - 1] != '\n' ? REG_NOTBOL : 0);

		if (regexec(mask, text, 1, &at, flags))
			break;
		view_put(&rest, v, done, (size_t)at.rm_so);
		done = (size_t)at.rm_eo;
		from = at.rm_eo > at.rm_so ? done : done + 1;
	}
	if (done) {
		view_put(&rest, v, done, end);
		view_free(v);
		*v = rest;
	} else {
		view_free(&rest);
	}
}

static struct view view_of(const struct experiments *x, const struct trace *t, uint64_t stream,
			   uint64_t from)
{
	struct view v = { BUF_INIT, BUF_INIT, 0 };

	stream_bytes(t, stream, from, &v.bytes);
	v.all = v.bytes.len;
	for (size_t i = 0; is_text(stream) && i < x->config.nmasks; i++) {
		if (v.bytes.len)
			view_mask(&v, &x->config.mask[i]);
	}
	return v;
}

/* Count of the first output of one stream that differs; UINT64_MAX: none. */
static uint64_t stream_difference(const struct experiments *x, uint64_t stream, uint64_t from)
{
	struct view a = view_of(x, &x->golden, stream, from);
	struct view b = view_of(x, &x->trace, stream, from);
	size_t n = a.bytes.len < b.bytes.len ? a.bytes.len : b.bytes.len, i = 0;
	uint64_t count = UINT64_MAX;

	while (i < n && a.bytes.data[i] == b.bytes.data[i])
		i++;
	if (i < b.bytes.len)
		count = byte_count(&x->trace, stream, from, view_at(&b, i), from);
	else if (i < a.bytes.len)
		count = byte_count(&x->golden, stream, from, view_at(&a, i), from);
	view_free(&a);
	view_free(&b);
	return count;
}

static uint64_t first_difference(const struct experiments *x, uint64_t from)
{
	uint64_t first = UINT64_MAX;

	for (uint64_t stream = 0; next_stream(x, &stream); stream++) {
		uint64_t at = stream_difference(x, stream, from);

		first = at < first ? at : first;
	}
	return first;
}

/* Something in front of byte i, or at the end, is left out. */
static bool view_has_gap(const struct view *v, size_t i)
{
	return (i < v->bytes.len ? view_at(v, i) : v->all) > (i ? view_at(v, i - 1) + 1 : 0);
}

/*
 * b is a, as far as it goes. Its end may be in the midst of what a mask names, which then does not
 * match: the rest of its last line is as good as what a leaves out there.
 */
static bool view_begins(const struct view *a, const struct view *b)
{
	size_t n = a->bytes.len < b->bytes.len ? a->bytes.len : b->bytes.len, i = 0, line;

	while (i < n && a->bytes.data[i] == b->bytes.data[i])
		i++;
	if (i == b->bytes.len)
		return true;
	for (line = b->bytes.len; line && b->bytes.data[line - 1] != '\n';)
		line--;
	for (; line <= i; line++) {
		if (view_has_gap(a, line))
			return true;
	}
	return false;
}

/* ... or is so before anything is masked, as a mask that did not come to its end may be of several
 * lines.
 */
static bool stream_begins(const struct experiments *x, uint64_t stream, uint64_t from)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	bool good;

	stream_bytes(&x->golden, stream, from, &a);
	stream_bytes(&x->trace, stream, from, &b);
	good = b.len <= a.len && (!b.len || !memcmp(a.data, b.data, b.len));
	buf_free(&a);
	buf_free(&b);
	return good;
}

/* Each stream is as in the golden run, as far as it goes. */
static bool is_beginning(const struct experiments *x, uint64_t from)
{
	bool good = true;

	for (uint64_t stream = 0; good && next_stream(x, &stream); stream++) {
		struct view a = view_of(x, &x->golden, stream, from);
		struct view b = view_of(x, &x->trace, stream, from);

		good = stream_begins(x, stream, from) || view_begins(&a, &b);
		view_free(&a);
		view_free(&b);
	}
	return good;
}

/* True: the guest's output since the fault contains one of the detectors. */
static bool says_so(const struct experiments *x)
{
	struct buf text = BUF_INIT;
	bool found = false;

	for (size_t i = 0; i < x->sent.n; i++) {
		const struct trace_entry *e = &x->sent.entry[i];

		if (is_text(e->stream))
			buf_put(&text, x->sent.bytes.data + e->offset, e->len);
	}
	for (size_t i = 0; i < text.len; i++) {
		if (!text.data[i])
			text.data[i] = ' ';
	}
	buf_put_u8(&text, 0);
	for (size_t i = 0; i < x->config.ndetectors && !text.bad && !found; i++)
		found = regexec(&x->config.detector[i], (const char *)text.data, 0, NULL, 0) == 0;
	buf_free(&text);
	return found;
}

/* ---- classes ---- */

static const char *const outcome_names[OUTCOMES] = {
	[OUTCOME_NONE] = "no effect",	 [OUTCOME_LATENT] = "latent",
	[OUTCOME_LATE] = "late",	 [OUTCOME_WRONG] = "wrong output",
	[OUTCOME_DETECTED] = "detected", [OUTCOME_HANG] = "hang",
	[OUTCOME_CRASH] = "crash",	 [OUTCOME_REFUSED] = "refused",
	[OUTCOME_MASKED] = "masked",	 [OUTCOME_DIVERGED] = "divergence",
	[OUTCOME_LOST] = "lost",
};

const char *outcome_name(enum outcome o)
{
	return outcome_names[o];
}

bool outcome_can_be(enum outcome o, bool pair)
{
	static const uint8_t of[OUTCOMES] = {
		/* 1: a recording's, 2: a pair's */
		[OUTCOME_NONE] = 3,	[OUTCOME_LATENT] = 1,	[OUTCOME_LATE] = 1,
		[OUTCOME_WRONG] = 3,	[OUTCOME_DETECTED] = 1, [OUTCOME_HANG] = 3,
		[OUTCOME_CRASH] = 1,	[OUTCOME_REFUSED] = 3,	[OUTCOME_MASKED] = 2,
		[OUTCOME_DIVERGED] = 2, [OUTCOME_LOST] = 2,
	};

	return (unsigned)o < OUTCOMES && of[o] & (pair ? 2 : 1);
}

/* The recording ends, the machine does not: there is nothing behind. */
static bool is_cut_off(const struct experiments *x)
{
	return x->golden_end == MACHINE_ENDED;
}

/* Everything but the chain of digests, which a deviating run does not go on with. */
static uint64_t state_hash(struct machine *m)
{
	const struct memory *mem = machine_memory(m);
	struct buf b = BUF_INIT;
	uint64_t h = XXH3_64bits(mem->base, mem->size);

	machine_save(m, &b);
	h = XXH3_64bits_withSeed(b.data, b.len >= 8 ? b.len - 8 : 0, h);
	buf_free(&b);
	return h;
}

static bool status_detects(const struct experiments *x, unsigned status)
{
	for (size_t i = 0; i < x->config.ndetect_status; i++) {
		if (x->config.detect_status[i] == status)
			return true;
	}
	return false;
}

/* What outputs and end say; OUTCOME_NONE: both are as in the golden run. */
static enum outcome classify(const struct experiments *x, enum machine_end end, uint64_t from,
			     const struct experiment_result *r)
{
	bool exited = end == MACHINE_EXIT;

	if (says_so(x) || (exited && status_detects(x, r->status)))
		return OUTCOME_DETECTED;
	if (end == MACHINE_TRIPLE || end == MACHINE_STUCK || end == MACHINE_DIVERGED)
		return OUTCOME_CRASH;
	if (end == MACHINE_SPINNING)
		return OUTCOME_HANG;
	if (end != x->golden_end || (exited && r->status != x->golden_status))
		return OUTCOME_WRONG;
	if (r->first_difference != UINT64_MAX && !x->config.by_status)
		return (is_cut_off(x) || end == MACHINE_STOPPED) && is_beginning(x, from)
			       ? OUTCOME_LATE
			       : OUTCOME_WRONG;
	return OUTCOME_NONE;
}

/* ---- running ---- */

static int seek(struct experiments *x, uint64_t count, struct err *err)
{
	const struct moment at = { .count = count };
	enum timeline_stop why = timeline_seek(x->config.line, &at, err);

	if (why == TIMELINE_FAILED)
		return -err->code;
	return why == TIMELINE_THERE
		       ? 0
		       : err_set(err, EINVAL, "count %llu is not inside the recording",
				 (unsigned long long)count);
}

static struct deviation deviation_of(const struct experiments *x, const struct fault *f, size_t n)
{
	return (struct deviation){ .fault = f,
				   .nfaults = n,
				   .bound = x->end_count + (is_cut_off(x) ? 0 : x->config.bound) };
}

/* ---- pruning ---- */

/* What is known of a fault without a run. */
enum fate {
	FATE_OPEN,
	FATE_GONE,  /* nothing reads what it changed, and it gets another value */
	FATE_STAYS, /* nothing reads it, and it is there at the end */
};

#define PRUNE_STEPS 64 /* instructions that are looked at: what is dead is so soon */

/*
 * The register gets another value before it is read, in the golden run, and so with the fault.
 * Whatever is delivered in between reads RSP at most. The machine is moved.
 */
static int is_overwritten(struct experiments *x, enum gpr reg, struct err *err)
{
	struct engine *e = machine_engine(x->m);

	for (unsigned i = 0; i < PRUNE_STEPS; i++) {
		uint64_t count = e->ops->count(e);
		enum timeline_stop why;
		enum liveness use;
		struct cpu_state s;

		e->ops->get_state(e, &s);
		use = next_liveness(machine_memory(x->m), &s, reg);
		if (use == LIVENESS_READ)
			return 0;
		why = timeline_step(x->config.line, err);
		if (why != TIMELINE_THERE)
			return why == TIMELINE_FAILED ? -err->code : 0;
		if (use == LIVENESS_WRITTEN && e->ops->count(e) == count + 1)
			return 1;
	}
	return 0;
}

static int register_fate(struct experiments *x, const struct fault *f, enum fate *fate,
			 struct err *err)
{
	int ret = seek(x, f->count, err);

	if (ret == 0)
		ret = is_overwritten(x, (enum gpr)f->index, err);
	*fate = ret == 1 ? FATE_GONE : FATE_OPEN;
	return ret < 0 ? ret : 0;
}

/* The last of the bytes that a flip in RAM is in. */
static uint64_t last_byte(const struct fault *f)
{
	return f->index + (f->bit + fault_width(f) - 1) / 8;
}

static enum fate memory_fate(const struct experiments *x, const struct fault *f)
{
	enum fate all = FATE_GONE;

	for (uint64_t at = f->index; at <= last_byte(f); at++) {
		enum ram_fate one = ram_fates_get(&x->fates, at, f->count);

		if (one != RAM_OVERWRITTEN && one != RAM_UNUSED)
			return FATE_OPEN;
		all = one == RAM_UNUSED ? FATE_STAYS : all;
	}
	return all;
}

int experiments_expect(struct experiments *x, const struct fault *f, struct err *err)
{
	must(!x->fates.m);
	if (f->place != FAULT_MEMORY || last_byte(f) >= machine_memory(x->m)->size)
		return 0;
	for (uint64_t at = f->index; at <= last_byte(f); at++) {
		if (ram_fates_add(&x->fates, at, f->count, err) < 0)
			return -err->code;
	}
	return 0;
}

int experiments_foresee(struct experiments *x, struct err *err)
{
	return ram_fates_find(&x->fates, x->config.line, x->m, err);
}

/* The machine may be moved. */
static int find_fate(struct experiments *x, const struct fault *f, enum fate *fate, struct err *err)
{
	*fate = FATE_OPEN;
	if (f->place == FAULT_REGISTER)
		return register_fate(x, f, fate, err);
	if (f->place == FAULT_MEMORY)
		*fate = memory_fate(x, f);
	return 0;
}

/* The result of a run that is the golden one from the fault on, but for what stays. */
static void tell_result(struct experiments *x, uint64_t from, enum fate fate,
			struct experiment_result *r)
{
	const struct trace *t = &x->golden_sent;

	trace_clear(&x->sent);
	for (size_t i = 0; i < t->n; i++) {
		const struct trace_entry *e = &t->entry[i];

		if (is_text(e->stream) && e->count >= from)
			trace_put(&x->sent, e->stream, e->count, t->bytes.data + e->offset, e->len);
	}
	r->pruned = true;
	r->end_count = x->end_count;
	r->status = x->golden_end == MACHINE_EXIT ? x->golden_status : 0;
	r->outcome = classify(x, x->golden_end, from, r);
	if (r->outcome == OUTCOME_NONE && fate == FATE_STAYS)
		r->outcome = OUTCOME_LATENT;
}

/* ---- experiments ---- */

static int run_faults(struct experiments *x, const struct fault *f, size_t n,
		      struct experiment_result *r, struct err *err)
{
	struct deviation d = deviation_of(x, f, n);
	enum machine_end end;
	int ret = seek(x, f->count, err);

	if (ret < 0)
		return ret;
	trace_clear(&x->sent);
	x->deviating = true;
	end = timeline_deviate(x->config.line, &d, err);
	x->deviating = false;
	if (d.refused) {
		r->outcome = OUTCOME_REFUSED;
		return 0;
	}
	if (end == MACHINE_SPINNING && is_cut_off(x))
		end = MACHINE_ENDED;
	split(&x->sent, &x->golden_sent, f->count, &x->trace);
	if (x->trace.bad || end == MACHINE_FAILED)
		return err->code ? -err->code
				 : err_set(err, EIO, "an experiment could not be run to its end");
	r->bound = d.bound;
	r->end_count = machine_engine(x->m)->ops->count(machine_engine(x->m));
	r->status = end == MACHINE_EXIT ? machine_exit_code(x->m) : 0;
	r->first_difference = first_difference(x, f->count);
	r->outcome = classify(x, end, f->count, r);
	if (r->outcome == OUTCOME_NONE && state_hash(x->m) != x->golden_state)
		r->outcome = OUTCOME_LATENT;
	return 0;
}

int experiments_run(struct experiments *x, const struct fault *f, size_t n,
		    struct experiment_result *r, struct err *err)
{
	enum fate fate = FATE_OPEN;
	int ret = 0;

	*r = (struct experiment_result){ .first_difference = UINT64_MAX, .end_count = f->count };
	if (x->config.prune && n == 1)
		ret = find_fate(x, f, &fate, err);
	if (ret < 0 || fate == FATE_OPEN)
		return ret < 0 ? ret : run_faults(x, f, n, r, err);
	tell_result(x, f->count, fate, r);
	return x->sent.bad ? err_set(err, ENOMEM, "out of memory") : 0;
}

int experiments_verify(struct experiments *x, const struct fault *f,
		       const struct experiment_result *r, struct err *err)
{
	struct experiment_result run = { .first_difference = UINT64_MAX, .end_count = f->count };
	int ret = run_faults(x, f, 1, &run, err);

	if (ret < 0 || run.outcome == r->outcome)
		return ret;
	return err_set(err, EILSEQ, "it was to be '%s' without a run, and is '%s'",
		       outcome_name(r->outcome), outcome_name(run.outcome));
}

static void show(const struct trace *t, uint64_t before, struct buf *shown)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct trace_entry *e = &t->entry[i];

		if (is_text(e->stream) && e->count < before)
			buf_put(shown, t->bytes.data + e->offset, e->len);
	}
}

int experiments_try(struct experiments *x, const struct fault *faults, size_t nfaults,
		    struct experiment_try *t, struct buf *shown, struct err *err)
{
	struct deviation d = deviation_of(x, faults, nfaults);
	int ret;

	*t = (struct experiment_try){ .end = x->golden_end,
				      .status = x->golden_status,
				      .count = x->end_count,
				      .bound = d.bound };
	buf_clear(shown);
	show(&x->golden_sent, nfaults ? faults[0].count : UINT64_MAX, shown);
	if (!nfaults)
		return 0;
	ret = seek(x, faults[0].count, err);
	if (ret < 0)
		return ret;
	trace_clear(&x->sent);
	x->deviating = true;
	t->end = timeline_deviate(x->config.line, &d, err);
	x->deviating = false;
	t->refused = d.refused;
	if (!d.refused && t->end == MACHINE_FAILED)
		return err->code ? -err->code : err_set(err, EIO, "a run did not come to its end");
	if (t->end == MACHINE_SPINNING && is_cut_off(x))
		t->end = MACHINE_ENDED;
	t->count = machine_engine(x->m)->ops->count(machine_engine(x->m));
	t->status = t->end == MACHINE_EXIT ? machine_exit_code(x->m) : 0;
	show(&x->sent, UINT64_MAX, shown);
	return x->sent.bad || shown->bad ? err_set(err, ENOMEM, "out of memory") : 0;
}

/* ---- spread ---- */

/* The machine with the fault, at a count; its RAM goes to `with`, the golden one's stays. */
static int both_at(struct experiments *x, const struct fault *f, size_t n, uint64_t count,
		   uint8_t *with, struct err *err)
{
	struct deviation d = { .fault = f, .nfaults = n, .bound = count };
	const struct memory *mem = machine_memory(x->m);
	struct input flips[SYNC_INPUTS_MAX];
	int ret = seek(x, f->count, err);
	size_t nflips = 0;

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < n; i++) {
		if (fault_is_hardware(f[i].place))
			nflips +=
				fault_inputs(&f[i], x->m, flips + nflips, SYNC_INPUTS_MAX - nflips);
	}
	if (timeline_deviate(x->config.line, &d, err) == MACHINE_FAILED)
		return -err->code;
	memcpy(with, mem->base, mem->size);
	for (size_t i = 0; i < nflips; i++) {
		if (flips[i].a == CONTROL_FLIP_BIT)
			with[flips[i].b / 8] ^= (uint8_t)(1u << flips[i].b % 8);
	}
	return seek(x, count, err);
}

/* The first byte that differs, and how many pages do; false: none. */
static bool compare_ram(const struct memory *mem, const uint8_t *with, struct experiment_spread *s)
{
	s->pages = 0;
	for (uint64_t at = mem->size; at >= PAGE_SIZE;) {
		at -= PAGE_SIZE;
		if (!memcmp(mem->base + at, with + at, PAGE_SIZE))
			continue;
		s->pages++;
		for (s->byte = at; mem->base[s->byte] == with[s->byte];)
			s->byte++;
	}
	return s->pages > 0;
}

static int differs_at(struct experiments *x, const struct fault *f, size_t n, uint64_t count,
		      uint8_t *with, struct experiment_spread *s, struct err *err)
{
	int ret = both_at(x, f, n, count, with, err);

	return ret < 0 ? ret : compare_ram(machine_memory(x->m), with, s);
}

/* Equal at `equal`, different at `other`: the two come together. */
static int narrow(struct experiments *x, const struct fault *f, size_t n, uint64_t equal,
		  uint64_t other, uint8_t *with, struct experiment_spread *s, struct err *err)
{
	struct cpu_state state;
	int ret;

	while (other - equal > 1) {
		uint64_t middle = equal + (other - equal) / 2;

		ret = differs_at(x, f, n, middle, with, s, err);
		if (ret < 0)
			return ret;
		if (ret)
			other = middle;
		else
			equal = middle;
	}
	ret = differs_at(x, f, n, other, with, s, err);
	if (ret >= 0)
		ret = both_at(x, f, n, equal, with, err);
	machine_engine(x->m)->ops->get_state(machine_engine(x->m), &state);
	s->count = equal;
	s->rip = state.seg[SEG_CS].base + state.rip;
	s->paging = state.cr0 & CR0_PG;
	s->user = (state.seg[SEG_CS].selector & 3) == 3;
	s->cr3 = state.cr3;
	return ret;
}

int experiments_spread(struct experiments *x, const struct fault *f, size_t n, uint64_t to,
		       struct experiment_spread *s, struct err *err)
{
	uint64_t equal = f->count, step = 1;
	struct experiment_spread end = { 0 };
	uint8_t *with = malloc(machine_memory(x->m)->size);
	int ret = 0;

	*s = (struct experiment_spread){ 0 };
	if (!with)
		return err_set(err, ENOMEM, "out of memory");
	if (to >= x->end_count)
		to = x->end_count ? x->end_count - 1 : 0;
	for (; equal < to && ret == 0 && !s->found; step *= 2) {
		uint64_t other = step < to - f->count ? f->count + step : to;

		ret = differs_at(x, f, n, other, with, s, err);
		s->found = ret == 1;
		if (s->found)
			ret = narrow(x, f, n, equal, other, with, s, err);
		equal = other;
	}
	if (ret == 0 && s->found && differs_at(x, f, n, to, with, &end, err) >= 0)
		s->pages = end.pages;
	free(with);
	return ret < 0 ? ret : 0;
}

uint64_t experiments_end(const struct experiments *x)
{
	return x->end_count;
}

/* ---- moments ---- */

#define MOMENTS_MAX 10000000u

static int add_moment(struct experiments *x, struct experiment_moment moment, struct err *err)
{
	uint64_t nth = x->config.when.nth;

	if (nth && ++x->happened != nth)
		return 0;
	if (x->nmoments == MOMENTS_MAX)
		return err_set(err, E2BIG, "what \"when\" names happens more than %u times",
			       MOMENTS_MAX);
	if (x->nmoments == x->room) {
		size_t room = x->room ? 2 * x->room : 256;
		struct experiment_moment *more = realloc(x->moment, room * sizeof(*more));

		if (!more)
			return err_set(err, ENOMEM, "out of memory");
		x->moment = more;
		x->room = room;
	}
	x->moment[x->nmoments++] = moment;
	return 0;
}

const struct experiment_moment *experiments_moments(const struct experiments *x, size_t *n)
{
	*n = x->nmoments;
	return x->moment;
}

/* A byte of a console; a line is whole, and looked at, with the count at its end. */
static int add_to_line(struct experiments *x, struct buf *line, uint8_t c, uint64_t count,
		       struct err *err)
{
	int ret = 0;

	if (c != '\n') {
		buf_put_u8(line, c ? c : ' ');
		return 0;
	}
	buf_put_u8(line, 0);
	if (!line->bad && !regexec(x->config.when_output, (const char *)line->data, 0, NULL, 0))
		ret = add_moment(x, (struct experiment_moment){ .count = count + 1 }, err);
	buf_clear(line);
	return ret;
}

/* All consoles at once, as the n-th time is that of all of them. */
static int find_outputs(struct experiments *x, struct err *err)
{
	struct buf line[OUTPUT_DEBUG + 1][MACHINE_CONSOLES] = { 0 };
	int ret = 0;

	for (size_t i = 0; i < x->golden_sent.n && ret == 0; i++) {
		const struct trace_entry *e = &x->golden_sent.entry[i];
		unsigned kind = kind_of(e->stream), port = e->stream & 0xff;

		if (!is_text(e->stream) || port >= MACHINE_CONSOLES)
			continue;
		for (size_t k = 0; k < e->len && ret == 0; k++)
			ret = add_to_line(x, &line[kind][port],
					  x->golden_sent.bytes.data[e->offset + k], e->count, err);
	}
	for (unsigned kind = 0; kind <= OUTPUT_DEBUG; kind++) {
		for (unsigned port = 0; port < MACHINE_CONSOLES; port++)
			buf_free(&line[kind][port]);
	}
	return ret;
}

static void look_at_packet(struct experiments *x, uint64_t count, const struct input *in)
{
	x->rx_number = count == x->rx_count ? x->rx_number + 1 : 1;
	x->rx_count = count;
	if (!x->moments_err.code &&
	    packet_pattern_matches(x->config.when_packet, in->port, in->data, in->len))
		add_moment(x, (struct experiment_moment){ count, in->port, x->rx_number },
			   &x->moments_err);
}

static void look_at_inputs(void *ctx, const struct sync_point *sp)
{
	for (size_t i = 0; i < sp->n; i++) {
		if (sp->input[i].kind == INPUT_NET_RX)
			look_at_packet(ctx, sp->at.count, &sp->input[i]);
	}
}

/* ---- the golden run ---- */

static void watch_for(struct experiments *x)
{
	const struct experiments_when *when = &x->config.when;
	struct timeline_probe probe = { 0 };

	if (when->kind == WHEN_EXECUTED)
		probe.breakpoint[probe.nbreakpoints++] = when->address;
	if (when->kind == WHEN_ACCESSED)
		probe.watch[probe.nwatches++] = (struct engine_watch){
			.address = when->address, .length = 1, .read = true, .write = true
		};
	timeline_set_probe(x->config.line, &probe);
	if (when->kind == WHEN_PACKET)
		timeline_on_inputs(x->config.line, look_at_inputs, x);
}

static int golden_failed(struct err *err)
{
	struct err why = *err;

	if (!why.code)
		return err_set(err, EINTR, "the golden run did not come to its end");
	return why.code == EILSEQ ? err_set(err, EILSEQ,
					    "the golden run does not repeat, so nothing can be "
					    "compared with it: %s",
					    why.text)
				  : -why.code;
}

static int run_golden(struct experiments *x, struct err *err)
{
	struct engine *e = machine_engine(x->m);
	enum timeline_stop why;
	int ret = 0;

	watch_for(x);
	while ((why = timeline_forward(x->config.line, err)) == TIMELINE_BREAKPOINT ||
	       why == TIMELINE_WATCH) {
		ret = add_moment(x, (struct experiment_moment){ .count = e->ops->count(e) }, err);
		if (ret < 0)
			return ret;
	}
	timeline_on_inputs(x->config.line, NULL, NULL);
	if (why != TIMELINE_END)
		return golden_failed(err);
	if (x->moments_err.code)
		*err = x->moments_err;
	if (x->moments_err.code)
		return -err->code;
	x->end_count = e->ops->count(e);
	x->golden_end = timeline_end(x->config.line);
	x->golden_status = machine_exit_code(x->m);
	x->golden_state = state_hash(x->m);
	if (x->config.when.kind == WHEN_OUTPUT)
		ret = find_outputs(x, err);
	if (ret == 0 && x->config.when.kind != WHEN_ALWAYS && !x->nmoments)
		ret = err_set(err, EINVAL, "what \"when\" names does not happen in the recording");
	split(&x->golden_sent, NULL, 0, &x->golden);
	if (x->golden.bad)
		ret = err_set(err, ENOMEM, "no memory for the outputs of the golden run");
	return ret;
}

struct experiments *experiments_open(const struct experiments_config *c, struct machine *m,
				     struct err *err)
{
	struct experiments *x = calloc(1, sizeof(*x));

	if (!x) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	x->config = *c;
	x->m = m;
	return x;
}

void experiments_close(struct experiments *x)
{
	if (!x)
		return;
	trace_free(&x->golden);
	trace_free(&x->trace);
	trace_free(&x->golden_sent);
	trace_free(&x->sent);
	ram_fates_free(&x->fates);
	free(x->moment);
	free(x);
}

int experiments_golden(struct experiments *x, struct err *err)
{
	int ret;

	x->recording = true;
	ret = run_golden(x, err);
	x->recording = false;
	return ret;
}
