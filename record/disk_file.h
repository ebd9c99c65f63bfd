/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images on the host: a raw one, and a copy-on-write overlay that keeps changes in memory.
 * Both execute requests in order on a thread of their own, so the vCPU waits for the host only when
 * a request falls due too early.
 */
#ifndef RECORD_DISK_FILE_H
#define RECORD_DISK_FILE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/devices/disk.h"
#include "record/disk_meta.h"

/*
 * Opens a raw image by its name (disk_image.h): a regular file, which stays locked (flock) while
 * open, a block device, or an NBD server's export; a multiple of 512 bytes.
 */
struct disk_backend *disk_file_open(const char *path, bool readonly, struct err *err);
/* Opens an image as a base that is never written; changes live in memory. */
struct disk_backend *disk_overlay_open(const char *path, struct err *err);
/* A disk of zeros that exists in memory only, for tests. */
struct disk_backend *disk_memory_open(uint64_t sectors, struct err *err);

/* True: the disk's changes live in memory. */
bool disk_has_overlay(const struct disk_backend *d);
/* True: the disk's image is a file to which nothing was ever written. */
bool disk_is_blank(const struct disk_backend *d);
/*
 * Changed blocks as a blob for a checkpoint, and back (replaces all changes). -EINVAL for a backend
 * without overlay.
 */
int disk_overlay_export(struct disk_backend *d, struct buf *out, struct err *err);
int disk_overlay_import(struct disk_backend *d, struct rd *in, struct err *err);
/*
 * As disk_overlay_import(), for an earlier state of the same disk, which may have had another size.
 */
int disk_overlay_load(struct disk_backend *d, struct rd *in, struct err *err);
/*
 * Grows the image of a disk, and its metadata, to `sectors`. The disk itself keeps its size until
 * the guest's input for that (disk_backend_ops.grow). Does nothing for a disk whose changes live in
 * memory. Any thread; waits for storage. 0 or a positive errno; EOPNOTSUPP: the image cannot grow.
 */
int disk_grow_image(struct disk_backend *d, uint64_t sectors);
/*
 * Shortens a disk that no machine uses yet, with its image and metadata; the content beyond the new
 * end is lost. 0 or a positive errno. EOPNOTSUPP: the image cannot shrink (a block device). A later
 * error leaves an image that is longer than its metadata says.
 */
int disk_cut(struct disk_backend *d, uint64_t sectors);
/* Size of the disk in sectors, for threads other than the machine's, while it may grow. */
uint64_t disk_sectors(struct disk_backend *d);

/*
 * The content of the cache of a disk whose power may fail (disk_backend_ops.power), for checkpoints
 * in memory. 0, or -errno and err.
 */
void disk_export_cache(struct disk_backend *d, struct buf *out);
int disk_import_cache(struct disk_backend *d, struct rd *in, struct err *err);

/*
 * Keeps the metadata of a writable image up to date: every write is announced to it before it
 * begins. *record: number of the last record made or applied. The disk owns the metadata from now
 * on, and disk_close() closes it. To be called before the first request.
 */
void disk_attach_meta(struct disk_backend *d, struct disk_meta *m,
		      const atomic_uint_fast64_t *record);
/* For disk_meta_open(): puts the image's data on stable storage. ctx: the struct disk_backend. */
int disk_flush_image(void *ctx);

/*
 * Runs fn(d, ctx) after the requests that have been started and before later ones, and waits for
 * it. Any thread. Returns what fn returns: 0 or a positive errno. fn may use the functions below.
 */
int disk_between(struct disk_backend *d, int (*fn)(struct disk_backend *d, void *ctx), void *ctx);
/* As disk_between(), without waiting: fn itself logs its errors. ctx lives as long as the disk. */
void disk_later(struct disk_backend *d, int (*fn)(struct disk_backend *d, void *ctx), void *ctx);
/*
 * After the requests that have been started: from then on, the copy c, in which this is disk i, is
 * told of bytes that are about to be overwritten. Does not wait.
 */
struct disk_copy;
void disk_keep_for(struct disk_backend *d, struct disk_copy *c, unsigned i);
/* Ends that, and waits until it is done. */
void disk_keep_not(struct disk_backend *d);
/*
 * Reads or writes bytes at an offset inside the disk; data NULL writes zeros. The metadata is not
 * told. 0 or a positive errno.
 */
int disk_raw_read(struct disk_backend *d, void *data, uint64_t len, uint64_t offset);
int disk_raw_write(struct disk_backend *d, const void *data, uint64_t len, uint64_t offset);

/* Waits for everything under way and frees the backend. NULL is allowed. */
void disk_close(struct disk_backend *d);

#endif
