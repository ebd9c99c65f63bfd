/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A debugger's probe on the software CPU (struct engine_probe), and the state that only a return
 * to an earlier moment needs.
 *
 * Breakpoints are boundaries at which the run loop has to look: blocks end in front of them and
 * none begins there. Blocks are cached by physical page and a breakpoint is a linear address, of
 * which only the offset in its page is sure to be the same: so this holds for that offset of every
 * page. Watched pages have TLB_SLOW, as those of debug registers. Neither drops a translation.
 */
#ifndef SOFT_PROBE_H
#define SOFT_PROBE_H

#include "hypervisor/soft/cpu.h"

void probe_set(struct cpu *cpu, const struct engine_probe *p);

bool probe_is_offset(const struct engine_probe *p, uint64_t address);
bool probe_stops(struct cpu *cpu);
uint32_t probe_hits(const struct engine_probe *p, uint64_t lin, uint64_t size, bool read,
		    bool write);
/* Tells the debugger of an access. */
void probe_tell(struct cpu *cpu, uint64_t lin, uint64_t size, bool write);

/* True: the probe wants to see every boundary. */
static inline bool probe_steps(const struct cpu *cpu)
{
	return unlikely(cpu->probe) && cpu->probe->step;
}

/* May there be a breakpoint at an address that shares its last 12 bits with this one? */
static inline bool probe_may_break(const struct cpu *cpu, uint64_t address)
{
	return unlikely(cpu->probe) && probe_is_offset(cpu->probe, address);
}

/* True: run() ends at this boundary, because a debugger wants it to. */
static inline bool probe_ends(struct cpu *cpu, enum engine_exit_kind *kind)
{
	if (likely(!cpu->probe) || !probe_stops(cpu))
		return false;
	*kind = ENGINE_EXIT_PROBE;
	return true;
}

static inline bool probe_watches(const struct cpu *cpu, uint64_t lin, uint64_t size, bool write)
{
	return unlikely(cpu->probe) && probe_hits(cpu->probe, lin, size, !write, write);
}

static inline bool probe_watches_page(const struct cpu *cpu, uint64_t page)
{
	return unlikely(cpu->probe) && probe_hits(cpu->probe, page, PAGE_SIZE, true, true);
}

static inline void probe_note(struct cpu *cpu, uint64_t lin, uint64_t size, bool write)
{
	if (unlikely(cpu->probe))
		probe_tell(cpu, lin, size, write);
}

/* hidden.c: see engine.h */
void hidden_save(struct cpu *cpu, struct buf *out);
int hidden_restore(struct cpu *cpu, struct rd *in);
/* Flips a bit of a translation; see flip_tlb() of the engine. */
int hidden_flip(struct cpu *cpu, uint64_t which);

#endif
