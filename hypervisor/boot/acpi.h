/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables of machine version 2 (ACPI 6.4, chapter 5), for a kernel that no firmware boots: in
 * the stretch of the BIOS, where the memory map says "reserved".
 *
 *   ACPI_RSDP    RSDP; behind it, each at a multiple of 64: XSDT, FADT, MADT, FACS, DSDT
 *
 * Where firmware runs it puts them into memory itself: it gets the same tables, with addresses that
 * count from their first byte, and a script in the format of QEMU's table linker that says where
 * addresses stand and which sums to make anew.
 *
 * The DSDT is compiled from dsdt.asl when Twinstep is built.
 */
#ifndef HYPERVISOR_BOOT_ACPI_H
#define HYPERVISOR_BOOT_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/memory.h"

#define ACPI_RSDP 0xe0000ull
#define ACPI_END  0xf0000ull

#define ACPI_ROM_TABLES "etc/acpi/tables" /* the file that the script names */
#define ACPI_ROM_STEPS	16
#define ACPI_ROM_STEP	128

struct acpi_rom {
	uint8_t tables[ACPI_END - ACPI_RSDP];
	size_t ntables;
	uint8_t script[ACPI_ROM_STEPS * ACPI_ROM_STEP];
	size_t nscript;
};

/* False: they do not fit into the guest's memory. */
bool acpi_write_tables(struct memory *mem);
void acpi_make_rom(struct acpi_rom *rom);

#endif
