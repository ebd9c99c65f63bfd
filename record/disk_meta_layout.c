// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/disk_meta_layout.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"

#define CHECKSUM_AT (META_PAGE - 8)

static const uint8_t magic_identity[8] = "TWDISK\n\1";
static const uint8_t magic_active[8] = "TWDISK\n\2";
static const uint8_t magic_bitmap[8] = "TWDISK\n\3";

/* Beside the state, in its word. */
#define WORD_DOUBTFUL 0x100u
#define WORD_OFFERED  0x200u
#define WORD_KNOWN    0x3ffu

_Static_assert(META_PAGE_BLOCKS == (CHECKSUM_AT - 24) * 8, "a page of the bitmap is full");
_Static_assert(META_PAGE_BLOCKS % 64 == 0, "a page of the bitmap is whole words");
_Static_assert(24 + META_ACTIVE_MAX * 4 <= CHECKSUM_AT, "a page of active extents has room");

uint64_t meta_blocks(uint64_t image_bytes)
{
	return image_bytes / DISK_META_BLOCK + (image_bytes % DISK_META_BLOCK != 0);
}

uint64_t meta_bitmap_pages(uint64_t image_bytes)
{
	return (meta_blocks(image_bytes) + META_PAGE_BLOCKS - 1) / META_PAGE_BLOCKS;
}

uint64_t meta_file_bytes(uint64_t image_bytes)
{
	return (META_AT_BITMAP + meta_bitmap_pages(image_bytes)) * META_PAGE;
}

/*
 * Checksum of a page; its place in the file is part of it, so a page in the wrong place counts as
 * damaged.
 */
static uint64_t checksum(const uint8_t *page, uint32_t at)
{
	return XXH3_64bits_withSeed(page, CHECKSUM_AT, at);
}

/* Little-endian whatever the host is. */
static void put64(uint8_t *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* Puts what is in *b, which begins with a magic number, on the page and closes it. */
static void page_put(uint8_t *page, uint32_t at, const uint8_t *data, size_t len)
{
	memset(page, 0, META_PAGE);
	memcpy(page, data, len);
	put64(page + CHECKSUM_AT, checksum(page, at));
}

/* The page's content behind its magic number. */
static int page_get(const uint8_t *page, uint32_t at, const uint8_t *magic, struct rd *in)
{
	struct rd sum = RD_INIT(page + CHECKSUM_AT, 8);

	if (memcmp(page, magic, 8) || rd_u64(&sum) != checksum(page, at))
		return -EBADMSG;
	*in = (struct rd)RD_INIT(page + 8, CHECKSUM_AT - 8);
	return 0;
}

void meta_put_identity(uint8_t *page, uint32_t at, const struct disk_meta_identity *id,
		       uint64_t seq)
{
	struct buf b = BUF_INIT;

	buf_put(&b, magic_identity, sizeof(magic_identity));
	buf_put_u32(&b, META_VERSION);
	buf_put_u32(&b, (uint32_t)id->state | (id->doubtful ? WORD_DOUBTFUL : 0) |
				(id->offered ? WORD_OFFERED : 0));
	buf_put_u64(&b, seq);
	buf_put(&b, id->pair, sizeof(id->pair));
	buf_put(&b, id->disk, sizeof(id->disk));
	buf_put_u64(&b, id->image_bytes);
	buf_put_u64(&b, id->current);
	buf_put_u64(&b, id->base);
	for (unsigned i = 0; i < DISK_META_HISTORY; i++)
		buf_put_u64(&b, id->history[i]);
	buf_put_u64(&b, id->generation);
	buf_put_u64(&b, id->record);
	buf_put(&b, id->owner, sizeof(id->owner));
	page_put(page, at, b.data, b.bad ? 0 : b.len);
	buf_free(&b);
}

int meta_get_identity(const uint8_t *page, uint32_t at, struct disk_meta_identity *id,
		      uint64_t *seq)
{
	struct rd in;
	uint32_t word, version;
	int ret = page_get(page, at, magic_identity, &in);

	if (ret)
		return ret;
	version = rd_u32(&in);
	if (version < 1 || version > META_VERSION)
		return -EPROTONOSUPPORT;
	word = rd_u32(&in);
	*seq = rd_u64(&in);
	rd_get(&in, id->pair, sizeof(id->pair));
	rd_get(&in, id->disk, sizeof(id->disk));
	id->image_bytes = rd_u64(&in);
	id->current = rd_u64(&in);
	id->base = rd_u64(&in);
	for (unsigned i = 0; i < DISK_META_HISTORY; i++)
		id->history[i] = rd_u64(&in);
	id->generation = rd_u64(&in);
	id->record = rd_u64(&in);
	rd_get(&in, id->owner, sizeof(id->owner));
	id->doubtful = word & WORD_DOUBTFUL;
	id->offered = word & WORD_OFFERED;
	id->state = (enum disk_meta_state)(word & 0xff);
	if (word & ~WORD_KNOWN || (version == 1 && id->offered) || (word & 0xff) >= DISK_STATES ||
	    id->image_bytes == 0 || id->image_bytes > DISK_META_IMAGE_MAX)
		return -EBADMSG;
	return 0;
}

void meta_put_active(uint8_t *page, uint32_t at, const struct meta_active *a)
{
	struct buf b = BUF_INIT;

	buf_put(&b, magic_active, sizeof(magic_active));
	buf_put_u64(&b, a->seq);
	buf_put_u64(&b, a->n);
	for (uint32_t i = 0; i < a->n; i++)
		buf_put_u32(&b, a->extent[i]);
	page_put(page, at, b.data, b.bad ? 0 : b.len);
	buf_free(&b);
}

int meta_get_active(const uint8_t *page, uint32_t at, uint64_t image_bytes, struct meta_active *a)
{
	uint64_t extents = (image_bytes + DISK_META_EXTENT - 1) / DISK_META_EXTENT, n;
	struct rd in;
	int ret = page_get(page, at, magic_active, &in);

	if (ret)
		return ret;
	a->seq = rd_u64(&in);
	n = rd_u64(&in);
	if (n > META_ACTIVE_MAX)
		return -EBADMSG;
	a->n = (uint32_t)n;
	for (uint32_t i = 0; i < a->n; i++) {
		a->extent[i] = rd_u32(&in);
		if (a->extent[i] >= extents)
			return -EBADMSG;
	}
	return 0;
}

void meta_put_bitmap(uint8_t *page, uint32_t at, const uint64_t *bits)
{
	memset(page, 0, META_PAGE);
	memcpy(page, magic_bitmap, sizeof(magic_bitmap));
	for (unsigned i = 0; i < META_PAGE_BLOCKS / 64; i++)
		put64(page + 24 + 8 * i, bits[i]);
	put64(page + CHECKSUM_AT, checksum(page, at));
}

int meta_get_bitmap(const uint8_t *page, uint32_t at, uint64_t *bits)
{
	struct rd in;
	int ret = page_get(page, at, magic_bitmap, &in);

	if (ret)
		return ret;
	rd_bytes(&in, 16); /* reserved */
	for (unsigned i = 0; i < META_PAGE_BLOCKS / 64; i++)
		bits[i] = rd_u64(&in);
	return 0;
}
