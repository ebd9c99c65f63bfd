// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/panic_watch.h"
#include "replica/replica.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "replica/replica_private.h"

uint64_t replica_lease_clock_ns(void)
{
	return host_clock_ns(CLOCK_BOOTTIME);
}

bool replica_nap(void)
{
	host_sleep_ns(NS_PER_MS / 5);
	return true;
}

struct live *replica_look(struct replica *r)
{
	atomic_fetch_add(&r->lookers, 1);
	return r->live;
}

void replica_looked(struct replica *r)
{
	atomic_fetch_sub(&r->lookers, 1);
}

void replica_wait_for_lookers(struct replica *r)
{
	while (atomic_load(&r->lookers))
		replica_nap();
}

void replica_wake(struct replica *r)
{
	struct live *live = replica_look(r);

	if (live)
		live_wake(live);
	replica_looked(r);
}

void replica_end_live(struct replica *r)
{
	struct live *live = replica_look(r);

	if (live)
		live_stop(live);
	replica_looked(r);
}

/* Hands an output that waited to the host. */
static int send_output(void *ctx, const struct output *out, uint64_t deadline_ns)
{
	struct replica *r = ctx;

	return r->live ? live_emit(r->live, out, deadline_ns) : 0;
}

struct replica *replica_create(const struct replica_config *config, struct err *err)
{
	struct replica *r = calloc(1, sizeof(*r));

	if (!r || follower_init(&r->follower) < 0) {
		free(r);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	r->cfg = *config;
	vcpu_init(&r->vcpu);
	orders_init(&r->orders);
	announce_init(&r->announce);
	link_init(&r->link);
	moving_init(&r->moving);
	verify_init(&r->verify);
	snapshot_init(&r->snapshot);
	patience_init(&r->patience, config->timeout_ms, config->max_timeout_ms);
	outbox_init(&r->outbox, send_output, r);
	failover_init(&r->failover, &r->outbox);
	if (getrandom(r->id, sizeof(r->id), 0) != (ssize_t)sizeof(r->id)) {
		err_set(err, EIO, "the host has no random numbers for this replica's identity");
		replica_destroy(r);
		return NULL;
	}
	if (have_prepare(err) < 0) {
		replica_destroy(r);
		return NULL;
	}
	r->id[WIRE_ID_LEN - 1] &= (uint8_t)~ARBITER_COUNTS_ON;
	return r;
}

const uint8_t *replica_id(const struct replica *r)
{
	return r->id;
}

void replica_destroy(struct replica *r)
{
	if (!r)
		return;
	spy_end(r);
	snapshot_fini(&r->snapshot);
	acceptor_stop(r);
	link_fini(&r->link);
	moving_fini(&r->moving);
	follower_fini(&r->follower);
	live_sink_attach(&r->direct, NULL);
	live_destroy(r->live);
	batch_fini(&r->batch);
	free(r->spy.frames);
	free(r->spy.frame);
	failover_fini(&r->failover);
	verify_fini(&r->verify);
	announce_fini(&r->announce);
	outbox_fini(&r->outbox);
	orders_fini(&r->orders);
	vcpu_fini(&r->vcpu);
	free(r);
}

/* ---- outputs ---- */

/*
 * vCPU thread: takes an output of the guest. One that has to wait asks for the record that it
 * needs.
 */
static void replica_emit(void *ctx, const struct output *out)
{
	struct replica *r = ctx;
	bool replays = atomic_load(&r->follower.replaying);
	uint64_t needs = replays ? follower_next_record(&r->follower) : atomic_load(&r->made) + 1;
	bool waits;

	panic_watch_output(r->cfg.live.panic, out);
	if (out->kind == OUTPUT_PANIC)
		return;
	waits = outbox_add(&r->outbox, needs, out);
	announce_learn(r, out);
	if (!waits && r->live)
		live_sink_ops(&r->direct).emit(&r->direct, out);
	if (waits && !replays && out->kind == OUTPUT_NET_TX)
		machine_kick(r->m);
}

struct output_sink replica_sink(struct replica *r)
{
	return (struct output_sink){ .ctx = r, .emit = replica_emit };
}

/* ---- running ---- */

/*
 * True: the last owner was a replica of this host that is known to have ended, so no replica is
 * live.
 */
static bool was_ours(const struct replica *r, const uint8_t owner[ARBITER_ID_LEN])
{
	return r->cfg.ours && r->cfg.ours(r->cfg.ours_ctx, owner);
}

static int take_first_generation(struct replica *r, struct err *err)
{
	uint64_t last, generation, disks = disks_generation(&r->disks);
	uint8_t owner[ARBITER_ID_LEN] = { 0 };
	int ret = arbiter_last(r->cfg.arbiter, &last, err);

	if (ret == 0 && last)
		ret = arbiter_owner(r->cfg.arbiter, last, owner, err);
	if (ret < 0)
		return ret;
	ret = disks_check_start(&r->disks, last, owner, r->cfg.force, err);
	if (ret < 0)
		return ret;
	if (last && !r->cfg.force && !disks_are_known(&r->disks) &&
	    !disks_are_of(&r->disks, owner) && !was_ours(r, owner))
		return err_set(err, EBUSY,
			       "the arbiter has given generation %llu before, and no disk tells "
			       "whether that replica is live: join it with `twinstep backup`; when "
			       "none is live any more, start with --force",
			       (unsigned long long)last);
	if (disks > last)
		log_warn("the disks were written in generation %llu, which the arbiter does not "
			 "know: it is a new one, or has forgotten, and cannot tell whether the "
			 "other side's are newer",
			 (unsigned long long)disks);
	ret = disks_adopt(&r->disks, last, owner, r->id, err);
	if (ret < 0)
		return ret;
	generation = last + 1;
	ret = arbiter_take(r->cfg.arbiter, generation, r->id, err);
	if (ret == 0)
		return err_set(err, EBUSY, "another primary took generation %llu at the same time",
			       (unsigned long long)generation);
	if (ret > 0)
		failover_take(&r->failover, FAILOVER_START, generation);
	return ret < 0 ? ret : 0;
}

void replica_set_disks(struct replica *r, const struct disk_sync_disk *disks, unsigned n,
		       atomic_uint_fast64_t *record)
{
	must(n <= DISK_SYNC_DISKS);
	memcpy(r->disks.disk, disks, n * sizeof(*disks));
	r->disks.n = n;
	r->disks.record = record;
}

int replica_connect(struct replica *r, struct err *err)
{
	if (!r->cfg.connect)
		return 0;
	r->follower.dialled = follower_dial(r, err);
	return r->follower.dialled ? 0 : -err->code;
}

int replica_join(struct replica *r, struct machine **m, struct err *err)
{
	int ret = follower_join(r, err);

	*m = r->m;
	return ret < 0 ? ret : spy_start(r, err);
}

/* Frees what only a backup needs; after a change of roles its session is the link's. */
static int prepare_live(struct replica *r, struct err *err)
{
	struct session *s = r->follower.primary;

	atomic_store(&r->follower.replaying, false);
	pthread_mutex_lock(&r->follower.lock);
	r->follower.primary = NULL;
	pthread_mutex_unlock(&r->follower.lock);
	replica_wait_for_lookers(r);
	session_free(s);
	r->cfg.wait_for_backup = false;
	return getrandom(r->cfg.live.seed, sizeof(r->cfg.live.seed), 0) < 0
		       ? err_set(err, EIO, "the host has no random numbers")
		       : 0;
}

/* Runs the machine, live and following in turn. */
static int run(struct replica *r, bool live, enum machine_end *end, struct err *err)
{
	bool same_end = false;
	int ret = 1;

	for (; ret == 1; live = !live) {
		if (live)
			ret = primary_run(r, end, err);
		else
			ret = follower_run(r, end, err);
		if (!live)
			snapshot_role_ends(r);
		if (live || ret != 1) /* a replica that goes live must not wait for a disk */
			verify_end(r);
		same_end = !live && ret == 0 && follower_said_bye(&r->follower);
		if (!live)
			spy_end(r);
		if (!live && ret == 1 && prepare_live(r, err) < 0)
			ret = -err->code;
	}
	disks_end(&r->disks, same_end, failover_state(&r->failover) == REPLICA_FENCED);
	return ret;
}

int replica_run_primary(struct replica *r, struct machine *m, enum machine_end *end,
			struct err *err)
{
	int ret = take_first_generation(r, err);

	if (ret < 0)
		return ret;
	r->m = m;
	disks_own(&r->disks, r->id);
	disks_name_pair(&r->disks);
	disks_part(r);
	disks_settle(r);
	replica_event(r, "start", "primary in generation %llu%s",
		      (unsigned long long)failover_generation(&r->failover),
		      r->cfg.wait_for_backup ? ", waiting for a backup"
					     : ", UNPROTECTED until a backup joins");
	return run(r, true, end, err);
}

int replica_run_backup(struct replica *r, enum machine_end *end, struct err *err)
{
	return run(r, false, end, err);
}

void replica_stop(struct replica *r)
{
	struct live *live = replica_look(r);
	struct session *primary = r->follower.primary;

	atomic_store(&r->stopping, true);
	if (live)
		live_stop(live);
	else if (primary)
		session_end(primary);
	replica_looked(r);
}

void replica_leave(struct replica *r)
{
	struct live *live = replica_look(r);

	atomic_store(&r->leaving, true);
	if (live)
		live_wake(live);
	replica_looked(r);
	if (!live)
		replica_stop(r);
}

/* ---- control ---- */

int replica_verify(struct replica *r, unsigned disk, enum verify_mend mend, struct err *err)
{
	return verify_start(r, disk, mend, err);
}

void replica_verify_progress(struct replica *r, struct verify_progress *p)
{
	verify_get_progress(&r->verify, p);
}

int replica_snapshot(struct replica *r, int fd, uint64_t *number, struct err *err)
{
	return snapshot_start(r, fd, number, err);
}

void replica_snapshot_progress(struct replica *r, struct snapshot_progress *p)
{
	snapshot_get_progress(&r->snapshot, p);
}

int replica_control(struct replica *r, enum control_command cmd, unsigned port, uint64_t arg)
{
	const struct input control = {
		.kind = INPUT_CONTROL, .port = (uint8_t)port, .a = cmd, .b = arg
	};
	int ret;

	if (!failover_is_live(failover_state(&r->failover)))
		return -EPERM;
	ret = orders_add(&r->orders, &control);
	if (ret == 0)
		replica_wake(r);
	return ret;
}

int replica_grow_begin(struct replica *r)
{
	if (!failover_is_live(failover_state(&r->failover)))
		return -EPERM;
	return link_grow_begin(&r->link);
}

void replica_grow_end(struct replica *r, unsigned disk, uint64_t sectors)
{
	bool grown = sectors && disk < r->disks.n;

	link_grow_end(&r->link, grown ? r->disks.disk[disk].image : NULL, sectors);
}

int replica_switch(struct replica *r)
{
	enum replica_state s = failover_state(&r->failover);

	if (!failover_is_live(s))
		return -EPERM;
	if (s != REPLICA_PROTECTED)
		return -ENOTCONN;
	atomic_store(&r->handover.wanted_ns, host_mono_ns());
	replica_wake(r);
	return 0;
}

void replica_switch_not(struct replica *r)
{
	atomic_store(&r->handover.wanted_ns, 0);
}

void replica_inject_fault(struct replica *r, enum control_command flip, uint64_t where)
{
	const struct input fault = { .kind = INPUT_CONTROL, .a = flip, .b = where };

	orders_set_fault(&r->orders, &fault);
	replica_wake(r);
}
