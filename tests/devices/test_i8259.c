// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/i8259.h"
#include "tests/devices/rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct i8259 pic;
static bool intr;

static void on_intr(void *ctx, bool level)
{
	intr = level;
}

/* As a PC's firmware or Linux does it: vectors 0x30 and 0x38, cascade on 2, nothing masked. */
static void program(uint8_t icw1, uint8_t icw4)
{
	static const uint16_t base[2] = { 0x20, 0xa0 };

	for (unsigned i = 0; i < 2; i++) {
		rig_out(&rig, base[i], icw1);
		rig_out(&rig, base[i] + 1, 0x30 + 8 * i);
		rig_out(&rig, base[i] + 1, i ? 2 : 4);
		rig_out(&rig, base[i] + 1, icw4);
	}
}

static void setup(void)
{
	rig_init(&rig);
	intr = false;
	i8259_init(&pic, &rig.bus, on_intr, NULL);
	program(0x11, 0x01);
}

static void set(unsigned irq, bool level)
{
	i8259_set_irq(&pic, irq, level);
}

static void pulse(unsigned irq)
{
	set(irq, false);
	set(irq, true);
}

START_TEST(nothing_before_initialisation)
{
	rig_init(&rig);
	i8259_init(&pic, &rig.bus, on_intr, NULL);
	set(0, true);
	ck_assert(!intr);
	rig_out(&rig, 0x20, 0x11);
	rig_out(&rig, 0x21, 0x30);
	pulse(1);
	ck_assert(!intr); /* still expects ICW3 */
	rig_out(&rig, 0x21, 4);
	rig_out(&rig, 0x21, 1);
	ck_assert(intr);			     /* the edge of IRQ1 came after ICW1 */
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x02); /* that of IRQ0 before it */
}
END_TEST

/* The fault: an edge is gone for good, a level until it has been low; either chip. */
START_TEST(a_request_is_lost)
{
	static const unsigned irqs[] = { 4, 10 };

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned level = 0; level < 2; level++) {
			setup();
			if (level)
				rig_out(&rig, 0x4d0 + irqs[i] / 8, 1u << irqs[i] % 8);
			set(irqs[i], true);
			ck_assert(intr);
			i8259_drop(&pic);
			ck_assert(!intr);
			i8259_drop(&pic); /* there is none */
			pulse(irqs[i]);
			ck_assert(intr);
			ck_assert_uint_eq(i8259_ack(&pic), 0x30 + irqs[i]);
		}
	}
}
END_TEST

START_TEST(edge_is_latched_once)
{
	set(4, true);
	ck_assert(intr);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x10);
	ck_assert_uint_eq(i8259_ack(&pic), 0x34);
	ck_assert(!intr);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0);
	rig_out(&rig, 0x20, 0x0b); /* read ISR */
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x10);
	rig_out(&rig, 0x20, 0x20); /* EOI; the line is still high */
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0);
	ck_assert(!intr);
	pulse(4);
	ck_assert(intr);
}
END_TEST

START_TEST(priority_nests)
{
	set(4, true);
	i8259_ack(&pic);
	set(5, true);
	ck_assert(!intr); /* lower priority waits */
	set(3, true);
	ck_assert(intr); /* higher one interrupts */
	ck_assert_uint_eq(i8259_ack(&pic), 0x33);
	rig_out(&rig, 0x20, 0x20); /* ends 3 */
	ck_assert(!intr);
	rig_out(&rig, 0x20, 0x20); /* ends 4 */
	ck_assert_uint_eq(i8259_ack(&pic), 0x35);
}
END_TEST

START_TEST(mask_hides_and_keeps_requests)
{
	rig_out(&rig, 0x21, 0x10);
	ck_assert_uint_eq(rig_in(&rig, 0x21), 0x10);
	set(4, true);
	ck_assert(!intr);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x10);
	rig_out(&rig, 0x21, 0);
	ck_assert(intr);
	rig_out(&rig, 0x21, 0xff);
	ck_assert(!intr);
}
END_TEST

START_TEST(spurious_master)
{
	set(4, true);
	set(4, false);
	ck_assert(!intr); /* a request that goes away takes INT along */
	ck_assert_uint_eq(i8259_ack(&pic), 0x37);
	rig_out(&rig, 0x20, 0x0b);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0); /* no ISR bit for it */
}
END_TEST

START_TEST(slave_cascade)
{
	set(12, true);
	ck_assert(intr);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x04);
	ck_assert_uint_eq(rig_in(&rig, 0xa0), 0x10);
	ck_assert_uint_eq(i8259_ack(&pic), 0x3c);
	set(8, true); /* higher in the slave, but the master's IR2 is in service */
	ck_assert(!intr);
	rig_out(&rig, 0x20, 0x62); /* specific EOI of 2 */
	ck_assert(intr);
	ck_assert_uint_eq(i8259_ack(&pic), 0x38);
}
END_TEST

START_TEST(spurious_slave)
{
	pic.chip[0].line |= 4;
	pic.chip[0].edge |= 4; /* INT of the slave was seen, then its request went away */
	ck_assert_uint_eq(i8259_ack(&pic), 0x3f);
	rig_out(&rig, 0x20, 0x0b);
	rig_out(&rig, 0xa0, 0x0b);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x04); /* the master served its IR2 */
	ck_assert_uint_eq(rig_in(&rig, 0xa0), 0);
}
END_TEST

START_TEST(level_triggered_by_elcr)
{
	rig_out(&rig, 0x4d1, 0xff);
	ck_assert_uint_eq(rig_in(&rig, 0x4d1), 0xde); /* IRQ8 and IRQ13 stay edge-triggered */
	rig_out(&rig, 0x4d0, 0xff);
	ck_assert_uint_eq(rig_in(&rig, 0x4d0), 0xf8);
	set(11, true);
	ck_assert_uint_eq(i8259_ack(&pic), 0x3b);
	rig_out(&rig, 0xa0, 0x20);
	rig_out(&rig, 0x20, 0x20);
	ck_assert(intr); /* the line is still up */
	set(11, false);
	ck_assert(!intr);
}
END_TEST

START_TEST(level_triggered_by_icw1)
{
	program(0x19, 0x01);
	set(1, true);
	ck_assert_uint_eq(i8259_ack(&pic), 0x31);
	ck_assert(!intr);
	rig_out(&rig, 0x20, 0x20);
	ck_assert(intr);
}
END_TEST

START_TEST(automatic_eoi)
{
	program(0x11, 0x03);
	set(12, true);
	set(9, true);
	ck_assert_uint_eq(i8259_ack(&pic), 0x39);
	ck_assert(intr); /* the slave's INT made a new edge */
	ck_assert_uint_eq(i8259_ack(&pic), 0x3c);
	rig_out(&rig, 0xa0, 0x0b);
	ck_assert_uint_eq(rig_in(&rig, 0xa0), 0);
	ck_assert(!intr);
}
END_TEST

START_TEST(rotation)
{
	set(3, true);
	i8259_ack(&pic);
	rig_out(&rig, 0x20, 0xa0); /* rotate on non-specific EOI: 3 is lowest now */
	pulse(3);
	set(4, true);
	ck_assert_uint_eq(i8259_ack(&pic), 0x34);
	rig_out(&rig, 0x20, 0xe4); /* rotate on specific EOI of 4 */
	ck_assert_uint_eq(i8259_ack(&pic), 0x33);
	rig_out(&rig, 0x20, 0x63);
	rig_out(&rig, 0x20, 0xc7); /* set priority: 7 lowest, as after reset */
	set(7, true);
	pulse(0);
	ck_assert_uint_eq(i8259_ack(&pic), 0x30);
}
END_TEST

START_TEST(rotation_in_automatic_eoi)
{
	program(0x11, 0x03);
	rig_out(&rig, 0x20, 0x80);
	set(0, true);
	set(1, true);
	ck_assert_uint_eq(i8259_ack(&pic), 0x30);
	pulse(0);
	ck_assert_uint_eq(i8259_ack(&pic), 0x31); /* 0 became lowest */
	rig_out(&rig, 0x20, 0x00);
	ck_assert_uint_eq(i8259_ack(&pic), 0x30);
}
END_TEST

START_TEST(special_mask)
{
	set(3, true);
	i8259_ack(&pic);
	set(6, true);
	ck_assert(!intr);
	rig_out(&rig, 0x21, 0x08);
	ck_assert(!intr);
	rig_out(&rig, 0x20, 0x68); /* special mask mode: masked in-service bits do not block */
	ck_assert(intr);
	ck_assert_uint_eq(i8259_ack(&pic), 0x36);
	rig_out(&rig, 0x20, 0x20); /* ends 6, not the masked 3 */
	rig_out(&rig, 0x20, 0x0b);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x08);
	rig_out(&rig, 0x20, 0x48);
	pulse(6);
	ck_assert(!intr);
}
END_TEST

START_TEST(special_fully_nested)
{
	program(0x11, 0x11);
	set(12, true);
	i8259_ack(&pic);
	set(8, true);
	ck_assert(intr); /* IR2 in service does not block the slave */
	ck_assert_uint_eq(i8259_ack(&pic), 0x38);
	set(9, true);
	ck_assert(!intr); /* lower than 8 in the slave */
}
END_TEST

START_TEST(poll)
{
	rig_out(&rig, 0x20, 0x0c);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0);
	set(5, true);
	rig_out(&rig, 0x20, 0x0c);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x85);
	ck_assert(!intr);
	rig_out(&rig, 0x20, 0x0b);
	ck_assert_uint_eq(rig_in(&rig, 0x20), 0x20); /* in service now */
	rig_out(&rig, 0x20, 0x20);
	set(14, true);
	rig_out(&rig, 0xa0, 0x0c);
	ck_assert_uint_eq(rig_in(&rig, 0xa1), 0x86);
	ck_assert(!intr); /* the slave's request is gone from the master too */
}
END_TEST

START_TEST(wide_access_reaches_both_registers)
{
	bus_write(&rig.bus, BUS_PORT, 0x20, 2, 0x5a0b);
	ck_assert_uint_eq(rig_in(&rig, 0x21), 0x5a);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_PORT, 0x20, 4), 0xffff5a00);
}
END_TEST

START_TEST(state_round_trip)
{
	set(3, true);
	i8259_ack(&pic);
	set(12, true);
	set(1, true);
	ck_assert(intr);
	ck_assert(rig_round_trip(&i8259_ops, &pic));
	ck_assert(intr); /* restore drives the output */
	ck_assert_uint_eq(i8259_ack(&pic), 0x31);
	ck_assert(rig_refuses_short(&i8259_ops, &pic));
	ck_assert(!intr && !i8259_pending(&pic)); /* as after reset */
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, nothing_before_initialisation);
	tcase_add_test(tc, a_request_is_lost);
	tcase_add_test(tc, edge_is_latched_once);
	tcase_add_test(tc, priority_nests);
	tcase_add_test(tc, mask_hides_and_keeps_requests);
	tcase_add_test(tc, spurious_master);
	tcase_add_test(tc, slave_cascade);
	tcase_add_test(tc, spurious_slave);
	tcase_add_test(tc, level_triggered_by_elcr);
	tcase_add_test(tc, level_triggered_by_icw1);
	tcase_add_test(tc, automatic_eoi);
	tcase_add_test(tc, rotation);
	tcase_add_test(tc, rotation_in_automatic_eoi);
	tcase_add_test(tc, special_mask);
	tcase_add_test(tc, special_fully_nested);
	tcase_add_test(tc, poll);
	tcase_add_test(tc, wide_access_reaches_both_registers);
	tcase_add_test(tc, state_round_trip);
}

UNIT_MAIN("i8259", add_tests)
