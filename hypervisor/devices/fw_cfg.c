// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORT_SELECT 0x510u
#define PORT_DMA    0x514u
#define DMA_PORTS   8u

#define ID_TRADITIONAL 0x1u
#define ID_DMA	       0x2u

/* The structure of a transfer, big endian: control, length, address (64 bits). */
#define DMA_SIZE   16u
#define DMA_ERROR  0x01u
#define DMA_READ   0x02u
#define DMA_SKIP   0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE  0x10u

#define ENTRY_SIZE 64u /* of the directory: size, key, two spare bytes, name */

static const uint8_t signature[4] = { 'Q', 'E', 'M', 'U' };
static const uint8_t dma_signature[DMA_PORTS] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };
static const uint8_t id[4] = { ID_TRADITIONAL | ID_DMA };

static uint64_t get_be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

/* ---- items ---- */

/* The selected item; NULL and no bytes when there is none of that number. */
static const uint8_t *item(const struct fw_cfg *f, uint32_t *size)
{
	unsigned n = f->selected - FW_CFG_FILE_FIRST;

	*size = sizeof(id);
	if (f->selected == FW_CFG_SIGNATURE)
		return signature;
	if (f->selected == FW_CFG_ID)
		return id;
	*size = 4 + ENTRY_SIZE * f->nfiles;
	if (f->selected == FW_CFG_DIRECTORY)
		return f->directory;
	*size = 0;
	if (f->selected < FW_CFG_FILE_FIRST || n >= f->nfiles)
		return NULL;
	*size = f->file[n].size;
	return f->file[n].data;
}

/* The rest of the selected item, *left bytes of it; NULL: nothing is left. */
static const uint8_t *rest(const struct fw_cfg *f, uint32_t *left)
{
	uint32_t size;
	const uint8_t *p = item(f, &size);

	*left = f->at < size ? size - f->at : 0;
	return *left ? p + f->at : NULL;
}

static void advance(struct fw_cfg *f, uint32_t n)
{
	f->at = n > UINT32_MAX - f->at ? UINT32_MAX : f->at + n;
}

static void select_item(struct fw_cfg *f, uint16_t key)
{
	f->selected = key;
	f->at = 0;
}

/* ---- ports ---- */

static uint8_t next_byte(struct fw_cfg *f)
{
	uint32_t left;
	const uint8_t *p = rest(f, &left);
	uint8_t v = left ? *p : 0;

	advance(f, 1);
	return v;
}

/* A wider read of the data register takes as many bytes. */
static uint64_t select_read(void *dev, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	if (offset != 1)
		return 0;
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)next_byte(dev) << (8 * i);
	return v;
}

static void select_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	if (offset == 0 && size == 2)
		select_item(dev, (uint16_t)value);
}

/* Bytes of the item into memory, and zeros behind its end. */
static bool transfer_read(struct fw_cfg *f, uint64_t gpa, uint32_t n)
{
	uint32_t left;
	const uint8_t *p = rest(f, &left);

	if (left > n)
		left = n;
	if (!memory_at(f->mem, gpa, n))
		return false;
	return (!left || memory_write(f->mem, gpa, p, left)) &&
	       (left == n || memory_zero(f->mem, gpa + left, n - left));
}

static bool transfer(struct fw_cfg *f, const uint8_t request[DMA_SIZE])
{
	uint32_t control = (uint32_t)get_be(request, 4), n = (uint32_t)get_be(request + 4, 4);

	if (control & DMA_SELECT)
		select_item(f, (uint16_t)(control >> 16));
	if (control & DMA_READ) {
		if (n > FW_CFG_TRANSFER || !transfer_read(f, get_be(request + 8, 8), n))
			return false;
	} else if (control & DMA_WRITE) {
		return false;
	}
	if (control & (DMA_READ | DMA_SKIP))
		advance(f, n);
	return true;
}

/* A structure that is not in memory has no place for an answer either. */
static void start_transfer(struct fw_cfg *f, uint64_t gpa)
{
	uint8_t request[DMA_SIZE], control[4];

	if (!memory_read(f->mem, gpa, request, sizeof(request)))
		return;
	put_be(control, transfer(f, request) ? 0 : DMA_ERROR, sizeof(control));
	memory_write(f->mem, gpa, control, sizeof(control));
}

static uint64_t dma_read(void *dev, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size && offset + i < DMA_PORTS; i++)
		v |= (uint64_t)dma_signature[offset + i] << (8 * i);
	return v;
}

static void dma_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct fw_cfg *f = dev;
	uint32_t half = __builtin_bswap32((uint32_t)value);
	uint64_t high = f->dma_high;

	if (size != 4)
		return;
	if (offset == 0)
		f->dma_high = half;
	if (offset != 4)
		return;
	f->dma_high = 0;
	start_transfer(f, high << 32 | half);
}

/* ---- files ---- */

bool fw_cfg_add_view(struct fw_cfg *f, const char *name, const void *data, size_t size)
{
	struct fw_cfg_file *file = &f->file[f->nfiles];
	uint8_t *entry = f->directory + 4 + ENTRY_SIZE * f->nfiles;

	if (f->nfiles == FW_CFG_FILES || strlen(name) >= FW_CFG_NAME || size > UINT32_MAX)
		return false;
	*file = (struct fw_cfg_file){ .data = data, .size = (uint32_t)size };
	memcpy(file->name, name, strlen(name) + 1);
	put_be(entry, size, 4);
	put_be(entry + 4, FW_CFG_FILE_FIRST + f->nfiles, 2);
	memcpy(entry + 8, file->name, FW_CFG_NAME);
	f->nfiles++;
	put_be(f->directory, f->nfiles, 4);
	return true;
}

bool fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	if (!copy)
		return false;
	memcpy(copy, data, size);
	if (!fw_cfg_add_view(f, name, copy, size)) {
		free(copy);
		return false;
	}
	f->file[f->nfiles - 1].owned = true;
	return true;
}

bool fw_cfg_add_number(struct fw_cfg *f, const char *name, uint64_t v, size_t size)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(v >> (8 * i));
	return size <= sizeof(bytes) && fw_cfg_add_file(f, name, bytes, size);
}

/* ---- verbs ---- */

static void fw_cfg_reset(void *dev)
{
	struct fw_cfg *f = dev;

	f->selected = 0;
	f->at = f->dma_high = 0;
}

void fw_cfg_init(struct fw_cfg *f, struct bus *bus, struct memory *mem)
{
	memset(f, 0, sizeof(*f));
	f->mem = mem;
	bus_add(bus, BUS_PORT, PORT_SELECT, 2, select_read, select_write, f, "fw-cfg");
	bus_add(bus, BUS_PORT, PORT_DMA, DMA_PORTS, dma_read, dma_write, f, "fw-cfg");
}

void fw_cfg_fini(struct fw_cfg *f)
{
	for (unsigned i = 0; i < f->nfiles; i++) {
		if (f->file[i].owned)
			free((void *)(uintptr_t)f->file[i].data);
	}
	f->nfiles = 0;
}

static void fw_cfg_save(const void *dev, struct buf *out)
{
	const struct fw_cfg *f = dev;

	buf_put_u16(out, f->selected);
	buf_put_u32(out, f->at);
	buf_put_u32(out, f->dma_high);
}

static int fw_cfg_restore(void *dev, struct rd *in)
{
	struct fw_cfg *f = dev;

	f->selected = rd_u16(in);
	f->at = rd_u32(in);
	f->dma_high = rd_u32(in);
	if (in->bad)
		fw_cfg_reset(f);
	return in->bad ? -EINVAL : 0;
}

const struct device_ops fw_cfg_ops = {
	.name = "fw-cfg",
	.reset = fw_cfg_reset,
	.save = fw_cfg_save,
	.restore = fw_cfg_restore,
};
