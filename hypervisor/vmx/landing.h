/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landing on an exact count with a counter whose overflow interrupt comes late.
 *
 * The guest runs freely until the counter overflows, which is armed a margin before the target, and
 * then goes on by single steps. How late the interrupt came (skid) is measured on every landing,
 * and the margin grows with it, up to a bound. A guest that has gone beyond the target, or reached
 * it in free run, is an error: in free run nothing tells whether the processor has delivered a
 * fault since the last instruction retired, so only a step or an emulated instruction ends at a
 * boundary that a landmark can name.
 *
 * Nothing in here knows the hardware: it is behind struct landing_ops.
 */
#ifndef HYPERVISOR_VMX_LANDING_H
#define HYPERVISOR_VMX_LANDING_H

#include <stdbool.h>
#include <stdint.h>

/* instructions; what is known of skid on real processors is below 200 */
#define LANDING_MARGIN_MIN 256u
/* more would make each landing cost more than 10 ms of single steps */
#define LANDING_MARGIN_MAX 8192u
/* a shorter free run is not worth an overflow, and counters dislike tiny periods */
#define LANDING_RUN_MIN 64u
#define LANDING_BUCKETS 16u /* skid 0, 1, 2-3, 4-7, ... */

enum landing_stop {
	LANDING_EXIT,	  /* the guest needs something done */
	LANDING_OVERFLOW, /* the counter has reached where it was armed, or passed it */
	LANDING_FAILED,
};

struct landing_ops {
	/*
	 * Runs the guest until it exits or `distance` more instructions have retired and the
	 * interrupt came (0: no such bound). An instruction that has to be emulated has not been
	 * when this returns.
	 */
	enum landing_stop (*run)(void *ctx, uint64_t distance);
	/* Does what the exit asked for; at most one instruction is emulated. */
	bool (*complete)(void *ctx);
	/* One instruction, or the delivery of an event, or an exit and what it asks for. */
	bool (*step)(void *ctx);
	/* Instructions that have retired, emulated ones included. */
	uint64_t (*count)(void *ctx);
};

struct landing {
	uint64_t margin;
	uint64_t runs, steps;
	uint64_t landings;  /* targets reached */
	uint64_t overflows; /* whose skid was measured */
	uint64_t late;	    /* found by an exit that came before the interrupt */
	uint64_t skid_max;
	uint64_t skid[LANDING_BUCKETS];
	char error[240]; /* after -EOVERFLOW or -EPROTO */
};

void landing_init(struct landing *l);

/*
 * One move towards the count `target` (UINT64_MAX: none), which is beyond the present one.
 * 0: moved. -EIO: one of ops failed. -EOVERFLOW: the guest is beyond the target, or at it in free
 * run. -EPROTO: the counter is not exact. After an error the machine must not go on.
 */
int landing_advance(struct landing *l, const struct landing_ops *ops, void *ctx, uint64_t target);

#endif
