// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The backup side of a pair.
 *
 * vCPU thread     replays batches as they come; at their end, when the primary is gone, asks the
 * arbiter and goes live receiver        reads frames, acknowledges records as soon as they are in
 * memory, notices silence spy             keeps the frames that arrive for the guest meanwhile
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "record/pages.h"
#include "replica/backup.h"

#define INCOMING_MAX  (256u << 20) /* bytes of records in memory; TCP holds the rest back */
#define STATE_WAIT_MS 60000

static uint64_t timeout_ns(const struct replica *r)
{
	return r->session->theirs.timeout_ms * NS_PER_MS;
}

static unsigned period_ms(const struct session *s)
{
	return heartbeat_ms(s->theirs.timeout_ms, s->theirs.hang_timeout_ms);
}

/*
 * ---- outputs of a machine that is not live: kept until the primary says that they have left ----
 */

void backup_emit(struct replica *r, const struct output *out)
{
	pthread_mutex_lock(&r->lock);
	held_add(&r->held, r->replay.records + r->replay_base + 1, out);
	held_drop(&r->held, r->released_by_primary);
	pthread_mutex_unlock(&r->lock);
}

/* ---- receiver ---- */

static int send_ack(struct session *s, struct err *err)
{
	struct replica *r = s->r;
	struct wire_ack a;
	struct buf b = BUF_INIT;
	int ret;

	pthread_mutex_lock(&r->lock);
	a = (struct wire_ack){
		.echo_ns = r->newest_stamp,
		.received = r->received,
		.applied = r->applied,
		.digests = r->digests,
		.beat = replica_last_beat(r),
	};
	pthread_mutex_unlock(&r->lock);
	wire_ack_save(&a, &b);
	ret = wire_send(&s->wire, WIRE_ACK, b.data, b.len, false, (int)s->theirs.timeout_ms, err);
	buf_free(&b);
	return ret;
}

/* The frame's batches, undecoded, as a list. On failure it holds those before the bad one. */
static int unpack_records(struct replica *r, struct rd *in, struct parcel **end, struct err *err)
{
	uint64_t received = r->received;

	while (rd_left(in)) {
		uint64_t last = rd_varint(in);
		size_t n;
		const uint8_t *p = rd_blob(in, WIRE_FRAME_MAX, &n);
		struct buf b = BUF_INIT;

		if (in->bad || last <= received)
			return err_set(err, EBADMSG, "a batch of records is damaged");
		buf_put(&b, p, n);
		*end = parcel_new(WIRE_RECORDS, &b);
		if (!*end)
			return err_set(err, ENOMEM, "out of memory");
		(*end)->last = received = last;
		end = &(*end)->next;
	}
	return 0;
}

/*
 * They are acknowledged before the vCPU thread gets them: the guest's clients wait for the one, not
 * for the other.
 */
static int take_records(struct session *s, struct rd *in, struct err *err)
{
	struct parcel *first = NULL;
	struct replica *r = s->r;
	int ret = unpack_records(r, in, &first, err);

	pthread_mutex_lock(&r->lock);
	for (struct parcel *p = first; p; p = p->next)
		r->received = p->last;
	pthread_mutex_unlock(&r->lock);
	if (ret == 0)
		ret = send_ack(s, err);
	while (first) {
		struct parcel *p = first;

		first = p->next;
		queue_push(&r->incoming, &p->node, p->data.len + sizeof(*p));
	}
	return ret;
}

static int take_bye(struct replica *r, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);

	pthread_mutex_lock(&r->lock);
	r->bye_end = rd_u8(&in);
	r->bye_code = rd_u8(&in);
	r->bye_count = rd_u64(&in);
	r->peer_said_bye = !in.bad;
	pthread_mutex_unlock(&r->lock);
	return in.bad ? err_set(err, EBADMSG, "a goodbye is damaged") : 0;
}

static int take_frame(struct session *s, const struct wire_frame *f, struct err *err)
{
	struct replica *r = s->r;
	struct rd in = RD_INIT(f->data, f->len);
	struct wire_stamp stamp;
	int ret;

	if (f->type == WIRE_BYE)
		return take_bye(r, f, err);
	if (f->type != WIRE_RECORDS && f->type != WIRE_HEARTBEAT)
		return err_set(err, EBADMSG, "frame of type %d from a primary", f->type);
	ret = wire_stamp_restore(&stamp, &in, err);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&r->lock);
	r->newest_stamp = stamp.sent_ns;
	r->released_by_primary = stamp.released;
	r->eligible |= stamp.protecting;
	hang_watch_look(&s->watch, stamp.beat, replica_mono_ns(), 2 * period_ms(s) * NS_PER_MS);
	held_drop(&r->held, stamp.released);
	replica_note_rate(r);
	pthread_mutex_unlock(&r->lock);
	return f->type == WIRE_RECORDS ? take_records(s, &in, err) : send_ack(s, err);
}

/*
 * A primary that may be alive hears nothing more from us: when its lease is over, nothing leaves
 * there any more.
 */
static void outlast_lease(struct session *s)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	struct replica *r = s->r;

	while (r->eligible && replica_mono_ns() - r->last_heard_ns < timeout_ns(r) &&
	       !atomic_load(&s->over))
		nanosleep(&ms, NULL);
}

/* The primary's network side is alive, its vCPU is not: the arbiter decides as after a silence. */
static bool primary_hangs(struct session *s)
{
	struct replica *r = s->r;
	uint64_t still = s->watch.still_ns;

	if (!r->eligible || still < s->theirs.hang_timeout_ms * NS_PER_MS)
		return false;
	replica_event(
		r, "hang",
		"the primary hangs: its host answers, but its vCPU makes no progress for %u ms",
		s->theirs.hang_timeout_ms);
	outlast_lease(s);
	r->last_heard_ns -= still;
	return true;
}

static void stream_ends(struct replica *r, const char *why)
{
	pthread_mutex_lock(&r->lock);
	r->peer_lost = !r->peer_said_bye;
	snprintf(r->lost_why, sizeof(r->lost_why), "%s", why);
	atomic_store(&r->stream_over, true);
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	queue_wake(&r->incoming);
}

/*
 * The connection ended as it does when a process dies. Any other error may come from a primary that
 * is alive.
 */
static bool is_cut(int ret)
{
	return ret == 0 || ret == -ECONNRESET || ret == -EPIPE;
}

static void *backup_receiver(void *arg)
{
	struct session *s = arg;
	struct replica *r = s->r;
	char silence[64];
	struct err err = ERR_INIT;
	const char *why = "told to stop";
	bool cut = true;

	snprintf(silence, sizeof(silence), "silent for %u ms", s->theirs.timeout_ms);
	while (!atomic_load(&s->over)) {
		struct wire_frame f;
		int ret;

		if (queue_bytes(&r->incoming) > INCOMING_MAX) {
			const struct timespec ms = { .tv_nsec = 1000000 };

			nanosleep(&ms, NULL);
			continue;
		}
		ret = wire_recv(&s->wire, &f, (int)period_ms(s) + 1, &err);
		if (ret == -EAGAIN && replica_mono_ns() - r->last_heard_ns < timeout_ns(r)) {
			ret = send_ack(s, &err);
			if (ret == 0)
				continue;
		}
		if (ret > 0) {
			r->last_heard_ns = replica_mono_ns();
			ret = take_frame(s, &f, &err);
			if (ret == 0 && r->peer_said_bye) {
				why = "goodbye";
				break;
			}
			if (ret == 0 && primary_hangs(s)) {
				why = "its vCPU hangs";
				break;
			}
			if (ret == 0)
				continue;
		}
		why = ret == 0 ? "connection closed" : ret == -EAGAIN ? silence : err.text;
		cut = is_cut(ret);
		break;
	}
	if (!cut)
		outlast_lease(s);
	stream_ends(r, why);
	hang_linger(r);
	return NULL;
}

/* ---- the stream of records for the replayer ---- */

static bool next_batch(struct replica *r)
{
	if (r->present)
		queue_release(&r->incoming, r->present->node.bytes);
	parcel_free(r->present);
	r->present = NULL;
	for (;;) {
		/* Looked at first: whatever was pushed before the end is found by the pop. */
		bool over = atomic_load(&r->stream_over);
		struct queue_node *n = queue_pop(&r->incoming);

		replica_beat(r);
		if (n) {
			r->present = caa_container_of(n, struct parcel, node);
			r->batch_in =
				(struct rd)RD_INIT(r->present->data.data, r->present->data.len);
			codec_restart(&r->codec_in);
			return true;
		}
		if (over)
			return false;
		queue_wait(&r->incoming, (int)period_ms(r->session) + 1);
	}
}

static int stream_next(void *ctx, const struct codec_record **rec, struct err *err)
{
	struct replica *r = ctx;
	int ret;

	while (!rd_left(&r->batch_in)) {
		if (!next_batch(r))
			return 0;
	}
	ret = codec_get(&r->codec_in, &r->batch_in, &r->rec, err);
	if (ret < 0)
		return ret;
	*rec = &r->rec;
	return 1;
}

/* With a goodbye the machine ends by itself where the primary's did, or is stopped there. */
static const struct replay_end *stream_end(void *ctx)
{
	struct replica *r = ctx;

	if (!r->peer_said_bye)
		return NULL;
	r->end = (struct replay_end){ .end = r->bye_end,
				      .exit_code = r->bye_code,
				      .count = r->bye_count };
	return &r->end;
}

static void stream_applied(void *ctx, struct machine *m, const struct codec_record *rec)
{
	struct replica *r = ctx;
	struct input fault;

	for (size_t i = 0; i < rec->sp.n; i++) {
		if (rec->sp.input[i].kind == INPUT_NET_RX)
			spy_saw(r, rec->sp.input[i].data, rec->sp.input[i].len);
	}
	replica_beat(r);
	atomic_store(&r->seen_count, rec->sp.at.count);
	atomic_store(&r->seen_ns, machine_now(m));
	pthread_mutex_lock(&r->lock);
	r->applied = rec->sp.seq;
	r->digests = r->replay.digests;
	fault = r->fault;
	r->fault.kind = 0;
	pthread_mutex_unlock(&r->lock);
	if (fault.kind)
		machine_inject_fault(m, &fault);
	hang_here(r);
}

/* ---- joining ---- */

static int load_pages(struct machine *m, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);

	if (pages_load(&in, machine_memory(m)) < 0)
		return err_set(err, EBADMSG, "a list of pages is damaged");
	return 0;
}

static int load_state(struct replica *r, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);

	r->received = r->applied = r->replay_base = rd_u64(&in);
	r->codec_in = (struct codec){ .seq = r->received };
	return machine_restore(r->m, &in, err);
}

static int receive_state(struct replica *r, struct session *s, struct err *err)
{
	for (;;) {
		struct wire_frame f;
		int ret = wire_recv(&s->wire, &f, STATE_WAIT_MS, err);

		if (ret == 0)
			return err_set(
				err, ECONNRESET,
				"the primary closed the connection before its state was here");
		if (ret == -EAGAIN)
			return err_set(err, ETIMEDOUT, "the primary sent nothing for %d s",
				       STATE_WAIT_MS / 1000);
		if (ret < 0)
			return ret;
		if (f.type == WIRE_HEARTBEAT)
			continue;
		if (f.type == WIRE_STATE_END)
			break;
		if (f.type == WIRE_STATE)
			ret = load_state(r, &f, err);
		else if (f.type == WIRE_PAGES)
			ret = load_pages(r->m, &f, err);
		else if (f.type == WIRE_REFUSE)
			ret = err_set(err, EPROTO, "the primary refuses us: %.*s",
				      (int)(f.len < 200 ? f.len : 200), (const char *)f.data);
		else
			ret = err_set(err, EBADMSG, "frame of type %d instead of the state",
				      f.type);
		if (ret < 0)
			return ret;
	}
	memory_load_end(machine_memory(r->m));
	return 0;
}

/*
 * The primary's generation must be known to our arbiter as the primary's: else it is not the same
 * arbiter.
 */
static int check_arbiter(struct replica *r, struct session *s, struct err *err)
{
	uint8_t owner[ARBITER_ID_LEN];
	int ret = arbiter_owner(r->cfg.arbiter, s->theirs.generation, owner, err);

	if (ret < 0)
		return ret;
	if (ret == 0 || memcmp(owner, s->theirs.id, ARBITER_ID_LEN))
		return err_set(err, EPERM,
			       "our arbiter does not know generation %" PRIu64
			       " as the primary's: both replicas must use the same one",
			       s->theirs.generation);
	r->generation = s->theirs.generation;
	return 0;
}

struct peer *backup_dial(struct replica *r, struct err *err)
{
	uint64_t deadline = replica_mono_ns() + r->cfg.connect_wait_ms * NS_PER_MS;
	const struct timespec pause = { .tv_nsec = 100000000 };

	for (;;) {
		struct peer *p = peer_dial(r->cfg.connect, 2000, err);

		if (p || err->code == EACCES || err->code == EINVAL || atomic_load(&r->stopping) ||
		    replica_mono_ns() > deadline)
			return p;
		nanosleep(&pause, NULL);
	}
}

static int check_counter(struct replica *r, struct session *s, struct err *err)
{
	const struct engine_ops *ops = machine_engine(r->m)->ops;

	if (strcmp(ops->counter, s->theirs.counter))
		return err_set(err, EPROTO, "the primary counts '%s', our engine counts '%s'",
			       s->theirs.counter, ops->counter);
	return 0;
}

int backup_join(struct replica *r, struct err *err)
{
	int patience = r->cfg.connect_wait_ms < 2000 ? 2000 : (int)r->cfg.connect_wait_ms;
	struct peer *p = r->dialled;
	struct output_sink sink = replica_sink(r);
	struct session *s;

	if (peer_greet(p, r->cfg.key, patience, err) < 0)
		return -err->code;
	r->dialled = NULL;
	s = r->session = session_new(r, p);
	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	atomic_thread_fence(memory_order_seq_cst); /* replica_stop() has seen the session, or we see
						      what it left */
	if (atomic_load(&r->stopping))
		session_end(s);
	if (session_hello(s, false, err) < 0 || check_arbiter(r, s, err) < 0)
		return -err->code;
	r->m = r->cfg.create(r->cfg.create_ctx, &s->theirs.config, s->theirs.counter, &sink,
			     &r->cfg.live, err);
	if (!r->m || check_counter(r, s, err) < 0 || receive_state(r, s, err) < 0)
		return -err->code;
	r->last_heard_ns = replica_mono_ns();
	if (wire_send(&s->wire, WIRE_READY, NULL, 0, false, (int)s->theirs.timeout_ms * 4, err) < 0)
		return -err->code;
	replica_event(r, "backup", "backup of %s in generation %" PRIu64 ", replaying",
		      peer_name(p), r->generation);
	return session_start(s, NULL, backup_receiver, err);
}

/* ---- what comes after the stream ---- */

static void wait_for_stream_end(struct replica *r)
{
	pthread_mutex_lock(&r->lock);
	while (!atomic_load(&r->stream_over))
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

static void report_divergence(struct replica *r)
{
	struct session *s = r->session;
	struct buf b = BUF_INIT;

	pthread_mutex_lock(&r->lock);
	r->divergence_count = r->replay.diverged_count;
	r->divergence_rip = r->replay.diverged_rip;
	snprintf(r->divergence, sizeof(r->divergence), "%s", r->replay.differs);
	pthread_mutex_unlock(&r->lock);
	replica_event(r, "divergence", "DIVERGENCE at count %" PRIu64 ", RIP 0x%" PRIx64 ": %s",
		      r->divergence_count, r->divergence_rip, r->divergence);
	buf_put_u64(&b, r->divergence_count);
	buf_put_u64(&b, r->divergence_rip);
	buf_put_str(&b, r->divergence);
	/* The receiver thread sends as well: it has to be gone first. */
	atomic_store(&s->over, true);
	wait_for_stream_end(r);
	wire_send(&s->wire, WIRE_DIVERGED, b.data, b.len, false, (int)s->theirs.timeout_ms, NULL);
	buf_free(&b);
}

/*
 * We shall go on instead of a primary that is alive. It closes the connection as soon as it has
 * stopped to release outputs; whatever it does, its lease ends, for it hears no more
 * acknowledgements.
 */
static void wait_for_primary_to_yield(struct replica *r)
{
	struct err ignored = ERR_INIT;
	struct wire_frame f;
	uint64_t gone;
	int ret = 1;

	while ((ret > 0 || ret == -EAGAIN) &&
	       (gone = replica_mono_ns() - r->last_heard_ns) < timeout_ns(r))
		ret = wire_recv(&r->session->wire, &f,
				(int)((timeout_ns(r) - gone) / NS_PER_MS) + 1, &ignored);
}

/* True when this replica is the live one now. */
static bool win(struct replica *r, const char *why)
{
	struct err err = ERR_INIT;
	int won = arbiter_take(r->cfg.arbiter, r->generation + 1, r->id, &err);

	if (won == 1) {
		r->generation++;
		return true;
	}
	pthread_mutex_lock(&r->lock);
	replica_set_state(r, REPLICA_FENCED);
	pthread_mutex_unlock(&r->lock);
	replica_event(r, "fenced", "the primary is gone (%s) and the arbiter %s: stopping for good",
		      why, won == 0 ? "has given the next generation to it" : err.text);
	return false;
}

static void go_live(struct replica *r, const char *why)
{
	uint64_t now;

	spy_end(r);
	pthread_mutex_lock(&r->lock);
	r->released_seq = 0;
	atomic_store(&r->made, r->applied);
	replica_set_state(r, REPLICA_ALONE);
	r->failovers++;
	pthread_mutex_unlock(&r->lock);
	announce_start(r);
	now = replica_mono_ns();
	r->last_failover_ms = (double)(now - r->last_heard_ns) / 1e6;
	replica_event(r, "live",
		      "the primary is gone (%s): LIVE in generation %" PRIu64
		      " after %.1f ms, UNPROTECTED",
		      why, r->generation, r->last_failover_ms);
}

/* The machine has ended and the primary said so too. */
static int orderly_end(struct replica *r, enum machine_end *end)
{
	wire_send(&r->session->wire, WIRE_BYE, NULL, 0, false, (int)r->session->theirs.timeout_ms,
		  NULL);
	*end = r->bye_end < MACHINE_FAILED ? (enum machine_end)r->bye_end : MACHINE_ENDED;
	pthread_mutex_lock(&r->lock);
	replica_set_state(r, REPLICA_ENDED);
	pthread_mutex_unlock(&r->lock);
	replica_event(r, "end",
		      r->peer_said_bye ? "the primary ended the pair in good order"
				       : "told to stop");
	return 0;
}

/* Decides after the replay. 1: live now; 0: over, *end says how; -errno. */
static int after_replay(struct replica *r, enum machine_end *end, struct err *err)
{
	const char *why = r->lost_why;

	if (r->replay.diverged) {
		report_divergence(r);
		if (r->session->theirs.on_divergence != SURVIVOR_BACKUP)
			return err_set(err, EILSEQ, "%s", r->replay.error.text);
		wait_for_primary_to_yield(r);
		why = "it diverged";
	} else if (r->replay.error.code) {
		/* A record that cannot be read: nothing after it can be believed either. */
		*err = r->replay.error;
		return -err->code;
	} else {
		wait_for_stream_end(r);
		if (atomic_load(&r->stopping) || r->peer_said_bye)
			return orderly_end(r, end);
	}
	if (!r->eligible)
		return err_set(err, ECONNRESET,
			       "the primary is gone (%s) before the pair was complete", why);
	if (!win(r, why))
		return 0;
	go_live(r, why);
	return 1;
}

int backup_run(struct replica *r, enum machine_end *end, struct err *err)
{
	const struct record_stream stream = {
		.ctx = r, .next = stream_next, .end = stream_end, .applied = stream_applied
	};
	int ret;

	replay_init(&r->replay, r->m, &stream);
	replica_beat(r);
	atomic_store(&r->vcpu_over, false);
	*end = machine_run(r->m, replay_source(&r->replay), err);
	hang_vcpu_over(r);
	if (*end == MACHINE_FAILED)
		return -EIO;
	if (*end == MACHINE_DIVERGED && !r->replay.diverged)
		return -err->code;
	r->machine_ended = *end != MACHINE_ENDED && *end != MACHINE_DIVERGED;
	r->machine_end = *end;
	ret = after_replay(r, end, err);
	replay_fini(&r->replay);
	return ret;
}
