/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chip with the firmware, mapped below 4 GiB, and its shadow: at reset the last 256 KiB of it
 * are copied into the RAM below 1 MiB, where real mode finds them. Its content is part of the saved
 * state, so a snapshot needs no firmware file.
 */
#ifndef DEVICES_ROM_H
#define DEVICES_ROM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"
#include "hypervisor/memory.h"

#define ROM_SIZE_UNIT 0x10000u
#define ROM_SIZE_MAX  0x100000u
#define ROM_END	      0x100000000ull
#define ROM_SHADOW    0x40000u	/* bytes of shadow, */
#define ROM_LOW_END   0x100000u /* which ends here */

struct rom {
	uint8_t *image; /* NULL: nothing in the socket */
	uint32_t size;
	struct bus *bus;
	struct memory *mem;
};

void rom_init(struct rom *r, struct bus *bus, struct memory *mem);
void rom_fini(struct rom *r);
/*
 * Puts a copy of an image of a valid size into the socket, and its shadow into memory. 0, or
 * -EINVAL, or -ENOMEM, or -EBUSY where another device has some of its addresses: the socket is
 * empty then.
 */
int rom_load(struct rom *r, const uint8_t *image, size_t size);

/* Reset makes the shadow anew. */
extern const struct device_ops rom_ops;

#endif
