// SPDX-License-Identifier: GPL-2.0-or-later
/* Code that both sides of a synchronisation use: messages and pieces of disks. */
#include "replica/disk_sync_private.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "record/disk_file.h"

void sync_put_identity(struct buf *b, const struct disk_meta_identity *id)
{
	buf_put(b, id->pair, sizeof(id->pair));
	buf_put(b, id->disk, sizeof(id->disk));
	buf_put_varint(b, id->image_bytes);
	buf_put_u64(b, id->current);
	buf_put_u64(b, id->base);
	for (unsigned i = 0; i < DISK_META_HISTORY; i++)
		buf_put_u64(b, id->history[i]);
	buf_put_varint(b, id->generation);
	buf_put_varint(b, id->record);
	buf_put_u8(b, (uint8_t)id->state);
	buf_put_u8(b, id->doubtful);
}

int sync_get_identity(struct rd *in, struct disk_meta_identity *id)
{
	uint8_t state, doubtful;

	rd_get(in, id->pair, sizeof(id->pair));
	rd_get(in, id->disk, sizeof(id->disk));
	id->image_bytes = rd_varint(in);
	id->current = rd_u64(in);
	id->base = rd_u64(in);
	for (unsigned i = 0; i < DISK_META_HISTORY; i++)
		id->history[i] = rd_u64(in);
	id->generation = rd_varint(in);
	id->record = rd_varint(in);
	state = rd_u8(in);
	doubtful = rd_u8(in);
	if (in->bad || state >= DISK_STATES || doubtful > 1)
		return -EBADMSG;
	id->state = (enum disk_meta_state)state;
	id->doubtful = doubtful;
	return 0;
}

int sync_garbled(struct err *err, const char *message)
{
	return err_set(err, EBADMSG, "the other side's message about disks makes no sense: %s",
		       message);
}

int sync_block_error(struct err *err, const char *what, unsigned disk, uint64_t block, int error)
{
	return err_set(err, error, "cannot %s disk %u at byte %llu: %s", what, disk,
		       (unsigned long long)(block * DISK_META_BLOCK), strerror(error));
}

uint32_t sync_block_bytes(const struct disk_sync_disk *d, uint64_t block)
{
	uint64_t left = d->image->sectors * DISK_SECTOR - block * DISK_META_BLOCK;

	return left < DISK_META_BLOCK ? (uint32_t)left : DISK_META_BLOCK;
}

struct sync_read {
	uint64_t block;
	uint32_t len;
	uint8_t *data;
};

static int read_block(struct disk_backend *d, void *ctx)
{
	struct sync_read *r = ctx;

	return disk_raw_read(d, r->data, r->len, r->block * DISK_META_BLOCK);
}

/*
 * XXH3 with a seed that the guest does not know, so it cannot make different blocks with equal
 * checksums.
 */
void sync_sum(const uint8_t *data, uint32_t len, uint64_t seed, uint8_t *sum)
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits_withSeed(data, len, seed));
	memcpy(sum, &c, SYNC_SUM_LEN);
}

int sync_block_sum(const struct disk_sync_disk *d, uint64_t block, uint64_t seed, uint8_t *data,
		   uint8_t *sum)
{
	struct sync_read r = { block, sync_block_bytes(d, block), data };
	int error = disk_between(d->image, read_block, &r);

	if (!error)
		sync_sum(data, r.len, seed, sum);
	return error;
}
