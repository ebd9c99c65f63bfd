/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk's volatile cache would hold: the writes since the last flush, with what was there
 * before. When the power fails any of them may have reached the medium, in any order.
 */
#ifndef RECORD_DISK_CACHE_H
#define RECORD_DISK_CACHE_H

#include <stdbool.h>

#include "base/buf.h"

struct disk_cache;

/* NULL: no memory. */
struct disk_cache *disk_cache_new(void);
void disk_cache_free(struct disk_cache *c);
/* A flush: all of it is on the medium. */
void disk_cache_flush(struct disk_cache *c);
/*
 * A write of len bytes, a multiple of 512 above 0, or of so many zeros, that is going to be added:
 * memory is taken here, as the thread that adds it may get none (isolation/calls.c). NULL: there is
 * none.
 */
struct cached_write;
struct cached_write *disk_cache_write_new(uint64_t len, bool zeros);
/* Place for the bytes that were there before the write; filled before it is added. */
uint8_t *disk_cache_before(struct cached_write *w);
/*
 * Adds a write that is done at an offset, with these bytes (NULL: zeros); it is the cache's from
 * now on. A cache has a size: beyond 64 MiB of writes the oldest count as flushed.
 */
void disk_cache_add(struct disk_cache *c, struct cached_write *w, uint64_t offset,
		    const uint8_t *after);

/* Puts bytes on the medium; data NULL: zeros. 0 or a positive errno. */
typedef int disk_cache_write(void *ctx, const uint8_t *data, uint64_t len, uint64_t offset);

/*
 * The power fails, and the cache is empty: what the writes have changed is undone, and then some of
 * them are done, each whole or up to one of its sectors. Which, follows from the seed: of one in
 * four none, of others a quarter, half, or three quarters of them. 0 or a positive errno.
 */
int disk_cache_lose(struct disk_cache *c, uint64_t seed, disk_cache_write *write, void *ctx);

/* For checkpoints in memory, of one that can be NULL: then there is none after the import. */
void disk_cache_export(const struct disk_cache *c, struct buf *out);
/* Frees *c and puts what was stored in its place. 0 or a positive errno. */
int disk_cache_import(struct disk_cache **c, struct rd *in);

#endif
