/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pages of a metadata file (docs/disk-metadata.md): bytes to values and back. All pages have
 * the same length and end with a checksum of the rest and of their place in the file.
 */
#ifndef RECORD_DISK_META_LAYOUT_H
#define RECORD_DISK_META_LAYOUT_H

#include "record/disk_meta.h"

#define META_VERSION 2u /* 1, without the mark of an offer, is read as well */
#define META_PAGE    4096u
#ifndef META_ACTIVE_MAX	     /* a test sets fewer */
#define META_ACTIVE_MAX 960u /* extents in a page of active ones */
#endif
#define META_PAGE_BLOCKS 32512u
/* Page numbers: two of identity, two of active extents, then the bitmap. */
#define META_AT_IDENTITY 0u
#define META_AT_ACTIVE	 2u
#define META_AT_BITMAP	 4u

/* Extents that are being written. */
struct meta_active {
	uint64_t seq;
	uint32_t n;
	uint32_t extent[META_ACTIVE_MAX];
};

uint64_t meta_blocks(uint64_t image_bytes);
uint64_t meta_bitmap_pages(uint64_t image_bytes);
/* Length of the whole file, in bytes. */
uint64_t meta_file_bytes(uint64_t image_bytes);

void meta_put_identity(uint8_t *page, uint32_t at, const struct disk_meta_identity *id,
		       uint64_t seq);
void meta_put_active(uint8_t *page, uint32_t at, const struct meta_active *a);
/* bits: META_PAGE_BLOCKS of them, low bit first. */
void meta_put_bitmap(uint8_t *page, uint32_t at, const uint64_t *bits);

/* 0, -EBADMSG for a damaged page, -EPROTONOSUPPORT for one of another version. */
int meta_get_identity(const uint8_t *page, uint32_t at, struct disk_meta_identity *id,
		      uint64_t *seq);
/* ... or for extents beyond the image's. */
int meta_get_active(const uint8_t *page, uint32_t at, uint64_t image_bytes, struct meta_active *a);
int meta_get_bitmap(const uint8_t *page, uint32_t at, uint64_t *bits);

#endif
