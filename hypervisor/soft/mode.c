/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State that follows from the control registers, the segments and the privilege level, and is
 * computed once after each change of them: the execution mode (part of the key of cached blocks),
 * the segment bases of address calculation and the data TLB in use.
 */
#include "hypervisor/soft/cpu.h"

/*
 * Bits that a translation in the TLB depends on. CR3 is the business of whoever loads it, and
 * CR0.WP is looked at when a page is written.
 */
#define PAGING_CR0 CR0_PG
#define PAGING_CR4 (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP)

static uint32_t paging_bits(const struct cpu *cpu)
{
	/* None of the EFER bits (8, 10, 11) meets one of CR0 (31) or CR4 (4, 5, 7, 20, 21). */
	return (uint32_t)((cpu->cr0 & PAGING_CR0) | (cpu->cr4 & PAGING_CR4) |
			  (cpu->efer & (EFER_LMA | EFER_NX)));
}

/* Can every access through the segment be made without looking at it? */
static bool segment_is_flat(const struct seg_state *s, bool code)
{
	uint32_t type = SEG_TYPE(s->attr);

	if ((s->attr & SEG_UNUSABLE) || !(s->attr & SEG_P) || s->limit != UINT32_MAX)
		return false;
	if (code)
		return (type & 10) == 10; /* readable code */
	return (type & 14) == 2;	  /* writable data, expand-up */
}

static bool segments_are_flat(const struct cpu *cpu)
{
	for (unsigned s = SEG_ES; s <= SEG_GS; s++) {
		if (!segment_is_flat(&cpu->seg[s], s == SEG_CS))
			return false;
	}
	return true;
}

static bool has_sse(const struct cpu *cpu)
{
	return !(cpu->cr0 & (CR0_EM | CR0_TS)) && (cpu->cr4 & CR4_OSFXSR);
}

static uint32_t mode_of(const struct cpu *cpu)
{
	const struct seg_state *cs = &cpu->seg[SEG_CS];
	uint32_t mode = cpu->cpl == 3 ? MODE_USER : 0;

	if (cpu->bus.version == 2)
		mode |= MODE_COUNTS;
	if ((cpu->efer & EFER_LMA) && (cs->attr & SEG_L))
		return mode | MODE_64 | (has_sse(cpu) ? 0 : MODE_NO_SSE);
	mode |= cs->attr & SEG_DB ? MODE_32 : MODE_16;
	if (!(cpu->cr0 & CR0_PE))
		mode |= MODE_REAL;
	else if (cpu->rflags & FL_VM)
		mode |= MODE_VM86;
	if (!(cpu->seg[SEG_SS].attr & SEG_DB))
		mode |= MODE_SS16;
	if (!segments_are_flat(cpu))
		mode |= MODE_SEGCHECK;
	return mode;
}

static enum mmu_index data_tlb(const struct cpu *cpu)
{
	if (cpu->cpl == 3)
		return (cpu->cr0 & CR0_AM) && (cpu->rflags & FL_AC) ? MMU_USER_AC : MMU_USER;
	return (cpu->cr4 & CR4_SMAP) && !(cpu->rflags & FL_AC) ? MMU_KERNEL : MMU_KERNEL_NOSMAP;
}

void cpu_mode_update(struct cpu *cpu)
{
	bool is64;

	cpu->mode = mode_of(cpu);
	cpu->jump_key = (cpu->jump_key & PAGE_MASK) | cpu->mode;
	is64 = (cpu->mode & MODE_SIZE) == MODE_64;
	for (unsigned s = SEG_ES; s <= SEG_GS; s++)
		cpu->ea_base[s] = is64 && s < SEG_FS ? 0 : cpu->seg[s].base;
	cpu->ea_base[SEG_NONE] = 0;
	cpu->tlb = cpu->tlbs[data_tlb(cpu)];
	if (data_tlb(cpu) == MMU_USER_AC)
		mmu_data_lost(cpu);
	if (cpu->paging_bits != paging_bits(cpu)) {
		cpu->paging_bits = paging_bits(cpu);
		mmu_flush_all(cpu);
	}
}
