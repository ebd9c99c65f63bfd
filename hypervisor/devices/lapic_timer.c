// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The timer of the local APIC (10.5.4): one-shot, periodic, TSC deadline.
 *
 * The count is a function of time: nothing happens while it goes down. An event of the clock is
 * needed only where an interrupt comes of it, so a masked timer has none; what would have expired
 * meanwhile has expired without an interrupt. Each change of a setting first lets what is due
 * happen under the old ones.
 */
#include "hypervisor/devices/lapic_private.h"

enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE, TIMER_NONE };

static unsigned timer_mode(uint32_t lvt)
{
	return (lvt & LVT_TIMER_MODE) >> 17;
}

static unsigned lapic_timer_mode(const struct lapic *l)
{
	return timer_mode(l->lvt[LAPIC_LVT_TIMER]);
}

/* Bits 3, 1 and 0 of the divide configuration: 2, 4, ... 128, 1. */
static uint64_t tick_ns(const struct lapic *l)
{
	unsigned n = (l->divide & 3) | (l->divide >> 1 & 4);

	return (uint64_t)LAPIC_TICK_NS << ((n + 1) & 7);
}

static uint64_t elapsed(const struct lapic *l)
{
	return clock_now(l->clock) - l->start_ns;
}

uint32_t lapic_timer_count(const struct lapic *l)
{
	uint64_t ticks;

	if (!l->initial || l->expired || lapic_timer_mode(l) >= TIMER_DEADLINE)
		return 0;
	ticks = elapsed(l) / tick_ns(l);
	if (lapic_timer_mode(l) == TIMER_PERIODIC)
		return l->initial - (uint32_t)(ticks % l->initial);
	return ticks < l->initial ? l->initial - (uint32_t)ticks : 0;
}

static uint64_t tsc_now(const struct lapic *l)
{
	return clock_now(l->clock) + l->tsc_offset;
}

uint64_t lapic_timer_deadline(const struct lapic *l)
{
	return lapic_timer_mode(l) == TIMER_DEADLINE && tsc_now(l) < l->deadline ? l->deadline : 0;
}

static uint64_t later(uint64_t ns, uint64_t by)
{
	return ns + by < ns ? CLOCK_NEVER : ns + by;
}

/* Virtual time of the next interrupt after now, or CLOCK_NEVER. */
static uint64_t next_event(const struct lapic *l)
{
	uint64_t now = clock_now(l->clock), gone = elapsed(l), period = l->initial * tick_ns(l);

	if ((l->lvt[LAPIC_LVT_TIMER] & LVT_MASKED) || l->expired)
		return CLOCK_NEVER;
	switch (lapic_timer_mode(l)) {
	case TIMER_ONE_SHOT:
		return l->initial && gone < period ? later(now, period - gone) : CLOCK_NEVER;
	case TIMER_PERIODIC:
		if (!period)
			return CLOCK_NEVER;
		if (period < LAPIC_MIN_REARM_NS)
			gone += LAPIC_MIN_REARM_NS - period;
		return later(now, gone - elapsed(l) + period - gone % period);
	case TIMER_DEADLINE:
		return tsc_now(l) < l->deadline ? later(now, l->deadline - tsc_now(l))
						: CLOCK_NEVER;
	default:
		return CLOCK_NEVER;
	}
}

void lapic_timer_rearm(struct lapic *l)
{
	timer_set(l->clock, &l->timer, next_event(l));
}

void lapic_timer_fire(void *lapic)
{
	struct lapic *l = lapic;

	if (lapic_timer_mode(l) == TIMER_DEADLINE)
		l->deadline = 0;
	lapic_local(l, LAPIC_LVT_TIMER);
	if (lapic_timer_mode(l) == TIMER_PERIODIC)
		lapic_timer_rearm(l);
}

/* Lets what is due happen. */
static void settle(struct lapic *l)
{
	if (l->timer.deadline <= clock_now(l->clock)) {
		timer_stop(l->clock, &l->timer);
		lapic_timer_fire(l);
	}
	if (!lapic_timer_deadline(l))
		l->deadline = 0;
}

/* A change between counting and TSC deadlines disarms the timer (10.5.4.1). */
void lapic_timer_set_lvt(struct lapic *l, uint32_t v)
{
	bool deadline = timer_mode(v) == TIMER_DEADLINE;

	settle(l);
	if (deadline != (lapic_timer_mode(l) == TIMER_DEADLINE)) {
		l->initial = 0;
		l->expired = false;
		l->deadline = 0;
	}
	if (timer_mode(v) != lapic_timer_mode(l) && !deadline && l->initial) {
		/* The count goes on from where it is; at 0 it stays "until reprogrammed". */
		uint32_t count = lapic_timer_count(l);

		l->expired = !count;
		l->start_ns = clock_now(l->clock) - (l->initial - count) * tick_ns(l);
	}
	l->lvt[LAPIC_LVT_TIMER] = v;
	lapic_timer_rearm(l);
}

void lapic_timer_set_initial(struct lapic *l, uint32_t v)
{
	if (lapic_timer_mode(l) == TIMER_DEADLINE)
		return; /* "writes are ignored" there */
	settle(l);
	l->initial = v;
	l->expired = false;
	l->start_ns = clock_now(l->clock);
	lapic_timer_rearm(l);
}

void lapic_timer_set_divide(struct lapic *l, uint32_t v)
{
	uint32_t count;

	settle(l);
	count = lapic_timer_count(l);
	l->divide = v;
	if (l->initial)
		l->start_ns = clock_now(l->clock) - (l->initial - count) * tick_ns(l);
	lapic_timer_rearm(l);
}

/* A deadline that has passed already comes at once; zero disarms. */
void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc)
{
	if (lapic_timer_mode(l) != TIMER_DEADLINE)
		return;
	settle(l);
	l->deadline = tsc;
	lapic_timer_rearm(l);
	if (tsc && tsc <= tsc_now(l))
		lapic_timer_fire(l);
}

void lapic_set_tsc_offset(struct lapic *l, uint64_t offset)
{
	uint64_t deadline;

	settle(l);
	deadline = l->deadline;
	l->tsc_offset = offset;
	lapic_timer_rearm(l);
	if (deadline && deadline <= tsc_now(l))
		lapic_timer_fire(l);
}
