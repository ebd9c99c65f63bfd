// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/replica.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "replica/backup.h"
#include "replica/replica_private.h"

uint64_t replica_mono_ns(void)
{
	return host_clock_ns(CLOCK_MONOTONIC);
}

uint64_t replica_lease_clock_ns(void)
{
	return host_clock_ns(CLOCK_BOOTTIME);
}

static const char *const state_names[] = {
	[REPLICA_ALONE] = "alone",	   [REPLICA_JOINING] = "joining",
	[REPLICA_PROTECTED] = "protected", [REPLICA_BACKUP] = "backup",
	[REPLICA_FENCED] = "fenced",	   [REPLICA_ENDED] = "ended",
};

const char *replica_state_name(enum replica_state s)
{
	return state_names[s];
}

void replica_set_state(struct replica *r, enum replica_state s)
{
	r->state = s;
	pthread_cond_broadcast(&r->changed);
}

struct replica *replica_create(const struct replica_config *config, struct err *err)
{
	struct replica *r = calloc(1, sizeof(*r));

	if (!r || queue_init(&r->incoming) < 0) {
		free(r);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	r->cfg = *config;
	atomic_store(&r->vcpu_over, true);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	if (getrandom(r->id, sizeof(r->id), 0) != (ssize_t)sizeof(r->id)) {
		err_set(err, EIO, "the host has no random numbers for this replica's identity");
		replica_destroy(r);
		return NULL;
	}
	return r;
}

void replica_destroy(struct replica *r)
{
	struct queue_node *n;

	if (!r)
		return;
	spy_end(r);
	primary_unlisten(r);
	peer_close(r->dialled);
	session_free(r->session);
	session_free(r->followed);
	session_free(r->pending);
	bury_dead(r);
	live_sink_attach(&r->direct, NULL);
	live_destroy(r->live);
	held_drop(&r->held, UINT64_MAX);
	while ((n = queue_pop(&r->incoming)))
		parcel_free(caa_container_of(n, struct parcel, node));
	queue_fini(&r->incoming);
	parcel_free(r->present);
	if (r->has_detail)
		detail_fini(&r->detail);
	buf_free(&r->detail_buf);
	buf_free(&r->batch);
	free(r->spied);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
	free(r);
}

/* ---- outputs ---- */

static void replica_emit(void *ctx, const struct output *out)
{
	struct replica *r = ctx;

	announce_learn(r, out);
	if (r->replaying)
		backup_emit(r, out);
	else
		primary_emit(r, out);
}

struct output_sink replica_sink(struct replica *r)
{
	return (struct output_sink){ .ctx = r, .emit = replica_emit };
}

/* ---- running ---- */

static int take_first_generation(struct replica *r, struct err *err)
{
	uint64_t last;
	int ret = arbiter_last(r->cfg.arbiter, &last, err);

	if (ret < 0)
		return ret;
	if (last)
		log_warn("the arbiter has given generation %llu before: if that replica is still "
			 "live, stop this one and start it with `twinstep backup`",
			 (unsigned long long)last);
	r->generation = last + 1;
	ret = arbiter_take(r->cfg.arbiter, r->generation, r->id, err);
	if (ret == 0)
		return err_set(err, EBUSY, "another primary took generation %llu at the same time",
			       (unsigned long long)r->generation);
	return ret < 0 ? ret : 0;
}

int replica_run_primary(struct replica *r, struct machine *m, enum machine_end *end,
			struct err *err)
{
	int ret = take_first_generation(r, err);

	if (ret < 0)
		return ret;
	r->m = m;
	r->is_primary = true;
	r->state = REPLICA_ALONE;
	replica_event(r, "start", "primary in generation %llu%s", (unsigned long long)r->generation,
		      r->cfg.wait_for_backup ? ", waiting for a backup"
					     : ", UNPROTECTED until a backup joins");
	return primary_run(r, end, err);
}

int replica_connect(struct replica *r, struct err *err)
{
	r->dialled = backup_dial(r, err);
	return r->dialled ? 0 : -err->code;
}

int replica_join(struct replica *r, struct machine **m, struct err *err)
{
	int ret;

	r->state = REPLICA_BACKUP;
	r->replaying = true;
	ret = backup_join(r, err);
	*m = r->m;
	return ret < 0 ? ret : spy_start(r, err);
}

int replica_run_backup(struct replica *r, enum machine_end *end, struct err *err)
{
	int ret = backup_run(r, end, err);

	spy_end(r);
	if (ret <= 0)
		return ret;
	r->replaying = false;
	session_join(r->session);
	r->followed = r->session;
	r->session = NULL;
	r->cfg.wait_for_backup = false;
	if (getrandom(r->cfg.live.seed, sizeof(r->cfg.live.seed), 0) < 0)
		return err_set(err, EIO, "the host has no random numbers");
	return primary_run(r, end, err);
}

void replica_stop(struct replica *r)
{
	atomic_store(&r->stopping, true);
	if (r->live)
		live_stop(r->live);
	else if (r->session)
		session_end(r->session);
}

/* ---- control and status ---- */

int replica_control(struct replica *r, enum control_command cmd, unsigned port, uint64_t arg)
{
	int ret = -EBUSY;

	pthread_mutex_lock(&r->lock);
	if (!r->live || r->state == REPLICA_BACKUP || r->state == REPLICA_FENCED) {
		ret = -EPERM;
	} else if (r->ncontrols < CONTROLS) {
		r->controls[r->ncontrols++] = (struct input){
			.kind = INPUT_CONTROL, .port = (uint8_t)port, .a = cmd, .b = arg
		};
		ret = 0;
	}
	pthread_mutex_unlock(&r->lock);
	if (ret == 0)
		live_wake(r->live);
	return ret;
}

void replica_inject_fault(struct replica *r, enum control_command flip, uint64_t where)
{
	pthread_mutex_lock(&r->lock);
	r->fault = (struct input){ .kind = INPUT_CONTROL, .a = flip, .b = where };
	pthread_mutex_unlock(&r->lock);
	if (r->live)
		live_wake(r->live);
}

static uint64_t log_bytes(const struct replica *r)
{
	const struct session *s = r->session;

	return r->dead_bytes + (!s ? 0 : r->replaying ? s->wire.bytes_in : s->wire.bytes_out);
}

void replica_note_rate(struct replica *r)
{
	uint64_t now = replica_mono_ns(), bytes = log_bytes(r), ns = now - r->rate_ns;

	if (ns < NS_PER_S)
		return;
	r->rate = ns < 2 * NS_PER_S && bytes >= r->rate_bytes
			  ? (double)(bytes - r->rate_bytes) * 1e9 / (double)ns
			  : 0;
	r->rate_ns = now;
	r->rate_bytes = bytes;
}

void replica_get_status(struct replica *r, struct replica_status *s)
{
	uint64_t now = replica_mono_ns();

	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&r->lock);
	s->state = r->state == REPLICA_PROTECTED && !r->counted ? REPLICA_JOINING : r->state;
	s->live = !r->replaying && r->state != REPLICA_FENCED && r->state != REPLICA_ENDED;
	s->generation = r->generation;
	if (r->session) {
		snprintf(s->peer, sizeof(s->peer), "%s", peer_name(r->session->wire.peer));
		s->peer_vcpu_ms = (double)r->session->watch.still_ns / 1e6;
	}
	s->log_bytes = log_bytes(r);
	if (r->session && now - r->rate_ns < 2 * NS_PER_S)
		s->log_bytes_s = r->rate;
	s->records = r->replaying ? r->received : atomic_load(&r->made);
	s->acked = r->replaying ? r->received : r->acked;
	s->applied = r->applied;
	if (s->state == REPLICA_PROTECTED && r->stamp_n)
		s->lag_ms = (double)(now - r->stamps[r->stamp_first % STAMPS].ns) / 1e6;
	s->ack_us = r->ack_us;
	s->outputs_held = r->held.n;
	s->outputs_released = r->outputs_released;
	s->digests = r->digests;
	s->failovers = r->failovers;
	s->last_failover_ms = r->last_failover_ms;
	s->paced_ms = r->paced_ns / NS_PER_MS;
	s->divergence_count = r->divergence_count;
	s->divergence_rip = r->divergence_rip;
	memcpy(s->divergence, r->divergence, sizeof(s->divergence));
	pthread_mutex_unlock(&r->lock);
	s->instructions = atomic_load(&r->seen_count);
	s->virtual_ns = atomic_load(&r->seen_ns);
	if (replica_last_beat(r) && now > replica_last_beat(r))
		s->vcpu_ms = (double)(now - replica_last_beat(r)) / 1e6;
}
