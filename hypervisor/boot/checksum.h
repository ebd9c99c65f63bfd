/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HYPERVISOR_BOOT_CHECKSUM_H
#define HYPERVISOR_BOOT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The byte that makes the sum of these n bytes and itself 0: in ACPI's tables and option ROMs. */
static inline uint8_t boot_checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

#endif
