// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A backup's receiver: reads frames, acknowledges records as soon as they are in memory, and
 * notices when the primary is silent or hangs. It passes records to the vCPU thread through a
 * queue.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

/* bytes of records in memory; beyond that the connection holds the primary back */
#define INCOMING_MAX (256u << 20)

int follower_acknowledge(struct session *s, struct err *err)
{
	struct replica *r = s->r;
	struct follower *fo = &r->follower;
	int ret, timeout_ms = (int)(follower_timeout_ns(s) / NS_PER_MS);
	struct wire_ack a;
	struct buf b = BUF_INIT;

	pthread_mutex_lock(&fo->lock);
	a = (struct wire_ack){
		.echo_ns = fo->newest_stamp,
		.received = fo->received,
		.applied = fo->applied,
		.digests = fo->digests,
		.beat = replica_last_beat(r),
		.flush = atomic_load(&r->snapshot.wish),
	};
	pthread_mutex_unlock(&fo->lock);
	wire_ack_save(&a, &b);
	ret = wire_send(&s->wire, WIRE_ACK, b.data, b.len, false, timeout_ms, err);
	buf_clear(&b);
	if (ret == 0 && verify_answer(r, &b))
		ret = wire_send(&s->wire, WIRE_VERIFIED, b.data, b.len, false, timeout_ms, err);
	buf_free(&b);
	return ret;
}

/*
 * Makes a list of the frame's batches, without decoding them. On failure the list has the batches
 * before the bad one.
 */
static int unpack_records(uint64_t received, struct rd *in, struct parcel **end, struct err *err)
{
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
 * Records are acknowledged before the vCPU thread gets them: the guest's clients wait for the
 * acknowledgement, not for the replay.
 */
static int take_records(struct session *s, struct rd *in, struct err *err)
{
	struct follower *fo = &s->r->follower;
	struct parcel *first = NULL;
	int ret = unpack_records(fo->received, in, &first, err);

	pthread_mutex_lock(&fo->lock);
	for (struct parcel *p = first; p; p = p->next)
		fo->received = p->last;
	if (first)
		fo->last_record_ns = host_mono_ns();
	pthread_mutex_unlock(&fo->lock);
	if (ret == 0)
		ret = follower_acknowledge(s, err);
	while (first) {
		struct parcel *p = first;

		first = p->next;
		queue_push(&fo->incoming, &p->node, p->data.len + sizeof(*p));
	}
	return ret;
}

static int take_bye(struct follower *fo, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);
	struct replay_end end = { 0 };

	end.end = rd_u8(&in);
	end.exit_code = rd_u8(&in);
	end.count = rd_u64(&in);
	if (in.bad)
		return err_set(err, EBADMSG, "a goodbye is damaged");
	pthread_mutex_lock(&fo->lock);
	fo->bye = end;
	fo->said_bye = true;
	pthread_mutex_unlock(&fo->lock);
	return 0;
}

static void take_stamp(struct session *s, const struct wire_stamp *stamp)
{
	struct replica *r = s->r;
	struct follower *fo = &r->follower;
	uint64_t now = host_mono_ns(), until;

	pthread_mutex_lock(&fo->lock);
	fo->newest_stamp = stamp->sent_ns;
	hang_watch_look(&s->watch, stamp->beat, now, 2 * follower_period_ms(s) * NS_PER_MS);
	traffic_note(&fo->traffic, s->wire.bytes_in, now);
	pthread_mutex_unlock(&fo->lock);
	atomic_store(&fo->silence_ms, stamp->silence_ms);
	until = now + stamp->silence_ms * NS_PER_MS;
	if (until > atomic_load(&fo->bears_until_ns))
		atomic_store(&fo->bears_until_ns, until);
	outbox_forget(&r->outbox, stamp->released);
	if (stamp->protecting)
		failover_event(&r->failover, FAILOVER_COUNTED);
}

static int take_frame(struct session *s, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);
	struct wire_stamp stamp;
	int ret;

	if (f->type == WIRE_BYE)
		return take_bye(&s->r->follower, f, err);
	if (f->type == WIRE_SWITCH)
		return handover_asked(s, f, err);
	if (f->type == WIRE_VERIFY)
		return verify_take_ask(s->r, s->r->follower.received, &in, err);
	if (f->type != WIRE_RECORDS && f->type != WIRE_HEARTBEAT)
		return err_set(err, EBADMSG, "frame of type %d from a primary", f->type);
	ret = wire_stamp_restore(&stamp, &in, err);
	if (ret < 0)
		return ret;
	take_stamp(s, &stamp);
	return f->type == WIRE_RECORDS ? take_records(s, &in, err) : follower_acknowledge(s, err);
}

/* ---- when the primary counts as lost ---- */

static bool is_counted_on(const struct replica *r)
{
	return failover_state(&r->failover) == REPLICA_BACKUP;
}

static uint64_t silent_ns(const struct replica *r)
{
	return host_mono_ns() - atomic_load(&r->follower.last_heard_ns);
}

/*
 * Waits until the lease of a primary that may be alive is over. It gets no more acknowledgements
 * from us, so after that no output leaves there.
 */
static void outlast_lease(struct session *s)
{
	struct replica *r = s->r;

	while (is_counted_on(r) && silent_ns(r) < follower_timeout_ns(s) && !atomic_load(&s->over))
		host_sleep_ns(NS_PER_MS);
}

/*
 * True: the primary's network side is alive, but its vCPU hangs. The arbiter decides, as after a
 * silence.
 */
static bool primary_hangs(struct session *s)
{
	struct replica *r = s->r;
	uint64_t still = s->watch.still_ns;

	if (!is_counted_on(r) || still < s->theirs.hang_timeout_ms * NS_PER_MS)
		return false;
	replica_event(r, "hang",
		      "the primary hangs: its host answers, but its vCPU or its receiver or poller "
		      "makes no progress for %u ms",
		      s->theirs.hang_timeout_ms);
	outlast_lease(s);
	atomic_fetch_sub(&r->follower.last_heard_ns, still);
	return true;
}

/*
 * True: the connection ended as it does when the other process dies. After any other error the
 * primary may still be alive.
 */
static bool is_cut(int ret)
{
	return ret == 0 || ret == -ECONNRESET || ret == -EPIPE;
}

static void stream_ends(struct follower *f, const char *why)
{
	pthread_mutex_lock(&f->lock);
	snprintf(f->lost_why, sizeof(f->lost_why), "%s", why);
	atomic_store(&f->stream_over, true);
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	queue_wake(&f->incoming);
}

/*
 * True: the primary has been silent for longer than any stamp has allowed, and this thread was
 * running for at least the silence that the newest stamp allows.
 */
static bool is_silent(struct session *s)
{
	struct follower *f = &s->r->follower;
	uint64_t still = session_hear(s, atomic_load(&f->last_heard_ns), follower_period_ms(s));
	unsigned ms = atomic_load(&f->silence_ms);

	return silent_ns(s->r) >= follower_timeout_ns(s) &&
	       still >= (ms ? ms : s->theirs.timeout_ms) * NS_PER_MS;
}

/*
 * Notes the silence that this side bore, so that when live it allows its backup a longer one. A
 * primary that was silent while it sent the machine's state says nothing about delays of stamps.
 */
static void note_silence(struct session *s)
{
	struct replica *r = s->r;

	if (!is_counted_on(r))
		return;
	pthread_mutex_lock(&r->link.lock);
	patience_note(&r->patience, follower_timeout_ns(s) / 2, replica_lease_clock_ns());
	pthread_mutex_unlock(&r->link.lock);
}

/*
 * Handles a frame. Returns the reason why the stream of records ends with it; NULL: the stream goes
 * on, unless *ret is an error.
 */
static const char *handle_frame(struct session *s, const struct wire_frame *f, int *ret,
				struct err *err)
{
	const uint64_t now = host_mono_ns();

	atomic_store(&s->r->follower.last_heard_ns, now);
	session_hear(s, now, follower_period_ms(s));
	*ret = take_frame(s, f, err);
	if (*ret == 0 && follower_said_bye(&s->r->follower))
		return "goodbye";
	if (*ret == 0 && handover_is_asked(s->r))
		return "it hands over";
	if (*ret == 0 && primary_hangs(s))
		return "it hangs";
	return NULL;
}

/*
 * Receives a message. Returns the reason why the stream of records ends now; NULL: it goes on.
 * *cut: it ends as it does when the primary's process has died.
 */
static const char *receive_one(struct session *s, bool *cut, struct err *err)
{
	const char *why = NULL;
	struct wire_frame f;
	int ret = wire_recv(&s->wire, &f, (int)follower_period_ms(s) + 1, err);

	if (ret == -EAGAIN && !is_silent(s)) {
		ret = follower_acknowledge(s, err);
		if (ret == 0)
			return NULL;
	}
	if (ret > 0) {
		why = handle_frame(s, &f, &ret, err);
		if (why || ret == 0)
			return why;
	}
	*cut = is_cut(ret);
	if (ret == -EAGAIN) {
		err_set(err, ETIMEDOUT, "silent for %llu ms",
			(unsigned long long)(follower_timeout_ns(s) / NS_PER_MS));
		note_silence(s);
	}
	return ret ? err->text : "connection closed";
}

bool follower_receive(struct session *s)
{
	struct follower *fo = &s->r->follower;
	struct err err = ERR_INIT;
	const char *why = NULL;
	bool cut = true;

	while (!why && !atomic_load(&s->over)) {
		if (queue_bytes(&fo->incoming) > INCOMING_MAX)
			host_sleep_ns(NS_PER_MS);
		else
			why = receive_one(s, &cut, &err);
	}
	if (!cut)
		outlast_lease(s);
	stream_ends(fo, why ? why : "told to stop");
	if (handover_is_asked(s->r))
		return handover_wait(s);
	hang_linger(s->r);
	return false;
}
