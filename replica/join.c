// SPDX-License-Identifier: GPL-2.0-or-later
/* A backup joins: it dials the primary, agrees with it, and takes over its state. vCPU thread. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "record/pages.h"
#include "replica/replica_private.h"

#define STATE_WAIT_MS 60000
#define SEND_WAIT_MS  30000
#define AWAIT_MS      500 /* how often a waiting backup checks whether it is to stop */
#define DIAL_PAUSE_NS (100 * NS_PER_MS)
#define REDIAL_NS     (500 * NS_PER_MS)

struct peer *follower_dial(struct replica *r, struct err *err)
{
	uint64_t deadline = host_mono_ns() + r->cfg.connect_wait_ms * NS_PER_MS;

	for (;;) {
		struct peer *p = peer_dial(r->cfg.connect, 2000, err);

		if (p || err->code == EACCES || err->code == EINVAL || atomic_load(&r->stopping) ||
		    host_mono_ns() > deadline)
			return p;
		host_sleep_ns(DIAL_PAUSE_NS);
	}
}

/* ---- agreeing ---- */

/*
 * Checks that our arbiter knows the primary as owner of its generation: otherwise the two use
 * different arbiters.
 */
static int check_arbiter(struct replica *r, struct session *s, struct err *err)
{
	uint8_t owner[ARBITER_ID_LEN];
	int ret = arbiter_owner(r->cfg.arbiter, s->theirs.generation, owner, err);

	if (ret < 0)
		return ret;
	if (ret == 0 || !arbiter_same_owner(owner, s->theirs.id))
		return err_set(err, EPERM,
			       "our arbiter does not know generation %" PRIu64
			       " as the primary's: both replicas must use the same one",
			       s->theirs.generation);
	memcpy(r->other, s->theirs.id, sizeof(r->other));
	failover_follow(&r->failover, s->theirs.generation);
	return 0;
}

static int check_engine(struct replica *r, struct session *s, struct err *err)
{
	const struct engine_ops *ops = machine_engine(r->m)->ops;
	char differs[TRAITS_TEXT];
	struct traits ours;

	if (strcmp(ops->counter, s->theirs.counter))
		return err_set(err, EPROTO, "the primary counts '%s', our engine counts '%s'",
			       s->theirs.counter, ops->counter);
	if (!traits_known(&s->theirs.traits))
		return err_set(err, EPROTO,
			       "the primary does not say what executes its guest: its processor's "
			       "traits could not be measured");
	traits_of(ops, s->theirs.config.version, &ours);
	if (traits_differ(&s->theirs.traits, &ours, differs, sizeof(differs)))
		return err_set(err, EPROTO,
			       "the primary's guest is executed by %s, ours would be by %s, and a "
			       "guest can see the difference in: %s; use hosts with the same "
			       "processor, or --engine soft on both",
			       s->theirs.traits.host, ours.host, differs);
	return 0;
}

/* ---- the state ---- */

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
	struct follower *fo = &r->follower;
	uint64_t seq = rd_u64(&in);

	pthread_mutex_lock(&fo->lock);
	fo->received = fo->applied = fo->base = seq;
	pthread_mutex_unlock(&fo->lock);
	fo->codec = (struct codec){ .seq = seq };
	return machine_restore(r->m, &in, err);
}

/*
 * Sends a list of the pages that our memory already has of this guest, from a connection that was
 * cut.
 */
static int send_have(void *ctx, struct buf *message)
{
	struct session *s = ctx;

	return wire_send(&s->wire, WIRE_HAVE, message->data, message->len, false, SEND_WAIT_MS,
			 NULL);
}

static int tell_memory(struct replica *r, struct session *s, struct err *err)
{
	uint64_t pages;

	return have_tell(machine_memory(r->m), send_have, s, &pages, err);
}

/* ---- disks ---- */

static int send_disk(void *ctx, struct buf *message)
{
	struct session *s = ctx;
	struct err err = ERR_INIT;
	int ret = wire_send(&s->wire, WIRE_DISK, message->data, message->len, false, SEND_WAIT_MS,
			    &err);

	buf_clear(message);
	return ret;
}

/* --force in a backup: gives up the content of its own disks. */
static int give_up_disks(struct disks *d, struct err *err)
{
	for (unsigned i = 0; i < d->n; i++) {
		int error = d->disk[i].meta ? disk_meta_discard(d->disk[i].meta) : 0;

		if (error)
			return err_set(err, error, "disk %u: cannot write its metadata: %s", i,
				       strerror(error));
	}
	return 0;
}

static int offer_disks(struct replica *r, struct session *s, struct err *err)
{
	struct follower *fo = &r->follower;

	disks_own(&r->disks, r->id);
	disk_target_free(fo->disks); /* left from a connection that was cut */
	fo->disks_equal = false;
	fo->disks = disk_target_new(r->disks.disk, r->disks.n, send_disk, s);
	if (!fo->disks)
		return err_set(err, ENOMEM, "out of memory");
	if (r->cfg.force && give_up_disks(&r->disks, err) < 0)
		return -err->code;
	return disk_target_offer(fo->disks, err);
}

static int take_disk(struct follower *fo, const struct wire_frame *f, struct err *err)
{
	struct rd in = RD_INIT(f->data, f->len);
	int ret = disk_target_take(fo->disks, &in, err);

	atomic_store(&fo->disk_bytes, disk_target_received(fo->disks));
	fo->disks_equal |= ret == 1;
	return ret < 0 ? ret : 0;
}

static int take_state_frame(struct replica *r, const struct wire_frame *f, struct err *err)
{
	struct follower *fo = &r->follower;

	switch (f->type) {
	case WIRE_HEARTBEAT:
		return fo->disks_equal ? 0 : disk_target_alive(fo->disks, err);
	case WIRE_STATE_END:
		return fo->disks_equal ? 0
				       : err_set(err, EBADMSG, "the state ends before the disks");
	case WIRE_DISK:
		fo->moved_ns = host_mono_ns();
		return take_disk(fo, f, err);
	case WIRE_STATE:
		return load_state(r, f, err);
	case WIRE_PAGES:
		fo->moved_ns = host_mono_ns();
		return load_pages(r->m, f, err);
	case WIRE_REFUSE:
		return err_set(err, EPROTO, "the primary refuses us: %.*s",
			       (int)(f->len < 200 ? f->len : 200), (const char *)f->data);
	default:
		return err_set(err, EBADMSG, "frame of type %d instead of the state", f->type);
	}
}

static int receive_state_frame(struct session *s, struct wire_frame *f, struct err *err)
{
	int ret = wire_recv(&s->wire, f, STATE_WAIT_MS, err);

	if (ret == 0)
		return err_set(err, ECONNRESET,
			       "the primary closed the connection before its state was here");
	if (ret == -EAGAIN)
		return err_set(err, ETIMEDOUT, "the primary sent nothing for %d s",
			       STATE_WAIT_MS / 1000);
	return ret;
}

static int receive_state(struct replica *r, struct session *s, struct err *err)
{
	struct wire_frame f;

	do {
		int ret = receive_state_frame(s, &f, err);

		if (ret > 0)
			ret = take_state_frame(r, &f, err);
		if (ret < 0)
			return ret;
	} while (f.type != WIRE_STATE_END);
	peer_share(s->wire.peer, NULL, 0); /* from now on only this machine writes to its memory */
	disk_target_free(r->follower.disks);
	r->follower.disks = NULL;
	memory_load_end(machine_memory(r->m));
	return 0;
}

/* ---- all of it ---- */

/* Shakes hands with a peer, whose session becomes follower.primary. */
static int meet(struct replica *r, struct peer *p, struct err *err)
{
	struct session *s = session_new(r, p);
	int ret;

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	pthread_mutex_lock(&r->follower.lock);
	r->follower.primary = s;
	pthread_mutex_unlock(&r->follower.lock);
	/*
	 * The order matters: either replica_stop() has seen the session, or we see here the flag
	 * that it set.
	 */
	if (atomic_load(&r->stopping))
		session_end(s);
	ret = session_hello(s, false, err);
	return ret < 0 ? ret : check_arbiter(r, s, err);
}

/* Drops a peer that turned out not to be our primary. */
static void forget(struct replica *r)
{
	struct session *s = r->follower.primary;

	pthread_mutex_lock(&r->follower.lock);
	r->follower.primary = NULL;
	pthread_mutex_unlock(&r->follower.lock);
	replica_wait_for_lookers(r);
	session_free(s);
}

/*
 * Waits for a primary to connect here (a planned move). A peer that does not hold our key is
 * dropped soon, so it does not keep others waiting. One that holds the key but is no primary, such
 * as a check whether this host answers, or a stranger with --insecure, does not end the wait.
 */
static int await(struct replica *r, struct err *err)
{
	replica_event(r, "waiting", "waiting at %s for a guest that moves here", r->cfg.listen);
	while (!atomic_load(&r->stopping)) {
		struct err why = ERR_INIT;
		struct peer *p = peer_accept(r->acceptor.listener, AWAIT_MS, &why);

		if (p && meet(r, p, &why) == 0)
			return 0;
		if (p)
			forget(r);
		if ((p || (why.code && why.code != EAGAIN)) && !atomic_load(&r->stopping))
			replica_event(r, "refused", "%s", why.text);
	}
	return err_set(err, ECANCELED, "told to end before a guest came");
}

/* Greets the primary that was dialled, and shakes hands with it. */
static int call(struct replica *r, struct err *err)
{
	int patience = r->cfg.connect_wait_ms < 2000 ? 2000 : (int)r->cfg.connect_wait_ms;
	struct follower *f = &r->follower;
	struct peer *p = f->dialled;
	int ret = peer_greet(p, r->cfg.key, patience, err);

	if (ret < 0)
		return ret;
	f->dialled = NULL;
	return meet(r, p, err);
}

static int make_machine(struct replica *r, struct session *s, struct err *err)
{
	const struct traits *theirs = traits_known(&s->theirs.traits) ? &s->theirs.traits : NULL;
	struct output_sink sink = replica_sink(r);

	memcpy(r->follower.joins_at, s->theirs.id, WIRE_ID_LEN);
	r->follower.moved_ns = host_mono_ns();
	r->m = r->cfg.create(r->cfg.create_ctx, &s->theirs.config, s->theirs.counter, theirs, &sink,
			     &r->cfg.live, err);
	return r->m ? check_engine(r, s, err) : -err->code;
}

static int load(struct replica *r, struct session *s, struct err *err)
{
	struct memory *mem = machine_memory(r->m);
	int ret;

	peer_share(s->wire.peer, mem->base, mem->size);
	if (tell_memory(r, s, err) < 0 || offer_disks(r, s, err) < 0 ||
	    receive_state(r, s, err) < 0)
		return -err->code;
	atomic_store(&r->follower.last_heard_ns, host_mono_ns());
	ret = wire_send(&s->wire, WIRE_READY, NULL, 0, false, (int)s->theirs.timeout_ms * 4, err);
	if (ret < 0)
		return ret;
	failover_event(&r->failover, FAILOVER_READY);
	replica_event(r, "backup", "backup of %s in generation %" PRIu64 ", replaying",
		      peer_name(s->wire.peer), failover_generation(&r->failover));
	return session_start(s, NULL, handover_follower_receiver, err);
}

/* ---- a connection that is cut ---- */

/*
 * True: the connection failed, and no message was wrong, so the pages that have come are worth
 * keeping.
 */
static bool may_resume(const struct replica *r, const struct err *err)
{
	return r->cfg.redial && !atomic_load(&r->stopping) &&
	       (err->code == ECONNRESET || err->code == ECONNABORTED || err->code == EPIPE ||
		err->code == ETIMEDOUT);
}

/*
 * Shakes hands again after a connection was cut. The memory that was kept is of use only if the
 * primary is the same process as before.
 */
static int meet_again(struct replica *r, struct peer *p, struct err *err)
{
	int ret = meet(r, p, err);

	if (ret == 0 && memcmp(r->follower.primary->theirs.id, r->follower.joins_at, WIRE_ID_LEN))
		ret = err_set(err, EINVAL,
			      "another replica answers than the one that was sending its guest: "
			      "the memory that was kept is not of that guest");
	if (ret < 0 && r->follower.primary)
		forget(r);
	return ret;
}

static int redial(struct replica *r, struct err *err)
{
	struct peer *p = r->cfg.redial(r->cfg.redial_ctx, err);
	int ret = p ? peer_greet(p, r->cfg.key, PEER_GREET_MS, err) : -err->code;

	if (ret == 0)
		return meet_again(r, p, err);
	peer_close(p);
	return ret;
}

/*
 * Dials until the primary answers and has noticed that the earlier connection is gone. The time
 * allowed for that counts from the last data that came: a link over which connections can be made
 * but no data comes is useless.
 */
static int resume(struct replica *r, struct err *err)
{
	uint64_t until = r->follower.moved_ns + r->cfg.connect_wait_ms * NS_PER_MS;
	int ret;

	replica_event(r, "interrupted",
		      "the connection is cut (%s): dialling again, what has come "
		      "is kept",
		      err->text);
	forget(r);
	do {
		*err = (struct err)ERR_INIT;
		ret = redial(r, err);
		if (ret == 0 || ret == -EINVAL || ret == -EACCES || atomic_load(&r->stopping))
			return ret;
		host_sleep_ns(REDIAL_NS);
	} while (host_mono_ns() < until);
	return ret;
}

static int take_over_state(struct replica *r, struct err *err)
{
	int ret = make_machine(r, r->follower.primary, err);

	while (ret == 0) {
		ret = load(r, r->follower.primary, err);
		if (ret == 0 || !may_resume(r, err))
			return ret;
		ret = resume(r, err);
	}
	return ret;
}

int follower_join(struct replica *r, struct err *err)
{
	int ret;

	failover_event(&r->failover, FAILOVER_LOAD);
	atomic_store(&r->follower.replaying, true);
	ret = r->cfg.connect ? call(r, err) : await(r, err);
	if (ret == 0)
		ret = take_over_state(r, err);
	if (ret < 0)
		failover_event(&r->failover, FAILOVER_END);
	return ret;
}
