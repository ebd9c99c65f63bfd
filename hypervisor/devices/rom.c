// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/rom.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rom_read(void *dev, uint64_t offset, unsigned size)
{
	const struct rom *r = dev;
	uint64_t v = 0;

	for (unsigned i = 0; i < size && offset + i < r->size; i++)
		v |= (uint64_t)r->image[offset + i] << (8 * i);
	return v;
}

static void rom_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
}

static void rom_remove(struct rom *r)
{
	if (r->image)
		bus_remove(r->bus, BUS_MMIO, ROM_END - r->size, r);
	free(r->image);
	r->image = NULL;
	r->size = 0;
}

static void rom_shadow(const struct rom *r)
{
	uint32_t n = r->size < ROM_SHADOW ? r->size : ROM_SHADOW;

	if (r->image)
		memory_write(r->mem, ROM_LOW_END - n, r->image + r->size - n, n);
}

/* True: a firmware file can have this size. */
static bool rom_size_valid(size_t size)
{
	return size && size <= ROM_SIZE_MAX && size % ROM_SIZE_UNIT == 0;
}

static int rom_insert(struct rom *r, const uint8_t *image, size_t size)
{
	rom_remove(r);
	if (!rom_size_valid(size))
		return -EINVAL;
	r->image = malloc(size);
	if (!r->image)
		return -ENOMEM;
	memcpy(r->image, image, size);
	r->size = (uint32_t)size;
	if (!bus_add(r->bus, BUS_MMIO, ROM_END - size, size, rom_read, rom_write, r, "rom")) {
		rom_remove(r);
		return -EBUSY;
	}
	return 0;
}

int rom_load(struct rom *r, const uint8_t *image, size_t size)
{
	int ret = rom_insert(r, image, size);

	if (ret == 0)
		rom_shadow(r);
	return ret;
}

void rom_init(struct rom *r, struct bus *bus, struct memory *mem)
{
	*r = (struct rom){ .bus = bus, .mem = mem };
}

void rom_fini(struct rom *r)
{
	free(r->image);
	r->image = NULL;
}

static void rom_reset(void *dev)
{
	rom_shadow(dev);
}

static void rom_save(const void *dev, struct buf *out)
{
	const struct rom *r = dev;

	buf_put_blob(out, r->image, r->size);
}

/* RAM comes with its own part of the state: no shadow is made. */
static int rom_restore(void *dev, struct rd *in)
{
	struct rom *r = dev;
	size_t n;
	const uint8_t *image = rd_blob(in, ROM_SIZE_MAX, &n);

	if (in->bad)
		return -EINVAL;
	if (n)
		return rom_insert(r, image, n) < 0 ? -EINVAL : 0;
	rom_remove(r);
	return 0;
}

const struct device_ops rom_ops = {
	.name = "rom",
	.reset = rom_reset,
	.save = rom_save,
	.restore = rom_restore,
};
