/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A read-only disk of some hundred KiB whose content is part of the machine's state, as that of its
 * ROM is: recordings, snapshots and backups have it with them, and no file has to be there.
 */
#ifndef DEVICES_MEMDISK_H
#define DEVICES_MEMDISK_H

#include <stddef.h>
#include <stdint.h>

#include "hypervisor/device.h"
#include "hypervisor/devices/disk.h"

#define MEMDISK_SECTORS_MAX 1280u /* 640 KiB */

struct memdisk {
	struct disk_backend backend; /* first; what virtio-blk reads */
	uint8_t *data;		     /* owned; backend.sectors of them */
};

/* A disk of zeros. 0, or -EINVAL: no sectors, or too many; or -ENOMEM. */
int memdisk_init(struct memdisk *d, uint32_t sectors);
void memdisk_fini(struct memdisk *d);
/* Puts a copy of `size` bytes into it: 0, or -EINVAL: the disk has another size. */
int memdisk_load(struct memdisk *d, const uint8_t *data, size_t size);

/* Comes before the device that reads it: what that has under way is read again while it is
 * restored.
 */
extern const struct device_ops memdisk_ops;

#endif
