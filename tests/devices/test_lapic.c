// SPDX-License-Identifier: GPL-2.0-or-later
/* Local APIC against SDM vol. 3, chapter 10. */
#include "tests/devices/apic_rig.h"
#include "tests/unit.h"

static struct apic_rig a;

#define ID	0x020
#define VERSION 0x030
#define TPR	0x080
#define PPR	0x0a0
#define EOI	0x0b0
#define LDR	0x0d0
#define DFR	0x0e0
#define SVR	0x0f0
#define ISR	0x100
#define TMR	0x180
#define IRR	0x200
#define ESR	0x280
#define ICR	0x300
#define ICR_HI	0x310
#define LVT	0x320
#define LINT0	0x350
#define LINT1	0x360
#define LVT_ERR 0x370
#define INITIAL 0x380
#define CURRENT 0x390
#define DIVIDE	0x3e0

#define MASKED	 0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u

#define X2APIC_BASE (LAPIC_BASE | LAPIC_BASE_BSP | LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC)

static void setup(void)
{
	apic_rig_init(&a);
	apic_put(&a, SVR, 0x1ff);
}

static bool in_set(unsigned set, unsigned vector)
{
	return apic_get(&a, set + 0x10 * (vector / 32)) >> (vector % 32) & 1;
}

static bool send(uint8_t vector, bool level)
{
	const struct apic_message msg = { .vector = vector, .level = level };

	return lapic_receive(&a.lapic, &msg);
}

static uint64_t msr(uint32_t n)
{
	uint64_t v;

	ck_assert(lapic_msr_read(&a.lapic, n, &v));
	return v;
}

START_TEST(registers_after_reset)
{
	apic_rig_init(&a);
	ck_assert_uint_eq(msr(LAPIC_MSR_BASE), 0xfee00900);
	ck_assert_uint_eq(apic_get(&a, ID), 0);
	ck_assert_uint_eq(apic_get(&a, VERSION), 0x50014);
	ck_assert_uint_eq(apic_get(&a, SVR), 0xff);
	ck_assert_uint_eq(apic_get(&a, DFR), 0xffffffff);
	ck_assert_uint_eq(apic_get(&a, LDR), 0);
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		ck_assert_uint_eq(apic_get(&a, LVT + 0x10 * i), MASKED);
	apic_put(&a, LVT, 0x30); /* switched off by software: LVT entries stay masked (10.4.7.2) */
	ck_assert_uint_eq(apic_get(&a, LVT), MASKED | 0x30);
	ck_assert(!send(0x40, false));
}
END_TEST

START_TEST(registers_hold_their_bits)
{
	static const struct {
		unsigned offset;
		uint32_t bits;
	} row[] = { { TPR, 0xff },	   { LDR, 0xff000000 },	 { LVT, 0x700ff },
		    { 0x330, 0x107ff },	   { 0x340, 0x107ff },	 { LINT0, 0x1a7ff },
		    { LINT1, 0x1a7ff },	   { LVT_ERR, 0x100ff }, { DIVIDE, 0xb },
		    { ICR_HI, 0xff000000 } };

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		apic_put(&a, row[i].offset, 0xffffffff);
		ck_assert_msg(apic_get(&a, row[i].offset) == row[i].bits, "register %03x: %x",
			      row[i].offset, apic_get(&a, row[i].offset));
		apic_put(&a, row[i].offset, 0);
		ck_assert_uint_eq(apic_get(&a, row[i].offset), 0);
	}
	apic_put(&a, DFR, 0);
	ck_assert_uint_eq(apic_get(&a, DFR), 0x0fffffff);
	apic_put(&a, ID, 0xff000000);
	ck_assert_uint_eq(apic_get(&a, ID), 0);
}
END_TEST

START_TEST(only_aligned_dwords_write)
{
	lapic_mmio_write(&a.lapic, TPR, 1, 0x50);
	lapic_mmio_write(&a.lapic, TPR + 1, 4, 0x5050);
	lapic_mmio_write(&a.lapic, TPR + 4, 4, 0x5050);
	ck_assert_uint_eq(apic_get(&a, TPR), 0);
	apic_put(&a, TPR, 0x50);
	ck_assert_uint_eq(lapic_mmio_read(&a.lapic, TPR, 1) & 0xff, 0x50);
	ck_assert_uint_eq(lapic_mmio_read(&a.lapic, TPR + 4, 4), 0);
}
END_TEST

START_TEST(vectors_go_by_priority)
{
	ck_assert(send(0x31, false) && send(0x52, false) && send(0x51, false));
	ck_assert(a.intr);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x52);
	ck_assert(in_set(ISR, 0x52) && !in_set(IRR, 0x52));
	ck_assert(!a.intr); /* 0x51 is of the class that is served */
	ck_assert_uint_eq(apic_get(&a, PPR), 0x50);
	send(0x60, false);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x60);
	apic_put(&a, EOI, 0);
	ck_assert(!in_set(ISR, 0x60) && in_set(ISR, 0x52) && !a.intr);
	apic_put(&a, EOI, 0);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x51);
	apic_put(&a, EOI, 0);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x31);
	apic_put(&a, EOI, 0);
	apic_put(&a, EOI, 0); /* of nothing */
	ck_assert(!a.intr);
	ck_assert_uint_eq(apic_get(&a, PPR), 0);
}
END_TEST

START_TEST(a_request_is_lost)
{
	ck_assert(send(0x41, false) && send(0x52, true));
	ck_assert(lapic_drop(&a.lapic));
	ck_assert(!in_set(IRR, 0x52) && in_set(IRR, 0x41));
	ck_assert(lapic_drop(&a.lapic));
	ck_assert(!lapic_pending(&a.lapic));
	ck_assert(!lapic_drop(&a.lapic));
}
END_TEST

START_TEST(task_priority_holds_back)
{
	apic_put(&a, TPR, 0x4f);
	ck_assert_uint_eq(lapic_cr8(&a.lapic), 4);
	send(0x41, false);
	ck_assert(!a.intr);
	ck_assert_uint_eq(apic_get(&a, PPR), 0x4f);
	lapic_set_cr8(&a.lapic, 3);
	ck_assert(a.intr);
	ck_assert_uint_eq(apic_get(&a, TPR), 0x30);
	lapic_set_cr8(&a.lapic, 15);
	ck_assert(!a.intr);
}
END_TEST

START_TEST(spurious_vector_when_the_request_is_gone)
{
	apic_put(&a, SVR, 0x1ef);
	send(0x41, false);
	lapic_set_cr8(&a.lapic, 8);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0xef);
	ck_assert(!in_set(ISR, 0xef) && in_set(IRR, 0x41));
}
END_TEST

START_TEST(level_triggered_ends_are_told)
{
	send(0x41, true);
	ck_assert(in_set(TMR, 0x41));
	lapic_acknowledge(&a.lapic);
	apic_put(&a, EOI, 0);
	ck_assert_uint_eq(a.eois, 1);
	ck_assert_uint_eq(a.last_eoi, 0x41);
	send(0x41, false);
	ck_assert(!in_set(TMR, 0x41));
	lapic_acknowledge(&a.lapic);
	apic_put(&a, EOI, 0);
	ck_assert_uint_eq(a.eois, 1);
}
END_TEST

START_TEST(illegal_vectors_are_errors)
{
	apic_put(&a, LVT_ERR, 0xfe);
	ck_assert(!send(15, false));
	ck_assert_uint_eq(apic_get(&a, ESR), 0);
	apic_put(&a, ESR, 0);
	ck_assert_uint_eq(apic_get(&a, ESR), 0x40);
	ck_assert(in_set(IRR, 0xfe));
	apic_put(&a, ICR, 0x4000f); /* self, vector 15 */
	apic_put(&a, ESR, 0);
	ck_assert_uint_eq(apic_get(&a, ESR), 0x20);
	apic_put(&a, 0x040, 0); /* no such register */
	apic_put(&a, ESR, 0);
	ck_assert_uint_eq(apic_get(&a, ESR), 0x80);
	apic_put(&a, ESR, 0);
	ck_assert_uint_eq(apic_get(&a, ESR), 0);
}
END_TEST

START_TEST(interprocessor_interrupts)
{
	apic_put(&a, ICR, 0x40041); /* self */
	ck_assert(in_set(IRR, 0x41));
	apic_put(&a, ICR, 0x80042); /* all */
	ck_assert(in_set(IRR, 0x42));
	apic_put(&a, ICR, 0xc0043); /* all others */
	ck_assert(!in_set(IRR, 0x43));
	apic_put(&a, ICR_HI, 0);
	apic_put(&a, ICR, 0x44);
	ck_assert(in_set(IRR, 0x44));
	apic_put(&a, ICR_HI, 1u << 24); /* another one */
	apic_put(&a, ICR, 0x45);
	ck_assert(!in_set(IRR, 0x45));
	apic_put(&a, ICR_HI, 0xffu << 24);
	apic_put(&a, ICR, 0x46);
	ck_assert(in_set(IRR, 0x46));
	apic_put(&a, ICR, 0x80400); /* NMI to all */
	ck_assert_uint_eq(a.nmis, 1);
	apic_put(&a, ICR, 0x80500); /* INIT: the processor runs */
	apic_put(&a, ICR, 0x80600);
	ck_assert_uint_eq(apic_get(&a, ICR), 0x80600);
}
END_TEST

START_TEST(logical_destinations)
{
	struct apic_message msg = { .logical = true, .vector = 0x41 };

	apic_put(&a, LDR, 0x04000000);
	msg.dest = 0x0c; /* flat */
	ck_assert(lapic_receive(&a.lapic, &msg));
	msg.dest = 0x0b;
	ck_assert(!lapic_receive(&a.lapic, &msg));
	apic_put(&a, DFR, 0x0fffffff); /* cluster 2, first of it */
	apic_put(&a, LDR, 0x21000000);
	msg.dest = 0x23;
	ck_assert(lapic_receive(&a.lapic, &msg));
	msg.dest = 0x33;
	ck_assert(!lapic_receive(&a.lapic, &msg));
	msg.dest = 0x22;
	ck_assert(!lapic_receive(&a.lapic, &msg));
	msg.dest = 0xf1;
	ck_assert(lapic_receive(&a.lapic, &msg));
	msg.dest = 0xff;
	ck_assert(lapic_receive(&a.lapic, &msg));
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, X2APIC_BASE));
	msg.dest = 1;
	ck_assert(lapic_receive(&a.lapic, &msg));
	msg.wide = true;
	msg.dest = 0x10001; /* cluster 1 */
	ck_assert(!lapic_receive(&a.lapic, &msg));
	msg.dest = 0xffffffff;
	ck_assert(lapic_receive(&a.lapic, &msg));
}
END_TEST

START_TEST(message_signalled)
{
	struct apic_message msg = apic_message_of_msi(0xfee01004, 0x8141);

	ck_assert(msg.dest == 1 && msg.logical && msg.level && msg.mode == APIC_LOWEST &&
		  msg.vector == 0x41);
	apic_put(&a, LDR, 1u << 24);
	ck_assert(lapic_receive(&a.lapic, &msg));
	ck_assert(in_set(IRR, 0x41) && in_set(TMR, 0x41));
}
END_TEST

START_TEST(lint0_passes_the_8259_on)
{
	lapic_firmware(&a.lapic);
	rig_out(&a.rig, 0x20, 0x11);
	rig_out(&a.rig, 0x21, 0x30);
	rig_out(&a.rig, 0x21, 0x04);
	rig_out(&a.rig, 0x21, 0x01);
	i8259_set_irq(&a.pic, 3, true);
	ck_assert(a.intr);
	apic_put(&a, LINT0, MASKED | 0x700);
	ck_assert(!a.intr);
	apic_put(&a, LINT0, 0x700);
	send(0x51, false); /* the APIC's own come first */
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x51);
	ck_assert(a.intr); /* and the 8259's have no priority */
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x33);
	ck_assert(!a.intr);
	ck_assert(!in_set(ISR, 0x33));
}
END_TEST

START_TEST(a_disabled_apic_leaves_the_pin)
{
	apic_put(&a, TPR, 0xff);
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, LAPIC_BASE | LAPIC_BASE_BSP));
	ck_assert(!lapic_decodes(&a.lapic, LAPIC_BASE));
	lapic_set_lint(&a.lapic, 0, true);
	ck_assert(a.intr);
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE,
				  LAPIC_BASE | LAPIC_BASE_BSP | LAPIC_BASE_ENABLED));
	ck_assert(!a.intr); /* as after power-up: LINT0 masked */
	ck_assert_uint_eq(apic_get(&a, TPR), 0);
	ck_assert_uint_eq(apic_get(&a, SVR), 0xff);
}
END_TEST

START_TEST(lint_pins_by_mode)
{
	apic_put(&a, LINT0, 0x41); /* fixed, edge */
	lapic_set_lint(&a.lapic, 0, true);
	lapic_set_lint(&a.lapic, 0, true);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x41);
	apic_put(&a, EOI, 0);
	ck_assert(!a.intr);
	apic_put(&a, LINT0, 0x8042); /* level: it is asserted */
	ck_assert_uint_eq(apic_get(&a, LINT0), 0xc042);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x42);
	apic_put(&a, EOI, 0);
	ck_assert(a.intr); /* still */
	lapic_set_lint(&a.lapic, 0, false);
	lapic_acknowledge(&a.lapic);
	apic_put(&a, EOI, 0);
	ck_assert(!a.intr);
	ck_assert_uint_eq(apic_get(&a, LINT0), 0x8042);
	apic_put(&a, LINT1, 0x400);
	lapic_set_lint(&a.lapic, 1, true);
	ck_assert_uint_eq(a.nmis, 1);
}
END_TEST

START_TEST(base_moves_and_modes_change)
{
	const uint64_t on = LAPIC_BASE_BSP | LAPIC_BASE_ENABLED;

	ck_assert(lapic_decodes(&a.lapic, 0xfee00fff) && !lapic_decodes(&a.lapic, 0xfee01000));
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, 0xfed00000 | on));
	ck_assert(lapic_decodes(&a.lapic, 0xfed00020) && !lapic_decodes(&a.lapic, LAPIC_BASE));
	ck_assert(!lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, LAPIC_BASE | on | 1));
	ck_assert(!lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, 1ull << 40 | on));
	/* figure 10-27: not from disabled, and not back */
	ck_assert(!lapic_msr_write(&a.lapic, LAPIC_MSR_BASE,
				   LAPIC_BASE | LAPIC_BASE_BSP | LAPIC_BASE_X2APIC));
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, X2APIC_BASE));
	ck_assert(!lapic_decodes(&a.lapic, LAPIC_BASE));
	ck_assert(!lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, LAPIC_BASE | on));
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, LAPIC_BASE | LAPIC_BASE_BSP));
	ck_assert(!lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, X2APIC_BASE));
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, LAPIC_BASE | on));
}
END_TEST

START_TEST(x2apic_registers)
{
	uint64_t v;

	ck_assert(!lapic_msr_read(&a.lapic, 0x802, &v)); /* not yet */
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_BASE, X2APIC_BASE));
	ck_assert_uint_eq(msr(0x802), 0);
	ck_assert_uint_eq(msr(0x803), 0x50014);
	ck_assert_uint_eq(msr(0x80d), 1);
	ck_assert_uint_eq(msr(0x80f), 0x1ff);
	for (uint32_t n = 0x800; n < 0x900; n++) {
		bool readable = n == 0x802 || n == 0x803 || n == 0x808 || n == 0x80a ||
				n == 0x80d || n == 0x80f || (n >= 0x810 && n <= 0x828) ||
				n == 0x830 || (n >= 0x832 && n <= 0x839) || n == 0x83e;

		ck_assert_msg(lapic_msr_read(&a.lapic, n, &v) == readable, "MSR %x", n);
		/* reserved high bits, everywhere but in the ICR */
		ck_assert_msg(n == 0x830 || !lapic_msr_write(&a.lapic, n, 1ull << 32), "MSR %x", n);
	}
	ck_assert(!lapic_msr_write(&a.lapic, 0x802, 0)); /* read-only */
	ck_assert(!lapic_msr_write(&a.lapic, 0x808, 0x100));
	ck_assert(!lapic_msr_write(&a.lapic, 0x80b, 1));
	ck_assert(!lapic_msr_write(&a.lapic, 0x828, 1));
	ck_assert(!lapic_msr_write(&a.lapic, 0x830, 1 << 13));
	ck_assert(lapic_msr_write(&a.lapic, 0x83f, 0x41));
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x41);
	ck_assert(lapic_msr_write(&a.lapic, 0x80b, 0));
	ck_assert(lapic_msr_write(&a.lapic, 0x830, 0x42)); /* to ID 0 */
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x42);
	ck_assert(lapic_msr_write(&a.lapic, 0x830, 1ull << 32 | 0x43));
	ck_assert_uint_eq(msr(0x830), 1ull << 32 | 0x43);
	ck_assert(!a.intr);
}
END_TEST

START_TEST(timer_one_shot)
{
	apic_put(&a, DIVIDE, 0xb); /* by 1 */
	apic_put(&a, LVT, 0x41);
	apic_put(&a, INITIAL, 100);
	rig_pass(&a.rig, 40 * 30);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 70);
	rig_pass(&a.rig, 40 * 70 - 1);
	ck_assert(!a.intr);
	rig_pass(&a.rig, 1);
	ck_assert(a.intr);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x41);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 0);
	rig_pass(&a.rig, 1000000);
	ck_assert(!in_set(IRR, 0x41));
	apic_put(&a, INITIAL, 100);
	apic_put(&a, INITIAL, 0); /* stops */
	rig_pass(&a.rig, 1000000);
	ck_assert(!in_set(IRR, 0x41));
}
END_TEST

/* SDM vol. 3, 10.5.4: it "remains at its 0 value until reprogrammed". */
START_TEST(an_expired_count_stays_zero)
{
	apic_put(&a, DIVIDE, 0xb);
	apic_put(&a, LVT, 0x41);
	apic_put(&a, INITIAL, 2500); /* 100 us */
	rig_pass(&a.rig, 100000);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x41);
	apic_put(&a, EOI, 0);
	apic_put(&a, LVT, PERIODIC | 0x41);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 0);
	rig_pass(&a.rig, 1000000);
	ck_assert(!a.intr);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 0);
	apic_put(&a, DIVIDE, 0); /* nor does a divisor start it */
	ck_assert_uint_eq(apic_get(&a, CURRENT), 0);
	apic_put(&a, DIVIDE, 0xb);
	ck_assert(rig_round_trip(&lapic_ops, &a.lapic));
	ck_assert_uint_eq(apic_get(&a, CURRENT), 0);
	apic_put(&a, LVT, 0x41);
	apic_put(&a, LVT, PERIODIC | 0x41);
	rig_pass(&a.rig, 1000000);
	ck_assert(!a.intr);
	ck_assert_uint_eq(apic_get(&a, INITIAL), 2500);
	apic_put(&a, INITIAL, 2500);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 2500);
	for (unsigned i = 0; i < 2; i++) {
		rig_pass(&a.rig, 100000);
		ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x41);
		apic_put(&a, EOI, 0);
	}
}
END_TEST

START_TEST(timer_divides)
{
	static const uint8_t code[8] = { 0xb, 0, 1, 2, 3, 8, 9, 0xa };

	for (unsigned i = 0; i < 8; i++) {
		apic_put(&a, DIVIDE, code[i]);
		apic_put(&a, INITIAL, 1000);
		rig_pass(&a.rig, (40ull << i) * 10);
		ck_assert_uint_eq(apic_get(&a, CURRENT), 990);
	}
	/* another divisor goes on from the present count */
	apic_put(&a, DIVIDE, 0xb);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 990);
	rig_pass(&a.rig, 40 * 10);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 980);
}
END_TEST

START_TEST(timer_periodic)
{
	apic_put(&a, DIVIDE, 0xb);
	apic_put(&a, LVT, PERIODIC | 0x41);
	apic_put(&a, INITIAL, 2500); /* 100 us */
	for (unsigned i = 0; i < 5; i++) {
		rig_pass(&a.rig, 99999);
		ck_assert(!a.intr);
		rig_pass(&a.rig, 1);
		ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x41);
		apic_put(&a, EOI, 0);
	}
	ck_assert_uint_eq(apic_get(&a, CURRENT), 2500);
	apic_put(&a, LVT, PERIODIC | MASKED | 0x41); /* the count goes on */
	rig_pass(&a.rig, 150000);
	ck_assert(!a.intr);
	ck_assert_uint_eq(apic_get(&a, CURRENT), 1250);
	apic_put(&a, LVT, PERIODIC | 0x41);
	rig_pass(&a.rig, 50000);
	ck_assert(a.intr);
}
END_TEST

START_TEST(fast_periods_coalesce)
{
	unsigned n = 0;

	apic_put(&a, DIVIDE, 0xb);
	apic_put(&a, LVT, PERIODIC | 0x41);
	apic_put(&a, INITIAL, 1);
	for (unsigned i = 0; i < 1000; i++) {
		rig_pass(&a.rig, 1000);
		if (!a.intr)
			continue;
		n++;
		lapic_acknowledge(&a.lapic);
		apic_put(&a, EOI, 0);
	}
	ck_assert_uint_le(n, 1000000 / LAPIC_MIN_REARM_NS + 1);
	ck_assert_uint_ge(n, 1000000 / LAPIC_MIN_REARM_NS - 1);
}
END_TEST

START_TEST(timer_deadline)
{
	rig_pass(&a.rig, 1000);
	ck_assert(lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 5000));
	ck_assert_uint_eq(msr(LAPIC_MSR_DEADLINE), 0); /* not in this mode */
	apic_put(&a, LVT, DEADLINE | 0x41);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 5000);
	ck_assert_uint_eq(msr(LAPIC_MSR_DEADLINE), 5000);
	apic_put(&a, INITIAL, 10); /* ignored */
	ck_assert_uint_eq(apic_get(&a, CURRENT), 0);
	rig_pass(&a.rig, 3999);
	ck_assert(!a.intr);
	rig_pass(&a.rig, 1);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), 0x41);
	apic_put(&a, EOI, 0);
	ck_assert_uint_eq(msr(LAPIC_MSR_DEADLINE), 0);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 4000); /* over: at once */
	ck_assert(a.intr);
	lapic_acknowledge(&a.lapic);
	apic_put(&a, EOI, 0);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 6000);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 0); /* disarmed */
	rig_pass(&a.rig, 10000);
	ck_assert(!a.intr);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 20000);
	apic_put(&a, LVT, DEADLINE | MASKED | 0x41);
	rig_pass(&a.rig, 10000);
	apic_put(&a, LVT, DEADLINE | 0x41); /* has expired meanwhile */
	ck_assert(!a.intr);
	ck_assert_uint_eq(msr(LAPIC_MSR_DEADLINE), 0);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 50000);
	apic_put(&a, LVT, 0x41); /* another mode disarms */
	apic_put(&a, LVT, DEADLINE | 0x41);
	rig_pass(&a.rig, 100000);
	ck_assert(!a.intr);
}
END_TEST

START_TEST(deadline_follows_the_tsc)
{
	apic_put(&a, LVT, DEADLINE | 0x41);
	lapic_set_tsc_offset(&a.lapic, 1000000);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, 1005000);
	rig_pass(&a.rig, 4999);
	ck_assert(!a.intr);
	lapic_set_tsc_offset(&a.lapic, 0); /* the guest sets its TSC back */
	rig_pass(&a.rig, 1000000);
	ck_assert(!a.intr);
	lapic_set_tsc_offset(&a.lapic, 2000000); /* and forth */
	ck_assert(a.intr);
	lapic_acknowledge(&a.lapic);
	apic_put(&a, EOI, 0);
	lapic_msr_write(&a.lapic, LAPIC_MSR_DEADLINE, UINT64_MAX);
	rig_pass(&a.rig, 1000000);
	ck_assert(!a.intr);
}
END_TEST

START_TEST(states_travel)
{
	apic_put(&a, LVT, PERIODIC | 0x41);
	apic_put(&a, INITIAL, 100000);
	send(0x61, true);
	send(0x51, false);
	lapic_acknowledge(&a.lapic);
	lapic_set_lint(&a.lapic, 0, true);
	ck_assert(rig_round_trip(&lapic_ops, &a.lapic));
	ck_assert(in_set(ISR, 0x61) && in_set(IRR, 0x51) && in_set(TMR, 0x61));
	ck_assert(rig_refuses_short(&lapic_ops, &a.lapic));
	ck_assert_uint_eq(apic_get(&a, SVR), 0xff); /* refused: as after reset */
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, registers_after_reset);
	tcase_add_test(tc, registers_hold_their_bits);
	tcase_add_test(tc, only_aligned_dwords_write);
	tcase_add_test(tc, vectors_go_by_priority);
	tcase_add_test(tc, a_request_is_lost);
	tcase_add_test(tc, task_priority_holds_back);
	tcase_add_test(tc, spurious_vector_when_the_request_is_gone);
	tcase_add_test(tc, level_triggered_ends_are_told);
	tcase_add_test(tc, illegal_vectors_are_errors);
	tcase_add_test(tc, interprocessor_interrupts);
	tcase_add_test(tc, logical_destinations);
	tcase_add_test(tc, message_signalled);
	tcase_add_test(tc, lint0_passes_the_8259_on);
	tcase_add_test(tc, a_disabled_apic_leaves_the_pin);
	tcase_add_test(tc, lint_pins_by_mode);
	tcase_add_test(tc, base_moves_and_modes_change);
	tcase_add_test(tc, x2apic_registers);
	tcase_add_test(tc, timer_one_shot);
	tcase_add_test(tc, an_expired_count_stays_zero);
	tcase_add_test(tc, timer_divides);
	tcase_add_test(tc, timer_periodic);
	tcase_add_test(tc, fast_periods_coalesce);
	tcase_add_test(tc, timer_deadline);
	tcase_add_test(tc, deadline_follows_the_tsc);
	tcase_add_test(tc, states_travel);
}

UNIT_MAIN("lapic", add_tests)
