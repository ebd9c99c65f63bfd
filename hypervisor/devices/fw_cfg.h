/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware configuration device that QEMU invented and SeaBIOS asks (QEMU's
 * docs/specs/fw_cfg.rst): numbered items of bytes, some of them files with a name in a directory.
 *
 *   510h    selector, 16 bits, little endian: takes the item and starts at its first byte
 *   511h    data, 8 bits: the next byte of it; zeros behind the end
 *   514h    DMA, 64 bits, big endian in two halves; the write of the low one starts the transfer
 *           that the structure at that guest physical address asks for
 *
 * Items are a function of the machine's configuration and belong to nobody's state; nothing can be
 * written. A transfer is done when the write of the port returns.
 */
#ifndef DEVICES_FW_CFG_H
#define DEVICES_FW_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"
#include "hypervisor/memory.h"

#define FW_CFG_FILES	  16
#define FW_CFG_NAME	  56	      /* with its NUL */
#define FW_CFG_TRANSFER	  (16u << 20) /* bytes in one transfer at most */
#define FW_CFG_FILE_FIRST 0x20u
#define FW_CFG_SIGNATURE  0x00u
#define FW_CFG_ID	  0x01u
#define FW_CFG_DIRECTORY  0x19u

struct fw_cfg_file {
	char name[FW_CFG_NAME];
	const uint8_t *data;
	bool owned;
	uint32_t size;
};

struct fw_cfg {
	struct fw_cfg_file file[FW_CFG_FILES];
	unsigned nfiles;
	uint8_t directory[4 + 64 * FW_CFG_FILES];
	struct memory *mem;
	/* state */
	uint16_t selected;
	uint32_t at; /* next byte of it */
	uint32_t dma_high;
};

/* Registers ports 510h, 511h and 514h to 51Bh. */
void fw_cfg_init(struct fw_cfg *f, struct bus *bus, struct memory *mem);
void fw_cfg_fini(struct fw_cfg *f);
/* Adds a file, of which it keeps a copy. False: no memory, no room, or a name that is too long. */
bool fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t size);
/* Adds a file whose bytes stay the caller's, at this place for as long as the device is there. */
bool fw_cfg_add_view(struct fw_cfg *f, const char *name, const void *data, size_t size);
/* Adds a file that is a number of `size` bytes, little endian. */
bool fw_cfg_add_number(struct fw_cfg *f, const char *name, uint64_t v, size_t size);

extern const struct device_ops fw_cfg_ops;

#endif
