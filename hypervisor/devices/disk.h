/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk image behind a virtio-blk device, as the device sees it. Requests are started in program
 * order and must take effect as if they were executed one after the other in that order, so that a
 * read's result depends on the order of the guest's requests only. finish() waits for the host;
 * until then the buffer belongs to the backend.
 */
#ifndef HYPERVISOR_DEVICES_DISK_H
#define HYPERVISOR_DEVICES_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_SECTOR	 512u
#define DISK_SECTORS_MAX (1ull << 37) /* to which a disk grows */

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_ZERO, DISK_OPS };

struct disk_backend;

struct disk_backend_ops {
	const char *name;
	/*
	 * Starts request `id` (unique among those under way) on `sectors` sectors from `sector`,
	 * inside the disk. data: buffer of sectors * 512 bytes (READ, WRITE), else NULL. ZERO makes
	 * the sectors read as zeros; space may be given back to the host. Does not fail: errors
	 * show in finish().
	 */
	void (*start)(struct disk_backend *d, uint64_t id, enum disk_op op, uint64_t sector,
		      uint32_t sectors, void *data);
	/* Waits until request id is done and forgets it. Returns 0 or a positive errno. */
	int (*finish)(struct disk_backend *d, uint64_t id);
	/*
	 * XXH3 of the whole content, after everything that was started is done. 0 or a negative
	 * errno.
	 */
	int (*digest)(struct disk_backend *d, uint64_t *hash);
	/*
	 * A fault, behind everything that was started. 0: from now on writes are in a cache until
	 * the next flush; else the power fails, and this seed decides which of those are done. 0 or
	 * a positive errno. NULL: there is no such disk.
	 */
	int (*power)(struct disk_backend *d, uint64_t seed);
	/*
	 * The disk has this many sectors from now on, more than before and at most
	 * DISK_SECTORS_MAX, behind everything that was started; what is new reads as zeros. 0 or a
	 * positive errno: it is as it was. NULL: it never grows.
	 */
	int (*grow)(struct disk_backend *d, uint64_t sectors);
	/*
	 * A state of the machine is restored in which the disk had another size, which it has
	 * again; content follows. 0 or a positive errno. NULL: it is of the size that it is.
	 */
	int (*fit)(struct disk_backend *d, uint64_t sectors);
	void (*close)(struct disk_backend *d);
};

struct disk_backend {
	const struct disk_backend_ops *ops;
	uint64_t sectors;
	bool readonly;
};

#endif
