/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The content of disks at one moment, copied while requests go on.
 *
 * From that moment on a disk keeps what is about to be overwritten, as long as it was not copied:
 * in a pool of memory, which the copying thread empties into a file of its own. That thread reads
 * the disks from the first block to the last, on the disks' own threads, between the requests. No
 * request waits for the file: when the pool is full the copy fails instead.
 */
#ifndef RECORD_DISK_COPY_H
#define RECORD_DISK_COPY_H

#include <stdint.h>

#include "base/err.h"
#include "hypervisor/devices/disk.h"

#define DISK_COPY_BLOCK 65536u
#define DISK_COPY_DISKS 16u

struct disk_copy;

/*
 * Disks to be copied, NULL: not that one; they outlive the copy. What is kept of disk i's block b
 * goes to fd, at `at` and behind, until it is read again; fd stays the caller's. NULL: out of
 * memory.
 */
struct disk_copy *disk_copy_new(struct disk_backend *const *disks, unsigned n, int fd, uint64_t at);
/* Bytes from `at` on that it may use. */
uint64_t disk_copy_room(struct disk_backend *const *disks, unsigned n);
/*
 * Sets the moment of the copy: behind all requests that were started before. Called by the thread
 * that starts requests. Waits for nothing.
 */
void disk_copy_begin(struct disk_copy *c);
/*
 * The copying thread: disk i's blocks from number `first` on, at most max of DISK_COPY_BLOCK
 * bytes, as they were; rising from call to call. Returns how many, at least 1, or -errno and err.
 * -ENOBUFS: more was overwritten than could be kept.
 */
int disk_copy_read(struct disk_copy *c, unsigned i, uint64_t first, unsigned max, uint8_t *data,
		   struct err *err);
uint64_t disk_copy_blocks(const struct disk_copy *c, unsigned i);
/* Nothing is kept any more. Waits for requests under way; NULL allowed. */
void disk_copy_free(struct disk_copy *c);

/* ---- for the disk, on its thread ---- */

/* Bytes of disk i are about to be overwritten. */
void disk_copy_before_write(struct disk_copy *c, unsigned i, uint64_t offset, uint64_t len);

#endif
