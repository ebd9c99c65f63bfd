// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The receiver of a live side takes acknowledgements, releases outputs, and notices when the backup
 * is gone. When it learns something about a session that changes the replica's state, it holds
 * link.lock and has checked that the session is still the present one. So a late answer of a lost
 * backup cannot be mistaken for one of the next backup.
 */
#include "replica/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/host_clock.h"
#include "record/disk_file.h"
#include "replica/replica_private.h"

#define STUCK_NS    (10 * NS_PER_S)
#define JOIN_MAX_NS (30 * NS_PER_S) /* silence of a backup that loads the state */
/* a backup that prepares is lost when it neither shows life nor takes anything for so long */
#define STALL_NS     (10 * NS_PER_S)
#define QUEUE_MAX    (64u << 20)     /* bytes of records that may wait for a joining backup */
#define SPEED_NS     (10 * NS_PER_S) /* time over which the guest's speed is measured */
#define MAX_STALL_NS (NS_PER_S / 2)
#define BURY_NAPS    10000 /* about two seconds */

/* ---- how much ---- */

void traffic_note(struct traffic *t, uint64_t bytes, uint64_t now_ns)
{
	uint64_t ns = now_ns - t->noted_ns;

	if (ns < NS_PER_S)
		return;
	t->rate = ns < 2 * NS_PER_S && bytes >= t->noted_bytes
			  ? (double)(bytes - t->noted_bytes) * 1e9 / (double)ns
			  : 0;
	t->noted_ns = now_ns;
	t->noted_bytes = bytes;
}

double traffic_rate(const struct traffic *t, uint64_t now_ns)
{
	return now_ns - t->noted_ns < 2 * NS_PER_S ? t->rate : 0;
}

uint64_t link_bytes(const struct link *l)
{
	return l->traffic.before + (l->session ? l->session->wire.bytes_out : 0);
}

/* ---- sessions ---- */

void link_init(struct link *l)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->lock, NULL);
}

/*
 * Takes the first dead session that no thread uses any more out of the list. all: also sessions
 * marked as in use, as the vCPU thread has ended.
 */
static struct session *take_dead(struct link *l, bool all)
{
	struct session **at, *s;

	pthread_mutex_lock(&l->lock);
	for (at = &l->dead; *at && (*at)->busy && !all; at = &(*at)->next_dead)
		;
	s = *at;
	if (s)
		*at = s->next_dead;
	pthread_mutex_unlock(&l->lock);
	return s;
}

void link_bury_dead(struct link *l)
{
	struct session *s;

	while ((s = take_dead(l, false)))
		session_free(s);
}

void link_fini(struct link *l)
{
	struct session *present[2], *s;

	pthread_mutex_lock(&l->lock);
	present[0] = l->session;
	present[1] = l->joining;
	pthread_mutex_unlock(&l->lock);
	/*
	 * A session's threads bury it when they see its end, so only after they are joined is it
	 * known where the session is.
	 */
	for (unsigned i = 0; i < 2; i++)
		if (present[i])
			session_join(present[i]);
	session_free(l->session);
	session_free(l->joining);
	while ((s = take_dead(l, true)))
		session_free(s);
	pthread_mutex_destroy(&l->lock);
}

bool link_bury_all(struct link *l)
{
	bool all = false;

	for (unsigned i = 0; i < BURY_NAPS && !all; i++) {
		link_bury_dead(l);
		pthread_mutex_lock(&l->lock);
		all = !l->dead;
		pthread_mutex_unlock(&l->lock);
		if (!all)
			replica_nap();
	}
	return all;
}

/* Lock held. */
static bool grows(const struct growth *g)
{
	return g->begun || (g->disk && disk_sectors(g->disk) < g->sectors);
}

int link_grow_begin(struct link *l)
{
	int ret = -EBUSY;

	pthread_mutex_lock(&l->lock);
	if (!l->meeting && !l->joining && !l->growth.begun) {
		l->growth.begun = true;
		ret = 0;
	}
	pthread_mutex_unlock(&l->lock);
	return ret;
}

void link_grow_end(struct link *l, struct disk_backend *disk, uint64_t sectors)
{
	pthread_mutex_lock(&l->lock);
	l->growth.begun = false;
	if (disk) {
		l->growth.disk = disk;
		l->growth.sectors = sectors;
	}
	pthread_mutex_unlock(&l->lock);
}

bool link_grows(struct link *l)
{
	bool ret;

	pthread_mutex_lock(&l->lock);
	ret = grows(&l->growth);
	pthread_mutex_unlock(&l->lock);
	return ret;
}

const char *link_meet(struct link *l)
{
	const char *why = NULL;

	pthread_mutex_lock(&l->lock);
	if (l->session || l->joining)
		why = "this primary has a backup already";
	else if (grows(&l->growth))
		why = LINK_WHY_GROWS;
	else
		l->meeting = true;
	pthread_mutex_unlock(&l->lock);
	return why;
}

void link_meet_end(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	l->meeting = false;
	pthread_mutex_unlock(&l->lock);
}

void link_prepare(struct replica *r, struct session *s)
{
	struct link *l = &r->link;
	struct err err = ERR_INIT;

	pthread_mutex_lock(&l->lock);
	l->joining = s;
	l->meeting = false;
	moving_joins(s);
	l->due = false;
	atomic_store(&s->moved_ns, host_mono_ns());
	s->busy++;
	pthread_mutex_unlock(&l->lock);
	if (session_start(s, link_sender, handover_link_receiver, &err) < 0)
		link_lost(s, err.text);
	link_rest(l, s);
}

/*
 * Returns the joining session, marked as in use, so that it is not freed if it is lost meanwhile.
 */
static struct session *hold_joining(struct link *l, bool *due)
{
	struct session *s;

	pthread_mutex_lock(&l->lock);
	s = l->joining;
	*due = s && l->due;
	if (s)
		s->busy++;
	pthread_mutex_unlock(&l->lock);
	return s;
}

/* Takes back that the sync point of the join is due: the sender goes on sending ahead. */
static void put_off(struct link *l, struct session *s)
{
	pthread_mutex_lock(&l->lock);
	if (l->joining == s)
		l->due = false;
	pthread_mutex_unlock(&l->lock);
	atomic_store(&s->prepared, false);
	queue_wake(&s->queue);
}

bool link_look(struct replica *r)
{
	struct memory *mem = machine_memory(r->m);
	struct link *l = &r->link;
	bool due, now;
	struct session *s = hold_joining(l, &due);

	r->share = 1000;
	if (!s) {
		if (mem->collecting) /* started for a backup that was lost */
			memory_collect_end(mem);
		return false;
	}
	now = joining_look(s->joining, due);
	r->share = joining_share(s->joining);
	if (due && !now)
		put_off(l, s);
	link_rest(l, s);
	return due && now;
}

bool link_falls_behind(struct link *l)
{
	bool behind;

	pthread_mutex_lock(&l->lock);
	behind = l->joining && joining_falls_behind(l->joining->joining);
	pthread_mutex_unlock(&l->lock);
	return behind;
}

struct session *link_attach(struct replica *r, uint64_t seq, bool flushed, bool *had)
{
	struct link *l = &r->link;
	struct session *s = NULL;

	pthread_mutex_lock(&l->lock);
	*had = l->session != NULL;
	if (l->joining && l->due && flushed) {
		s = l->session = l->joining;
		l->joining = NULL;
		s->busy++;
		l->acked = l->applied = seq;
		memcpy(r->other, s->theirs.id, sizeof(r->other));
		stamps_clear(&l->stamps);
		verify_forget(r);
		failover_event(&r->failover, FAILOVER_JOIN);
	}
	pthread_mutex_unlock(&l->lock);
	return s;
}

/*
 * Lock held. Moves a session to the dead ones. It is marked as in use until its loss has been dealt
 * with.
 */
static void bury(struct link *l, struct session *s)
{
	session_end(s);
	l->traffic.before += s->wire.bytes_out;
	if (l->session == s)
		l->session = NULL;
	else
		l->joining = NULL;
	s->busy++;
	s->next_dead = l->dead;
	l->dead = s;
}

void link_rest(struct link *l, struct session *s)
{
	pthread_mutex_lock(&l->lock);
	s->busy--;
	pthread_mutex_unlock(&l->lock);
}

/* ---- losing the backup ---- */

/*
 * Goes on after the loss of a backup. If the backup was never counted on, the arbiter need not be
 * asked.
 */
static void deal_with_loss(struct replica *r, enum replica_state before, enum replica_state now,
			   const char *why)
{
	if (now == REPLICA_ASKING && !atomic_load(&r->link.bye_sent)) {
		arbitrate_go_on(r, why);
		return;
	}
	if (now != REPLICA_ALONE)
		return;
	if (before != REPLICA_JOINING)
		outbox_drain(&r->outbox);
	if (!atomic_load(&r->link.bye_acked))
		replica_event(r, "refused", "the backup is gone (%s) before it %s", why,
			      before == REPLICA_JOINING ? "had the state" : "was counted on");
}

/*
 * Loses a backup; s NULL: the present one. The backup goes live as soon as it sees the connection
 * end, so no output may be on its way out by then: first the state changes, with the right to send,
 * and then the connection ends.
 */
static void lose(struct replica *r, struct session *s, enum failover_event e, const char *why)
{
	enum replica_state before, now = REPLICA_STATES;
	struct link *l = &r->link;

	outbox_begin(&r->outbox);
	pthread_mutex_lock(&l->lock);
	s = !s || l->session == s ? l->session : NULL;
	before = failover_state(&r->failover);
	if (s) {
		now = failover_event(&r->failover, e);
		bury(l, s);
		if (e == FAILOVER_BYE)
			disks_applied(&r->disks, UINT64_MAX);
		else if (now == REPLICA_ALONE)
			disks_part(r);
	}
	pthread_mutex_unlock(&l->lock);
	outbox_end(&r->outbox);
	if (!s)
		return;
	moving_lost(s, why);
	deal_with_loss(r, before, now, why);
	link_rest(l, s);
}

/*
 * Loses a session that was still joining, which changes neither the guest nor the replica's state.
 * False: the session was not the joining one.
 */
static bool lose_joining(struct session *s, const char *why)
{
	struct link *l = &s->r->link;
	bool mine;

	pthread_mutex_lock(&l->lock);
	mine = l->joining == s;
	if (mine)
		bury(l, s);
	pthread_mutex_unlock(&l->lock);
	if (!mine)
		return false;
	moving_lost(s, why);
	replica_event(s->r, "refused", "the backup is gone (%s) before it had the state", why);
	link_rest(l, s);
	return true;
}

void link_lost(struct session *s, const char *why)
{
	bool over = atomic_load(&s->r->link.bye_acked);

	if (lose_joining(s, why))
		return;
	lose(s->r, s, over ? FAILOVER_BYE : FAILOVER_LOST, why);
}

void link_give_up(struct replica *r, const char *why)
{
	lose(r, NULL, FAILOVER_LOST, why);
}

void link_cancel_move(struct replica *r)
{
	struct link *l = &r->link;
	struct session *s;

	pthread_mutex_lock(&l->lock);
	s = l->joining ? l->joining : l->session;
	if (s && (!s->moved || failover_counts_on(failover_state(&r->failover))))
		s = NULL;
	if (s)
		s->busy++;
	pthread_mutex_unlock(&l->lock);
	if (!s)
		return;
	link_lost(s, "cancelled");
	link_rest(l, s);
}

bool link_yield(struct replica *r)
{
	struct link *l = &r->link;
	struct session *s = NULL;

	outbox_begin(&r->outbox);
	pthread_mutex_lock(&l->lock);
	if (l->session && failover_state(&r->failover) == REPLICA_PROTECTED) {
		s = l->session;
		failover_event(&r->failover, FAILOVER_YIELD);
		bury(l, s);
	}
	pthread_mutex_unlock(&l->lock);
	outbox_end(&r->outbox);
	if (!s)
		return false;
	link_rest(l, s);
	return true;
}

void link_say_bye(struct replica *r, struct buf *goodbye)
{
	struct link *l = &r->link;

	pthread_mutex_lock(&l->lock);
	if (l->session && failover_holds(failover_state(&r->failover))) {
		atomic_store(&l->bye_sent, true);
		session_push(l->session, parcel_new(WIRE_BYE, goodbye));
	}
	pthread_mutex_unlock(&l->lock);
}

/* ---- divergence ---- */

static void keep_divergence(struct replica *r, const struct wire_frame *f)
{
	struct rd in = RD_INIT(f->data, f->len);
	uint64_t count = rd_u64(&in), rip = rd_u64(&in);
	size_t n;
	const uint8_t *text = rd_blob(&in, sizeof(r->failover.divergence) - 1, &n);

	failover_keep_divergence(&r->failover, count, rip, text ? (const char *)text : "", n);
}

/*
 * Decides which side goes on after a divergence, as --on-divergence says. A backup that does not
 * know yet that it is counted on ends by itself; then the primary goes on in any case.
 */
static enum replica_survivor survivor(const struct replica *r)
{
	enum replica_survivor who = r->cfg.on_divergence;

	enum replica_state s = failover_state(&r->failover);

	return who == SURVIVOR_BACKUP && s != REPLICA_PROTECTED && s != REPLICA_HANDING_OVER
		       ? SURVIVOR_PRIMARY
		       : who;
}

static void diverged(struct session *s, const struct wire_frame *f)
{
	static const char *const texts[] = { "the primary goes on", "the backup goes on",
					     "both halt" };
	struct replica *r = s->r;
	struct link *l = &r->link;
	enum replica_survivor who;
	enum replica_state before, now;
	bool mine;

	outbox_begin(&r->outbox);
	pthread_mutex_lock(&l->lock);
	mine = l->session == s;
	who = survivor(r);
	before = now = failover_state(&r->failover);
	if (mine) {
		keep_divergence(r, f);
		now = failover_event(&r->failover,
				     who == SURVIVOR_PRIMARY ? FAILOVER_STAY : FAILOVER_YIELD);
		bury(l, s);
		if (now == REPLICA_ALONE)
			disks_part(r);
	}
	pthread_mutex_unlock(&l->lock);
	outbox_end(&r->outbox);
	if (!mine)
		return;
	moving_lost(s, "it diverged");
	replica_event(r, "divergence", "DIVERGENCE at count %llu, RIP 0x%llx: %s; %s",
		      (unsigned long long)r->failover.divergence_count,
		      (unsigned long long)r->failover.divergence_rip, r->failover.divergence,
		      texts[who]);
	if (now == REPLICA_FENCED)
		arbitrate_stop(r);
	else
		deal_with_loss(r, before, now, "it diverged");
	link_rest(l, s);
}

/* ---- what the vCPU thread asks ---- */

bool link_wants_record(struct replica *r, uint64_t made)
{
	bool wants;

	if (failover_state(&r->failover) != REPLICA_HOLDING)
		return false;
	pthread_mutex_lock(&r->link.lock);
	wants = made < r->link.count_from;
	pthread_mutex_unlock(&r->link.lock);
	return wants;
}

void link_add_stamp(struct link *l, uint64_t seq, uint64_t now_ns)
{
	pthread_mutex_lock(&l->lock);
	stamps_add(&l->stamps, seq, now_ns);
	pthread_mutex_unlock(&l->lock);
}

bool link_catches_up(struct replica *r)
{
	bool ready;

	if (failover_state(&r->failover) != REPLICA_JOINING)
		return false;
	pthread_mutex_lock(&r->link.lock);
	ready = r->link.session && r->link.session->ready;
	pthread_mutex_unlock(&r->link.lock);
	return ready;
}

/* Lock held: age of the oldest record that the backup has not applied. */
static uint64_t lag_ns(const struct link *l)
{
	return l->session ? stamps_lag_ns(&l->stamps, host_mono_ns()) : 0;
}

uint64_t link_lag_ns(struct replica *r)
{
	uint64_t ns;

	pthread_mutex_lock(&r->link.lock);
	ns = lag_ns(&r->link);
	pthread_mutex_unlock(&r->link.lock);
	return ns;
}

bool link_lags(struct replica *r)
{
	struct link *l = &r->link;
	bool lags;

	if (!failover_holds(failover_state(&r->failover)))
		return false;
	pthread_mutex_lock(&l->lock);
	lags = lag_ns(l) > r->cfg.max_lag_ms * NS_PER_MS || stamps_full(&l->stamps);
	pthread_mutex_unlock(&l->lock);
	return lags;
}

bool link_has(struct replica *r, uint64_t made)
{
	struct link *l = &r->link;
	bool has;

	pthread_mutex_lock(&l->lock);
	has = !l->session || !failover_holds(failover_state(&r->failover)) || l->acked >= made;
	pthread_mutex_unlock(&l->lock);
	return has;
}

void link_ask(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->session)
		session_ask(l->session);
	pthread_mutex_unlock(&l->lock);
}

void link_send(struct replica *r, enum wire_type type, struct buf *message)
{
	struct link *l = &r->link;

	pthread_mutex_lock(&l->lock);
	if (l->session)
		session_push(l->session, parcel_new(type, message));
	pthread_mutex_unlock(&l->lock);
	buf_free(message);
}

/* ---- acknowledgements ---- */

/*
 * Lock held. From here on outputs wait for the backup; until now they left directly. An output that
 * the guest made after the last record, or is about to make, may still leave directly. Therefore
 * the backup is told that it may go live only when it has the next record, which lies after all of
 * those outputs.
 */
static bool start_holding(struct session *s)
{
	struct replica *r = s->r;
	struct link *l = &r->link;
	uint64_t made = atomic_load(&r->made);

	if (failover_state(&r->failover) != REPLICA_JOINING || !s->ready ||
	    lag_ns(l) >= r->cfg.max_lag_ms * NS_PER_MS / 2)
		return false;
	s->watch = (struct hang_watch){ 0 };
	l->count_from = made + 1;
	l->counted_ns = 0;
	outbox_start_leases(&r->outbox, made);
	failover_event(&r->failover, FAILOVER_FOLLOWS);
	return true;
}

/*
 * Lock held. True: this acknowledgement is the first to show that the backup knows that it is
 * counted on.
 */
static bool is_counted_now(struct replica *r, const struct wire_ack *a)
{
	if (failover_state(&r->failover) != REPLICA_COUNTED_ON || a->echo_ns < r->link.counted_ns)
		return false;
	failover_event(&r->failover, FAILOVER_HEARD);
	return true;
}

/*
 * Lock held. True: the backup has every record that it needs, and is to be told that it is counted
 * on at once, without waiting for the next heartbeat.
 */
static bool is_to_be_told(const struct replica *r)
{
	return failover_state(&r->failover) == REPLICA_HOLDING &&
	       r->link.acked >= r->link.count_from;
}

/* Lock held. Notes what an acknowledgement says about records. */
static void note_progress(struct replica *r, const struct wire_ack *a, uint64_t now)
{
	struct link *l = &r->link;
	uint64_t echo;

	if (a->received > l->acked) {
		double us = (double)(now - a->echo_ns) / 1e3;

		l->ack_us = l->ack_us ? l->ack_us * 0.9 + us * 0.1 : us;
		l->acked = a->received;
	}
	if (a->applied > l->applied) {
		l->applied = a->applied;
		stamps_applied(&l->stamps, a->applied);
		disks_applied(&r->disks, a->applied);
	}
	echo = a->echo_ns <= now ? a->echo_ns : 0;
	outbox_acknowledged(&r->outbox, r->cfg.durable_both ? l->applied : l->acked, echo,
			    patience_of(&r->patience, echo));
	if (echo && failover_holds(failover_state(&r->failover)))
		patience_note(&r->patience, now - echo, now);
	l->digests = a->digests;
	traffic_note(&l->traffic, link_bytes(l), host_mono_ns());
}

/*
 * Lock held. True: the backup asks for a flush for the first time. It repeats the request until the
 * record has come.
 */
static bool wishes_flush(struct session *s, const struct wire_ack *a)
{
	if (a->flush <= s->flushed)
		return false;
	s->flushed = a->flush;
	return true;
}

static void take_ack(struct session *s, const struct wire_ack *a)
{
	bool begins = false, counted = false, tell = false, flush = false;
	struct replica *r = s->r;
	struct link *l = &r->link;

	outbox_begin(&r->outbox);
	pthread_mutex_lock(&l->lock);
	if (l->session == s) {
		note_progress(r, a, replica_lease_clock_ns());
		hang_watch_look(&s->watch, a->beat, host_mono_ns(),
				2 * replica_period_ms(r) * NS_PER_MS);
		begins = start_holding(s);
		counted = is_counted_now(r, a);
		tell = is_to_be_told(r);
		flush = wishes_flush(s, a);
	}
	pthread_mutex_unlock(&l->lock);
	outbox_release(&r->outbox);
	outbox_end(&r->outbox);
	if (flush)
		atomic_store(&l->flush, true);
	if (begins || flush)
		replica_wake(r); /* the vCPU thread is to make the record that the backup needs */
	if (tell)
		session_ask(s);
	if (counted)
		replica_event(r, "protected", "backup %s follows: PROTECTED in generation %llu",
			      peer_name(s->wire.peer),
			      (unsigned long long)failover_generation(&r->failover));
}

static void tell_joined(struct session *s)
{
	struct joining_progress p;
	char placed[80] = "", kept[80] = "";

	joining_get_progress(s->joining, &p);
	if (p.memory_placed)
		snprintf(placed, sizeof(placed), "; %llu KiB were placed by RDMA",
			 (unsigned long long)(p.memory_placed >> 10));
	if (p.memory_kept)
		snprintf(kept, sizeof(kept), "; it had %llu KiB already",
			 (unsigned long long)(p.memory_kept >> 10));
	pthread_mutex_lock(&s->r->link.lock);
	s->r->link.pause_ns = p.pause_ns;
	pthread_mutex_unlock(&s->r->link.lock);
	replica_event(s->r, "transferred",
		      "backup %s has the state: %llu KiB of memory sent, the last %llu KiB after a "
		      "pause of %.1f ms%s%s",
		      peer_name(s->wire.peer), (unsigned long long)(p.memory_sent >> 10),
		      (unsigned long long)(p.last >> 10), (double)p.pause_ns / 1e6, placed, kept);
}

/*
 * Takes READY. The disks are in step, and our metadata says so, before the backup counts as ready.
 */
static int take_ready(struct session *s, struct err *err)
{
	struct replica *r = s->r;
	bool mine;
	int ret;

	pthread_mutex_lock(&r->link.lock);
	mine = r->link.session == s && !s->ready;
	pthread_mutex_unlock(&r->link.lock);
	if (!mine)
		return err_set(err, EBADMSG, "the backup has a state that it was not sent");
	ret = joining_complete(s->joining, err);
	if (ret)
		return ret;
	tell_joined(s);
	pthread_mutex_lock(&r->link.lock);
	s->ready = true;
	/* Lost meanwhile: its loss was noted before, and that note has just been overwritten. */
	if (r->link.session != s)
		disks_part(r);
	pthread_mutex_unlock(&r->link.lock);
	return 0;
}

/*
 * Takes a message about disks. If the disks cannot be made equal, the backup is told why, and the
 * sender ends the session with that message.
 */
static int take_disk(struct session *s, const struct wire_frame *f, struct err *err)
{
	struct buf b = BUF_INIT;
	int ret;

	if (!s->joining)
		return err_set(err, EBADMSG, "a message about disks from a side that was live");
	ret = s->refused ? 0 : joining_take_disk(s->joining, f, err);

	if (ret == 0 || ret == -EBADMSG || ret == -ECONNRESET)
		return ret;
	buf_put(&b, err->text, strlen(err->text));
	session_push(s, parcel_new(WIRE_REFUSE, &b));
	s->refused = true;
	return 0;
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
	case WIRE_DISK:
		return take_disk(s, f, err);
	case WIRE_HAVE:
		return s->joining
			       ? joining_take_have(s->joining, f, err)
			       : err_set(err, EBADMSG, "a list of pages from a side that was live");
	case WIRE_READY:
		return take_ready(s, err);
	case WIRE_SWITCHED:
		return handover_given(s, f, err);
	case WIRE_VERIFIED:
		return verify_take_answer(s->r, &(struct rd)RD_INIT(f->data, f->len), err);
	case WIRE_DIVERGED:
		diverged(s, f);
		return err_set(err, EILSEQ, "diverged");
	case WIRE_BYE:
		atomic_store(&s->r->link.bye_acked, atomic_load(&s->r->link.bye_sent));
		return err_set(err, ESHUTDOWN, "it said goodbye");
	default:
		return err_set(err, EBADMSG, "frame of type %d from a backup", f->type);
	}
}

/* ---- the thread ---- */

uint64_t link_silence_ns(struct session *s)
{
	struct replica *r = s->r;
	enum replica_state state = failover_state(&r->failover);

	/* ALONE: the backup prepares, or its loss is about to be noticed */
	return state == REPLICA_ALONE	  ? STALL_NS
	       : state == REPLICA_JOINING ? JOIN_MAX_NS
					  : replica_timeout_ns(r);
}

/*
 * True: the backup has been silent for too long. Bytes that a joining backup takes count as signs
 * of life, since over a slow link its answers come late.
 */
static bool is_silent(struct session *s, uint64_t heard)
{
	uint64_t moved = atomic_load(&s->moved_ns), now = host_mono_ns();
	uint64_t still = session_hear(s, heard, replica_period_ms(s->r));

	if (failover_holds(failover_state(&s->r->failover)))
		return still >= link_silence_ns(s);
	return now - (moved > heard ? moved : heard) >= link_silence_ns(s);
}

/*
 * Notes the silence of a backup that is being lost, since it may have been about to answer: the
 * next backup may be silent for longer. The silence of a joining backup, which loads and prepares
 * for as long as that takes, says nothing about delays.
 */
static void note_silence(struct replica *r)
{
	if (!failover_holds(failover_state(&r->failover)))
		return;
	pthread_mutex_lock(&r->link.lock);
	patience_note(&r->patience, replica_timeout_ns(r) / 2, replica_lease_clock_ns());
	pthread_mutex_unlock(&r->link.lock);
}

/*
 * Why a joining backup takes too long, or NULL: records that follow the state must not pile up
 * without limit.
 */
static const char *takes_too_long(struct session *s)
{
	if (failover_state(&s->r->failover) != REPLICA_JOINING ||
	    queue_bytes(&s->queue) <= QUEUE_MAX)
		return NULL;
	return "64 MiB wait for it: it takes less than the guest makes";
}

/*
 * True: since the last look, the guest could run for a smaller share of the time than --min-speed
 * allows.
 */
static bool slows_down(struct session *s, uint64_t now)
{
	struct replica *r = s->r;
	uint64_t paced = atomic_load(&r->paced_ns), ran, span = now - s->from_ns;
	bool slow;

	if (s->from_ns && span < SPEED_NS)
		return false;
	ran = paced - s->paced_from_ns < span ? span - (paced - s->paced_from_ns) : 0;
	slow = s->from_ns && ran * 100 < span * r->cfg.min_speed;
	s->from_ns = now;
	s->paced_from_ns = paced;
	return slow;
}

/*
 * How long the backup may hold the guest up, in ns. A backup that may be silent for long may also
 * do this for long.
 */
static uint64_t max_stall_ns(const struct replica *r)
{
	uint64_t least = 2 * r->cfg.timeout_ms * NS_PER_MS, now = replica_timeout_ns(r);

	if (r->cfg.max_stall_ms)
		return r->cfg.max_stall_ms * NS_PER_MS;
	least = least > MAX_STALL_NS ? least : MAX_STALL_NS;
	return now + now / 4 > least ? now + now / 4 : least;
}

/*
 * Why a backup that answers and replays is nevertheless too slow: the guest has waited for it too
 * long at a time, or too often. NULL: it is not too slow.
 */
static const char *is_too_slow(struct session *s)
{
	struct replica *r = s->r;
	uint64_t since = atomic_load(&r->held_up_ns), now = host_mono_ns();
	const char *why = NULL;

	if (!failover_holds(failover_state(&r->failover)))
		return NULL;
	if (since && now > since && now - since > max_stall_ns(r))
		why = "the guest has waited for it longer than --max-stall";
	else if (slows_down(s, now))
		why = "the guest can run for less of its time than --min-speed";
	if (why)
		replica_event(r, "slow-backup", "backup %s is too slow: %s",
			      peer_name(s->wire.peer), why);
	return why;
}

/*
 * Why a backup whose network side is alive does not follow: its vCPU hangs, or it replays nothing.
 * NULL: it follows.
 */
static const char *does_not_follow(struct session *s)
{
	struct replica *r = s->r;
	const char *why = NULL;

	if (!failover_holds(failover_state(&r->failover)))
		return NULL;
	pthread_mutex_lock(&r->link.lock);
	if (s->watch.still_ns >= r->cfg.hang_timeout_ms * NS_PER_MS)
		why = "its host answers, but its vCPU makes no progress";
	else if (lag_ns(&r->link) > STUCK_NS + r->cfg.max_lag_ms * NS_PER_MS)
		why = "it answers, but does not replay";
	pthread_mutex_unlock(&r->link.lock);
	if (why)
		replica_event(r, "hang", "the backup hangs: %s", why);
	return why;
}

/* Receives a message. Returns the reason why the backup is lost now; NULL: it is not lost. */
static const char *receive_one(struct session *s, uint64_t *heard, struct err *err)
{
	struct replica *r = s->r;
	const char *hang;
	struct wire_frame f;
	int ret = wire_recv(&s->wire, &f, (int)replica_period_ms(r) + 1, err);

	if (ret == -EAGAIN && !is_silent(s, *heard))
		return takes_too_long(s);
	if (ret == -EAGAIN) {
		err_set(err, ETIMEDOUT, "silent for %llu ms",
			(unsigned long long)(link_silence_ns(s) / NS_PER_MS));
		note_silence(r);
	}
	if (ret <= 0)
		return ret ? err->text : "connection closed";
	*heard = host_mono_ns();
	session_hear(s, *heard, replica_period_ms(r));
	if (handover_takes_too_long(r))
		return "it was given the guest and did not take over";
	hang = does_not_follow(s);
	hang = hang ? hang : is_too_slow(s);
	if (hang)
		return hang;
	return take_frame(s, &f, err) < 0 ? err->text : NULL;
}

bool link_receive(struct session *s)
{
	uint64_t heard = host_mono_ns();
	struct err err = ERR_INIT;
	const char *why = NULL;

	if (!s->ready)
		replica_event(s->r, "joining", "sending the machine to backup %s",
			      peer_name(s->wire.peer));
	while (!why && !s->follows && !atomic_load(&s->over)) {
		session_beat(s);
		why = receive_one(s, &heard, &err);
	}
	if (why)
		link_lost(s, why);
	return s->follows;
}
