/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signs of life of a replica's vCPU thread, and the watch over the other side's (hang.c). */
#ifndef REPLICA_VCPU_H
#define REPLICA_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct replica;

/* Sees whether a vCPU thread's beat changes. Zeroed: nothing seen yet. */
struct hang_watch {
	uint64_t beat, looked_ns, still_ns;
};

struct vcpu {
	/* written by the vCPU thread */
	atomic_uint_fast64_t beat_ns;	    /* when it came by last */
	atomic_uint_fast64_t count, now_ns; /* instructions, virtual time at the last sync point */
	atomic_bool over; /* it does not run the guest any more; false only under the lock */
	atomic_uint_fast64_t
		hang_ms; /* test hook: it shall hang for so long less one; 1: for ever, 0: no */

	pthread_mutex_t lock; /* of the rest; nothing is called with it */
	pthread_cond_t is_over;
	struct hang_watch watch;
	bool hangs;
};

void vcpu_init(struct vcpu *v);
void vcpu_fini(struct vcpu *v);

/* vCPU thread: it is alive, and where it is meant to be. */
void replica_beat(struct replica *r);
uint64_t replica_last_beat(struct replica *r);
/*
 * Looks at a beat; returns for how long it has stood still. One look counts for max_step_ns at
 * most.
 */
uint64_t hang_watch_look(struct hang_watch *w, uint64_t beat, uint64_t now, uint64_t max_step_ns);
/* Between two signs of life of either side. */
unsigned heartbeat_ms(unsigned timeout_ms, unsigned hang_timeout_ms);
/*
 * Waits until the vCPU thread and the poller have given a beat. False: the next generation went to
 * the other replica first. Not on the vCPU thread.
 */
bool hang_prove_alive(struct replica *r);
/* vCPU thread: it has come back from the guest. */
void hang_vcpu_over(struct replica *r);
/*
 * Ends the process, when the other side is gone, if the vCPU thread hangs and has been replaced.
 * Not on the vCPU thread.
 */
void hang_linger(struct replica *r);
/* Tells the event log of our own vCPU. Not on its thread. */
void hang_report(struct replica *r);
/* vCPU thread: where the test hook strikes. */
void hang_here(struct replica *r);

#endif
