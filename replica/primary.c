// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The live side of a pair.
 *
 * vCPU thread     makes records (hooks of the live source), holds outputs, lets a backup join at a
 * sync point sender          takes parcels from a queue and sends them; heartbeats receiver takes
 * acknowledgements, releases outputs, notices that the backup is gone acceptor        authenticates
 * whoever connects; announcements; buries dead sessions
 *
 * Output commit. An output that the guest makes after record n leaves when record n+1 is
 * acknowledged: its landmark lies behind the output, so the backup passes the point of the output
 * before it can go live. An output asks for that record.
 *
 * Lease. The backup goes live only when it has not heard of us for the timeout. Each
 * acknowledgement echoes the newest time stamp that the backup had received; until the timeout
 * after that stamp, and no longer, outputs may leave. So a primary that was stopped and wakes up
 * emits nothing on the strength of acknowledgements that wait in its socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "isolation/jail.h"
#include "record/pages.h"
#include "replica/replica_private.h"

#define TRANSFER_MAX		 (64u << 20) /* bytes of state under way to a backup */
#define PAGES_A_FRAME		 256
#define ASK_NS			 (2 * NS_PER_MS)
#define BATCH_NS		 NS_PER_MS /* a record that nothing waits for may be put off for so long */
#define BATCH_BYTES		 16384
#define BATCH_MIN_LAG		 20 /* ms: with a tighter bound every record goes out at once */
#define HELD_BYTES_MAX		 (16u << 20) /* of outputs that wait: then the guest does, too */
#define HELD_MAX		 65536
#define STUCK_NS		 (10 * NS_PER_S)
#define JOIN_MAX_NS		 (30 * NS_PER_S)
#define LEASE_MARGIN(timeout_ns) ((timeout_ns) / 8)

static uint64_t timeout_ns(const struct replica *r)
{
	return r->cfg.timeout_ms * NS_PER_MS;
}

static unsigned period_ms(const struct replica *r)
{
	return heartbeat_ms(r->cfg.timeout_ms, r->cfg.hang_timeout_ms);
}

static uint64_t period_ns(const struct replica *r)
{
	return period_ms(r) * NS_PER_MS;
}

static bool nap(void)
{
	const struct timespec ts = { .tv_nsec = 200000 };

	nanosleep(&ts, NULL);
	return true;
}

/* ---- outputs ---- */

/* Lock held. The first of the waiting outputs leaves, unless it is past the deadline. */
static bool release_first(struct replica *r, uint64_t deadline_ns)
{
	struct held_output *h = r->held.first;

	if (r->live && live_emit(r->live, &h->out, deadline_ns) == -ETIME)
		return false;
	r->outputs_released++;
	free(held_take(&r->held, UINT64_MAX));
	return true;
}

/* On the vCPU thread. */
void primary_emit(struct replica *r, const struct output *out)
{
	bool wait;

	pthread_mutex_lock(&r->lock);
	wait = r->state != REPLICA_ALONE && r->state != REPLICA_JOINING;
	if (wait && r->state != REPLICA_FENCED)
		held_add(&r->held, atomic_load(&r->made) + 1, out);
	else if (!wait)
		r->outputs_released++;
	pthread_mutex_unlock(&r->lock);
	if (!wait && r->live)
		live_sink_ops(&r->direct).emit(&r->direct, out);
	if (wait && out->kind == OUTPUT_NET_TX)
		machine_kick(r->m);
}

static uint64_t lease_end(const struct replica *r)
{
	uint64_t t = timeout_ns(r);

	return r->lease_ns + t - LEASE_MARGIN(t);
}

uint64_t primary_sends_until(const struct replica *r)
{
	if (r->state == REPLICA_ALONE || r->state == REPLICA_JOINING)
		return UINT64_MAX;
	return r->state == REPLICA_PROTECTED ? lease_end(r) : 0;
}

/* Lock held. Lets go of what the backup has acknowledged. */
static void release_acked(struct replica *r)
{
	const struct held_output *h;

	while (r->state == REPLICA_PROTECTED && replica_lease_clock_ns() < lease_end(r) &&
	       (h = r->held.first) && h->needs <= r->acked) {
		uint64_t needs = h->needs;

		if (!release_first(r, lease_end(r)))
			break;
		r->released_seq = needs;
	}
	/* The backup forgets its copies up to here, so only what is wholly out may count. */
	if (r->held.first && r->held.first->needs == r->released_seq)
		r->released_seq--;
}

static void release_all(struct replica *r)
{
	while (r->held.first)
		release_first(r, UINT64_MAX);
}

/* ---- losing the backup ---- */

static void bury(struct replica *r, struct session *s)
{
	session_end(s);
	r->dead_bytes += s->wire.bytes_out;
	s->next_dead = r->dead;
	r->dead = s;
	if (r->session == s)
		r->session = NULL;
}

/* Lock held: it is the session with our backup, and nobody has given that up yet. */
static bool is_present(const struct session *s)
{
	const struct replica *r = s->r;

	return r->session == s && (r->state == REPLICA_PROTECTED || r->state == REPLICA_JOINING);
}

/*
 * Asks the arbiter for the next generation: with it the guest goes on unprotected, without it
 * nothing leaves any more. On a session's thread.
 */
static void go_on_alone(struct replica *r, const char *why)
{
	struct err err = ERR_INIT;
	int won = 0;

	if (hang_prove_alive(r))
		won = arbiter_take(r->cfg.arbiter, r->generation + 1, r->id, &err);

	pthread_mutex_lock(&r->lock);
	if (won == 1) {
		r->generation++;
		replica_set_state(r, REPLICA_ALONE);
		release_all(r);
	} else {
		replica_set_state(r, REPLICA_FENCED);
		held_drop(&r->held, UINT64_MAX);
	}
	pthread_mutex_unlock(&r->lock);
	if (won == 1) {
		replica_event(
			r, "unprotected",
			"the backup is gone (%s): going on alone in generation %llu, UNPROTECTED",
			why, (unsigned long long)r->generation);
		live_wake(r->live);
		return;
	}
	replica_event(r, "fenced", "the backup is gone (%s) and the arbiter %s: stopping for good",
		      why, won == 0 ? "has given the next generation to it" : err.text);
	live_stop(r->live);
	hang_linger(r);
}

/*
 * From the session's threads, once. A backup that we never counted on cannot have gone live: nobody
 * need be asked.
 */
static void backup_lost(struct session *s, const char *why)
{
	struct replica *r = s->r;
	bool mine, joining;

	pthread_mutex_lock(&r->lock);
	mine = is_present(s);
	joining = mine && r->state == REPLICA_JOINING;
	if (mine) {
		/*
		 * Nothing leaves while the arbiter is asked: the state is neither protected nor
		 * alone.
		 */
		replica_set_state(r, joining ? REPLICA_ALONE : REPLICA_BACKUP);
		bury(r, s);
	}
	pthread_mutex_unlock(&r->lock);
	if (joining)
		replica_event(r, "refused", "the backup is gone (%s) before it had the state", why);
	else if (mine && !r->bye_sent)
		go_on_alone(r, why);
}

/* Lock held. */
static void keep_divergence(struct replica *r, const struct wire_frame *f)
{
	struct rd in = RD_INIT(f->data, f->len);
	const uint8_t *text;
	size_t n;

	r->divergence_count = rd_u64(&in);
	r->divergence_rip = rd_u64(&in);
	text = rd_blob(&in, sizeof(r->divergence) - 1, &n);
	memcpy(r->divergence, text ? text : (const uint8_t *)"", n);
	r->divergence[n] = 0;
}

/*
 * A backup that does not know yet that it is counted on ends by itself: it cannot be who goes on.
 */
static void diverged(struct session *s, const struct wire_frame *f)
{
	static const char *const who[] = { "the primary goes on", "the backup goes on",
					   "both halt" };
	struct replica *r = s->r;
	enum replica_survivor survivor = r->cfg.on_divergence;
	bool mine;

	pthread_mutex_lock(&r->lock);
	mine = is_present(s);
	if (mine) {
		if (survivor == SURVIVOR_BACKUP && (r->state == REPLICA_JOINING || !r->counted))
			survivor = SURVIVOR_PRIMARY;
		keep_divergence(r, f);
		replica_set_state(r, REPLICA_BACKUP);
		bury(r, s);
	}
	pthread_mutex_unlock(&r->lock);
	if (!mine)
		return;
	replica_event(r, "divergence", "DIVERGENCE at count %llu, RIP 0x%llx: %s; %s",
		      (unsigned long long)r->divergence_count,
		      (unsigned long long)r->divergence_rip, r->divergence, who[survivor]);
	if (survivor == SURVIVOR_PRIMARY) {
		go_on_alone(r, "it diverged");
		return;
	}
	pthread_mutex_lock(&r->lock);
	replica_set_state(r, REPLICA_FENCED);
	held_drop(&r->held, UINT64_MAX);
	pthread_mutex_unlock(&r->lock);
	live_stop(r->live);
	hang_linger(r);
}

/* ---- receiver ---- */

static void stamps_applied(struct replica *r, uint64_t applied)
{
	while (r->stamp_n && r->stamps[r->stamp_first % STAMPS].seq <= applied) {
		r->stamp_first++;
		r->stamp_n--;
	}
}

/* Lock held: age of the oldest record that the backup has not applied. */
static uint64_t lag_ns(const struct replica *r)
{
	uint64_t now = replica_mono_ns();

	if (!r->session || !r->stamp_n)
		return 0;
	return now - r->stamps[r->stamp_first % STAMPS].ns;
}

/*
 * Lock held. Until here outputs left directly; from here on they wait. What the guest said after
 * the last record, or is about to say, may still leave without having waited: so the backup is told
 * that it may go live when it has the next record, which lies behind all of that.
 */
static void start_protecting(struct replica *r)
{
	r->lease_ns = 0;
	r->released_seq = atomic_load(&r->made);
	r->count_from = r->released_seq + 1;
	r->counted_ns = 0;
	r->counted = false;
	replica_set_state(r, REPLICA_PROTECTED);
}

/* Lock held. Whether the backup has heard for the first time that we count on it. */
static bool is_counted_now(struct replica *r, const struct wire_ack *a)
{
	if (r->state != REPLICA_PROTECTED || r->counted || !r->counted_ns ||
	    a->echo_ns < r->counted_ns)
		return false;
	r->counted = true;
	return true;
}

/* Lock held. It has what it needs and is to be told so, without waiting for the next heartbeat. */
static bool is_to_be_told(const struct replica *r)
{
	return r->state == REPLICA_PROTECTED && !r->counted_ns && r->acked >= r->count_from;
}

/* Lock held. What an acknowledgement says about records. */
static void note_progress(struct replica *r, const struct wire_ack *a, uint64_t now)
{
	if (a->echo_ns > r->lease_ns && a->echo_ns <= now)
		r->lease_ns = a->echo_ns;
	if (a->received > r->acked) {
		double us = (double)(now - a->echo_ns) / 1e3;

		r->ack_us = r->ack_us ? r->ack_us * 0.9 + us * 0.1 : us;
		r->acked = a->received;
	}
	if (a->applied > r->applied) {
		r->applied = a->applied;
		stamps_applied(r, a->applied);
	}
	r->digests = a->digests;
	replica_note_rate(r);
}

static void ask_for_heartbeat(struct session *s)
{
	atomic_store(&s->asked, true);
	queue_wake(&s->queue);
}

static void take_ack(struct session *s, const struct wire_ack *a)
{
	struct replica *r = s->r;
	bool begins = false, counted = false, tell = false;

	pthread_mutex_lock(&r->lock);
	if (is_present(s)) {
		note_progress(r, a, replica_lease_clock_ns());
		hang_watch_look(&s->watch, a->beat, replica_mono_ns(), 2 * period_ns(r));
		begins = r->state == REPLICA_JOINING && s->ready &&
			 lag_ns(r) < r->cfg.max_lag_ms * NS_PER_MS / 2;
		if (begins) {
			s->watch = (struct hang_watch){ 0 };
			start_protecting(r);
		}
		release_acked(r);
		counted = is_counted_now(r, a);
		tell = is_to_be_told(r);
		pthread_cond_broadcast(&r->changed);
	}
	pthread_mutex_unlock(&r->lock);
	if (begins)
		live_wake(r->live); /* for the record that it needs */
	if (tell)
		ask_for_heartbeat(s);
	if (counted)
		replica_event(r, "protected", "backup %s follows: PROTECTED in generation %llu",
			      peer_name(s->wire.peer), (unsigned long long)r->generation);
}

static int take_frame(struct session *s, const struct wire_frame *f, struct err *err)
{
	struct wire_ack ack;
	int ret = 0;

	switch (f->type) {
	case WIRE_ACK:
		ret = wire_ack_restore(&ack, f, err);
		if (ret == 0 && ack.received > atomic_load(&s->r->made))
			ret = err_set(err, EBADMSG,
				      "the backup acknowledges records that do not exist");
		if (ret == 0)
			take_ack(s, &ack);
		return ret;
	case WIRE_READY:
		pthread_mutex_lock(&s->r->lock);
		s->ready = true;
		pthread_mutex_unlock(&s->r->lock);
		return 0;
	case WIRE_DIVERGED:
		diverged(s, f);
		return err_set(err, EILSEQ, "diverged");
	case WIRE_BYE:
		s->r->bye_acked = s->r->bye_sent;
		return err_set(err, ESHUTDOWN, "it said goodbye");
	default:
		return err_set(err, EBADMSG, "frame of type %d from a backup", f->type);
	}
}

/* While the state is on its way the backup has other things to do than to answer. */
static uint64_t silence_allowed(struct replica *r)
{
	bool joining;

	pthread_mutex_lock(&r->lock);
	joining = r->state == REPLICA_JOINING;
	pthread_mutex_unlock(&r->lock);
	return joining ? JOIN_MAX_NS : timeout_ns(r);
}

/* Its network side is alive, its vCPU is not, or replays nothing: why, or NULL. */
static const char *does_not_follow(struct session *s)
{
	struct replica *r = s->r;
	const char *why = NULL;

	pthread_mutex_lock(&r->lock);
	if (r->state == REPLICA_PROTECTED &&
	    s->watch.still_ns >= r->cfg.hang_timeout_ms * NS_PER_MS)
		why = "its host answers, but its vCPU makes no progress";
	else if (r->state == REPLICA_PROTECTED &&
		 lag_ns(r) > STUCK_NS + r->cfg.max_lag_ms * NS_PER_MS)
		why = "it answers, but does not replay";
	pthread_mutex_unlock(&r->lock);
	if (why)
		replica_event(r, "hang", "the backup hangs: %s", why);
	return why;
}

static void *primary_receiver(void *arg)
{
	struct session *s = arg;
	struct replica *r = s->r;
	uint64_t heard = replica_mono_ns();
	struct err err = ERR_INIT;
	const char *hang;
	char silence[64];

	snprintf(silence, sizeof(silence), "silent for %u ms", r->cfg.timeout_ms);
	while (!atomic_load(&s->over)) {
		struct wire_frame f;
		int ret = wire_recv(&s->wire, &f, (int)period_ms(r) + 1, &err);

		if (ret == -EAGAIN && replica_mono_ns() - heard < silence_allowed(r))
			continue;
		if (ret <= 0) {
			backup_lost(s, ret == 0		? "connection closed"
				       : ret == -EAGAIN ? silence
							: err.text);
			break;
		}
		heard = replica_mono_ns();
		hang = does_not_follow(s);
		if (hang) {
			backup_lost(s, hang);
			break;
		}
		if (take_frame(s, &f, &err) < 0) {
			backup_lost(s, err.text);
			break;
		}
	}
	return NULL;
}

/* ---- sender ---- */

static void put_stamp(struct replica *r, struct buf *b)
{
	struct wire_stamp stamp = { .sent_ns = replica_lease_clock_ns(),
				    .beat = replica_last_beat(r) };

	pthread_mutex_lock(&r->lock);
	stamp.released = r->state == REPLICA_JOINING ? atomic_load(&r->made) : r->released_seq;
	stamp.protecting = r->state == REPLICA_PROTECTED && r->acked >= r->count_from;
	if (stamp.protecting && !r->counted_ns)
		r->counted_ns = stamp.sent_ns;
	pthread_mutex_unlock(&r->lock);
	wire_stamp_save(&stamp, b);
}

/* All batches that wait go into one frame: stamp, then varint last record and blob each. */
static struct parcel *gather(struct session *s, struct parcel *p, struct buf *out)
{
	buf_clear(out);
	put_stamp(s->r, out);
	while (p && p->type == WIRE_RECORDS && out->len < (1u << 20)) {
		struct queue_node *n;

		buf_put_varint(out, p->last);
		buf_put_blob(out, p->data.data, p->data.len);
		queue_release(&s->queue, p->node.bytes);
		parcel_free(p);
		n = queue_pop(&s->queue);
		p = n ? caa_container_of(n, struct parcel, node) : NULL;
	}
	return p;
}

static struct parcel *next_parcel(struct session *s)
{
	struct queue_node *n = queue_pop(&s->queue);

	return n ? caa_container_of(n, struct parcel, node) : NULL;
}

/* For how long the backup may take nothing: it may be loading the state. */
static int patience_ms(struct replica *r)
{
	return 2 * (int)(silence_allowed(r) / NS_PER_MS);
}

static int send_parcel(struct session *s, struct parcel **p, struct buf *out, struct err *err)
{
	int timeout = patience_ms(s->r), ret;

	if ((*p)->type == WIRE_RECORDS) {
		*p = gather(s, *p, out);
		return wire_send(&s->wire, WIRE_RECORDS, out->data, out->len, out->len > 4096,
				 timeout, err);
	}
	ret = wire_send(&s->wire, (*p)->type, (*p)->data.data, (*p)->data.len, (*p)->compress,
			timeout, err);
	queue_release(&s->queue, (*p)->node.bytes);
	parcel_free(*p);
	*p = NULL;
	return ret;
}

static void *primary_sender(void *arg)
{
	struct session *s = arg;
	uint64_t period = period_ns(s->r), last = 0;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	struct parcel *p = NULL;
	int ret = 0;

	while (ret == 0 && !atomic_load(&s->over)) {
		if (!p)
			p = next_parcel(s);
		if (p) {
			ret = send_parcel(s, &p, &out, &err);
			last = replica_mono_ns();
		} else if (atomic_exchange(&s->asked, false) ||
			   replica_mono_ns() - last >= period) {
			buf_clear(&out);
			put_stamp(s->r, &out);
			ret = wire_send(&s->wire, WIRE_HEARTBEAT, out.data, out.len, false,
					patience_ms(s->r), &err);
			last = replica_mono_ns();
		} else {
			queue_wait(&s->queue, (int)(period / NS_PER_MS) / 2 + 1);
		}
	}
	if (ret < 0)
		backup_lost(s, err.text);
	parcel_free(p);
	buf_free(&out);
	return NULL;
}

/* ---- a backup joins ---- */

static bool transfer_wait(struct session *s)
{
	do
		replica_beat(s->r);
	while (queue_bytes(&s->queue) > TRANSFER_MAX && !atomic_load(&s->over) && nap());
	return !atomic_load(&s->over);
}

static void send_pages(struct session *s)
{
	const struct memory *mem = machine_memory(s->r->m);
	struct buf b = BUF_INIT;
	unsigned n = 0;

	for (uint64_t i = 0; i < mem->pages; i++) {
		const uint8_t *page = mem->base + i * PAGE_SIZE;
		struct parcel *p;

		if (!memory_page_is_zero(page)) {
			pages_put(&b, i, page);
			n++;
		}
		if (i % PAGES_A_FRAME == 0)
			replica_beat(s->r);
		if ((n < PAGES_A_FRAME && i + 1 < mem->pages) || !b.len)
			continue;
		p = parcel_new(WIRE_PAGES, &b);
		if (p)
			p->compress = true;
		session_push(s, p);
		n = 0;
		if (!transfer_wait(s))
			break;
	}
	buf_free(&b);
}

/* vCPU thread, right after the sync point that flushed the TLB and took a digest. */
static void join(struct replica *r, struct session *s, const struct sync_point *sp)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;

	pthread_mutex_lock(&r->lock);
	r->session = s;
	r->acked = r->applied = sp->seq;
	r->stamp_n = 0;
	replica_set_state(r, REPLICA_JOINING);
	pthread_mutex_unlock(&r->lock);
	codec_restart(&r->codec);
	buf_clear(&r->batch);
	replica_event(r, "joining", "sending the machine to backup %s", peer_name(s->wire.peer));
	if (session_start(s, primary_sender, primary_receiver, &err) < 0) {
		backup_lost(s, err.text);
		return;
	}
	buf_put_u64(&b, sp->seq);
	machine_save(r->m, &b);
	session_push(s, parcel_new(WIRE_STATE, &b));
	send_pages(s);
	session_push(s, parcel_new(WIRE_STATE_END, &b));
}

/* ---- hooks of the live source ---- */

/*
 * Lock held. When there are too many, the newest one stands for what follows too: the lag is never
 * shown too small.
 */
static void add_stamp(struct replica *r, uint64_t seq, uint64_t now)
{
	if (r->stamp_n == STAMPS) {
		r->stamps[(r->stamp_first + STAMPS - 1) % STAMPS].seq = seq;
		return;
	}
	r->stamps[(r->stamp_first + r->stamp_n) % STAMPS] = (struct stamp){ .seq = seq, .ns = now };
	r->stamp_n++;
}

/* vCPU thread: what was gathered goes to the backup. */
static void push_batch(struct replica *r)
{
	struct parcel *p;

	if (!r->batch.len)
		return;
	p = parcel_new(WIRE_RECORDS, &r->batch);
	if (p)
		p->last = r->batch_last;
	codec_restart(&r->codec);
	pthread_mutex_lock(&r->lock);
	if (r->session)
		session_push(r->session, p);
	else
		parcel_free(p);
	pthread_mutex_unlock(&r->lock);
}

/*
 * Lock held. With records up to `made` the backup cannot be told yet that it is counted on: it
 * takes one more.
 */
static bool wants_first_record(const struct replica *r, uint64_t made)
{
	return r->state == REPLICA_PROTECTED && made < r->count_from;
}

/*
 * A record goes out at once when an output waits for it. Others wait a little for the next one, so
 * that a request and its reply take one frame: nobody needs them sooner.
 */
static void add_record(struct replica *r, const struct sync_point *sp, uint64_t digest)
{
	uint64_t now = replica_mono_ns();
	bool urgent;

	if (!r->batch.len)
		r->batch_ns = now;
	codec_put(&r->codec, &r->batch, sp, digest, &r->detail_buf);
	r->batch_last = sp->seq;
	pthread_mutex_lock(&r->lock);
	add_stamp(r, sp->seq, now);
	urgent = (r->held.last && r->held.last->needs >= sp->seq) ||
		 wants_first_record(r, sp->seq - 1);
	pthread_mutex_unlock(&r->lock);
	if (urgent || r->batch.len > BATCH_BYTES || r->cfg.max_lag_ms < BATCH_MIN_LAG ||
	    now - r->batch_ns > BATCH_NS || sync_point_has(sp, INPUT_DIGEST))
		push_batch(r);
}

/* An output waits for the next sync point, or will in a moment: it takes along what was put off. */
static bool output_waits(struct replica *r)
{
	bool waits;

	pthread_mutex_lock(&r->lock);
	waits = r->held.last && r->held.last->needs > atomic_load(&r->made);
	pthread_mutex_unlock(&r->lock);
	return waits;
}

static size_t primary_inputs(void *ctx, struct machine *m, struct input *in, size_t max)
{
	struct replica *r = ctx;
	size_t n = 0;

	replica_beat(r);
	if (r->batch.len && replica_mono_ns() - r->batch_ns > BATCH_NS && !output_waits(r))
		push_batch(r);
	pthread_mutex_lock(&r->lock);
	while (n < r->ncontrols && n + 1 < max) {
		in[n] = r->controls[n];
		n++;
	}
	r->ncontrols = 0;
	if (r->pending && n + 1 < max)
		in[n++] = (struct input){ .kind = INPUT_FLUSH_TLB };
	pthread_mutex_unlock(&r->lock);
	if (r->feeding && n < max)
		n += spy_feed(r, in + n, max - n > 64 ? 64 : max - n);
	return n;
}

static void apply_fault(struct replica *r)
{
	struct input fault;

	pthread_mutex_lock(&r->lock);
	fault = r->fault;
	r->fault.kind = 0;
	pthread_mutex_unlock(&r->lock);
	if (fault.kind)
		machine_inject_fault(r->m, &fault);
	hang_here(r);
}

static bool primary_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			    uint64_t digest)
{
	struct replica *r = ctx;
	struct session *s = NULL, *joins = NULL;
	bool has_digest = sync_point_has(sp, INPUT_DIGEST);

	pthread_mutex_lock(&r->lock);
	s = r->session;
	if (r->pending && sync_point_has(sp, INPUT_FLUSH_TLB)) {
		joins = r->pending;
		r->pending = NULL;
	}
	pthread_mutex_unlock(&r->lock);
	buf_clear(&r->detail_buf);
	if (has_digest)
		detail_make(&r->detail, m, &r->detail_buf);
	atomic_store(&r->made, sp->seq);
	atomic_store(&r->seen_count, sp->at.count);
	atomic_store(&r->seen_ns, machine_now(m));
	if (s)
		add_record(r, sp, digest);
	if (joins)
		join(r, joins, sp);
	apply_fault(r);
	return true;
}

static bool primary_wants_sync(void *ctx)
{
	struct replica *r = ctx;
	bool wants;

	pthread_mutex_lock(&r->lock);
	wants = r->ncontrols || r->pending ||
		(r->held.last && r->held.last->needs > atomic_load(&r->made)) ||
		wants_first_record(r, atomic_load(&r->made));
	pthread_mutex_unlock(&r->lock);
	return wants;
}

/*
 * A backup that has the state but is behind catches up with a guest that runs with less than its
 * full speed.
 */
static void slow_down_for_joining(struct replica *r)
{
	const struct timespec ts = { .tv_nsec = 3000000 };
	bool behind;

	pthread_mutex_lock(&r->lock);
	behind = r->state == REPLICA_JOINING && r->session && r->session->ready;
	pthread_mutex_unlock(&r->lock);
	if (!behind)
		return;
	nanosleep(&ts, NULL);
	r->paced_ns += 3 * NS_PER_MS;
}

/*
 * How far the backup has come is told by acknowledgements of frames. While the guest waits for it
 * there are none, so a heartbeat asks, every few milliseconds.
 */
static void ask_backup(struct replica *r, uint64_t *asked)
{
	uint64_t now = replica_mono_ns();

	if (now - *asked < ASK_NS)
		return;
	*asked = now;
	pthread_mutex_lock(&r->lock);
	if (r->session)
		ask_for_heartbeat(r->session);
	pthread_mutex_unlock(&r->lock);
}

/* Lock held. The guest has said more than shall wait here, for the backup or for a slow arbiter. */
static bool too_much_waits(const struct replica *r)
{
	const struct held_list *h = &r->held;

	return (h->bytes > HELD_BYTES_MAX || h->n > HELD_MAX) &&
	       h->first->needs <= atomic_load(&r->made) &&
	       (r->state == REPLICA_PROTECTED || r->state == REPLICA_BACKUP);
}

/*
 * Slows the guest down while the backup is too far behind, and holds its start back until there is
 * one.
 */
static void primary_pace(void *ctx, struct machine *m)
{
	struct replica *r = ctx;
	uint64_t start = 0, asked = 0, max = r->cfg.max_lag_ms * NS_PER_MS;
	bool wait;

	slow_down_for_joining(r);
	do {
		pthread_mutex_lock(&r->lock);
		wait = r->state == REPLICA_PROTECTED && (lag_ns(r) > max || r->stamp_n == STAMPS);
		wait |= too_much_waits(r);
		wait |= r->cfg.wait_for_backup && !atomic_load(&r->made) && !r->pending;
		pthread_mutex_unlock(&r->lock);
		wait = wait && !atomic_load(&r->stopping);
		if (wait) {
			start = start ? start : replica_mono_ns();
			replica_beat(r);
			push_batch(r);
			ask_backup(r, &asked);
			nap();
		}
	} while (wait);
	if (start)
		r->paced_ns += replica_mono_ns() - start;
}

/* A stop cannot enter as an input: it ends the pair all the same, as a signal would. */
static bool primary_spins(void *ctx, struct machine *m)
{
	struct replica *r = ctx;
	bool end = false;

	replica_beat(r);
	push_batch(r);
	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < r->ncontrols; i++)
		end |= r->controls[i].a == CONTROL_STOP;
	pthread_mutex_unlock(&r->lock);
	return end;
}

static void primary_idle(void *ctx)
{
	struct replica *r = ctx;

	if (!output_waits(r))
		push_batch(r);
}

struct live_hooks primary_hooks(struct replica *r)
{
	return (struct live_hooks){
		.ctx = r,
		.applied = primary_applied,
		.inputs = primary_inputs,
		.wants_sync = primary_wants_sync,
		.pace = primary_pace,
		.idle = primary_idle,
		.waits = true,
		.spins = primary_spins,
	};
}

/* ---- acceptor ---- */

static int backup_check(struct session *s, struct err *err)
{
	uint8_t owner[ARBITER_ID_LEN];
	struct replica *r = s->r;
	int ret;

	/*
	 * Whoever holds our key but has lost the arbitration elsewhere must not take our word for
	 * being live.
	 */
	ret = arbiter_owner(r->cfg.arbiter, r->generation, owner, err);
	if (ret < 0)
		return ret;
	if (ret == 0 || memcmp(owner, r->id, ARBITER_ID_LEN))
		return err_set(err, EPERM, "generation %llu is not ours any more",
			       (unsigned long long)r->generation);
	return 0;
}

/* Why there is no place for a backup now; NULL: there is. */
static const char *why_busy(struct replica *r)
{
	const char *why = NULL;

	pthread_mutex_lock(&r->lock);
	if (r->session || r->pending)
		why = "this primary has a backup already";
	else if (r->state == REPLICA_BACKUP)
		why = "this primary has lost its backup just now and waits for the arbiter: try "
		      "again";
	else if (r->state != REPLICA_ALONE && r->state != REPLICA_JOINING)
		why = "this replica is not live any more";
	pthread_mutex_unlock(&r->lock);
	return why;
}

static void meet_peer(struct replica *r, struct peer *p)
{
	struct err err = ERR_INIT;
	struct session *s = session_new(r, p);
	const char *why = why_busy(r);

	if (!s) {
		replica_event(r, "refused", "out of memory for a backup");
		return;
	}
	if (why) {
		wire_send(&s->wire, WIRE_REFUSE, why, strlen(why), false, 1000, NULL);
		replica_event(r, "refused", "%s is refused: %s", peer_name(p), why);
		session_free(s);
		return;
	}
	if (session_hello(s, true, &err) < 0 || backup_check(s, &err) < 0) {
		replica_event(r, "refused", "%s", err.text);
		session_free(s);
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->pending = s;
	pthread_mutex_unlock(&r->lock);
	live_wake(r->live);
}

void bury_dead(struct replica *r)
{
	struct session *s;

	do {
		pthread_mutex_lock(&r->lock);
		s = r->dead;
		if (s)
			r->dead = s->next_dead;
		pthread_mutex_unlock(&r->lock);
		session_free(s);
	} while (s);
}

static void *acceptor_thread(void *arg)
{
	struct replica *r = arg;

	while (!atomic_load(&r->stopping)) {
		int next = announce_step(r);
		struct err err = ERR_INIT;
		struct peer *p =
			peer_accept(r->listener, next < 0 || next > 500 ? 500 : next, &err);

		bury_dead(r);
		hang_report(r);
		if (p)
			meet_peer(r, p);
		else if (err.code != EAGAIN)
			replica_event(r, "refused", "%s", err.text);
	}
	return NULL;
}

int replica_listen(struct replica *r, struct err *err)
{
	r->listener = peer_listen(r->cfg.listen, r->cfg.key, err);
	if (!r->listener)
		return -err->code;
	if (peer_listener_path(r->listener))
		jail_will_remove(peer_listener_path(r->listener));
	return 0;
}

static int start_accepting(struct replica *r, struct err *err)
{
	int ret = thread_start(&r->acceptor, THREAD_ACCEPTOR, acceptor_thread, r);

	r->has_acceptor = ret == 0;
	return ret ? err_set(err, ret, "cannot start a thread: %s", strerror(ret)) : 0;
}

void primary_unlisten(struct replica *r)
{
	atomic_store(&r->stopping, true);
	if (r->has_acceptor) {
		peer_listener_wake(r->listener);
		pthread_join(r->acceptor, NULL);
		r->has_acceptor = false;
	}
	if (r->listener && peer_listener_path(r->listener))
		jail_remove(peer_listener_path(r->listener));
	peer_listener_close(r->listener);
	r->listener = NULL;
}

/* ---- the whole ---- */

static struct session *protecting_session(struct replica *r)
{
	struct session *s;

	pthread_mutex_lock(&r->lock);
	s = r->state == REPLICA_PROTECTED ? r->session : NULL;
	pthread_mutex_unlock(&r->lock);
	return s;
}

/*
 * Nobody can have gone live in our place. False also while the arbiter is being asked about a
 * backup that is gone.
 */
static bool on_its_own(struct replica *r)
{
	bool alone;

	pthread_mutex_lock(&r->lock);
	alone = r->state == REPLICA_ALONE || r->state == REPLICA_JOINING;
	pthread_mutex_unlock(&r->lock);
	return alone;
}

/*
 * Orderly end. What the guest said after its last record has no record to wait for: the goodbye
 * takes its place, and the backup answers it when it has come to the same end. Without the answer
 * only the arbiter's word lets it out.
 */
void primary_say_bye(struct replica *r, enum machine_end end)
{
	uint64_t deadline = replica_mono_ns() + NS_PER_S + 2 * timeout_ns(r);
	struct session *s = protecting_session(r);
	struct buf b = BUF_INIT;
	bool alone = on_its_own(r);

	push_batch(r);
	if (s) {
		struct engine *e = machine_engine(r->m);

		r->bye_sent = true;
		buf_put_u8(&b, (uint8_t)end);
		buf_put_u8(&b, (uint8_t)machine_exit_code(r->m));
		buf_put_u64(&b, e->ops->count(e));
		session_push(s, parcel_new(WIRE_BYE, &b));
	}
	while (!alone && !r->bye_acked && protecting_session(r) && replica_mono_ns() < deadline) {
		replica_beat(r);
		nap();
	}
	if (!alone && !r->bye_acked)
		alone = arbiter_take(r->cfg.arbiter, r->generation + 1, r->id, NULL) == 1;
	pthread_mutex_lock(&r->lock);
	if (alone || r->bye_acked)
		release_all(r);
	pthread_mutex_unlock(&r->lock);
}

int primary_run(struct replica *r, enum machine_end *end, struct err *err)
{
	r->cfg.live.hooks = primary_hooks(r);
	r->cfg.live.clock = LIVE_CLOCK_HOST;
	r->cfg.live.epoch_ns = r->cfg.epoch_ns;
	r->cfg.live.next_seq = atomic_load(&r->made) + 1;
	r->cfg.live.idle_max_ns = r->cfg.hang_timeout_ms * NS_PER_MS / 8;
	atomic_store(&r->vcpu_over, false);
	replica_beat(r);
	r->live = live_create(&r->cfg.live, r->m, err);
	if (!r->live)
		return -err->code;
	live_sink_attach(&r->direct, r->live);
	atomic_thread_fence(
		memory_order_seq_cst); /* replica_stop() has seen r->live, or we see what it left */
	if (atomic_load(&r->stopping))
		live_stop(r->live);
	if (!r->has_detail) {
		detail_init(&r->detail, r->m, NULL, NULL);
		r->has_detail = true;
	}
	if (start_accepting(r, err) < 0)
		return -err->code;
	pthread_mutex_lock(&r->lock);
	if (r->state == REPLICA_ALONE)
		release_all(r);
	pthread_mutex_unlock(&r->lock);
	*end = r->machine_ended ? r->machine_end : machine_run(r->m, live_source(r->live), err);
	hang_vcpu_over(r);
	if (*end == MACHINE_FAILED)
		return -EIO;
	if (r->state != REPLICA_FENCED)
		primary_say_bye(r, *end);
	return 0;
}
