// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/soft/probe.h"

#include "hypervisor/soft/block.h"

void probe_set(struct cpu *cpu, const struct engine_probe *p)
{
	cpu->probe = p;
	cpu->probe_due = cpu->probe_hit = false;
	block_drop_all(cpu);
	mmu_debug_changed(cpu);
}

bool probe_is_offset(const struct engine_probe *p, uint64_t address)
{
	for (size_t i = 0; i < p->nbreakpoints; i++) {
		if (((p->breakpoint[i] ^ address) & ~PAGE_MASK) == 0)
			return true;
	}
	return false;
}

uint32_t probe_hits(const struct engine_probe *p, uint64_t lin, uint64_t size, bool read,
		    bool write)
{
	uint32_t hits = 0;

	for (size_t i = 0; i < p->nwatches; i++) {
		const struct engine_watch *w = &p->watch[i];

		if (!((w->read && read) || (w->write && write)))
			continue;
		if (w->address - lin < size || lin - w->address < w->length)
			hits |= 1u << i;
	}
	return hits;
}

/*
 * The moment before the step that is under way. A delivery is counted before it is done; it has no
 * op.
 */
static struct moment moment_before(const struct cpu *cpu)
{
	struct moment at = { .count = cpu_count(cpu) };

	if (cpu->undelivered && cpu->deliver_count == at.count)
		at.events = cpu->undelivered - !cpu->op;
	return at;
}

void probe_tell(struct cpu *cpu, uint64_t lin, uint64_t size, bool write)
{
	const struct engine_probe *p = cpu->probe;
	uint32_t hits = probe_hits(p, lin, size, !write, write);
	struct moment from;

	if (!hits)
		return;
	from = moment_before(cpu);
	cpu->probe_hit = true;
	for (size_t i = 0; i < p->nwatches; i++) {
		if (hits & 1u << i)
			p->access(p->ctx, i, &from, lin, size);
	}
}

static bool is_breakpoint(const struct engine_probe *p, uint64_t linear)
{
	for (size_t i = 0; i < p->nbreakpoints; i++) {
		if (p->breakpoint[i] == linear)
			return true;
	}
	return false;
}

bool probe_stops(struct cpu *cpu)
{
	const struct engine_probe *p = cpu->probe;
	struct moment at = { .count = cpu->count };
	uint64_t linear = cpu->ea_base[SEG_CS] + cpu->rip;

	if (!cpu->probe_due || cpu->in_rep)
		return false;
	cpu->probe_due = false;
	if (!p->step && !cpu->probe_hit && !is_breakpoint(p, linear))
		return false;
	cpu->probe_hit = false;
	if (cpu->undelivered && cpu->deliver_count == at.count)
		at.events = cpu->undelivered;
	return p->boundary(p->ctx, &at, linear);
}
