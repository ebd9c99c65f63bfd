/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine version 2: local APIC as xAPIC and x2APIC, its timer, CR8, I/O APIC, 8259 at LINT0, PM
 * timer, and what the processor offers. SDM vol. 3, chapter 10; run with --machine 2.
 */
#include "tests/guest/apic.h"

static void test_cpuid(void)
{
	u32 r[4], eax, edx;

	cpuid(1, 0, r);
	check_eq("apic.cpuid.apic", r[3] >> 9 & 1, 1);
	check_eq("apic.cpuid.x2apic", r[2] >> 21 & 1, 1);
	check_eq("apic.cpuid.deadline", r[2] >> 24 & 1, 1);
	check_eq("apic.cpuid.no-xsave", r[2] >> 26 & 3, 0);
	cpuid(6, 0, r);
	check_eq("apic.cpuid.arat", r[0], 4);
	cpuid(0xb, 0, r);
	check_eq("apic.cpuid.topology", r[1] << 16 | r[2], 0x10100);
	check_eq("apic.cr4.osxsave", CATCH(write_cr4(read_cr4() | 1 << 18)), GP);
	check_eq("apic.xgetbv",
		 CATCH(__asm__ volatile("xgetbv"
					: "=a"(eax), "=d"(edx)
					: "c"(0)
					: "memory")),
		 UD);
	/* No machine check banks, whatever asks (Xen does without a look at CPUID). */
	check_eq("cpu.mcg-cap", rdmsr(MSR_MCG_CAP), 0);
	check_eq("cpu.mcg-cap.written", CATCH(wrmsr(MSR_MCG_CAP, 0)), GP);
}

static void test_xapic(void)
{
	check_eq("apic.base", rdmsr(MSR_BASE), LAPIC | 0x900);
	check_eq("apic.id", reg_read(0x20), 0);
	check_eq("apic.version", reg_read(0x30), 0x50014);
	check_eq("apic.lint0", reg_read(0x350), 0x700);
	check_eq("apic.x2apic-registers-are-not-there", CATCH(rdmsr(0x802)), GP);
	got = 0;
	reg_write(0x300, 0x40000 | VECTOR); /* both wait, IF is clear */
	reg_write(0x300, 0x40000 | HIGHER);
	check_eq("apic.irr", reg_read(0x220) >> 17 & 1, 1);
	window();
	check_eq("apic.order", order[0] << 8 | order[1], HIGHER << 8 | VECTOR);
	check_eq("apic.served", got << 32 | reg_read(0x220) | reg_read(0x120), 2ull << 32);
}

static void test_cr8(void)
{
	u64 v = 5;

	got = 0;
	__asm__ volatile("mov %0, %%cr8" : : "r"(v) : "memory");
	check_eq("apic.cr8.tpr", reg_read(0x80), 0x50);
	reg_write(0x300, 0x40000 | VECTOR);
	window();
	check_eq("apic.cr8.holds-back", got, 0);
	v = 4;
	__asm__ volatile("sti; mov %0, %%cr8; nop; nop; cli" : : "r"(v) : "memory");
	check_eq("apic.cr8.lets-through", got, 1);
	reg_write(0x80, 0x2f);
	__asm__ volatile("mov %%cr8, %0" : "=r"(v) : : "memory");
	check_eq("apic.cr8.read", v, 2);
	reg_write(0x80, 0);
	v = 16;
	check_eq("apic.cr8.reserved", CATCH(__asm__ volatile("mov %0, %%cr8" : : "r"(v))), GP);
}

static void test_timer(void)
{
	u64 from;

	got = 0;
	reg_write(0x3e0, 0xb);
	reg_write(0x320, VECTOR);
	reg_write(0x380, 2500); /* 100 us */
	from = rdtsc();
	halt();
	from = rdtsc() - from;
	check_eq("apic.timer.one-shot", got, 1);
	check_eq("apic.timer.rate", from > 95000 && from < 1000000000, 1);
	check_eq("apic.timer.count", reg_read(0x390), 0);
	reg_write(0x320, 0x20000 | VECTOR);
	reg_write(0x380, 2500);
	for (got = 0; got < 5;)
		halt();
	reg_write(0x380, 0);
	check_eq("apic.timer.periodic", got, 5);
}

static void test_deadline(void)
{
	u64 from = rdtsc();

	got = 0;
	reg_write(0x320, 0x40000 | VECTOR);
	wrmsr(MSR_DEADLINE, from + 200000);
	check_eq("apic.deadline.read", rdmsr(MSR_DEADLINE), from + 200000);
	halt();
	check_eq("apic.deadline.in-time", got == 1 && rdtsc() >= from + 200000, 1);
	check_eq("apic.deadline.disarmed", rdmsr(MSR_DEADLINE), 0);
	got = 0;
	wrmsr(MSR_DEADLINE, 1); /* has passed */
	window();
	check_eq("apic.deadline.past", got, 1);
	got = 0;
	wrmsr(MSR_DEADLINE, rdtsc() + 1000000000000ull);
	wrmsr(MSR_ADJUST, 2000000000000ull); /* the TSC jumps over it */
	window();
	check_eq("apic.deadline.tsc-moved", got, 1);
	wrmsr(MSR_ADJUST, 0);
	reg_write(0x320, 0x10000);
}

/* The 8254 by both ways: input 2 of the I/O APIC, and the 8259 at LINT0. */
static void test_ioapic(void)
{
	check_eq("apic.io.version", io_read(1), 0x170020);
	check_eq("apic.io.masked", io_read(0x14), 0x10000);
	got = 0;
	io_write(0x15, 0);
	io_write(0x14, HIGHER);
	outb(0x43, 0x30);
	outb(0x40, 100);
	outb(0x40, 0);
	halt();
	check_eq("apic.io.timer", got << 8 | order[0], 1 << 8 | HIGHER);
	io_write(0x14, 0x10000);
	outb(0x20, 0x11);
	outb(0x21, PIC_IRQ);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x21, 0xfe);
	got = 0;
	outb(0x43, 0x30);
	outb(0x40, 100);
	outb(0x40, 0);
	halt();
	check_eq("apic.virtual-wire", got << 8 | order[0], 1 << 8 | PIC_IRQ);
	outb(0x21, 0xff);
}

static void test_pm_timer(void)
{
	u64 from = rdtsc();
	u32 pm, clocks;

	__asm__ volatile("inl %w1, %0" : "=a"(pm) : "Nd"(0x608));
	while (rdtsc() - from < 1000000)
		;
	__asm__ volatile("inl %w1, %0" : "=a"(clocks) : "Nd"(0x608));
	clocks = (clocks - pm) & 0xffffff;
	check_eq("apic.pm-timer", clocks >= 3579 && clocks < 358000, 1);
}

static void test_x2apic(void)
{
	check_eq("apic.x2.not-at-once", CATCH(wrmsr(MSR_BASE, LAPIC | 0x500)), GP);
	wrmsr(MSR_BASE, LAPIC | 0xd00);
	irq_fn[VECTOR] = on_x2apic;
	check_eq("apic.x2.id", rdmsr(0x802), 0);
	check_eq("apic.x2.ldr", rdmsr(0x80d), 1);
	check_eq("apic.x2.memory-is-gone", reg_read(0x30), 0xffffffff);
	got = 0;
	wrmsr(0x83f, VECTOR);
	window();
	check_eq("apic.x2.self-ipi", got, 1);
	wrmsr(0x830, VECTOR);
	window();
	check_eq("apic.x2.icr", got, 2);
	wrmsr(0x832, 0x40000 | VECTOR);
	wrmsr(MSR_DEADLINE, rdtsc() + 50000);
	halt();
	check_eq("apic.x2.deadline", got, 3);
	check_eq("apic.x2.reserved", CATCH(wrmsr(0x808, 0x100)), GP);
	check_eq("apic.x2.read-only", CATCH(wrmsr(0x802, 0)), GP);
	check_eq("apic.x2.no-register", CATCH(rdmsr(0x831)), GP);
	check_eq("apic.x2.not-back", CATCH(wrmsr(MSR_BASE, LAPIC | 0x900)), GP);
	wrmsr(MSR_BASE, LAPIC | 0x100);
	wrmsr(MSR_BASE, LAPIC | 0x900);
	check_eq("apic.after-disabled", reg_read(0xf0) << 20 | reg_read(0x320),
		 0xff << 20 | 0x10000);
}

int main(void)
{
	map_apics();
	irq_fn[VECTOR] = irq_fn[HIGHER] = on_xapic;
	irq_fn[PIC_IRQ] = on_pic;
	test_cpuid();
	test_xapic();
	test_cr8();
	test_timer();
	test_deadline();
	test_ioapic();
	test_pm_timer();
	test_x2apic();
	return 0;
}
