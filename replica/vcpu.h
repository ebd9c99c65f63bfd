/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signs of life (beats) of a replica's vCPU thread, and the watch over the other side's (hang.c).
 */
#ifndef REPLICA_VCPU_H
#define REPLICA_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct replica;

/* Watches whether a vCPU thread's beat changes. All zeros: nothing seen yet. */
struct hang_watch {
	/* beat and time of the last look; how long the beat has stood still */
	uint64_t beat, looked_ns, still_ns;
};

struct vcpu {
	/* written by the vCPU thread */
	atomic_uint_fast64_t beat_ns;	    /* time of the last beat */
	atomic_uint_fast64_t count, now_ns; /* instructions, virtual time at the last sync point */
	/* the thread does not run the guest any more; set back to false only with the lock held */
	atomic_bool over;
	/*
	 * test hook: 0: no; 1: the thread hangs for ever; else one more than the ms that it hangs
	 */
	atomic_uint_fast64_t hang_ms;

	pthread_mutex_t lock; /* guards the rest; no function is called with it held */
	pthread_cond_t is_over;
	struct hang_watch watch;
	bool hangs;
};

void vcpu_init(struct vcpu *v);
void vcpu_fini(struct vcpu *v);

/* vCPU thread: notes that it is alive, at a place where it may be. */
void replica_beat(struct replica *r);
uint64_t replica_last_beat(struct replica *r);
/*
 * Looks at a beat, at time `now`. Returns for how long, in ns, it has stood still; each look adds
 * at most max_step_ns, so a watcher that did not run itself has not seen the beat stand still.
 */
uint64_t hang_watch_look(struct hang_watch *w, uint64_t beat, uint64_t now, uint64_t max_step_ns);
/* Time, in ms, between two signs of life of either side. */
unsigned heartbeat_ms(unsigned timeout_ms, unsigned hang_timeout_ms);
/*
 * Waits until the vCPU thread and the poller have each given a new beat. False: before that, the
 * next generation went to another replica. Not to be called on the vCPU thread.
 */
bool hang_prove_alive(struct replica *r);
/* vCPU thread: notes that it no longer runs the guest. */
void hang_vcpu_over(struct replica *r);
/*
 * Called after the session has ended, not on the vCPU thread: waits for the end of the vCPU
 * thread's run. If that thread hangs and another replica has taken the next generation, ends the
 * process.
 */
void hang_linger(struct replica *r);
/*
 * Reports in the event log when our own vCPU thread begins to hang, or goes on. Not to be called on
 * that thread.
 */
void hang_report(struct replica *r);
/* vCPU thread: hangs here if the test hook says so. */
void hang_here(struct replica *r);

#endif
