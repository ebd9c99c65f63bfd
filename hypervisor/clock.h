/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual time: a function of the retired-instruction count and of the last anchor.
 *
 *   ns(count) = anchor.ns + ((count - anchor.count) * anchor.rate >> CLOCK_RATE_SHIFT)
 *
 * Anchors move only through inputs. Time never goes back: an anchor that would do so is a corrupt
 * record.
 *
 * A timer belongs to one device and is kept in the machine's list. Timers expire at sync points
 * only, in order of (deadline, slot), when the deadline is not later than the time there.
 */
#ifndef HYPERVISOR_CLOCK_H
#define HYPERVISOR_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define CLOCK_RATE_SHIFT 16
#define CLOCK_RATE_ONE	 (1u << CLOCK_RATE_SHIFT) /* 1 ns an instruction */
#define CLOCK_RATE_MAX	 (1000u << CLOCK_RATE_SHIFT)
#define CLOCK_TIMERS	 32
#define CLOCK_NEVER	 UINT64_MAX

struct timer {
	uint64_t deadline; /* ns; CLOCK_NEVER: off */
	void (*fire)(void *ctx);
	void *ctx;
	const char *name;
};

struct clock {
	uint64_t anchor_ns;
	uint64_t anchor_count;
	uint32_t rate; /* ns per instruction, fixed point; at least 1 */
	/* Present count, asked from the engine through the machine. */
	uint64_t (*count)(void *ctx);
	void *count_ctx;
	/* Called when a deadline changed, so that a running vCPU looks again how far it may go. */
	void (*changed)(void *ctx);
	void *changed_ctx;
	struct timer *timers[CLOCK_TIMERS]; /* registration order is part of the machine version */
	size_t ntimers;
};

void clock_init(struct clock *c);
uint64_t clock_ns_at(const struct clock *c, uint64_t count);
uint64_t clock_now(const struct clock *c);
/* Smallest count with clock_ns_at(count) >= ns (UINT64_MAX when beyond reach). */
uint64_t clock_count_at(const struct clock *c, uint64_t ns);
/*
 * New anchor at the present count. -EINVAL when time would go back or the rate is 0 or above
 * CLOCK_RATE_MAX.
 */
int clock_anchor(struct clock *c, uint64_t ns, uint32_t rate);

void timer_init(struct clock *c, struct timer *t, const char *name, void (*fire)(void *),
		void *ctx);
void timer_set(struct clock *c, struct timer *t, uint64_t deadline_ns);
void timer_stop(struct clock *c, struct timer *t);
/* Earliest deadline, or CLOCK_NEVER. */
uint64_t clock_next_deadline(const struct clock *c);
/*
 * Fires everything due at the present time. A timer that re-arms itself in the past fires again, at
 * most 1000 times.
 */
void clock_expire(struct clock *c);

void clock_save(const struct clock *c, struct buf *out);
int clock_restore(struct clock *c, struct rd *in);

#endif
