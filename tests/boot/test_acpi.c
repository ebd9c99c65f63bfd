// SPDX-License-Identifier: GPL-2.0-or-later
/* The ACPI tables: found where Linux looks, sums right, numbers those of the devices. */
#include "hypervisor/boot/acpi.h"

#include "hypervisor/boot/image.h"
#include "hypervisor/devices/acpi_pm.h"
#include "hypervisor/devices/ioapic.h"
#include "tests/unit.h"

static struct memory mem;

static void setup(void)
{
	struct err err = ERR_INIT;

	ck_assert_int_eq(memory_init(&mem, 4 << 20, &err), 0);
	ck_assert(acpi_write_tables(&mem));
}

static void teardown(void)
{
	memory_fini(&mem);
}

static uint64_t get(uint64_t gpa, unsigned n)
{
	uint64_t v = 0;

	ck_assert(memory_read(&mem, gpa, &v, n));
	return v;
}

static uint8_t sum(uint64_t gpa, uint64_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + get(gpa++, 1));
	return s;
}

/* The n-th table that the XSDT names, with its sum checked. */
static uint64_t table(unsigned n, const char *signature)
{
	uint64_t xsdt = get(ACPI_RSDP + 24, 8), at = get(xsdt + 36 + 8 * n, 8);

	ck_assert_mem_eq(memory_at(&mem, at, 4), signature, 4);
	ck_assert_uint_eq(sum(at, get(at + 4, 4)), 0);
	ck_assert(at >= ACPI_RSDP && at + get(at + 4, 4) <= ACPI_END);
	return at;
}

START_TEST(root_pointer)
{
	uint64_t xsdt = get(ACPI_RSDP + 24, 8);

	ck_assert_mem_eq(memory_at(&mem, ACPI_RSDP, 8), "RSD PTR ", 8);
	ck_assert_uint_eq(sum(ACPI_RSDP, 20), 0);
	ck_assert_uint_eq(sum(ACPI_RSDP, 36), 0);
	ck_assert_mem_eq(memory_at(&mem, xsdt, 4), "XSDT", 4);
	ck_assert_uint_eq(sum(xsdt, get(xsdt + 4, 4)), 0);
	ck_assert_uint_eq(get(xsdt + 4, 4), 36 + 2 * 8);
}
END_TEST

START_TEST(fixed_hardware)
{
	uint64_t f = table(0, "FACP"), dsdt = get(f + 40, 4), facs = get(f + 36, 4);

	ck_assert_uint_eq(get(f + 140, 8), dsdt);
	ck_assert_mem_eq(memory_at(&mem, dsdt, 4), "DSDT", 4);
	ck_assert_uint_eq(sum(dsdt, get(dsdt + 4, 4)), 0);
	ck_assert_mem_eq(memory_at(&mem, facs, 4), "FACS", 4);
	ck_assert_uint_eq(facs % 64, 0);
	ck_assert_uint_eq(get(f + 46, 2), ACPI_SCI_IRQ);
	ck_assert_uint_eq(get(f + 56, 4), ACPI_PM_PORT);
	ck_assert_uint_eq(get(f + 152, 8), ACPI_PM_PORT);
	ck_assert_uint_eq(get(f + 64, 4), ACPI_PM_PORT + ACPI_PM1_CNT);
	ck_assert_uint_eq(get(f + 176, 8), ACPI_PM_PORT + ACPI_PM1_CNT);
	ck_assert_uint_eq(get(f + 76, 4), ACPI_PM_PORT + ACPI_PM_TIMER);
	ck_assert_uint_eq(get(f + 212, 8), ACPI_PM_PORT + ACPI_PM_TIMER);
	ck_assert_uint_eq(get(f + 120, 8), 0xcf9);
	ck_assert_uint_eq(get(f + 128, 1), 6);
}
END_TEST

START_TEST(interrupt_controllers)
{
	uint64_t m = table(1, "APIC"), end = m + get(m + 4, 4);
	unsigned lapics = 0, ioapics = 0, overrides = 0;

	ck_assert_uint_eq(get(m + 36, 4), LAPIC_BASE);
	for (uint64_t p = m + 44; p < end; p += get(p + 1, 1)) {
		ck_assert_uint_gt(get(p + 1, 1), 0);
		lapics += get(p, 1) == 0;
		ioapics += get(p, 1) == 1 && get(p + 4, 4) == IOAPIC_BASE;
		overrides += get(p, 1) == 2;
		ck_assert_uint_le(p + get(p + 1, 1), end);
	}
	ck_assert(lapics == 1 && ioapics == 1 && overrides == 2);
}
END_TEST

static uint32_t field(const uint8_t *step, unsigned at)
{
	uint32_t v;

	memcpy(&v, step + at, 4);
	return v;
}

/* One step of the linker's script, as firmware does it with the tables at `base`. */
static void link_step(struct acpi_rom *rom, const uint8_t *step, uint64_t base)
{
	uint64_t v = 0;

	ck_assert_str_eq((const char *)step + 4, ACPI_ROM_TABLES);
	switch (field(step, 0)) {
	case 1:
		ck_assert(base % field(step, 60) == 0);
		break;
	case 2:
		ck_assert_str_eq((const char *)step + 60, ACPI_ROM_TABLES);
		ck_assert_uint_le(field(step, 116) + step[120], rom->ntables);
		memcpy(&v, rom->tables + field(step, 116), step[120]);
		v += base;
		memcpy(rom->tables + field(step, 116), &v, step[120]);
		break;
	case 3:
		ck_assert_uint_le(field(step, 64) + field(step, 68), rom->ntables);
		for (uint32_t i = 0; i < field(step, 68); i++)
			v += rom->tables[field(step, 64) + i];
		rom->tables[field(step, 60)] = (uint8_t)(rom->tables[field(step, 60)] - v);
		break;
	default:
		ck_abort();
	}
}

/* Put by firmware where we would put them, the tables are the same. */
START_TEST(linked_by_firmware)
{
	static struct acpi_rom rom;

	acpi_make_rom(&rom);
	ck_assert_uint_gt(rom.nscript, 0);
	ck_assert_uint_eq(rom.nscript % ACPI_ROM_STEP, 0);
	for (size_t at = 0; at < rom.nscript; at += ACPI_ROM_STEP)
		link_step(&rom, rom.script + at, ACPI_RSDP);
	ck_assert_mem_eq(rom.tables, memory_at(&mem, ACPI_RSDP, rom.ntables), rom.ntables);
}
END_TEST

START_TEST(least_memory)
{
	struct memory small;
	struct err err = ERR_INIT;

	ck_assert_int_eq(memory_init(&small, MEMORY_MIN, &err), 0);
	ck_assert(acpi_write_tables(&small)); /* the least that a guest can have is enough */
	memory_fini(&small);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, root_pointer);
	tcase_add_test(tc, fixed_hardware);
	tcase_add_test(tc, interrupt_controllers);
	tcase_add_test(tc, linked_by_firmware);
	tcase_add_test(tc, least_memory);
}

UNIT_MAIN("acpi", add_tests)
