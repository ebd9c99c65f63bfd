/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IA32_APIC_BASE: reserved bits, the address, every change of mode; x2APIC: which registers there
 * are, which bits of them, 32-bit destinations. SDM vol. 3, 10.4.3, 10.12.
 */
#include "tests/guest/apic.h"

#define BSP	 0x100
#define DISABLED (LAPIC | BSP)
#define INVALID	 (LAPIC | BSP | 0x400)
#define XAPIC	 (LAPIC | BSP | 0x800)
#define X2APIC	 (LAPIC | BSP | 0xc00)
#define X2(reg)	 (0x800 + (reg) / 16)
#define MOVED	 0xfed00000ull

static void test_base(void)
{
	u32 r[4];
	u64 bits, refused = 0, wrong = 0;

	cpuid(0x80000008, 0, r);
	bits = r[0] & 0xff;
	for (unsigned n = 0; n < 64; n++) {
		bool reserved = n < 8 || n == 9 || n >= bits;

		if (n >= 10 && n < bits)
			continue; /* modes and address, below */
		refused = n == 8 ? VE(GP, 0) : catch_wrmsr(MSR_BASE, XAPIC | 1ull << n);
		wrong += (refused == VE(GP, 0)) != (reserved || n == 8);
	}
	check_eq("apic.base.reserved", wrong, 0);
	check_eq("apic.base.stays", rdmsr(MSR_BASE), XAPIC);
	wrmsr(MSR_BASE, MOVED | BSP | 0x800);
	check_eq("apic.base.moved", *(volatile u32 *)(MOVED + REG_VERSION), 0x50014);
	check_eq("apic.base.not-there-any-more", reg_read(REG_VERSION) == 0x50014, 0);
	wrmsr(MSR_BASE, XAPIC);
	check_eq("apic.base.back", reg_read(REG_VERSION), 0x50014);
}

/* From a mode to each other: figure 10-27. */
static const struct {
	u64 to;
	bool from_disabled, from_xapic, from_x2apic;
} change[] = {
	{ DISABLED, true, true, true },
	{ INVALID, false, false, false },
	{ XAPIC, true, true, false },
	{ X2APIC, false, true, true },
};

static u64 changes_from(u64 mode)
{
	u64 allowed = 0;

	for (unsigned i = 0; i < 4; i++) {
		wrmsr(MSR_BASE, DISABLED);
		if (mode != DISABLED)
			wrmsr(MSR_BASE, XAPIC);
		wrmsr(MSR_BASE, mode);
		if (catch_wrmsr(MSR_BASE, change[i].to) == VE(NONE, 0))
			allowed |= 1u << i;
		else if (rdmsr(MSR_BASE) != mode)
			allowed |= 0x10u << i; /* refused, and changed all the same */
	}
	return allowed;
}

static void test_changes(void)
{
	u64 want[3] = { 0, 0, 0 };
	u32 r[4];

	for (unsigned i = 0; i < 4; i++) {
		want[0] |= (u64)change[i].from_disabled << i;
		want[1] |= (u64)change[i].from_xapic << i;
		want[2] |= (u64)change[i].from_x2apic << i;
	}
	check_eq("apic.from-disabled", changes_from(DISABLED), want[0]);
	check_eq("apic.from-xapic", changes_from(XAPIC), want[1]);
	check_eq("apic.from-x2apic", changes_from(X2APIC), want[2]);
	wrmsr(MSR_BASE, DISABLED);
	check_eq("apic.disabled.no-memory", reg_read(REG_VERSION), 0xffffffff);
	cpuid(1, 0, r);
	check_eq("apic.disabled.no-cpuid", r[3] >> 9 & 1, 0);
	check_eq("apic.disabled.no-msr", CATCH((void)rdmsr(X2(REG_VERSION))), GP);
	wrmsr(MSR_BASE, XAPIC);
	cpuid(1, 0, r);
	check_eq("apic.enabled.cpuid", r[3] >> 9 & 1, 1);
	check_eq("apic.enabled.reset",
		 (u64)reg_read(REG_SVR) << 32 | reg_read(REG_TPR) | reg_read(REG_LDR) |
			 reg_read(REG_ICR) | reg_read(REG_INITIAL),
		 0xffull << 32);
	check_eq("apic.enabled.lvt-masked", reg_read(REG_LVT_LINT0), LVT_MASKED);
	reg_write(REG_SVR, 0x1ff);
}

/* The registers of x2APIC mode by their MSR less 800h: table 10-6. */
static bool is_readable(unsigned n)
{
	return n == 0x02 || n == 0x03 || n == 0x08 || n == 0x0a || n == 0x0d || n == 0x0f ||
	       (n >= 0x10 && n < 0x28) || n == 0x28 || n == 0x30 || (n >= 0x32 && n <= 0x39) ||
	       n == 0x3e;
}

static bool is_writable(unsigned n)
{
	return n == 0x08 || n == 0x0b || n == 0x0f || n == 0x28 || n == 0x30 ||
	       (n >= 0x32 && n <= 0x38) || n == 0x3e || n == 0x3f;
}

/* Bits that may be set; a register that is not named takes a zero only. */
static const struct {
	u8 n;
	u64 bits;
} writable[] = {
	{ 0x08, 0xff },	   { 0x0b, 0 },	      { 0x0f, 0x1ff },	 { 0x28, 0 },
	{ 0x32, 0x710ff }, { 0x33, 0x117ff }, { 0x34, 0x117ff }, { 0x35, 0x1f7ff },
	{ 0x36, 0x1f7ff }, { 0x37, 0x110ff }, { 0x3e, 0xb },
};

/* Messages 30h and 3fh would send something, so they come by themselves. */
static void test_x2apic_registers(void)
{
	u64 unlike = 0, which = 0, v;

	for (unsigned n = 0; n < 0x100; n++) {
		bool read = catch_rdmsr(0x800 + n) == VE(NONE, 0);

		if (read != is_readable(n)) {
			unlike++;
			which = n;
		}
	}
	check_eq("apic.x2.readable", unlike << 32 | which, 0);
	for (unsigned n = 0; n < 0x100; n++) {
		v = is_readable(n) ? rdmsr(0x800 + n) : 0;
		if (n == 0x28)
			v = 0;
		if (n == 0x30 || n == 0x3f)
			continue;
		if ((catch_wrmsr(0x800 + n, v) == VE(NONE, 0)) != is_writable(n)) {
			unlike++;
			which = n;
		}
	}
	check_eq("apic.x2.writable", unlike << 32 | which, 0);
	for (unsigned i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
		u32 msr = 0x800u + writable[i].n;

		v = writable[i].bits && writable[i].n != 0x0b ? rdmsr(msr) : 0;
		for (unsigned bit = 0; bit < 64; bit++) {
			if (writable[i].bits >> bit & 1)
				continue;
			if (catch_wrmsr(msr, v | 1ull << bit) != VE(GP, 0)) {
				unlike++;
				which = (u64)bit << 8 | writable[i].n;
			}
		}
	}
	check_eq("apic.x2.reserved-bits", unlike << 32 | which, 0);
	check_eq("apic.x2.icr-reserved", CATCH(wrmsr(0x830, ICR_SELF | 1 << 13 | VECTOR)), GP);
	check_eq("apic.x2.self-ipi-reserved", CATCH(wrmsr(0x83f, 0x100 | VECTOR)), GP);
	check_eq("apic.x2.self-ipi-read", CATCH((void)rdmsr(0x83f)), GP);
}

static u64 sent(u64 dest, u32 low)
{
	got = 0;
	wrmsr(0x830, dest << 32 | low | VECTOR);
	window();
	return got;
}

static void test_x2apic_messages(void)
{
	check_eq("apic.x2.own-id", sent(0, 0), 1);
	check_eq("apic.x2.other-id", sent(0xff, 0), 0);
	check_eq("apic.x2.broadcast", sent(0xffffffff, 0), 1);
	check_eq("apic.x2.own-ldr", sent(rdmsr(0x80d), ICR_LOGICAL), 1);
	check_eq("apic.x2.other-member", sent(2, ICR_LOGICAL), 0);
	check_eq("apic.x2.other-cluster", sent(0x10001, ICR_LOGICAL), 0);
	check_eq("apic.x2.self", sent(0xff, ICR_SELF), 1);
	check_eq("apic.x2.others", sent(0, ICR_OTHERS), 0);
	check_eq("apic.x2.icr-read", rdmsr(0x830), ICR_OTHERS | VECTOR);
	got = 0;
	reg_write(REG_ICR, ICR_SELF | VECTOR); /* memory is not the APIC's now */
	window();
	check_eq("apic.x2.memory-is-not-heard", got, 0);
	wrmsr(0x83f, 15);
	wrmsr(0x828, 0);
	check_eq("apic.x2.send-vector", rdmsr(0x828), 0x20);
	/* CR8 and the task priority are one, in this mode as well. */
	__asm__ volatile("mov %0, %%cr8" : : "r"(6ull) : "memory");
	check_eq("apic.x2.tpr", rdmsr(0x808), 0x60);
	check_eq("apic.x2.held-back", sent(0, 0), 0);
	wrmsr(0x808, 0);
	window();
	check_eq("apic.x2.let-through", got, 1);
}

int main(void)
{
	map_apics();
	test_base();
	test_changes();
	wrmsr(MSR_BASE, X2APIC);
	irq_fn[VECTOR] = on_x2apic;
	test_x2apic_registers();
	wrmsr(0x80f, 0x1ff);
	test_x2apic_messages();
	return 0;
}
