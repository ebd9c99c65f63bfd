/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of a boundary: which event comes first, and whether run() ends here. Every engine has
 * them from here, or a record of one would not replay on the other.
 *
 * At a boundary (between two instructions) run() ends for the first reason of boundary_exit() that
 * holds; else the event that boundary_event() names is delivered; else instructions run.
 *
 * A landmark cannot name every boundary: after an event that was delivered, until an instruction
 * retires (or, where exits are counted, until the next exit), the count is that of the boundary
 * before it. Kicks and stops wait for one that is `named`, or for one inside a REP instruction,
 * which RCX names.
 */
#ifndef HYPERVISOR_BOUNDARY_H
#define HYPERVISOR_BOUNDARY_H

#include "hypervisor/engine.h"
#include "hypervisor/x86.h"

/* Events that wait for the vCPU, and the state that decides which of them it takes. */
struct boundary_events {
	uint64_t rflags;
	bool shadow;  /* of STI, MOV SS or POP SS: external interrupts wait */
	bool movss;   /* of the latter two: debug traps and NMIs wait too */
	bool event;   /* an event whose delivery was cut short */
	bool debug;   /* debug traps */
	bool nmi;     /* an NMI ... */
	bool blocked; /* ... while another one is served */
	bool intr;    /* an external interrupt that was injected */
	bool shutdown;
};

enum boundary_event { BOUNDARY_NONE, BOUNDARY_EVENT, BOUNDARY_DEBUG, BOUNDARY_NMI, BOUNDARY_INTR };

/* The event that is delivered here: SDM vol. 3, table 6-2. */
static inline enum boundary_event boundary_event(const struct boundary_events *e)
{
	if (e->event)
		return BOUNDARY_EVENT;
	if (e->debug && !e->movss)
		return BOUNDARY_DEBUG;
	if (e->nmi && !e->blocked && !e->movss)
		return BOUNDARY_NMI;
	if (e->intr && (e->rflags & FL_IF) && !e->shadow)
		return BOUNDARY_INTR;
	return BOUNDARY_NONE;
}

/* True: an external interrupt would be accepted here, and no other event would come before it. */
static inline bool boundary_can_interrupt(const struct boundary_events *e)
{
	return (e->rflags & FL_IF) && !e->shadow && !e->shutdown && !e->intr && !e->nmi &&
	       !e->debug && !e->event;
}

/* True: an event that waits ends HLT. */
static inline bool boundary_wakes(const struct boundary_events *e)
{
	return e->event || e->debug || (e->nmi && !e->blocked) || (e->intr && (e->rflags & FL_IF));
}

struct boundary {
	struct boundary_events events;
	uint64_t count, rip, rcx;
	bool retired; /* what is counted: every instruction, or exits */
	bool named;   /* by its count alone */
	bool in_rep;  /* by RIP and RCX: between two iterations of a REP instruction */
	bool halted;
	bool window_wanted;
	bool *stop_wanted; /* run() ends after the instruction that is under way */
};

/* Questions that each engine answers in its own way. */
struct boundary_ops {
	/* Exceptions have been delivered without end. */
	bool (*is_stuck)(void *engine);
	/* The kick, if there is one: it is over then. Asked only where a landmark names the place.
	 */
	bool (*take_kick)(void *engine);
	/* A kick waits, and no place that a landmark names has come for a while. */
	bool (*take_spin)(void *engine);
};

static inline bool boundary_reached(const struct boundary *b, const struct landmark *until)
{
	if (b->count < until->count)
		return false;
	if (b->retired && until->in_rep && b->count == until->count)
		return b->rip == until->rip && b->rcx == until->rcx;
	/* Asked to stop where no landmark can: one instruction later there is one. */
	return b->named || b->in_rep;
}

static inline bool boundary_take_stop(const struct boundary *b)
{
	bool taken = *b->stop_wanted && b->named && !b->in_rep;

	if (taken)
		*b->stop_wanted = false;
	return taken;
}

/* True: run() ends here, for the reason in *kind. */
static inline __attribute__((always_inline)) bool boundary_exit(const struct boundary *b,
								const struct boundary_ops *ops,
								void *engine,
								const struct landmark *until,
								enum engine_exit_kind *kind)
{
	if (boundary_reached(b, until))
		*kind = ENGINE_EXIT_UNTIL;
	else if (b->events.shutdown)
		*kind = ENGINE_EXIT_SHUTDOWN;
	else if (ops->is_stuck(engine))
		*kind = ENGINE_EXIT_STUCK;
	else if ((b->named || b->in_rep) && ops->take_kick(engine))
		*kind = ENGINE_EXIT_KICK;
	else if (ops->take_spin(engine))
		*kind = ENGINE_EXIT_SPIN;
	else if (boundary_take_stop(b))
		*kind = ENGINE_EXIT_BUS;
	else if (b->window_wanted && boundary_can_interrupt(&b->events))
		*kind = ENGINE_EXIT_WINDOW;
	else if (b->halted && !boundary_wakes(&b->events))
		*kind = ENGINE_EXIT_HALT;
	else
		return false;
	return true;
}

#endif
