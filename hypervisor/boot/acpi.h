/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables of machine version 2 (ACPI 6.4, chapter 5), for a kernel that no firmware boots: in
 * the stretch of the BIOS, where the memory map says "reserved".
 *
 *   ACPI_RSDP    RSDP; behind it, each at a multiple of 64: XSDT, FADT, MADT, FACS, DSDT
 *
 * The DSDT is compiled from dsdt.asl when Twinstep is built.
 */
#ifndef HYPERVISOR_BOOT_ACPI_H
#define HYPERVISOR_BOOT_ACPI_H

#include <stdbool.h>

#include "hypervisor/memory.h"

#define ACPI_RSDP 0xe0000ull
#define ACPI_END  0xf0000ull

/* False: they do not fit into the guest's memory. */
bool acpi_write_tables(struct memory *mem);

#endif
