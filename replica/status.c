// SPDX-License-Identifier: GPL-2.0-or-later
/* The status of a replica, gathered from each part under that part's lock. */
#include <stdio.h>
#include <string.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

static void status_of_peer(struct peer *p, struct replica_status *s)
{
	snprintf(s->peer, sizeof(s->peer), "%s", peer_name(p));
	snprintf(s->path, sizeof(s->path), "%s", peer_path(p, s->path_why, sizeof(s->path_why)));
}

static void status_of_session(const struct session *peer, struct replica_status *s)
{
	if (!peer)
		return;
	status_of_peer(peer->wire.peer, s);
	memcpy(s->peer_version, peer->theirs.version, sizeof(s->peer_version));
	s->peer_vcpu_ms = (double)peer->watch.still_ns / 1e6;
}

/* Fills in how far a joining backup has come. */
static void status_of_joining(struct session *joining, struct replica_status *s)
{
	struct joining_progress p;

	if (!joining)
		return;
	joining_get_progress(joining->joining, &p);
	s->syncing = true;
	s->sync_bytes = p.sent;
	s->sync_left = p.left;
	s->sync_bytes_s = p.rate;
	s->memory_bytes = p.memory;
	s->memory_sent = p.memory_sent;
	s->memory_kept = p.memory_kept;
	s->memory_left = p.memory_left;
	s->memory_bytes_s = p.memory_rate;
	s->dirty_bytes_s = p.dirty_rate;
	s->guest_share = p.share / 1000.0;
	status_of_peer(joining->wire.peer, s);
}

static void status_of_link(struct replica *r, uint64_t now, struct replica_status *s)
{
	struct link *l = &r->link;

	pthread_mutex_lock(&l->lock);
	status_of_session(l->session, s);
	status_of_joining(l->joining, s);
	s->log_bytes = link_bytes(l);
	s->log_bytes_s = l->session ? traffic_rate(&l->traffic, now) : 0;
	s->records = atomic_load(&r->made);
	s->acked = l->acked;
	s->applied = l->applied;
	s->digests = l->digests;
	s->lag_ms = failover_holds(s->state) ? (double)stamps_lag_ns(&l->stamps, now) / 1e6 : 0;
	s->ack_us = l->ack_us;
	s->join_pause_ms = (double)l->pause_ns / 1e6;
	pthread_mutex_unlock(&l->lock);
}

static void status_of_follower(struct follower *f, uint64_t now, struct replica_status *s)
{
	pthread_mutex_lock(&f->lock);
	status_of_session(f->primary, s);
	s->log_bytes = f->primary ? f->primary->wire.bytes_in : 0;
	s->log_bytes_s = traffic_rate(&f->traffic, now);
	s->records = s->acked = f->received;
	s->applied = f->applied;
	s->digests = f->digests;
	pthread_mutex_unlock(&f->lock);
	s->syncing = s->state == REPLICA_LOADING;
	s->sync_bytes = atomic_load(&f->disk_bytes);
}

static void status_of_move(struct replica *r, struct replica_status *s)
{
	enum moving_stage stage;
	bool follows;

	pthread_mutex_lock(&r->link.lock);
	follows = r->link.session && r->link.session->moved && s->state == REPLICA_PROTECTED;
	pthread_mutex_unlock(&r->link.lock);
	pthread_mutex_lock(&r->moving.lock);
	stage = r->moving.stage == MOVING_JOINS && follows ? MOVING_FOLLOWS : r->moving.stage;
	snprintf(s->move_stage, sizeof(s->move_stage), "%s", moving_stage_name(stage));
	memcpy(s->move_to, r->moving.to, sizeof(s->move_to));
	memcpy(s->move_why, r->moving.why, sizeof(s->move_why));
	pthread_mutex_unlock(&r->moving.lock);
}

static void status_of_failover(struct replica *r, struct replica_status *s)
{
	struct failover *f = &r->failover;

	pthread_mutex_lock(&f->lock);
	s->state = failover_state(f);
	s->generation = failover_generation(f);
	s->failovers = f->failovers;
	s->last_failover_ms = f->last_failover_ms;
	s->divergence_count = f->divergence_count;
	s->divergence_rip = f->divergence_rip;
	memcpy(s->divergence, f->divergence, sizeof(s->divergence));
	pthread_mutex_unlock(&f->lock);
	s->live = failover_is_live(s->state);
	s->primary = s->live || s->state == REPLICA_ASKING || s->state == REPLICA_HANDING_OVER ||
		     (s->state == REPLICA_STARTING && !r->cfg.connect);
	/* The other side may be live by now, without this side having noticed yet. */
	s->live = s->live && !outbox_lease_is_over(&r->outbox);
}

void replica_get_status(struct replica *r, struct replica_status *s)
{
	uint64_t now = host_mono_ns(), beat = replica_last_beat(r);

	memset(s, 0, sizeof(*s));
	status_of_failover(r, s);
	if (atomic_load(&r->follower.replaying))
		status_of_follower(&r->follower, now, s);
	else
		status_of_link(r, now, s);
	s->timeout_ms = atomic_load(&r->follower.replaying) && r->follower.silence_ms
				? r->follower.silence_ms
				: patience_ms(&r->patience);
	status_of_move(r, s);
	s->events_lost = atomic_load(&r->events_lost);
	s->healed = atomic_load(&r->healing.healed);
	s->switches = atomic_load(&r->handover.given);
	s->last_switch_ms = (double)atomic_load(&r->handover.took_ns) / 1e6;
	outbox_count(&r->outbox, &s->outputs_held, &s->outputs_released);
	s->paced_ms = atomic_load(&r->paced_ns) / NS_PER_MS;
	s->instructions = atomic_load(&r->vcpu.count);
	s->virtual_ns = atomic_load(&r->vcpu.now_ns);
	if (beat && now > beat)
		s->vcpu_ms = (double)(now - beat) / 1e6;
}
