/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trap table of ports and of memory outside RAM. A device registers ranges; an access is
 * dispatched to the range that holds its first byte. Unclaimed reads give all ones, unclaimed
 * writes are dropped; both are counted.
 */
#ifndef HYPERVISOR_BUS_H
#define HYPERVISOR_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bus_space { BUS_PORT, BUS_MMIO, BUS_SPACES };

/* offset is relative to the range's base; size is 1, 2, 4 or 8. An access may reach past the
 * range's end: the device decides what the bytes beyond its last register are. */
typedef uint64_t (*bus_read_fn)(void *dev, uint64_t offset, unsigned size);
typedef void (*bus_write_fn)(void *dev, uint64_t offset, unsigned size, uint64_t value);

struct bus_range {
	uint64_t base, len;
	bus_read_fn read;
	bus_write_fn write;
	void *dev;
	const char *name;
	uint64_t reads, writes; /* statistics */
};

#define BUS_RANGES 64

struct bus {
	struct bus_range range[BUS_SPACES][BUS_RANGES]; /* sorted by base */
	size_t n[BUS_SPACES];
	uint64_t unclaimed[BUS_SPACES];
};

void bus_init(struct bus *b);
/* false when the range overlaps another one or the table is full. */
bool bus_add(struct bus *b, enum bus_space space, uint64_t base, uint64_t len, bus_read_fn read,
	     bus_write_fn write, void *dev, const char *name);
/* Removes the range that starts at base and belongs to dev; nothing when there is none. */
void bus_remove(struct bus *b, enum bus_space space, uint64_t base, void *dev);
uint64_t bus_read(struct bus *b, enum bus_space space, uint64_t addr, unsigned size);
void bus_write(struct bus *b, enum bus_space space, uint64_t addr, unsigned size, uint64_t value);

#endif
