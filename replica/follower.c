// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A backup's vCPU thread: replays batches of records as they come. When they end because the
 * primary is gone, asks the arbiter and goes live.
 */
#include "replica/follower.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

int follower_init(struct follower *f)
{
	int ret = queue_init(&f->incoming);

	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	return ret;
}

void follower_fini(struct follower *f)
{
	struct parcel *p;

	peer_close(f->dialled);
	session_free(f->primary);
	disk_target_free(f->disks);
	while ((p = parcel_pop(&f->incoming)))
		parcel_free(p);
	queue_fini(&f->incoming);
	parcel_free(f->present);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
}

uint64_t follower_timeout_ns(const struct session *s)
{
	const struct follower *f = &s->r->follower;
	unsigned ms = atomic_load(&f->silence_ms);
	uint64_t ns = (ms ? ms : s->theirs.timeout_ms) * NS_PER_MS;
	uint64_t heard = atomic_load(&f->last_heard_ns), until = atomic_load(&f->bears_until_ns);

	return until > heard && until - heard > ns ? until - heard : ns;
}

unsigned follower_period_ms(const struct session *s)
{
	return heartbeat_ms(s->theirs.timeout_ms, s->theirs.hang_timeout_ms);
}

bool follower_said_bye(struct follower *f)
{
	bool said;

	pthread_mutex_lock(&f->lock);
	said = f->said_bye;
	pthread_mutex_unlock(&f->lock);
	return said;
}

static void follower_wait_stream_end(struct follower *f)
{
	pthread_mutex_lock(&f->lock);
	while (!atomic_load(&f->stream_over))
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

uint64_t follower_next_record(const struct follower *f)
{
	return f->replay.records + f->base + 1;
}

/* ---- the stream of records for the replayer ---- */

static void drop_present(struct follower *f)
{
	if (f->present)
		queue_release(&f->incoming, f->present->node.bytes);
	parcel_free(f->present);
	f->present = NULL;
}

static bool next_batch(struct replica *r)
{
	struct follower *f = &r->follower;

	drop_present(f);
	for (;;) {
		/*
		 * Read before the pop, which then finds everything that was queued before the end.
		 */
		bool over = atomic_load(&f->stream_over);

		replica_beat(r);
		f->present = parcel_pop(&f->incoming);
		if (f->present) {
			f->batch_in =
				(struct rd)RD_INIT(f->present->data.data, f->present->data.len);
			codec_restart(&f->codec);
			return true;
		}
		if (over)
			return false;
		queue_wait(&f->incoming, (int)follower_period_ms(f->primary) + 1);
	}
}

static int stream_next(void *ctx, const struct codec_record **rec, struct err *err)
{
	struct replica *r = ctx;
	struct follower *f = &r->follower;
	int ret;

	while (!rd_left(&f->batch_in)) {
		if (!next_batch(r))
			return 0;
	}
	ret = codec_get(&f->codec, &f->batch_in, &f->rec, err);
	if (ret < 0)
		return ret;
	*rec = &f->rec;
	return 1;
}

/*
 * Where the replay ends, if the stream says so: after a goodbye the machine ends by itself where
 * the primary's did, or is stopped there.
 */
static const struct replay_end *stream_end(void *ctx)
{
	struct follower *f = &((struct replica *)ctx)->follower;

	if (!follower_said_bye(f))
		return NULL;
	f->end = f->bye;
	return &f->end;
}

static void stream_applied(void *ctx, struct machine *m, const struct codec_record *rec)
{
	struct replica *r = ctx;
	struct follower *f = &r->follower;
	struct input fault = orders_take_fault(&r->orders);

	for (size_t i = 0; i < rec->sp.n; i++) {
		if (rec->sp.input[i].kind == INPUT_NET_RX)
			spy_saw(r, rec->sp.input[i].data, rec->sp.input[i].len);
	}
	replica_beat(r);
	atomic_store(&r->vcpu.count, rec->sp.at.count);
	atomic_store(&r->vcpu.now_ns, machine_now(m));
	pthread_mutex_lock(&f->lock);
	f->applied = rec->sp.seq;
	f->digests = f->replay.digests;
	pthread_mutex_unlock(&f->lock);
	verify_applied(r, rec->sp.seq);
	snapshot_applied(r, rec);
	if (fault.kind)
		machine_inject_fault(m, &fault);
	hang_here(r);
}

/* ---- what comes after the stream ---- */

static void report_divergence(struct replica *r)
{
	struct follower *f = &r->follower;
	struct replay *p = &f->replay;
	struct session *s = f->primary;
	struct buf b = BUF_INIT;

	failover_keep_divergence(&r->failover, p->diverged_count, p->diverged_rip, p->differs,
				 strlen(p->differs));
	replica_event(r, "divergence", "DIVERGENCE at count %" PRIu64 ", RIP 0x%" PRIx64 ": %s",
		      p->diverged_count, p->diverged_rip, r->failover.divergence);
	buf_put_u64(&b, p->diverged_count);
	buf_put_u64(&b, p->diverged_rip);
	buf_put_str(&b, r->failover.divergence);
	/* The receiver's thread also sends, so it must have ended first. */
	atomic_store(&s->over, true);
	follower_wait_stream_end(f);
	wire_send(&s->wire, WIRE_DIVERGED, b.data, b.len, false, (int)s->theirs.timeout_ms, NULL);
	buf_free(&b);
}

/*
 * Waits until a live primary has stopped, in whose place we shall go on. It closes the connection
 * as soon as it releases no more outputs. Even if it does not, its lease ends, because it gets no
 * more acknowledgements.
 */
static void wait_for_primary_to_yield(struct replica *r)
{
	uint64_t timeout = follower_timeout_ns(r->follower.primary), gone;
	struct err ignored = ERR_INIT;
	struct wire_frame f;
	int ret = 1;

	while ((ret > 0 || ret == -EAGAIN) &&
	       (gone = host_mono_ns() - atomic_load(&r->follower.last_heard_ns)) < timeout)
		ret = wire_recv(&r->follower.primary->wire, &f,
				(int)((timeout - gone) / NS_PER_MS) + 1, &ignored);
}

/*
 * Until this side has a backup, status shows in the link's fields what this side has received and
 * applied.
 */
static void hand_over_to_link(struct replica *r)
{
	pthread_mutex_lock(&r->link.lock);
	r->link.acked = r->follower.received;
	r->link.applied = r->follower.applied;
	r->link.digests = r->follower.digests;
	pthread_mutex_unlock(&r->link.lock);
	atomic_store(&r->made, r->follower.applied);
	disks_note_record(&r->disks, r->follower.applied);
}

static void go_live(struct replica *r, const char *why)
{
	double ms;

	spy_end(r);
	announce_start(r);
	r->cfg.live.moved = true;
	r->cfg.live.agent = LIVE_AGENT_THAW;
	ms = (double)(host_mono_ns() - atomic_load(&r->follower.last_heard_ns)) / 1e6;
	failover_note(&r->failover, ms);
	replica_event_took(r, "live", ms,
			   "the primary is gone (%s): LIVE in generation %" PRIu64
			   " after %.1f ms, UNPROTECTED",
			   why, failover_generation(&r->failover), ms);
}

/*
 * Ends the replica: the machine has ended where the primary said that it would, or this side was
 * told to stop.
 */
static int orderly_end(struct replica *r, enum machine_end *end)
{
	struct follower *f = &r->follower;
	bool bye = follower_said_bye(f);

	wire_send(&f->primary->wire, WIRE_BYE, NULL, 0, false, (int)f->primary->theirs.timeout_ms,
		  NULL);
	*end = f->bye.end < MACHINE_FAILED ? f->bye.end : MACHINE_ENDED;
	failover_event(&r->failover, FAILOVER_END);
	replica_event(r, "end", bye ? "the primary ended the pair in good order" : "told to stop");
	return 0;
}

/*
 * Claims the guest (in CLAIMING), or ends if we were not counted on (in ENDED). Result as of
 * follower_run().
 */
static int claim(struct replica *r, enum failover_event e, const char *why, enum machine_end *end,
		 struct err *err)
{
	int won;

	if (failover_event(&r->failover, e) != REPLICA_CLAIMING)
		return err_set(err, ECONNRESET,
			       "the primary is gone (%s) before the pair was complete", why);
	hand_over_to_link(r);
	won = arbitrate_claim(r, why);
	if (won == 1)
		disks_part(r);
	if (won == -ECANCELED)
		return orderly_end(r, end);
	if (won == 1)
		go_live(r, why);
	return won;
}

/*
 * Takes over from a primary that has stopped on purpose and will follow us. Result as of
 * follower_run().
 */
static int take_over(struct replica *r, enum machine_end *end)
{
	int won;

	hand_over_to_link(r);
	won = handover_take(r);
	if (won == -ECANCELED)
		return orderly_end(r, end);
	if (won != 1)
		return won;
	spy_end(r);
	announce_start(r);
	r->cfg.live.moved = true;
	r->cfg.live.agent = LIVE_AGENT_LEFT; /* who froze them may copy this side's disks now */
	disks_change_sides(r, atomic_load(&r->made), true);
	replica_event(r, "switched",
		      "the primary has handed over: LIVE in generation %" PRIu64
		      ", and it follows from here on",
		      failover_generation(&r->failover));
	return 1;
}

static int after_divergence(struct replica *r, enum machine_end *end, struct err *err)
{
	report_divergence(r);
	if (r->follower.primary->theirs.on_divergence != SURVIVOR_BACKUP) {
		failover_event(&r->failover, FAILOVER_YIELD);
		return err_set(err, EILSEQ, "%s", r->follower.replay.error.text);
	}
	wait_for_primary_to_yield(r);
	return claim(r, FAILOVER_STAY, "it diverged", end, err);
}

/* Decides what to do after the replay. Result as of follower_run(). */
static int after_replay(struct replica *r, enum machine_end *end, struct err *err)
{
	struct follower *f = &r->follower;

	if (f->replay.diverged)
		return after_divergence(r, end, err);
	if (f->replay.error.code) {
		/*
		 * A record could not be decoded, so the records after it cannot be trusted either.
		 */
		failover_event(&r->failover, FAILOVER_END);
		*err = f->replay.error;
		return -err->code;
	}
	follower_wait_stream_end(f);
	if (atomic_load(&r->stopping) || follower_said_bye(f))
		return orderly_end(r, end);
	if (handover_is_asked(r))
		return take_over(r, end);
	return claim(r, FAILOVER_LOST, f->lost_why, end, err);
}

int follower_run(struct replica *r, enum machine_end *end, struct err *err)
{
	const struct record_stream stream = {
		.ctx = r, .next = stream_next, .end = stream_end, .applied = stream_applied
	};
	struct follower *f = &r->follower;
	int ret;

	replay_init(&f->replay, r->m, &stream);
	replica_beat(r);
	atomic_store(&r->vcpu.over, false);
	*end = machine_run(r->m, replay_source(&f->replay), err);
	hang_vcpu_over(r);
	if (*end == MACHINE_FAILED)
		return -EIO;
	if (*end == MACHINE_DIVERGED && !f->replay.diverged)
		return -err->code;
	f->machine_ended = *end != MACHINE_ENDED && *end != MACHINE_DIVERGED;
	f->machine_end = *end;
	ret = after_replay(r, end, err);
	replay_fini(&f->replay);
	return ret;
}
