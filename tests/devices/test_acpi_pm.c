// SPDX-License-Identifier: GPL-2.0-or-later
/* ACPI fixed hardware: ACPI 6.4, 4.8.3. */
#include "hypervisor/devices/acpi_pm.h"
#include "tests/devices/rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct acpi_pm pm;
static unsigned offs;

static void power_off(void *ctx)
{
	offs++;
}

static void setup(void)
{
	rig_init(&rig);
	offs = 0;
	acpi_pm_init(&pm, &rig.bus, &rig.clock, rig_irq(&rig), power_off, NULL);
	acpi_pm_ops.reset(&pm);
}

static uint32_t get(unsigned offset, unsigned size)
{
	return (uint32_t)bus_read(&rig.bus, BUS_PORT, ACPI_PM_PORT + offset, size);
}

static void put(unsigned offset, uint16_t v)
{
	bus_write(&rig.bus, BUS_PORT, ACPI_PM_PORT + offset, 2, v);
}

/* Virtual time of the start of clock k. */
static uint64_t clk(uint64_t k)
{
	return (uint64_t)(((unsigned __int128)k * 1000000000u + ACPI_PM_HZ - 1) / ACPI_PM_HZ);
}

static void at(uint64_t k)
{
	rig_pass(&rig, clk(k) - rig.ns);
}

START_TEST(timer_counts)
{
	ck_assert_uint_eq(get(8, 4), 0);
	at(1);
	ck_assert_uint_eq(get(8, 4), 1);
	rig_pass(&rig, 1000000000 - rig.ns);
	ck_assert_uint_eq(get(8, 4), 3579545);
	at(0xffffff);
	ck_assert_uint_eq(get(8, 4), 0xffffff);
	at(0x1000000);
	ck_assert_uint_eq(get(8, 4), 0); /* 24 bits */
	at(0x1234567);
	ck_assert_uint_eq(get(9, 1), 0x45);
}
END_TEST

START_TEST(timer_status_and_interrupt)
{
	at(0x7fffff);
	ck_assert_uint_eq(get(0, 2), 0);
	at(0x800000);
	ck_assert_uint_eq(get(0, 2), 1); /* bit 23 changed */
	ck_assert(!rig.level);
	put(2, 1);
	ck_assert(rig.level);
	put(0, 1);
	ck_assert(!rig.level);
	at(0xffffff);
	ck_assert(!rig.level);
	at(0x1000000);
	ck_assert(rig.level);
	ck_assert_uint_eq(get(0, 4), 0x10001);
	put(0, 1);
	put(2, 0);
	at(0x1800000);
	ck_assert(!rig.level);
}
END_TEST

START_TEST(power_button)
{
	acpi_pm_press(&pm);
	ck_assert_uint_eq(get(0, 2), 0x100);
	ck_assert(!rig.level); /* nobody listens */
	put(2, 0x100);
	ck_assert(rig.level);
	put(0, 0xfeff); /* other bits */
	ck_assert(rig.level);
	put(0, 0x100);
	ck_assert(!rig.level);
	acpi_pm_press(&pm);
	ck_assert(rig.level);
}
END_TEST

START_TEST(soft_off)
{
	ck_assert_uint_eq(get(4, 2), 1); /* SCI_EN, for good */
	put(4, 0);
	ck_assert_uint_eq(get(4, 2), 1);
	put(4, 0x3c01); /* SLP_TYP 7 with SLP_EN: no such state */
	ck_assert_uint_eq(offs, 0);
	ck_assert_uint_eq(get(4, 2), 0x1c01); /* SLP_EN reads as zero */
	put(4, 0x0001);
	ck_assert_uint_eq(offs, 0);
	put(4, 0x2001);
	ck_assert_uint_eq(offs, 1);
}
END_TEST

START_TEST(enable_bits)
{
	put(2, 0xffff);
	ck_assert_uint_eq(get(2, 2), 0x0721);
	bus_write(&rig.bus, BUS_PORT, ACPI_PM_PORT + 3, 1, 0);
	ck_assert_uint_eq(get(2, 2), 0x0021);
}
END_TEST

START_TEST(states_travel)
{
	acpi_pm_press(&pm);
	put(2, 0x101);
	put(4, 0x1400);
	at(0x900000);
	ck_assert(rig_round_trip(&acpi_pm_ops, &pm));
	ck_assert_uint_eq(get(0, 4), 0x1010101);
	ck_assert_uint_eq(get(4, 2), 0x1401);
	ck_assert(rig.level);
	ck_assert(rig_refuses_short(&acpi_pm_ops, &pm));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, timer_counts);
	tcase_add_test(tc, timer_status_and_interrupt);
	tcase_add_test(tc, power_button);
	tcase_add_test(tc, soft_off);
	tcase_add_test(tc, enable_bits);
	tcase_add_test(tc, states_travel);
}

UNIT_MAIN("acpi_pm", add_tests)
