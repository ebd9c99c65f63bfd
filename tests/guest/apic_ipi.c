/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of a processor to itself: destinations, priorities, errors, NMIs, and gates of the IDT
 * that an interrupt from outside cannot go through. SDM vol. 3, 6.7, 6.13, 10.5.3, 10.6 and 10.8.
 */
#include "tests/guest/apic.h"

#define SAME_CLASS 0x5f

static void count(struct frame *f)
{
	(void)f;
	got++;
	reg_write(REG_EOI, 0);
}

/* How many interrupts come of a message. */
static u64 sent(u32 dest, u32 icr)
{
	got = 0;
	reg_write(REG_ICR_HIGH, dest << 24);
	reg_write(REG_ICR, icr | VECTOR);
	window();
	return got;
}

static void test_physical(void)
{
	check_eq("apic.ipi.own-id", sent(0, 0), 1);
	check_eq("apic.ipi.other-id", sent(1, 0), 0);
	check_eq("apic.ipi.broadcast", sent(0xff, 0), 1);
	check_eq("apic.ipi.lowest", sent(0, MODE_LOWEST), 1);
	check_eq("apic.ipi.self", sent(1, ICR_SELF), 1);
	check_eq("apic.ipi.all", sent(1, ICR_ALL), 1);
	check_eq("apic.ipi.others", sent(0, ICR_OTHERS), 0);
	check_eq("apic.ipi.delivered", reg_read(REG_ICR) >> 12 & 1, 0);
}

static void test_logical(void)
{
	reg_write(REG_DFR, 0xffffffff);
	reg_write(REG_LDR, 0x04000000);
	check_eq("apic.flat.own", sent(0x04, ICR_LOGICAL), 1);
	check_eq("apic.flat.set", sent(0x0c, ICR_LOGICAL), 1);
	check_eq("apic.flat.others", sent(0xfb, ICR_LOGICAL), 0);
	check_eq("apic.flat.all", sent(0xff, ICR_LOGICAL), 1);
	check_eq("apic.flat.lowest", sent(0x04, ICR_LOGICAL | MODE_LOWEST), 1);
	reg_write(REG_DFR, 0x0fffffff);
	check_eq("apic.dfr", reg_read(REG_DFR), 0x0fffffff);
	reg_write(REG_LDR, 0x21000000);
	check_eq("apic.cluster.own", sent(0x21, ICR_LOGICAL), 1);
	check_eq("apic.cluster.set", sent(0x23, ICR_LOGICAL), 1);
	check_eq("apic.cluster.other-member", sent(0x22, ICR_LOGICAL), 0);
	check_eq("apic.cluster.other-cluster", sent(0x11, ICR_LOGICAL), 0);
	check_eq("apic.cluster.all", sent(0xff, ICR_LOGICAL), 1);
	reg_write(REG_DFR, 0xffffffff);
	check_eq("apic.ldr", reg_read(REG_LDR), 0x21000000);
	reg_write(REG_LDR, 0);
}

static volatile u64 ppr_inside, both_served, same_class_waited;

static void on_first(struct frame *f)
{
	(void)f;
	got = got << 8 | VECTOR;
	ppr_inside = reg_read(REG_PPR);
	reg_write(REG_ICR, ICR_SELF | SAME_CLASS);
	reg_write(REG_ICR, ICR_SELF | HIGHER);
	window();
	same_class_waited = reg_has(REG_IRR, SAME_CLASS);
	reg_write(REG_EOI, 0);
}

static void on_later(struct frame *f)
{
	got = got << 8 | f->vector;
	if (f->vector == HIGHER)
		both_served = reg_has(REG_ISR, VECTOR) << 1 | reg_has(REG_ISR, HIGHER);
	reg_write(REG_EOI, 0);
}

/* What interrupts what, while it is served. */
static void test_nesting(void)
{
	irq_fn[VECTOR] = on_first;
	irq_fn[HIGHER] = irq_fn[SAME_CLASS] = on_later;
	got = 0;
	reg_write(REG_ICR, ICR_SELF | VECTOR);
	window();
	check_eq("apic.nested.ppr", ppr_inside, 0x50);
	check_eq("apic.nested.isr", both_served, 3);
	check_eq("apic.nested.same-class-waits", same_class_waited, 1);
	check_eq("apic.nested.order", got, VECTOR << 16 | HIGHER << 8 | SAME_CLASS);
	check_eq("apic.nested.all-ended", reg_read(REG_PPR), 0);
	irq_fn[VECTOR] = irq_fn[HIGHER] = irq_fn[SAME_CLASS] = count;
}

static void test_priority(void)
{
	reg_write(REG_TPR, 0x4f);
	check_eq("apic.tpr.class-below", sent(0, 0), 1);
	reg_write(REG_TPR, 0x50);
	check_eq("apic.tpr.own-class", sent(0, 0), 0);
	check_eq("apic.tpr.ppr", reg_read(REG_PPR), 0x50);
	check_eq("apic.tpr.waits", reg_has(REG_IRR, VECTOR), 1);
	reg_write(REG_TPR, 0);
	window();
	check_eq("apic.tpr.lowered", got, 1);
	/* Twice the same one while it waits is once. */
	reg_write(REG_ICR, ICR_SELF | VECTOR);
	check_eq("apic.irr.once", sent(0, 0), 1);
	reg_write(REG_EOI, 0);
	check_eq("apic.eoi.of-none", reg_read(REG_PPR), 0);
}

/* What has gone wrong since the last write to the register. */
static u64 errors(void)
{
	reg_write(REG_ESR, 0);
	return reg_read(REG_ESR);
}

static void test_errors(void)
{
	errors();
	reg_write(REG_LVT_ERROR, HIGHER);
	got = 0;
	reg_write(REG_ICR, ICR_SELF | 15);
	check_eq("apic.esr.not-before-a-write", reg_read(REG_ESR), 0);
	window();
	check_eq("apic.esr.interrupt", got, 1);
	check_eq("apic.esr.send-vector", errors(), 0x20);
	check_eq("apic.esr.cleared", errors(), 0);
	(void)reg_read(0x40);
	check_eq("apic.esr.no-register", errors(), 0x80);
	window();
	check_eq("apic.esr.interrupts", got, 2);
	reg_write(REG_LVT_ERROR, LVT_MASKED);
	reg_write(REG_LVT_TIMER, 5);
	reg_write(REG_INITIAL, 1);
	for (u64 from = rdtsc(); rdtsc() - from < 1000000;)
		;
	check_eq("apic.esr.receive-vector", errors(), 0x40);
	check_eq("apic.esr.masked", got, 2);
	reg_write(REG_LVT_TIMER, LVT_MASKED);
}

/* Switched off by its own register: 10.4.7.2. */
static void test_software_disabled(void)
{
	reg_write(REG_LVT_TIMER, VECTOR);
	reg_write(REG_ICR, ICR_SELF | HIGHER);
	reg_write(REG_SVR, 0xff);
	check_eq("apic.off.lvt-masked", reg_read(REG_LVT_TIMER), LVT_MASKED | VECTOR);
	reg_write(REG_LVT_TIMER, VECTOR);
	check_eq("apic.off.mask-stays", reg_read(REG_LVT_TIMER), LVT_MASKED | VECTOR);
	check_eq("apic.off.irr-stays", reg_has(REG_IRR, HIGHER), 1);
	reg_write(REG_ICR, ICR_SELF | VECTOR);
	check_eq("apic.off.takes-none", reg_has(REG_IRR, VECTOR), 0);
	got = 0;
	reg_write(REG_ICR_HIGH, 0);
	reg_write(REG_ICR, MODE_NMI);
	check_eq("apic.off.nmi", got, 1);
	reg_write(REG_SVR, 0x1ff);
	window();
	check_eq("apic.on.what-waited", got, 2);
	check_eq("apic.on.lvt-masked", reg_read(REG_LVT_TIMER), LVT_MASKED | VECTOR);
}

/* ---- NMIs ---- */

static volatile u64 nmis, nmis_inside;
static volatile bool more_inside, trap_inside;

static void on_trap(struct frame *f)
{
	(void)f;
}

static void on_nmi(struct frame *f)
{
	u64 first = nmis++ == 0;

	(void)f;
	got++;
	if (!first || (!more_inside && !trap_inside))
		return;
	reg_write(REG_ICR, MODE_NMI); /* two that wait are one */
	reg_write(REG_ICR, MODE_NMI);
	if (trap_inside)
		__asm__ volatile("int $0x80" : : : "memory"); /* its IRET ends the blocking */
	nmis_inside = nmis;
}

static u64 nmi(bool more, bool trap)
{
	nmis = nmis_inside = 0;
	more_inside = more;
	trap_inside = trap;
	reg_write(REG_ICR_HIGH, 0);
	reg_write(REG_ICR, MODE_NMI);
	return nmis;
}

static void test_nmi(void)
{
	irq_fn[0x80] = on_trap;
	reg_write(REG_TPR, 0xff);
	check_eq("apic.nmi.if-and-tpr-do-not-matter", nmi(false, false), 1);
	reg_write(REG_TPR, 0);
	check_eq("apic.nmi.one-more", nmi(true, false), 2);
	check_eq("apic.nmi.blocked-inside", nmis_inside, 1);
	check_eq("apic.nmi.iret-of-a-trap", nmi(false, true), 2);
	check_eq("apic.nmi.comes-inside", nmis_inside, 2);
	/* The 8254 by the 8259 and LINT0, as a watchdog has it. */
	outb(0x20, 0x11);
	outb(0x21, PIC_IRQ);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x21, 0xfe);
	nmis = more_inside = trap_inside = 0;
	reg_write(REG_LVT_LINT0, MODE_NMI);
	outb(0x43, 0x30);
	outb(0x40, 100);
	outb(0x40, 0);
	while (!nmis)
		__asm__ volatile("pause" : : : "memory"); /* IF is clear */
	check_eq("apic.nmi.lint0", nmis, 1);
	reg_write(REG_LVT_LINT0, LVT_MASKED);
	outb(0x21, 0xff);
}

/* ---- the IDT ---- */

static void test_idt(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) small = { VECTOR * 16 - 1, (u64)idt }, all = { 4095, (u64)idt };

	idt[2 * VECTOR] &= ~(0x80ull << 40);
	reg_write(REG_ICR, ICR_SELF | VECTOR);
	check_eq("apic.idt.not-present", CATCH_ERR(window()), VE(NP, VECTOR * 8 + 3));
	check_eq("apic.idt.acknowledged", reg_has(REG_ISR, VECTOR), 1);
	reg_write(REG_EOI, 0);
	reset_gate(VECTOR);
	__asm__ volatile("lidt %0" : : "m"(small));
	reg_write(REG_ICR, ICR_SELF | VECTOR);
	check_eq("apic.idt.limit", CATCH_ERR(window()), VE(GP, VECTOR * 8 + 3));
	reg_write(REG_EOI, 0);
	__asm__ volatile("lidt %0" : : "m"(all));
	set_gate(VECTOR, (u64)(vectors + 16 * VECTOR), SEL_DATA, GATE_INT, 0);
	reg_write(REG_ICR, ICR_SELF | VECTOR);
	check_eq("apic.idt.no-code", CATCH_ERR(window()), VE(GP, SEL_DATA + 1));
	reg_write(REG_EOI, 0);
	reset_gate(VECTOR);
	check_eq("apic.idt.mended", sent(0, 0), 1);
}

int main(void)
{
	map_apics();
	irq_fn[VECTOR] = irq_fn[HIGHER] = irq_fn[SAME_CLASS] = count;
	irq_fn[NMI] = on_nmi;
	test_physical();
	test_logical();
	test_nesting();
	test_priority();
	test_errors();
	test_software_disabled();
	test_nmi();
	test_idt();
	return 0;
}
