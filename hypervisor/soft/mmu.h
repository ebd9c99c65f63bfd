/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data translations of mmu.c, for mem.c. */
#ifndef SOFT_MMU_H
#define SOFT_MMU_H

#include "hypervisor/soft/cpu.h"

/* Low bits of tlb_entry.gpa and itlb_entry.gpa. */
#define GPA_GLOBAL     1ull
#define GPA_LARGE(gpa) (((gpa) >> 1) & 3u) /* 0: 4 KiB; else index of the page size in mmu.c */
#define GPA_PAGE(gpa)  ((gpa)&PAGE_MASK)

/*
 * Data translation of the page of `lin` through TLB `idx`, filled when needed; raises #PF, #GP or
 * #SS. For a write the entry's wr tag is valid afterwards (perhaps with TLB_SLOW, TLB_CLEAN,
 * TLB_CODE, TLB_WP).
 */
struct tlb_entry *mmu_translate(struct cpu *cpu, enum mmu_index idx, uint64_t lin, bool write);

/* An entry of an ITLB is about to be dropped or replaced: whoever relied on it has to look again.
 */
static inline void mmu_code_lost(struct cpu *cpu)
{
	cpu->jump_key += PAGE_SIZE;
}

/* #GP or #SS when addresses have to be canonical and lin is not. */
void mmu_check_canonical(struct cpu *cpu, uint64_t lin);

static inline enum mmu_index mmu_current_index(const struct cpu *cpu)
{
	return (enum mmu_index)((cpu->tlb - &cpu->tlbs[0][0]) / TLB_SIZE);
}

/* TLB of implicit supervisor accesses: EFLAGS.AC does not lift SMAP for them. */
static inline enum mmu_index mmu_system_index(const struct cpu *cpu)
{
	return cpu->cr4 & CR4_SMAP ? MMU_KERNEL : MMU_KERNEL_NOSMAP;
}

/* DR6 bits of the data breakpoints that an access of [lin, lin+size) meets. */
uint32_t mmu_watch_hits(const struct cpu *cpu, uint64_t lin, uint64_t size, bool write);

#endif
