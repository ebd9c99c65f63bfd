// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The acceptor's thread of a live side: shakes hands with peers that connect and hold the key,
 * announces the guest's MAC after a failover, watches the arbiter for strangers' generations
 * (healing.c), starts moves, and frees sessions that are over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "isolation/jail.h"
#include "replica/replica_private.h"

#define REFUSE_MS  2000 /* for the reason to leave, and for the HELLO that it answers */
#define WHY_LOSING "this primary has lost its backup just now and waits for the arbiter: try again"

/*
 * Asks the arbiter, before a backup is taken, whether this side still owns its generation: a
 * primary that has lost the arbitration must not tell a backup that it is live.
 */
static int check_generation(struct replica *r, struct err *err)
{
	uint64_t generation = failover_generation(&r->failover);
	uint8_t owner[ARBITER_ID_LEN] = { 0 };
	int ret = arbiter_owner(r->cfg.arbiter, generation, owner, err);

	if (ret < 0)
		return ret;
	if (ret == 0 || !arbiter_same_owner(owner, r->id))
		return err_set(err, EPERM, "generation %llu is not ours any more",
			       (unsigned long long)generation);
	return 0;
}

/*
 * Reserves the place for a backup. Returns the reason why there is none now; NULL: the place is the
 * caller's.
 */
static const char *why_busy(struct replica *r)
{
	const char *why = link_meet(&r->link);
	enum replica_state state = failover_state(&r->failover);

	if (why || state == REPLICA_ALONE)
		return why;
	link_meet_end(&r->link);
	return state == REPLICA_ASKING ? WHY_LOSING : "this replica is not live any more";
}

/*
 * Makes place for a backup to which the guest is to move. The present backup is dismissed, but only
 * after the new one has sent a HELLO that shows that it could be our backup. Our own HELLO follows
 * later, because dismissing a backup changes the generation that it contains.
 */
static int make_place(struct session *s, struct err *err)
{
	char why[PEER_NAME_LEN + 64];
	struct replica *r = s->r;
	bool has_one;
	int ret = session_hear_hello(s, true, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&r->link.lock);
	has_one = r->link.session;
	pthread_mutex_unlock(&r->link.lock);
	snprintf(why, sizeof(why), "dismissed: the guest moves to %s", peer_name(s->wire.peer));
	return has_one ? arbitrate_dismiss(r, why, err) : 0;
}

/*
 * Refuses the other side and tells it why. It says HELLO without waiting for us: a HELLO that finds
 * the connection closed fails there and hides the reason, so the connection stays until it came.
 */
static int refuse(struct session *s, const char *why, struct err *err)
{
	struct err unheard = ERR_INIT;
	struct wire_frame hello;

	wire_send(&s->wire, WIRE_REFUSE, why, strlen(why), false, REFUSE_MS, NULL);
	if (!s->moved)
		wire_recv(&s->wire, &hello, REFUSE_MS, &unheard);
	return err_set(err, EBUSY, "%s is refused: %s", peer_name(s->wire.peer), why);
}

static int meet(struct session *s, struct err *err)
{
	struct replica *r = s->r;
	const char *why;
	int ret;

	/* before the present backup is dismissed for nothing */
	if (s->moved && link_grows(&r->link))
		return refuse(s, LINK_WHY_GROWS, err);
	ret = s->moved ? make_place(s, err) : 0;
	if (ret < 0)
		return ret;
	/* The session of a lost backup still works on the disks until it is buried. */
	why = link_bury_all(&r->link) ? why_busy(r) : WHY_LOSING;
	if (why)
		return refuse(s, why, err);
	ret = s->moved ? session_say_hello(s, true, err) : session_hello(s, true, err);
	return ret < 0 ? ret : check_generation(r, err);
}

int acceptor_meet(struct replica *r, struct peer *p, bool moved, struct err *err)
{
	struct session *s = session_new(r, p);
	int ret = -ENOMEM;

	if (s)
		s->joining = joining_new(s);
	if (!s || !s->joining) {
		err_set(err, ENOMEM, "out of memory for a backup");
	} else {
		s->moved = moved;
		ret = meet(s, err);
	}
	if (ret == 0) {
		link_prepare(r, s);
		return 0;
	}
	link_meet_end(&r->link);
	session_free(s);
	replica_event(r, "refused", "%s", err->text);
	return ret;
}

static void *acceptor_thread(void *arg)
{
	struct replica *r = arg;

	while (!atomic_load(&r->stopping)) {
		int next = announce_step(r);
		struct err err = ERR_INIT;
		struct peer *p = peer_accept(r->acceptor.listener,
					     next < 0 || next > 500 ? 500 : next, &err);

		link_bury_dead(&r->link);
		hang_report(r);
		if (next < 0) /* nothing is to be announced */
			healing_step(r);
		moving_step(r);
		if (p)
			acceptor_meet(r, p, false, &err);
		else if (err.code != EAGAIN)
			replica_event(r, "refused", "%s", err.text);
	}
	return NULL;
}

int replica_listen(struct replica *r, struct err *err)
{
	struct peer_listener *l = peer_listen(r->cfg.listen, r->cfg.key, err);

	r->acceptor.listener = l;
	if (!l)
		return -err->code;
	if (peer_listener_path(l))
		jail_will_remove(peer_listener_path(l));
	return 0;
}

int acceptor_start(struct replica *r, struct err *err)
{
	int ret;

	if (r->acceptor.runs) /* this replica has been live before */
		return 0;
	ret = thread_start(&r->acceptor.thread, THREAD_ACCEPTOR, acceptor_thread, r);
	r->acceptor.runs = ret == 0;
	return ret ? err_set(err, ret, "cannot start a thread: %s", strerror(ret)) : 0;
}

void acceptor_stop(struct replica *r)
{
	struct acceptor *a = &r->acceptor;

	atomic_store(&r->stopping, true);
	if (a->runs) {
		peer_listener_wake(a->listener);
		pthread_join(a->thread, NULL);
		a->runs = false;
	}
	if (a->listener && peer_listener_path(a->listener))
		jail_remove(peer_listener_path(a->listener));
	peer_listener_close(a->listener);
	a->listener = NULL;
}
