/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Models a disk's volatile write cache: the writes since the last flush, and the content before
 * each. When the power fails, any of these writes may have reached the medium, in any order.
 */
#ifndef RECORD_DISK_CACHE_H
#define RECORD_DISK_CACHE_H

#include <stdbool.h>

#include "base/buf.h"

struct disk_cache;

/* NULL: no memory. */
struct disk_cache *disk_cache_new(void);
void disk_cache_free(struct disk_cache *c);
/* Notes a flush: all writes so far are on the medium. */
void disk_cache_flush(struct disk_cache *c);
/*
 * Prepares a write of len bytes, a positive multiple of 512; zeros: it writes zeros. Memory is
 * allocated here, because the thread that adds the write may not be allowed to get any
 * (isolation/calls.c). NULL: out of memory.
 */
struct cached_write;
struct cached_write *disk_cache_write_new(uint64_t len, bool zeros);
/* Place for the bytes that were there before the write; filled before it is added. */
uint8_t *disk_cache_before(struct cached_write *w);
/*
 * Adds a write of these bytes (NULL: zeros) at an offset. The cache owns it from now on. The cache
 * has a size: beyond 64 MiB of writes, the oldest count as flushed.
 */
void disk_cache_add(struct disk_cache *c, struct cached_write *w, uint64_t offset,
		    const uint8_t *after);

/* Writes bytes to the medium; data NULL: zeros. 0 or a positive errno. */
typedef int disk_cache_write(void *ctx, const uint8_t *data, uint64_t len, uint64_t offset);

/*
 * The power fails. All cached writes are undone, and then some of them are done, each wholly or up
 * to one of its sectors. The seed decides which: in one case of four none; in the others a quarter,
 * a half, or three quarters of them. The cache is empty afterwards. 0 or a positive errno.
 */
int disk_cache_lose(struct disk_cache *c, uint64_t seed, disk_cache_write *write, void *ctx);

/*
 * Appends the cache's content for a checkpoint in memory. c may be NULL; then there is no cache
 * after the import.
 */
void disk_cache_export(const struct disk_cache *c, struct buf *out);
/* Frees *c and puts what was stored in its place. 0 or a positive errno. */
int disk_cache_import(struct disk_cache **c, struct rd *in);

#endif
