/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices with 8-bit registers: a wider access is a row of byte accesses at rising addresses, as
 * the ISA bus makes them. Bytes past the last register read as ones and are dropped when written.
 */
#ifndef DEVICES_BYTEWIDE_H
#define DEVICES_BYTEWIDE_H

#include <stdint.h>

static inline uint64_t bytewide_read(void *dev, uint64_t offset, unsigned size, unsigned nregs,
				     uint8_t (*read)(void *dev, unsigned reg))
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size && i < 8; i++)
		v |= (uint64_t)(offset + i < nregs ? read(dev, (unsigned)offset + i) : 0xff)
		     << (8 * i);
	return v;
}

static inline void bytewide_write(void *dev, uint64_t offset, unsigned size, uint64_t value,
				  unsigned nregs,
				  void (*write)(void *dev, unsigned reg, uint8_t value))
{
	for (unsigned i = 0; i < size && i < 8 && offset + i < nregs; i++)
		write(dev, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
}

#endif
