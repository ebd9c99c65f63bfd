// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A planned move to another host, as the live side sees it:
 *
 *   control thread   is given a connection to a backup that waits for a guest: CALLS
 *   acceptor         greets it; a backup that is there already is dismissed, because there is place
 *                    for one: the guest is UNPROTECTED from here on until the new one follows
 *   as in any join   JOINS, then PROTECTED: FOLLOWS
 *   control thread   `switch`: the new one goes live; this side leaves, or stays as its backup; it
 *                    has moved, and another move may begin when this side is live again
 *
 * A replica in its jail cannot connect to anybody, so the connection comes from outside. Whoever
 * waits accepts it as one that asks for our key, and learns by the HELLO which side is live.
 */
#include "replica/moving.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "replica/replica_private.h"

static const char *const names[] = {
	[MOVING_NOT] = "",	    [MOVING_CALLS] = "calling",
	[MOVING_JOINS] = "joining", [MOVING_FOLLOWS] = "follows",
	[MOVING_FAILED] = "failed",
};

void moving_init(struct moving *m)
{
	pthread_mutex_init(&m->lock, NULL);
	m->fd = -1;
}

void moving_fini(struct moving *m)
{
	if (m->fd >= 0)
		close(m->fd);
	pthread_mutex_destroy(&m->lock);
}

const char *moving_stage_name(enum moving_stage s)
{
	return names[s];
}

static void set_stage(struct replica *r, enum moving_stage from, enum moving_stage to,
		      const char *why)
{
	struct moving *m = &r->moving;

	pthread_mutex_lock(&m->lock);
	if (m->stage == from) {
		m->stage = to;
		snprintf(m->why, sizeof(m->why), "%.*s", (int)sizeof(m->why) - 1, why);
	}
	pthread_mutex_unlock(&m->lock);
}

void moving_joins(struct session *s)
{
	if (s->moved)
		set_stage(s->r, MOVING_CALLS, MOVING_JOINS, "");
}

void moving_lost(struct session *s, const char *why)
{
	if (s->moved)
		set_stage(s->r, MOVING_JOINS, MOVING_FAILED, why);
}

void moving_done(struct session *s)
{
	if (s->moved)
		set_stage(s->r, MOVING_JOINS, MOVING_NOT, "");
	s->moved = false;
}

/* ---- the acceptor ---- */

static void fail(struct replica *r, const char *to, const char *why)
{
	set_stage(r, MOVING_CALLS, MOVING_FAILED, why);
	replica_event(r, "not-moved", "the guest cannot move to %s: %s", to, why);
}

static void call(struct replica *r, int fd, const char *to)
{
	struct peer *p = peer_from_socket(fd, to);
	struct err err = ERR_INIT;

	if (!p) {
		fail(r, to, "out of memory");
		return;
	}
	if (peer_greet(p, r->cfg.key, PEER_GREET_MS, &err) < 0) {
		peer_close(p);
		fail(r, to, err.text);
		return;
	}
	if (acceptor_meet(r, p, true, &err) < 0)
		fail(r, to, err.text);
}

void moving_step(struct replica *r)
{
	struct moving *m = &r->moving;
	char to[PEER_NAME_LEN];
	bool cancelled;
	int fd;

	pthread_mutex_lock(&m->lock);
	fd = m->fd;
	cancelled = m->cancelled;
	memcpy(to, m->to, sizeof(to));
	m->fd = -1;
	m->cancelled = false;
	pthread_mutex_unlock(&m->lock);
	if (fd >= 0 && cancelled) {
		close(fd);
		fail(r, to, "cancelled");
	} else if (fd >= 0) {
		call(r, fd, to);
	} else if (cancelled) {
		link_cancel_move(r);
	}
}

/* ---- the control thread ---- */

/*
 * True: a move is under way. A new backup that already protects the guest no longer counts as one,
 * even if its move was not finished: the command that asked for it may have been killed. Both locks
 * held.
 */
static bool is_under_way(struct replica *r)
{
	bool protects = failover_counts_on(failover_state(&r->failover));
	const struct link *l = &r->link;

	return r->moving.stage == MOVING_CALLS ||
	       (r->moving.stage == MOVING_JOINS &&
		((l->joining && l->joining->moved) ||
		 (l->session && l->session->moved && !protects)));
}

int replica_move(struct replica *r, int fd, const char *to, struct err *err)
{
	struct moving *m = &r->moving;
	int ret = 0;

	if (!failover_is_live(failover_state(&r->failover))) {
		close(fd);
		return err_set(err, EPERM, "this replica is not live: ask the other one");
	}
	pthread_mutex_lock(&r->link.lock);
	pthread_mutex_lock(&m->lock);
	if (is_under_way(r)) {
		ret = err_set(err, EBUSY, "it is on its way to %s already", m->to);
	} else {
		m->fd = fd;
		m->cancelled = false;
		m->stage = MOVING_CALLS;
		m->why[0] = 0;
		snprintf(m->to, sizeof(m->to), "%s", to);
	}
	pthread_mutex_unlock(&m->lock);
	pthread_mutex_unlock(&r->link.lock);
	if (ret < 0)
		close(fd);
	else
		peer_listener_wake(r->acceptor.listener);
	return ret;
}

void replica_move_not(struct replica *r)
{
	struct moving *m = &r->moving;

	pthread_mutex_lock(&m->lock);
	m->cancelled = m->stage == MOVING_CALLS || m->stage == MOVING_JOINS;
	pthread_mutex_unlock(&m->lock);
	peer_listener_wake(r->acceptor.listener);
}
