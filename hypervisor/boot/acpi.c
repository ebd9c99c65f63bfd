// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/acpi.h"

#include <dsdt.hex> /* made by iasl: dsdt_aml_code */
#include <string.h>

#include "base/log.h"
#include "hypervisor/boot/checksum.h"
#include "hypervisor/devices/acpi_pm.h"
#include "hypervisor/devices/ioapic.h"
#include "hypervisor/devices/lapic.h"

#define TABLE_ALIGN 64u
#define RSDP_SIZE   36u

/* System description table header (5.2.6) */
enum {
	HEADER_SIGNATURE = 0,
	HEADER_LENGTH = 4,
	HEADER_REVISION = 8,
	HEADER_CHECKSUM = 9,
	HEADER_OEM = 10,
	HEADER_OEM_TABLE = 16,
	HEADER_OEM_REVISION = 24,
	HEADER_CREATOR = 28,
	HEADER_CREATOR_REVISION = 32,
	HEADER_SIZE = 36,
};

/* Fixed ACPI description table (5.2.9), revision 5 */
enum {
	FADT_FACS = 36,
	FADT_DSDT = 40,
	FADT_PROFILE = 45,
	FADT_SCI = 46,
	FADT_PM1_EVT = 56,
	FADT_PM1_CNT = 64,
	FADT_PM_TIMER = 76,
	FADT_PM1_EVT_LEN = 88,
	FADT_PM1_CNT_LEN = 89,
	FADT_PM_TIMER_LEN = 91,
	FADT_C2_LATENCY = 96,
	FADT_C3_LATENCY = 98,
	FADT_CENTURY = 108,
	FADT_BOOT_ARCH = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128,
	FADT_X_FACS = 132,
	FADT_X_DSDT = 140,
	FADT_X_PM1_EVT = 148,
	FADT_X_PM1_CNT = 172,
	FADT_X_PM_TIMER = 208,
	FADT_SIZE = 268,
};

#define PROFILE_SERVER	     4
#define NO_C2		     101 /* longer than 100 us: there is none */
#define NO_C3		     1001
#define RTC_CENTURY	     0x32
#define BOOT_LEGACY	     (1u << 0) /* ISA devices, but no 8042 (bit 1) */
#define BOOT_NO_VGA	     (1u << 2)
#define FLAG_WBINVD	     (1u << 0)
#define FLAG_C1		     (1u << 2)
#define FLAG_NO_SLEEP_BUTTON (1u << 5) /* none with fixed hardware, which the power button has */
#define FLAG_NO_RTC_WAKE     (1u << 6)
#define FLAG_RESET	     (1u << 10)
#define RESET_PORT	     0xcf9
#define RESET_VALUE	     0x06

#define SPACE_IO 1

/* Multiple APIC description table (5.2.12) */
#define MADT_PCAT_COMPAT 1u /* there is an 8259 pair as well */
enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4 };
#define ANY_PROCESSOR	  0xff
#define OVERRIDE_LEVEL_HI 0x0d /* active high, level-triggered */

/* Steps of the linker's script: a command, then its operands; all else of the step is zero. */
enum { STEP_ALLOCATE = 1, STEP_POINTER = 2, STEP_SUM = 3 };
enum {
	STEP_NAME = 4, /* ALLOCATE: file; POINTER: where it stands; SUM: file */
	STEP_ALIGN = 60,
	STEP_ZONE = 64,
	STEP_SOURCE = 60, /* POINTER: the file that it points into */
	STEP_OFFSET = 116,
	STEP_BYTES = 120,
	STEP_SUM_AT = 60, /* SUM: where it stands, and over what */
	STEP_SUM_START = 64,
	STEP_SUM_LENGTH = 68,
};
#define ZONE_FSEG 2 /* below 1 MiB, where the RSDP is looked for */

/* Tables as they are put together, for which address, and the script to move them. */
struct tables {
	uint8_t bytes[ACPI_END - ACPI_RSDP];
	size_t used;
	uint64_t base;
	uint8_t *script; /* NULL: they stay */
	size_t nscript;
};

static void put(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* Room for n more bytes, aligned; *at is their guest physical address. */
static uint8_t *take(struct tables *t, size_t n, uint64_t *at)
{
	size_t from = (t->used + TABLE_ALIGN - 1) & ~(size_t)(TABLE_ALIGN - 1);

	must(from + n <= sizeof(t->bytes));
	t->used = from + n;
	*at = t->base + from;
	return t->bytes + from;
}

/* Starts a step of the script; NULL: there is none. */
static uint8_t *add_step(struct tables *t, uint32_t command)
{
	uint8_t *step = t->script + t->nscript;

	if (!t->script)
		return NULL;
	must(t->nscript < (size_t)ACPI_ROM_STEPS * ACPI_ROM_STEP);
	t->nscript += ACPI_ROM_STEP;
	memset(step, 0, ACPI_ROM_STEP);
	put(step, command, 4);
	memcpy(step + STEP_NAME, ACPI_ROM_TABLES, sizeof(ACPI_ROM_TABLES));
	return step;
}

/* An address, at p inside the tables. */
static void put_pointer(struct tables *t, uint8_t *p, uint64_t to, unsigned n)
{
	uint8_t *step = add_step(t, STEP_POINTER);

	put(p, to, n);
	if (!step)
		return;
	memcpy(step + STEP_SOURCE, ACPI_ROM_TABLES, sizeof(ACPI_ROM_TABLES));
	put(step + STEP_OFFSET, (uint64_t)(p - t->bytes), 4);
	step[STEP_BYTES] = (uint8_t)n;
}

/* The sum at p of the n bytes from `start` on: after the addresses in them. */
static void put_sum(struct tables *t, uint8_t *p, uint8_t *start, size_t n)
{
	uint8_t *step = add_step(t, STEP_SUM);

	*p = 0;
	*p = boot_checksum(start, n);
	if (!step)
		return;
	put(step + STEP_SUM_AT, (uint64_t)(p - t->bytes), 4);
	put(step + STEP_SUM_START, (uint64_t)(start - t->bytes), 4);
	put(step + STEP_SUM_LENGTH, n, 4);
}

/* Fills in the header; the contents are there. */
static void finish(struct tables *t, uint8_t *table, const char *signature, uint8_t revision,
		   size_t n)
{
	memcpy(table + HEADER_SIGNATURE, signature, 4);
	put(table + HEADER_LENGTH, n, 4);
	table[HEADER_REVISION] = revision;
	memcpy(table + HEADER_OEM, "TWINST", 6);
	memcpy(table + HEADER_OEM_TABLE, "TWINST02", 8);
	put(table + HEADER_OEM_REVISION, 1, 4);
	memcpy(table + HEADER_CREATOR, "TWIN", 4); /* whichever compiler made the DSDT */
	put(table + HEADER_CREATOR_REVISION, 1, 4);
	put_sum(t, table + HEADER_CHECKSUM, table, n);
}

/* Generic address structure (5.2.3.2) of a port. */
static void put_port(uint8_t *gas, uint32_t port, unsigned bytes)
{
	gas[0] = SPACE_IO;
	gas[1] = (uint8_t)(8 * bytes);
	gas[3] = bytes == 4 ? 3 : (uint8_t)bytes; /* access size: byte, word, dword */
	put(gas + 4, port, 8);
}

static uint64_t write_facs(struct tables *t)
{
	uint64_t at;
	uint8_t *facs = take(t, 64, &at);

	memcpy(facs, "FACS", 4);
	put(facs + 4, 64, 4);
	facs[32] = 2; /* version */
	return at;
}

static uint64_t write_dsdt(struct tables *t)
{
	uint64_t at;
	uint8_t *dsdt = take(t, sizeof(dsdt_aml_code), &at);

	memcpy(dsdt, dsdt_aml_code, sizeof(dsdt_aml_code));
	finish(t, dsdt, "DSDT", dsdt[HEADER_REVISION], sizeof(dsdt_aml_code));
	return at;
}

static uint64_t write_fadt(struct tables *t)
{
	uint64_t at, facs = write_facs(t), dsdt = write_dsdt(t);
	uint8_t *f = take(t, FADT_SIZE, &at);

	put_pointer(t, f + FADT_FACS, facs, 4);
	put_pointer(t, f + FADT_DSDT, dsdt, 4);
	f[FADT_PROFILE] = PROFILE_SERVER;
	put(f + FADT_SCI, ACPI_SCI_IRQ, 2);
	put(f + FADT_PM1_EVT, ACPI_PM_PORT + ACPI_PM1_STATUS, 4);
	put(f + FADT_PM1_CNT, ACPI_PM_PORT + ACPI_PM1_CNT, 4);
	put(f + FADT_PM_TIMER, ACPI_PM_PORT + ACPI_PM_TIMER, 4);
	f[FADT_PM1_EVT_LEN] = 4;
	f[FADT_PM1_CNT_LEN] = 2;
	f[FADT_PM_TIMER_LEN] = 4;
	put(f + FADT_C2_LATENCY, NO_C2, 2);
	put(f + FADT_C3_LATENCY, NO_C3, 2);
	f[FADT_CENTURY] = RTC_CENTURY;
	put(f + FADT_BOOT_ARCH, BOOT_LEGACY | BOOT_NO_VGA, 2);
	put(f + FADT_FLAGS,
	    FLAG_WBINVD | FLAG_C1 | FLAG_NO_SLEEP_BUTTON | FLAG_NO_RTC_WAKE | FLAG_RESET, 4);
	put_port(f + FADT_RESET_REG, RESET_PORT, 1);
	f[FADT_RESET_VALUE] = RESET_VALUE;
	/* FACS has its 32-bit address only: a 64-bit one beside it would have to be the same. */
	put_pointer(t, f + FADT_X_DSDT, dsdt, 8);
	put_port(f + FADT_X_PM1_EVT, ACPI_PM_PORT + ACPI_PM1_STATUS, 4);
	put_port(f + FADT_X_PM1_CNT, ACPI_PM_PORT + ACPI_PM1_CNT, 2);
	put_port(f + FADT_X_PM_TIMER, ACPI_PM_PORT + ACPI_PM_TIMER, 4);
	finish(t, f, "FACP", 5, FADT_SIZE);
	return at;
}

static uint64_t write_madt(struct tables *t)
{
	static const uint8_t entries[] = {
		/* processor 0: APIC ID 0, enabled */
		MADT_LAPIC, 8, 0, 0, 1, 0, 0, 0,
		/* I/O APIC 0, whose first input is global interrupt 0 */
		MADT_IOAPIC, 12, 0, 0, IOAPIC_BASE & 0xff, IOAPIC_BASE >> 8 & 0xff,
		IOAPIC_BASE >> 16 & 0xff, IOAPIC_BASE >> 24, 0, 0, 0, 0,
		/* ISA 0, the 8254, comes at 2 */
		MADT_OVERRIDE, 10, 0, 0, 2, 0, 0, 0, 0, 0,
		/* the SCI */
		MADT_OVERRIDE, 10, 0, ACPI_SCI_IRQ, ACPI_SCI_IRQ, 0, 0, 0, OVERRIDE_LEVEL_HI, 0,
		/* NMI at LINT1 */
		MADT_LAPIC_NMI, 6, ANY_PROCESSOR, 0, 0, 1
	};
	const size_t n = HEADER_SIZE + 8 + sizeof(entries);
	uint64_t at;
	uint8_t *madt = take(t, n, &at);

	put(madt + HEADER_SIZE, LAPIC_BASE, 4);
	put(madt + HEADER_SIZE + 4, MADT_PCAT_COMPAT, 4);
	memcpy(madt + HEADER_SIZE + 8, entries, sizeof(entries));
	finish(t, madt, "APIC", 3, n);
	return at;
}

static uint64_t write_xsdt(struct tables *t)
{
	const uint64_t table[] = { write_fadt(t), write_madt(t) };
	const size_t n = HEADER_SIZE + sizeof(table);
	uint64_t at;
	uint8_t *xsdt = take(t, n, &at);

	for (unsigned i = 0; i < 2; i++)
		put_pointer(t, xsdt + HEADER_SIZE + 8 * i, table[i], 8);
	finish(t, xsdt, "XSDT", 1, n);
	return at;
}

/* 5.2.5.3; without an RSDT, which no ACPI of this century needs. */
static void write_rsdp(struct tables *t, uint64_t xsdt)
{
	uint8_t *rsdp = t->bytes;

	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "TWINST", 6);
	rsdp[15] = 2;
	put(rsdp + 20, RSDP_SIZE, 4);
	put_pointer(t, rsdp + 24, xsdt, 8);
	put_sum(t, rsdp + 8, rsdp, 20);
	put_sum(t, rsdp + 32, rsdp, RSDP_SIZE);
}

static void write_all(struct tables *t)
{
	t->used = RSDP_SIZE;
	write_rsdp(t, write_xsdt(t));
}

bool acpi_write_tables(struct memory *mem)
{
	struct tables t = { .base = ACPI_RSDP };

	write_all(&t);
	return memory_write(mem, ACPI_RSDP, t.bytes, t.used);
}

void acpi_make_rom(struct acpi_rom *rom)
{
	struct tables t = { .script = rom->script };
	uint8_t *step = add_step(&t, STEP_ALLOCATE);

	put(step + STEP_ALIGN, TABLE_ALIGN, 4);
	step[STEP_ZONE] = ZONE_FSEG;
	write_all(&t);
	memcpy(rom->tables, t.bytes, t.used);
	rom->ntables = t.used;
	rom->nscript = t.nscript;
}
