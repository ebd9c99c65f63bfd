// SPDX-License-Identifier: GPL-2.0-or-later
/* I/O APIC against the 82093AA's datasheet. */
#include "tests/devices/apic_rig.h"
#include "tests/unit.h"

static struct apic_rig a;

#define MASKED 0x10000u
#define LEVEL  0x8000u
#define REMOTE 0x4000u

static void setup(void)
{
	apic_rig_init(&a);
	apic_put(&a, 0x0f0, 0x1ff);
}

static uint32_t get(unsigned index)
{
	bus_write(&a.rig.bus, BUS_MMIO, IOAPIC_BASE, 4, index);
	return (uint32_t)bus_read(&a.rig.bus, BUS_MMIO, IOAPIC_BASE + 0x10, 4);
}

static void put(unsigned index, uint32_t v)
{
	bus_write(&a.rig.bus, BUS_MMIO, IOAPIC_BASE, 4, index);
	bus_write(&a.rig.bus, BUS_MMIO, IOAPIC_BASE + 0x10, 4, v);
}

static uint32_t entry(unsigned pin)
{
	return get(0x10 + 2 * pin);
}

static void take(uint8_t vector)
{
	ck_assert(a.intr);
	ck_assert_uint_eq(lapic_acknowledge(&a.lapic), vector);
}

static void end(void)
{
	apic_put(&a, 0x0b0, 0);
}

START_TEST(registers)
{
	ck_assert_uint_eq(get(0), 0);
	put(0, 0xffffffff);
	ck_assert_uint_eq(get(0), 0x0f000000);
	ck_assert_uint_eq(get(2), 0x0f000000); /* arbitration ID */
	ck_assert_uint_eq(get(1), 0x170020);   /* 24 inputs */
	put(1, 0);
	ck_assert_uint_eq(get(1), 0x170020);
	for (unsigned pin = 0; pin < 24; pin++) {
		ck_assert_uint_eq(entry(pin), MASKED);
		put(0x10 + 2 * pin, 0xffffffff);
		put(0x11 + 2 * pin, 0xffffffff);
		ck_assert_uint_eq(entry(pin), 0x1afff); /* status and remote IRR are read-only */
		ck_assert_uint_eq(get(0x11 + 2 * pin), 0xff000000);
	}
	ck_assert_uint_eq(get(0x40), 0);
	put(0x40, 1);
	ck_assert_uint_eq(bus_read(&a.rig.bus, BUS_MMIO, IOAPIC_BASE, 4), 0x40);
}
END_TEST

START_TEST(edges)
{
	ioapic_set_irq(&a.ioapic, 4, true); /* masked: lost */
	put(0x18, 0x41);
	ck_assert(!a.intr);
	ioapic_set_irq(&a.ioapic, 4, false);
	ioapic_set_irq(&a.ioapic, 4, true);
	take(0x41);
	end();
	ck_assert(!a.intr);
	ck_assert_uint_eq(a.eois, 0);
	ioapic_set_irq(&a.ioapic, 4, true); /* no edge */
	ck_assert(!a.intr);
}
END_TEST

START_TEST(levels)
{
	put(0x30, LEVEL | 0x51);
	ioapic_set_irq(&a.ioapic, 16, true);
	ck_assert_uint_eq(entry(16), REMOTE | LEVEL | 0x51);
	take(0x51);
	end(); /* still asserted: again */
	ck_assert_uint_eq(entry(16), REMOTE | LEVEL | 0x51);
	take(0x51);
	ioapic_set_irq(&a.ioapic, 16, false);
	ioapic_set_irq(&a.ioapic, 16, true); /* while it is served: one for both */
	ioapic_set_irq(&a.ioapic, 16, false);
	end();
	ck_assert(!a.intr);
	ck_assert_uint_eq(entry(16), LEVEL | 0x51);
	put(0x30, MASKED | LEVEL | 0x51);
	ioapic_set_irq(&a.ioapic, 16, true);
	ck_assert(!a.intr);
	put(0x30, LEVEL | 0x51);
	ck_assert(a.intr);
}
END_TEST

START_TEST(eoi_register_and_edge_trick)
{
	put(0x30, LEVEL | 0x51);
	ioapic_set_irq(&a.ioapic, 16, true);
	ioapic_set_irq(&a.ioapic, 16, false);
	bus_write(&a.rig.bus, BUS_MMIO, IOAPIC_BASE + 0x40, 4, 0x52); /* another vector */
	ck_assert_uint_eq(entry(16), REMOTE | LEVEL | 0x51);
	bus_write(&a.rig.bus, BUS_MMIO, IOAPIC_BASE + 0x40, 4, 0x51);
	ck_assert_uint_eq(entry(16), LEVEL | 0x51);
	ioapic_set_irq(&a.ioapic, 16, true);
	ioapic_set_irq(&a.ioapic, 16, false);
	put(0x30, MASKED | 0x51);
	put(0x30, LEVEL | 0x51);
	ck_assert_uint_eq(entry(16), LEVEL | 0x51);
}
END_TEST

START_TEST(destinations_and_modes)
{
	put(0x18, 0x41);
	put(0x19, 5u << 24); /* another APIC */
	ioapic_set_irq(&a.ioapic, 4, true);
	ck_assert(!a.intr);
	put(0x30, LEVEL | 0x51);
	put(0x31, 5u << 24);
	ioapic_set_irq(&a.ioapic, 16, true);
	ck_assert_uint_eq(entry(16), LEVEL | 0x51); /* nobody took it */
	put(0x31, 0);
	take(0x51);
	put(0x1a, 0x400); /* NMI */
	ioapic_set_irq(&a.ioapic, 5, true);
	ck_assert_uint_eq(a.nmis, 1);
	apic_put(&a, 0x0d0, 2u << 24);
	put(0x1d, 2u << 24);
	put(0x1c, 0x800 | 0x100 | 0x61); /* logical, lowest priority */
	ioapic_set_irq(&a.ioapic, 6, true);
	take(0x61);
}
END_TEST

START_TEST(shared_vector_ends_both)
{
	put(0x30, LEVEL | 0x51);
	put(0x32, LEVEL | 0x51);
	ioapic_set_irq(&a.ioapic, 16, true);
	ioapic_set_irq(&a.ioapic, 17, true);
	take(0x51);
	ioapic_set_irq(&a.ioapic, 16, false);
	end();
	ck_assert_uint_eq(entry(16), LEVEL | 0x51);
	ck_assert_uint_eq(entry(17), REMOTE | LEVEL | 0x51);
	take(0x51);
}
END_TEST

START_TEST(states_travel)
{
	put(0x30, LEVEL | 0x51);
	ioapic_set_irq(&a.ioapic, 16, true);
	ioapic_set_irq(&a.ioapic, 3, true);
	put(0, 3u << 24);
	ck_assert(rig_round_trip(&ioapic_ops, &a.ioapic));
	ck_assert_uint_eq(entry(16), REMOTE | LEVEL | 0x51);
	ck_assert(rig_refuses_short(&ioapic_ops, &a.ioapic));
	ck_assert_uint_eq(entry(16), MASKED);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, registers);
	tcase_add_test(tc, edges);
	tcase_add_test(tc, levels);
	tcase_add_test(tc, eoi_register_and_edge_trick);
	tcase_add_test(tc, destinations_and_modes);
	tcase_add_test(tc, shared_vector_ends_both);
	tcase_add_test(tc, states_travel);
}

UNIT_MAIN("ioapic", add_tests)
