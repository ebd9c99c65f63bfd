/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landing on an exact count with a counter whose overflow interrupt comes late.
 *
 * The guest runs freely until the counter overflows, which is armed a margin before the target, and
 * then goes on by single steps. How late the interrupt came (skid) is measured on every landing.
 * The margin is wide at first; when enough has been seen it shrinks to what the host needs (never
 * below what has been measured of the host before), and it grows again, up to a bound, with every
 * longer skid.
 *
 * A guest that has gone beyond the target, or reached it in free run, has overshot: in free run
 * nothing tells whether the processor has delivered a fault since the last instruction retired, so
 * only a step or an emulated instruction ends at a boundary that a landmark can name. Where the
 * target is a record's, that is an error. Where it is only a wish (of a machine that runs live, and
 * whose record will name the boundary that it came to), it is counted, and steps lead on.
 *
 * Nothing in here knows the hardware: it is behind struct landing_ops.
 */
#ifndef HYPERVISOR_VMX_LANDING_H
#define HYPERVISOR_VMX_LANDING_H

#include <stdbool.h>
#include <stdint.h>

/* instructions; what is known of skid on real processors is below 200 */
#define LANDING_MARGIN_MIN   256u
#define LANDING_MARGIN_FIRST 2048u
/* overflow interrupts after which the margin may be less than the first one */
#define LANDING_LEARNT 32u
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
	/* Handles the exit; at most one instruction is emulated. False: that failed. */
	bool (*complete)(void *ctx);
	/* Executes one instruction, delivers an event, or handles one exit. False: that failed. */
	bool (*step)(void *ctx);
	/* Instructions that have retired, emulated ones included. */
	uint64_t (*count)(void *ctx);
};

struct landing {
	uint64_t margin, margin_least;
	uint64_t runs, steps;
	uint64_t landings;  /* targets reached where a landmark can name it */
	uint64_t overflows; /* whose skid was measured */
	uint64_t late;	    /* of these: found by an exit that came before the interrupt */
	uint64_t learnt;    /* and the others, which tell the whole skid */
	uint64_t overshoots, overshoot_max; /* targets that were passed, and how far */
	uint64_t skid_max;		    /* that of a measurement before included */
	uint64_t skid[LANDING_BUCKETS];
	char error[240]; /* after -EOVERFLOW or -EPROTO */
};

void landing_init(struct landing *l);
/*
 * To be called after landing_init() if the skid of this host was measured before: its margin is the
 * least from now on.
 */
void landing_know(struct landing *l, const struct landing *measured);

/*
 * One move towards the count `target` (UINT64_MAX: none), which is beyond the present one.
 * `may_pass`: a later boundary will do. 0: moved; where it may, perhaps beyond the target, and not
 * at a boundary that a landmark names. -EIO: one of ops failed. -EOVERFLOW: overshot where it may
 * not. -EPROTO: the counter is not exact. After an error the machine must not go on.
 */
int landing_advance(struct landing *l, const struct landing_ops *ops, void *ctx, uint64_t target,
		    bool may_pass);

#endif
