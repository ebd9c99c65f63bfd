// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: a file beside a disk image that says anything, with checksums that are right where the
 * input asks for it. What is opened can be written, parted, joined and opened again; a block that
 * was written meanwhile is known then.
 */
#include <sys/mman.h>

#include "base/buf.h"
#include "record/disk_meta.c"
#include "record/disk_meta_layout.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IMAGE ((uint64_t)37 * DISK_META_EXTENT + 12345 * 512)
#define PAGES 6u

static int flush_nothing(void *ctx)
{
	return 0;
}

/* Pieces of the input take the place of what was there: page, offset, length, bytes. */
static void damage(int fd, struct rd *in)
{
	uint8_t page[META_PAGE];
	uint8_t head = rd_u8(in);
	uint32_t at = head % PAGES;
	uint16_t offset = rd_u16(in) % META_PAGE;
	size_t len = rd_u8(in);

	if (page_read(fd, at, page))
		return;
	len = len < META_PAGE - offset ? len : META_PAGE - offset;
	len = len < rd_left(in) ? len : rd_left(in);
	rd_get(in, page + offset, len);
	if (head & 0x80)
		put64(page + CHECKSUM_AT, checksum(page, at));
	if (pwrite(fd, page, META_PAGE, (off_t)at * META_PAGE) != META_PAGE)
		abort();
}

static void use(struct disk_meta *m, struct rd *in, uint64_t *wrote)
{
	struct disk_meta_identity id;
	uint8_t op = rd_u8(in);
	uint64_t offset = rd_u32(in) * (uint64_t)512, len = rd_u16(in) * (uint64_t)512;

	disk_meta_get(m, &id);
	if (op % 8 == 0)
		disk_meta_part(m, offset | 1, len);
	else if (op % 8 == 1 && !disk_meta_join(m, &id))
		*wrote = UINT64_MAX;
	else if (op % 8 == 2)
		disk_meta_applied(m, len);
	else if (op % 8 == 3)
		disk_meta_set(m, offset / DISK_META_BLOCK % disk_meta_blocks(m));
	else if (op % 8 == 4)
		disk_meta_save(m);
	else if (!disk_meta_write(m, offset, len)) {
		*wrote = offset / DISK_META_BLOCK;
		if (op & 0x80)
			disk_meta_finished(m, offset, len, rd_u8(in));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);
	struct disk_meta_identity id = { .image_bytes = IMAGE, .current = 1 };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	uint64_t wrote = UINT64_MAX;
	struct disk_meta *m;
	struct err err = ERR_INIT;

	if (fd < 0 || disk_meta_format(fd, "fuzz", &id, &err))
		abort();
	for (unsigned n = rd_u8(&in) % 16; n; n--)
		damage(fd, &in);
	m = disk_meta_open(fd, "fuzz", IMAGE, flush_nothing, NULL, &err);
	if (!m && !err.text[0])
		abort();
	for (unsigned n = 0; m && n < 64 && rd_left(&in); n++)
		use(m, &in, &wrote);
	disk_meta_abandon(m);
	if (m) {
		m = disk_meta_open(fd, "fuzz", IMAGE, flush_nothing, NULL, &err);
		if (!m || (wrote != UINT64_MAX && disk_meta_next(m, wrote) != wrote))
			abort();
		disk_meta_abandon(m);
	}
	close(fd);
	return 0;
}
