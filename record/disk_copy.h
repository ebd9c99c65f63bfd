/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies the content of disks as it is at one moment, while requests go on.
 *
 * From that moment on, a disk saves blocks that are about to be overwritten and were not copied
 * yet. They go to a pool of memory, which the copying thread empties into a file. That thread reads
 * each disk from the first block to the last, by jobs on the disk's own thread between requests.
 * Requests never wait for the file: when the pool is full, the copy fails instead.
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
 * Prepares a copy of disks, which must outlive it; a NULL in the list: that disk is not copied.
 * Saved blocks are written to fd from offset `at` on, and read back from there. fd stays the
 * caller's. NULL: out of memory.
 */
struct disk_copy *disk_copy_new(struct disk_backend *const *disks, unsigned n, int fd, uint64_t at);
/* Bytes of the file, from `at` on, that a copy may use. */
uint64_t disk_copy_room(struct disk_backend *const *disks, unsigned n);
/*
 * Sets the moment of the copy: after all requests that have been started. Called by the thread that
 * starts requests. Does not wait.
 */
void disk_copy_begin(struct disk_copy *c);
/*
 * Copying thread: reads disk i's blocks, of DISK_COPY_BLOCK bytes, from number `first` on, as they
 * were at the moment of the copy; `first` rises from call to call. Returns how many were read, 1 to
 * max; -errno and err. -ENOBUFS: more was overwritten than could be saved.
 */
int disk_copy_read(struct disk_copy *c, unsigned i, uint64_t first, unsigned max, uint8_t *data,
		   struct err *err);
uint64_t disk_copy_blocks(const struct disk_copy *c, unsigned i);
/* Ends the copy: disks save nothing any more. Waits for requests under way. NULL is allowed. */
void disk_copy_free(struct disk_copy *c);

/* ---- for the disk, on its thread ---- */

/* Saves the blocks of disk i that are about to be overwritten. */
void disk_copy_before_write(struct disk_copy *c, unsigned i, uint64_t offset, uint64_t len);

#endif
