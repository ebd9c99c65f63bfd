// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Detects a hang: a replica whose network threads answer while its vCPU thread does not come back,
 * because of a deadlock, a device model that loops, or a disk that does not answer.
 *
 * The vCPU thread stores the time as its beat at every stop of the guest. It also does so in every
 * place where it may wait (HLT, a backup that is behind, an empty stream); those waits are
 * therefore divided into short ones. The beat travels in the primary's stamps and in the backup's
 * acknowledgements. For the other side it is just a number that has to change. If it has not
 * changed for --hang-timeout, the other side treats this replica as lost.
 *
 * A live side whose receiver hangs is just as useless: it gets no acknowledgements, so nothing
 * leaves. One whose poller hangs does not read consoles and is late with frames. So the beat in its
 * stamps is the oldest of the three threads' beats. A sender shows by sending that it is alive, and
 * a backup's receiver shows it by acknowledging.
 *
 * A watcher that did not itself run has not seen a beat stand still. So each look counts for a
 * bounded time only, and when a host is overloaded or frozen as a whole, no replica is treated as
 * hanging.
 *
 * A replica asks the arbiter only right after its own vCPU thread, and on a live side its poller,
 * has given a beat. So a replica that hangs cannot take the generation away from one that works,
 * whichever notices the loss first. When the hanging replica goes on, it finds that the generation
 * is taken.
 */
#include <string.h>
#include <time.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

#define ASK_NS (100 * NS_PER_MS) /* between two looks at the arbiter */
/* a vCPU thread without a beat for so long, when another replica is live, is not waited for */
#define GRACE_NS (2 * NS_PER_S)

void vcpu_init(struct vcpu *v)
{
	memset(v, 0, sizeof(*v));
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->is_over, NULL);
	atomic_store(&v->over, true);
}

void vcpu_fini(struct vcpu *v)
{
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->is_over);
}

void replica_beat(struct replica *r)
{
	atomic_store_explicit(&r->vcpu.beat_ns, host_mono_ns(), memory_order_relaxed);
}

uint64_t replica_last_beat(struct replica *r)
{
	return atomic_load_explicit(&r->vcpu.beat_ns, memory_order_relaxed);
}

uint64_t hang_watch_look(struct hang_watch *w, uint64_t beat, uint64_t now, uint64_t max_step_ns)
{
	uint64_t step = w->looked_ns ? now - w->looked_ns : 0;

	w->looked_ns = now;
	if (beat != w->beat || !w->beat) {
		w->beat = beat;
		w->still_ns = 0;
	} else {
		w->still_ns += step < max_step_ns ? step : max_step_ns;
	}
	return w->still_ns;
}

unsigned heartbeat_ms(unsigned timeout_ms, unsigned hang_timeout_ms)
{
	unsigned ms = (timeout_ms < hang_timeout_ms ? timeout_ms : hang_timeout_ms) / 8;

	return ms ? ms : 1;
}

/* True: the next generation belongs to another replica. */
static bool replaced(struct replica *r)
{
	uint8_t owner[ARBITER_ID_LEN];

	return arbiter_owner(r->cfg.arbiter, failover_generation(&r->failover) + 1, owner, NULL) ==
		       1 &&
	       !arbiter_same_owner(owner, r->id);
}

/* True: the poller has given a beat since since_ns, or there is none. Otherwise wakes it. */
static bool poller_lives(struct replica *r, uint64_t since_ns)
{
	struct live *live = replica_look(r);
	bool lives = !live || live_poller_beat(live) > since_ns;

	if (!lives)
		live_wake_poller(live);
	replica_looked(r);
	return lives;
}

bool hang_prove_alive(struct replica *r)
{
	uint64_t before = replica_last_beat(r), start = host_mono_ns(), next = start + ASK_NS;

	replica_wake(r);
	while (!atomic_load(&r->vcpu.over) &&
	       (replica_last_beat(r) == before || !poller_lives(r, start))) {
		replica_nap();
		if (host_mono_ns() < next)
			continue;
		/* here too, because the acceptor may be waiting for this thread's end */
		hang_report(r);
		if (replaced(r))
			return false;
		next = host_mono_ns() + ASK_NS;
	}
	return true;
}

void hang_vcpu_over(struct replica *r)
{
	pthread_mutex_lock(&r->vcpu.lock);
	atomic_store(&r->vcpu.over, true);
	pthread_cond_broadcast(&r->vcpu.is_over);
	pthread_mutex_unlock(&r->vcpu.lock);
}

/* Waits, at most for ASK_NS, until the vCPU thread no longer runs the guest. True: it does not. */
static bool vcpu_over(struct replica *r)
{
	const struct timespec until = host_timespec(host_mono_ns() + ASK_NS);

	pthread_mutex_lock(&r->vcpu.lock);
	if (!atomic_load(&r->vcpu.over))
		pthread_cond_clockwait(&r->vcpu.is_over, &r->vcpu.lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&r->vcpu.lock);
	return atomic_load(&r->vcpu.over);
}

void hang_linger(struct replica *r)
{
	struct hang_watch w = { 0 };

	while (!vcpu_over(r)) {
		if (hang_watch_look(&w, replica_last_beat(r), host_mono_ns(), 2 * ASK_NS) <
			    GRACE_NS ||
		    !replaced(r))
			continue;
		replica_event(r, "fenced",
			      "our vCPU hangs and the other replica is live: this process ends "
			      "without it");
		if (r->cfg.abandon)
			r->cfg.abandon(r->cfg.abandon_ctx);
		return;
	}
}

void hang_report(struct replica *r)
{
	uint64_t still;
	bool hangs, changed;

	pthread_mutex_lock(&r->vcpu.lock);
	still = hang_watch_look(&r->vcpu.watch, replica_last_beat(r), host_mono_ns(), NS_PER_S);
	hangs = still >= r->cfg.hang_timeout_ms * NS_PER_MS && !atomic_load(&r->vcpu.over);
	changed = hangs != r->vcpu.hangs;
	r->vcpu.hangs = hangs;
	pthread_mutex_unlock(&r->vcpu.lock);
	if (!changed)
		return;
	replica_event(r, hangs ? "hang" : "resumed",
		      hangs ? "our vCPU has made no progress for %u ms"
			    : "our vCPU goes on after more than %u ms",
		      r->cfg.hang_timeout_ms);
}

/* ---- test hook ---- */

void replica_inject_hang(struct replica *r, uint64_t ms)
{
	atomic_store(&r->vcpu.hang_ms, ms + 1);
	replica_wake(r);
}

void hang_here(struct replica *r)
{
	uint64_t ms = atomic_exchange(&r->vcpu.hang_ms, 0), start = host_mono_ns();

	while (ms == 1 || (ms && host_mono_ns() - start < (ms - 1) * NS_PER_MS))
		host_sleep_ns(NS_PER_MS);
}
