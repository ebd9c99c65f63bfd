// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vCPU thread of a live replica. Its hooks in the live source make records, let a backup join
 * at a sync point, and slow the guest down for a backup that is behind.
 *
 * The other threads of the live side are the sender (sender.c) and receiver (link.c) of the session
 * with the backup, and the acceptor (acceptor.c).
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "record/panic_watch.h"
#include "replica/replica_private.h"

#define ASK_NS	      (2 * NS_PER_MS)
#define JOIN_REST_NS  (3 * NS_PER_MS)
#define MISSED_MAX_NS (60 * NS_PER_S)
#define SHARE_ALL     1000u
#define SLICE_MIN_NS  50000u

/* ---- hooks of the live source ---- */

static size_t primary_inputs(void *ctx, struct machine *m, struct input *in, size_t max)
{
	struct replica *r = ctx;
	size_t n;

	replica_beat(r);
	batch_push_old(r);
	n = orders_take(&r->orders, in, max - 1);
	r->joins = n + 1 < max && link_look(r);
	if (r->joins || (n + 1 < max && atomic_exchange(&r->link.flush, false)))
		in[n++] = (struct input){ .kind = INPUT_FLUSH_TLB };
	if (r->spy.feeding && n < max)
		n += spy_feed(r, in + n, max - n > 64 ? 64 : max - n);
	return n;
}

static void apply_fault(struct replica *r)
{
	struct input fault = orders_take_fault(&r->orders);

	if (fault.kind)
		machine_inject_fault(r->m, &fault);
	hang_here(r);
}

/*
 * Waits, while the guest stands still, until the backup has every record or is lost, at most for
 * the silence that it is allowed.
 */
static void wait_until_all_is_there(struct replica *r)
{
	uint64_t until = host_mono_ns() + replica_timeout_ns(r);

	batch_push(r);
	while (!link_has(r, atomic_load(&r->made)) && host_mono_ns() < until) {
		replica_beat(r);
		replica_nap();
	}
}

/*
 * Called when this replica is told to leave the guest to its backup. A backup that is counted on
 * goes on with the guest; one that soon will be is waited for. Outputs that still wait here are
 * among the backup's copies. True: this side is over.
 */
static bool leave(struct replica *r)
{
	if (!atomic_load(&r->leaving))
		return false;
	wait_until_all_is_there(r);
	if (link_yield(r))
		replica_event(r, "left", "told to end: the backup goes on with the guest");
	else if (failover_holds(failover_state(&r->failover)))
		return false;
	else
		replica_stop(r);
	live_stop(r->live);
	return true;
}

static bool primary_applied(void *ctx, struct machine *m, const struct sync_point *sp,
			    uint64_t digest)
{
	struct replica *r = ctx;
	bool had_backup;
	struct session *joins;

	joins = link_attach(r, sp->seq, r->joins && sync_point_has(sp, INPUT_FLUSH_TLB),
			    &had_backup);
	batch_note_digest(r, sync_point_has(sp, INPUT_DIGEST));
	atomic_store(&r->made, sp->seq);
	disks_note_record(&r->disks, sp->seq);
	atomic_store(&r->vcpu.count, sp->at.count);
	atomic_store(&r->vcpu.now_ns, machine_now(m));
	if (had_backup) {
		verify_before(r, sp->seq);
		batch_add(r, sp, digest);
		verify_after(r);
	}
	if (joins)
		link_transfer(r, joins, sp->seq);
	apply_fault(r);
	leave(r);
	return !handover_give(r, sp->seq);
}

static bool primary_wants_sync(void *ctx)
{
	struct replica *r = ctx;
	uint64_t made = atomic_load(&r->made);

	return outbox_newest_need(&r->outbox) > made || orders_wait(&r->orders) ||
	       atomic_load(&r->leaving) || atomic_load(&r->handover.wanted_ns) ||
	       atomic_load(&r->link.flush) || link_wants_record(r, made) || verify_wants_record(r);
}

/*
 * Slows the guest down for a backup that has the state but is behind, so that it catches up; for
 * one that gets the disks more slowly than the guest writes them; and for one that is to take over.
 */
static void slow_down_for_joining(struct replica *r)
{
	if (!link_catches_up(r) && !link_falls_behind(&r->link) && !handover_waits(r))
		return;
	host_sleep_ns(JOIN_REST_NS);
	atomic_fetch_add(&r->paced_ns, JOIN_REST_NS);
}

/*
 * Longest time, in ns, that a guest which writes faster than memory can be sent is stopped at once.
 */
static uint64_t rest_max_ns(const struct replica *r)
{
	return r->cfg.max_pause_ms * NS_PER_MS / 2 + NS_PER_MS;
}

/* Stops the guest, after it has run, for as long as its share of the time says. */
static void keep_to_share(struct replica *r)
{
	uint64_t now = host_mono_ns(), max = rest_max_ns(r), ns;

	if (r->share < SHARE_ALL) {
		ns = (now - r->ran_from_ns) * (SHARE_ALL - r->share) / r->share;
		ns = ns > max ? max : ns;
		replica_beat(r);
		host_sleep_ns(ns);
		atomic_fetch_add(&r->paced_ns, ns);
		now = host_mono_ns();
	}
	r->ran_from_ns = now;
}

/* Bounds a run so that the stop after it is not longer than rest_max_ns(). */
static uint64_t primary_slice(void *ctx)
{
	const struct replica *r = ctx;
	uint64_t ns = rest_max_ns(r) * r->share / (SHARE_ALL - r->share + 1);

	return ns < SLICE_MIN_NS ? SLICE_MIN_NS : ns;
}

/*
 * Asks the backup for its progress with a heartbeat every few milliseconds. Normally
 * acknowledgements of frames show it, but while the guest waits there are no frames.
 */
static void ask_backup(struct replica *r, uint64_t *asked)
{
	uint64_t now = host_mono_ns();

	if (now - *asked < ASK_NS)
		return;
	*asked = now;
	link_ask(&r->link);
}

static bool has_to_wait(struct replica *r)
{
	uint64_t made = atomic_load(&r->made);

	if (atomic_load(&r->stopping) || leave(r))
		return false;
	return link_lags(r) || outbox_is_full(&r->outbox, made) ||
	       (r->cfg.wait_for_backup && !made && !link_look(r));
}

/*
 * Slows the guest down while the backup is too far behind, and delays its start until there is a
 * backup (wait_for_backup).
 */
static void primary_pace(void *ctx, struct machine *m)
{
	struct replica *r = ctx;
	uint64_t start = 0, asked = 0;

	slow_down_for_joining(r);
	keep_to_share(r);
	while (has_to_wait(r)) {
		if (!start)
			atomic_store(&r->held_up_ns, start = host_mono_ns());
		replica_beat(r);
		batch_push(r);
		ask_backup(r, &asked);
		replica_nap();
	}
	if (!start)
		return;
	atomic_store(&r->held_up_ns, 0);
	atomic_fetch_add(&r->paced_ns, host_mono_ns() - start);
}

/*
 * Called while the guest is at no place where an input can enter, so a request to stop cannot enter
 * as an input either. It then ends the pair directly, as a signal would.
 */
static bool primary_spins(void *ctx, struct machine *m)
{
	struct replica *r = ctx;

	replica_beat(r);
	batch_push(r);
	return orders_stop(&r->orders) || leave(r);
}

/*
 * Sends records that were put off, unless an output waits for the next sync point or will soon:
 * then they go out with its record.
 */
static void primary_idle(void *ctx)
{
	struct replica *r = ctx;

	if (outbox_newest_need(&r->outbox) <= atomic_load(&r->made))
		batch_push(r);
}

/*
 * Our disk fails, and the backup's may work: lets the backup go on, and the guest notices nothing.
 * False: the guest gets the error.
 */
static bool primary_disk_error(void *ctx, unsigned disk, int error)
{
	struct replica *r = ctx;

	if (r->cfg.disk_error_to_guest || !link_yield(r))
		return false;
	replica_event(r, "disk-error",
		      "disk %u: %s: this side ends, and the other one goes on with its own", disk,
		      strerror(error));
	return true;
}

static struct live_hooks primary_hooks(struct replica *r)
{
	return (struct live_hooks){
		.ctx = r,
		.applied = primary_applied,
		.inputs = primary_inputs,
		.wants_sync = primary_wants_sync,
		.disk_error = primary_disk_error,
		.pace = primary_pace,
		.slice_ns = primary_slice,
		.idle = primary_idle,
		.waits = true,
		.spins = primary_spins,
	};
}

/* ---- the whole ---- */

/*
 * Ends the pair in an orderly way. Outputs made after the last record have no record to wait for.
 * The goodbye takes its place: the backup answers it when its machine has come to the same end.
 * Without that answer, only the arbiter's answer lets those outputs out.
 */
static void say_bye(struct replica *r, enum machine_end end)
{
	uint64_t deadline = host_mono_ns() + NS_PER_S + 2 * replica_timeout_ns(r);
	struct engine *e = machine_engine(r->m);
	struct buf b = BUF_INIT;

	batch_push(r);
	buf_put_u8(&b, (uint8_t)end);
	buf_put_u8(&b, (uint8_t)machine_exit_code(r->m));
	buf_put_u64(&b, e->ops->count(e));
	link_say_bye(r, &b);
	buf_free(&b);
	while (failover_holds(failover_state(&r->failover)) && host_mono_ns() < deadline) {
		replica_beat(r);
		replica_nap();
	}
	if (failover_holds(failover_state(&r->failover)))
		link_give_up(r, "no answer to the goodbye");
	arbitrate_at_end(r, deadline);
	outbox_drain(&r->outbox);
	failover_event(&r->failover, FAILOVER_END);
}

static void tell_panic(void *ctx, const char *text)
{
	replica_event(ctx, "panic", "%s", text);
}

/*
 * How much time, in ns, the guest has missed since the primary's last record, where virtual time
 * stands; that record's arrival here tells when. After a long outage the guest gets back only part
 * of it.
 */
static uint64_t missed_ns(struct replica *r)
{
	struct follower *f = &r->follower;
	uint64_t since, missed;

	pthread_mutex_lock(&f->lock);
	since = f->last_record_ns;
	pthread_mutex_unlock(&f->lock);
	missed = since ? host_mono_ns() - since : 0;
	return missed < MISSED_MAX_NS ? missed : MISSED_MAX_NS;
}

static void fill_in_live(struct replica *r)
{
	if (r->cfg.live.panic) {
		r->cfg.live.panic->tell = tell_panic;
		r->cfg.live.panic->ctx = r;
	}
	r->cfg.live.hooks = primary_hooks(r);
	r->cfg.live.clock = LIVE_CLOCK_HOST;
	r->cfg.live.epoch_ns = r->cfg.epoch_ns;
	r->cfg.live.behind_ns = missed_ns(r);
	r->cfg.live.next_seq = atomic_load(&r->made) + 1;
	r->cfg.live.idle_max_ns = r->cfg.hang_timeout_ms * NS_PER_MS / 8;
}

int primary_run(struct replica *r, enum machine_end *end, struct err *err)
{
	const struct follower *f = &r->follower;

	fill_in_live(r);
	r->share = SHARE_ALL;
	atomic_store(&r->vcpu.over, false);
	replica_beat(r);
	r->live = live_create(&r->cfg.live, r->m, err);
	if (!r->live)
		return -err->code;
	live_sink_attach(&r->direct, r->live);
	/*
	 * The order matters: either replica_stop() has seen r->live, or we see here the flag that
	 * it set.
	 */
	if (atomic_load(&r->stopping))
		live_stop(r->live);
	batch_init(r);
	if (acceptor_start(r, err) < 0)
		return -err->code;
	if (failover_holds(failover_state(&r->failover)) && handover_begin(r, err) < 0)
		return -err->code;
	outbox_drain(&r->outbox);
	*end = f->machine_ended ? f->machine_end : machine_run(r->m, live_source(r->live), err);
	hang_vcpu_over(r);
	if (atomic_load(&r->follower.replaying))
		return handover_step_down(r, err) < 0 ? -err->code : 1;
	if (*end == MACHINE_FAILED)
		return -EIO;
	if (failover_state(&r->failover) != REPLICA_FENCED)
		say_bye(r, *end);
	return 0;
}
