// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/translate.h"

#define ADDRESS_52 0x000ffffffffff000ull

static uint64_t entry_at(const struct memory *mem, uint64_t table, uint64_t index, unsigned size)
{
	uint64_t e = 0;

	return memory_read(mem, table + index * size, &e, size) ? e : 0;
}

/*
 * Tables of 8-byte entries from `level` (4: PML4, 2: page directory) down; SDM vol. 3, 4.4 and 4.5.
 */
static bool walk_long(const struct memory *mem, uint64_t table, unsigned level, uint64_t linear,
		      uint64_t *gpa)
{
	for (; level > 0; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t e = entry_at(mem, table & ADDRESS_52, linear >> shift & 0x1ff, 8);
		uint64_t in_page = (1ull << shift) - 1;

		if (!(e & PTE_P))
			return false;
		if (level == 1 || (level < 4 && (e & PTE_PS))) {
			*gpa = (e & ADDRESS_52 & ~in_page) | (linear & in_page);
			return true;
		}
		table = e;
	}
	return false;
}

/* SDM vol. 3, 4.3: 32-bit paging. */
static bool walk_32(const struct cpu_state *s, const struct memory *mem, uint32_t linear,
		    uint64_t *gpa)
{
	uint64_t e = entry_at(mem, s->cr3 & 0xfffff000u, linear >> 22, 4);

	if (!(e & PTE_P))
		return false;
	if ((e & PTE_PS) && (s->cr4 & CR4_PSE)) {
		*gpa = (e & 0xffc00000u) | (e >> 13 & 0xff) << 32 | (linear & 0x3fffff);
		return true;
	}
	e = entry_at(mem, e & 0xfffff000u, linear >> 12 & 0x3ff, 4);
	*gpa = (e & 0xfffff000u) | (linear & 0xfff);
	return e & PTE_P;
}

bool cpu_state_translate(const struct cpu_state *s, const struct memory *mem, uint64_t linear,
			 uint64_t *gpa)
{
	uint64_t pdpte;

	if (!(s->efer & EFER_LMA))
		linear = (uint32_t)linear;
	*gpa = linear;
	if (!(s->cr0 & CR0_PG))
		return true;
	if (!(s->cr4 & CR4_PAE))
		return walk_32(s, mem, (uint32_t)linear, gpa);
	if (s->efer & EFER_LMA)
		return walk_long(mem, s->cr3, 4, linear, gpa);
	pdpte = s->pdpte[linear >> 30 & 3];
	return (pdpte & PTE_P) && walk_long(mem, pdpte, 2, linear, gpa);
}
