// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two replicas change places: the backup goes live, the live one follows it, and no state is sent,
 * because both machines are equal right behind a record.
 *
 *   live side P                                backup X
 *   vCPU: after record n: HANDING_OVER,
 *     nothing leaves, the guest stands still
 *   sender: the records up to n, SWITCH; ends
 *                                              receiver: acknowledges on, hears nothing more
 *                                              vCPU: applies n: TAKING_OVER; takes generation
 *                                                g + 1 with the mark "the other side is counted
 *                                                on": COUNTED_ON; outputs wait for P
 *                                              sender: SWITCHED, stamps, records from n + 1
 *   receiver: BACKUP in g + 1, acknowledges    receiver: becomes that of a live side
 *   vCPU: replays from n + 1
 *
 * Each of them may die at any moment, and the other one goes on: P asks for g + 1, and when it
 * finds that X has taken it with the mark, for g + 2, without which X lets nothing out that P has
 * not acknowledged. An X that lost P before it heard SWITCH takes g + 1 without the mark, and P
 * stops for good.
 */
#include "replica/handover.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

#define GIVE_MAX_NS   (2 * NS_PER_S)  /* longest time that the guest may stand still */
#define LITTLE_LAG_NS (5 * NS_PER_MS) /* the guest is given to a backup whose lag is below this */
#define PATIENCE      20	      /* plus a 20th of the time spent waiting, for busy hosts */

static void *receive_in_turn(struct session *s, bool live)
{
	while (live ? link_receive(s) : follower_receive(s))
		live = !live;
	return NULL;
}

void *handover_link_receiver(void *session)
{
	return receive_in_turn(session, true);
}

void *handover_follower_receiver(void *session)
{
	return receive_in_turn(session, false);
}

/* ---- the live side ---- */

/*
 * Offers the guest to the backup. This thread has the right to send while the state changes: so it
 * is known exactly which outputs have left, and no more leave.
 */
static bool offer(struct replica *r, uint64_t seq)
{
	struct link *l = &r->link;
	struct buf b = BUF_INIT;
	bool offered = false;

	outbox_begin(&r->outbox);
	pthread_mutex_lock(&l->lock);
	if (l->session && failover_state(&r->failover) == REPLICA_PROTECTED) {
		failover_event(&r->failover, FAILOVER_SWITCH);
		r->handover.seq = seq;
		atomic_store(&r->handover.begun_ns, host_mono_ns());
		buf_put_u64(&b, seq);
		buf_put_u64(&b, outbox_released_seq(&r->outbox));
		session_push(l->session, parcel_new(WIRE_SWITCH, &b));
		offered = true;
	}
	pthread_mutex_unlock(&l->lock);
	outbox_end(&r->outbox);
	return offered;
}

bool handover_waits(struct replica *r)
{
	uint64_t since = atomic_load(&r->handover.wanted_ns);

	if (!since || link_lag_ns(r) < LITTLE_LAG_NS + (host_mono_ns() - since) / PATIENCE)
		return false;
	batch_push(r);
	link_ask(&r->link); /* asks how far the backup is */
	return true;
}

bool handover_give(struct replica *r, uint64_t seq)
{
	if (!atomic_load(&r->handover.wanted_ns) || handover_waits(r))
		return false;
	batch_push(r);
	if (!offer(r, seq))
		/* not protected yet, or no longer: the request stays, and is tried again */
		return false;
	atomic_store(&r->handover.wanted_ns, 0);
	while (failover_state(&r->failover) == REPLICA_HANDING_OVER) {
		replica_beat(r);
		replica_nap();
	}
	return atomic_load(&r->follower.replaying);
}

bool handover_takes_too_long(struct replica *r)
{
	return failover_state(&r->failover) == REPLICA_HANDING_OVER &&
	       host_mono_ns() - atomic_load(&r->handover.begun_ns) > GIVE_MAX_NS;
}

/*
 * Lock of the link held; the vCPU thread waits. Sets the follower's fields as follower_init()
 * would.
 */
static void begin_to_follow(struct replica *r, struct session *s)
{
	struct follower *f = &r->follower;
	uint64_t seq = r->handover.seq;

	pthread_mutex_lock(&f->lock);
	f->primary = s;
	f->newest_stamp = 0;
	f->received = f->applied = f->base = seq;
	f->digests = r->link.digests;
	f->said_bye = false;
	f->bye = (struct replay_end){ 0 };
	f->lost_why[0] = 0;
	r->handover.asked = false;
	r->handover.outcome = HANDOVER_OPEN;
	pthread_mutex_unlock(&f->lock);
	f->codec = (struct codec){ .seq = seq };
	f->batch_in = (struct rd){ 0 };
	f->machine_ended = false;
	atomic_store(&f->stream_over, false);
	atomic_store(&f->last_heard_ns, host_mono_ns());
	atomic_store(&f->silence_ms, 0);
	s->quiet = s->watch = (struct hang_watch){ 0 };
	atomic_store(&f->replaying, true);
}

int handover_given(struct session *s, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);
	uint64_t generation = rd_u64(&in);
	struct replica *r = s->r;
	struct link *l = &r->link;

	if (in.bad || rd_left(&in) || generation <= failover_generation(&r->failover))
		return err_set(err, EBADMSG, "a message about a change of roles is damaged");
	pthread_mutex_lock(&l->lock);
	if (l->session == s && failover_state(&r->failover) == REPLICA_HANDING_OVER) {
		begin_to_follow(r, s);
		l->traffic.before += s->wire.bytes_out;
		l->session = NULL;
		s->follows = true;
		moving_done(s);
		atomic_store(&r->handover.took_ns,
			     host_mono_ns() - atomic_load(&r->handover.begun_ns));
		atomic_fetch_add(&r->handover.given, 1);
		failover_take(&r->failover, FAILOVER_SWITCHED, generation);
	}
	pthread_mutex_unlock(&l->lock);
	return s->follows ? 0 : err_set(err, EBADMSG, "it takes over what it was not given");
}

int handover_step_down(struct replica *r, struct err *err)
{
	struct session *s = r->follower.primary;
	struct live *live = r->live;
	double ms;

	/*
	 * The sender's thread ended after it sent SWITCH. A new one starts when this side takes
	 * over again.
	 */
	pthread_join(s->sender, NULL);
	s->has_sender = false;
	outbox_begin(&r->outbox);
	r->live = NULL;
	outbox_end(&r->outbox);
	replica_wait_for_lookers(r);
	live_sink_attach(&r->direct, NULL);
	live_destroy(live);
	batch_fini(&r->batch);
	r->batch = (struct batch){ 0 };
	disks_change_sides(r, r->handover.seq, false);
	ms = (double)atomic_load(&r->handover.took_ns) / 1e6;
	replica_event_took(r, "follows", ms,
			   "the backup has taken over after %.1f ms, in generation %" PRIu64
			   ": this replica is the backup now",
			   ms, failover_generation(&r->failover));
	/*
	 * The order matters: either other threads have seen the session, or we see here the flags
	 * that they set.
	 */
	if (atomic_load(&r->stopping) || atomic_load(&r->leaving))
		replica_stop(r);
	return spy_start(r, err);
}

/* ---- the side that takes over ---- */

int handover_asked(struct session *s, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);
	uint64_t seq = rd_u64(&in), released = rd_u64(&in);
	struct replica *r = s->r;
	struct follower *fo = &r->follower;
	bool good;

	pthread_mutex_lock(&fo->lock);
	good = !in.bad && !rd_left(&in) && seq == fo->received && released <= seq &&
	       failover_state(&r->failover) == REPLICA_BACKUP;
	r->handover.asked = good;
	pthread_mutex_unlock(&fo->lock);
	if (!good)
		return err_set(err, EBADMSG, "the primary wants to change roles, and cannot");
	outbox_forget(&r->outbox, released);
	return 0;
}

bool handover_is_asked(struct replica *r)
{
	bool asked;

	pthread_mutex_lock(&r->follower.lock);
	asked = r->handover.asked;
	pthread_mutex_unlock(&r->follower.lock);
	return asked;
}

/* Lock held: sleeps until the outcome is decided, at most for a period. */
static void wait_for_outcome(struct follower *fo, unsigned period_ms)
{
	const struct timespec ts = host_timespec(host_mono_ns() + period_ms * NS_PER_MS);

	pthread_cond_clockwait(&fo->changed, &fo->lock, CLOCK_MONOTONIC, &ts);
}

bool handover_wait(struct session *s)
{
	struct replica *r = s->r;
	struct follower *fo = &r->follower;
	enum handover_outcome outcome;

	do {
		session_beat(s);
		follower_acknowledge(s, NULL);
		pthread_mutex_lock(&fo->lock);
		if (r->handover.outcome == HANDOVER_OPEN)
			wait_for_outcome(fo, follower_period_ms(s));
		outcome = r->handover.outcome;
		pthread_mutex_unlock(&fo->lock);
	} while (outcome == HANDOVER_OPEN && !atomic_load(&s->over));
	return outcome == HANDOVER_LIVE;
}

static void decide(struct replica *r, enum handover_outcome outcome)
{
	pthread_mutex_lock(&r->follower.lock);
	r->handover.outcome = outcome;
	pthread_cond_broadcast(&r->follower.changed);
	pthread_mutex_unlock(&r->follower.lock);
}

/* Gives the session to the link. Of its threads only the receiver runs, and that waits. */
static void adopt(struct replica *r)
{
	struct session *s = r->follower.primary;
	struct link *l = &r->link;

	pthread_mutex_lock(&l->lock);
	stamps_clear(&l->stamps);
	s->ready = true;
	s->follows = false;
	atomic_store(&s->prepared, true);
	s->quiet = s->watch = (struct hang_watch){ 0 };
	l->count_from = l->acked = l->applied;
	l->counted_ns = replica_lease_clock_ns();
	l->session = s;
	pthread_mutex_unlock(&l->lock);
	pthread_mutex_lock(&r->follower.lock);
	r->follower.primary = NULL;
	pthread_mutex_unlock(&r->follower.lock);
	replica_wait_for_lookers(r);
}

int handover_take(struct replica *r)
{
	int won;

	failover_event(&r->failover, FAILOVER_SWITCH);
	outbox_take_over(&r->outbox, atomic_load(&r->made));
	won = arbitrate_take_over(r);
	if (won == 1)
		adopt(r);
	else
		decide(r, HANDOVER_OFF);
	return won;
}

int handover_begin(struct replica *r, struct err *err)
{
	struct session *s = r->link.session; /* none of its threads runs that could end it */
	struct buf b = BUF_INIT;
	int ret;

	batch_restart(&r->batch);
	buf_put_u64(&b, failover_generation(&r->failover));
	session_push(s, parcel_new(WIRE_SWITCHED, &b));
	session_ask(s);
	ret = session_start(s, link_sender, NULL, err);
	decide(r, ret ? HANDOVER_OFF : HANDOVER_LIVE);
	return ret;
}
