/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs that use the APICs of machine version 2 share. SDM vol. 3, chapter 10. */
#ifndef TESTS_GUEST_APIC_H
#define TESTS_GUEST_APIC_H

#include "tests/guest/rt64.h"

#define LAPIC  0xfee00000ull
#define IOAPIC 0xfec00000ull

#define MSR_BASE     0x1b
#define MSR_MCG_CAP  0x179
#define MSR_TSC	     0x10
#define MSR_ADJUST   0x3b
#define MSR_DEADLINE 0x6e0

/* Of the local APIC: offsets in memory; the MSR is 800h and a sixteenth. */
enum {
	REG_ID = 0x20,
	REG_VERSION = 0x30,
	REG_TPR = 0x80,
	REG_PPR = 0xa0,
	REG_EOI = 0xb0,
	REG_LDR = 0xd0,
	REG_DFR = 0xe0,
	REG_SVR = 0xf0,
	REG_ISR = 0x100,
	REG_TMR = 0x180,
	REG_IRR = 0x200,
	REG_ESR = 0x280,
	REG_ICR = 0x300,
	REG_ICR_HIGH = 0x310,
	REG_LVT_TIMER = 0x320,
	REG_LVT_LINT0 = 0x350,
	REG_LVT_ERROR = 0x370,
	REG_INITIAL = 0x380,
	REG_CURRENT = 0x390,
	REG_DIVIDE = 0x3e0,
};

#define ICR_SELF    0x40000
#define ICR_ALL	    0x80000
#define ICR_OTHERS  0xc0000
#define ICR_LOGICAL 0x800
#define MODE_LOWEST 0x100
#define MODE_NMI    0x400
#define LVT_MASKED  0x10000

#define VECTOR	0x51
#define HIGHER	0x61
#define PIC_IRQ 0x30

static volatile u64 got, order[4];

UNUSED static void reg_write(u32 offset, u32 v)
{
	*(volatile u32 *)(LAPIC + offset) = v;
}

UNUSED static u32 reg_read(u32 offset)
{
	return *(volatile u32 *)(LAPIC + offset);
}

/* Is this vector in IRR, ISR or TMR? */
UNUSED static u64 reg_has(u32 set, unsigned vector)
{
	return reg_read(set + vector / 32 * 16) >> (vector & 31) & 1;
}

UNUSED static void io_write(u32 index, u32 v)
{
	*(volatile u32 *)IOAPIC = index;
	*(volatile u32 *)(IOAPIC + 0x10) = v;
}

UNUSED static u32 io_read(u32 index)
{
	*(volatile u32 *)IOAPIC = index;
	return *(volatile u32 *)(IOAPIC + 0x10);
}

/* The registers lie in the fourth GiB: one page of that size. */
static void map_apics(void)
{
	u64 *pdpt = (u64 *)(pml4[0] & ~0xfffull);

	pdpt[3] = 0xc0000000 | 0x83;
	flush_tlb();
}

UNUSED static void on_xapic(struct frame *f)
{
	order[got++ & 3] = f->vector;
	reg_write(REG_EOI, 0);
}

UNUSED static void on_x2apic(struct frame *f)
{
	order[got++ & 3] = f->vector;
	wrmsr(0x80b, 0);
}

/* Of the 8259 behind LINT0. */
UNUSED static void on_pic(struct frame *f)
{
	order[got++ & 3] = f->vector;
	outb(0x20, 0x20);
}

UNUSED static void window(void)
{
	__asm__ volatile("sti; nop; nop; nop; cli" : : : "memory");
}

/* Waits in HLT for the next interrupt. */
UNUSED static void halt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

UNUSED static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

#endif
