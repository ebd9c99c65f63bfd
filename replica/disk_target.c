// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The joining side of a synchronisation. One thread runs it, and nothing else uses the disks
 * meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "record/disk_file.h"
#include "replica/disk_sync_private.h"

enum target_phase { TARGET_OFFERED, TARGET_WANTED, TARGET_BEGUN, TARGET_EQUAL };

struct disk_target {
	struct disk_sync_disk disk[DISK_SYNC_DISKS];
	unsigned n;
	disk_sync_send *send;
	void *send_ctx;
	enum target_phase phase;
	uint64_t received;
	uint8_t data[DISK_META_BLOCK];
};

struct disk_target *disk_target_new(const struct disk_sync_disk *disks, unsigned n,
				    disk_sync_send *send, void *ctx)
{
	struct disk_target *t = n <= DISK_SYNC_DISKS ? calloc(1, sizeof(*t)) : NULL;

	if (!t)
		return NULL;
	if (n)
		memcpy(t->disk, disks, n * sizeof(*disks));
	t->n = n;
	t->send = send;
	t->send_ctx = ctx;
	return t;
}

void disk_target_free(struct disk_target *t)
{
	free(t);
}

uint64_t disk_target_received(const struct disk_target *t)
{
	return t->received;
}

static int target_send(struct disk_target *t, struct buf *b, struct err *err)
{
	int ret = b->bad ? -ENOMEM : t->send(t->send_ctx, b);

	buf_free(b);
	return ret < 0 ? err_set(err, -ret, "cannot send to the live side: %s", strerror(-ret)) : 0;
}

static int metadata_error(struct err *err, unsigned disk, int error)
{
	return err_set(err, error, "disk %u: cannot write its metadata: %s", disk, strerror(error));
}

/* ---- what this side has ---- */

/*
 * Sends the next part of the bitmap from word *word on: as many words as fit into a message,
 * without zero words at the end.
 */
static int offer_marks(struct disk_target *t, unsigned i, uint64_t *word, struct err *err)
{
	struct disk_meta *m = t->disk[i].meta;
	uint64_t block = disk_meta_next(m, *word * 64), first = block / 64, at = first;
	struct buf b = BUF_INIT;

	if (block == UINT64_MAX) {
		*word = UINT64_MAX;
		return 0;
	}
	buf_put_u8(&b, SYNC_MARKS);
	buf_put_u8(&b, (uint8_t)i);
	buf_put_varint(&b, first);
	while (block / 64 == at && at - first < SYNC_MARKS_MAX) {
		uint64_t bits = 0;

		for (; block != UINT64_MAX && block / 64 == at;
		     block = disk_meta_next(m, block + 1))
			bits |= 1ull << (block % 64);
		buf_put_u64(&b, bits);
		at++;
	}
	*word = at;
	return target_send(t, &b, err);
}

int disk_target_offer(struct disk_target *t, struct err *err)
{
	struct buf b = BUF_INIT;
	int ret;

	buf_put_u8(&b, SYNC_OFFER);
	buf_put_u8(&b, (uint8_t)t->n);
	for (unsigned i = 0; i < t->n; i++) {
		struct disk_meta_identity id;
		int error = t->disk[i].meta ? disk_meta_get(t->disk[i].meta, &id) : 0;

		if (error) {
			buf_free(&b);
			return metadata_error(err, i, error);
		}
		buf_put_u8(&b, t->disk[i].meta != NULL);
		if (t->disk[i].meta)
			sync_put_identity(&b, &id);
	}
	ret = target_send(t, &b, err);
	for (unsigned i = 0; i < t->n && !ret; i++)
		for (uint64_t word = 0; t->disk[i].meta && word != UINT64_MAX && !ret;)
			ret = offer_marks(t, i, &word, err);
	if (ret)
		return ret;
	buf_put_u8(&b, SYNC_OFFER_END);
	return target_send(t, &b, err);
}

int disk_target_alive(struct disk_target *t, struct err *err)
{
	struct buf b = BUF_INIT;

	buf_put_u8(&b, SYNC_ALIVE);
	return target_send(t, &b, err);
}

/* ---- sums ---- */

static int send_sums(struct disk_target *t, unsigned i, uint64_t seed, uint64_t from,
		     struct err *err)
{
	const struct disk_sync_disk *d = &t->disk[i];
	uint64_t end = disk_meta_blocks(d->meta);
	struct buf b = BUF_INIT;

	end = end - from < SYNC_SUMS_MAX ? end : from + SYNC_SUMS_MAX;
	buf_put_u8(&b, SYNC_SUMS);
	buf_put_u8(&b, (uint8_t)i);
	buf_put_varint(&b, from);
	for (uint64_t block = from; block < end; block++) {
		uint8_t sum[SYNC_SUM_LEN];
		int error = sync_block_sum(d, block, seed, t->data, sum);

		if (error) {
			buf_free(&b);
			return sync_block_error(err, "read", i, block, error);
		}
		buf_put(&b, sum, sizeof(sum));
	}
	return target_send(t, &b, err);
}

static int take_want(struct disk_target *t, struct rd *in, struct err *err)
{
	uint64_t seed = rd_u64(in);
	unsigned n = rd_u8(in);
	struct buf b = BUF_INIT;

	if (in->bad || n != t->n || rd_left(in) != n)
		return sync_garbled(err, "which sums are wanted");
	t->phase = TARGET_WANTED;
	for (unsigned i = 0; i < n; i++) {
		bool wanted = rd_u8(in) != 0;
		uint64_t blocks = t->disk[i].meta ? disk_meta_blocks(t->disk[i].meta) : 0;

		for (uint64_t at = 0; wanted && at < blocks; at += SYNC_SUMS_MAX) {
			int ret = send_sums(t, i, seed, at, err);

			if (ret)
				return ret;
		}
	}
	buf_put_u8(&b, SYNC_SUMS_END);
	return target_send(t, &b, err);
}

/* ---- blocks ---- */

/* Reads the source's identities and checks each against ours. */
static int take_identities(struct disk_target *t, struct rd *in, struct disk_meta_identity *id,
			   struct err *err)
{
	if (rd_u8(in) != t->n)
		return sync_garbled(err, "the number of disks");
	for (unsigned i = 0; i < t->n; i++) {
		struct disk_meta_identity mine;
		struct disk_relation r;

		if (!t->disk[i].meta)
			continue;
		if (sync_get_identity(in, &id[i]) || !id[i].current)
			return sync_garbled(err, "a disk's identity");
		disk_meta_get(t->disk[i].meta, &mine);
		r = disk_meta_relation(&mine, &id[i]);
		if ((r.newer != DISK_NEWER_THEIRS && r.newer != DISK_NEWER_NEITHER) ||
		    (t->phase != TARGET_WANTED && mine.image_bytes != id[i].image_bytes))
			return sync_garbled(err, "a disk that ours cannot follow");
	}
	return 0;
}

/*
 * Gives the image the length of the live side's. If the live side's disk has grown, the new part
 * reads as zeros. If this side's disk had grown, the extra part is cut: no live replica knows what
 * was written there.
 */
static int change_length(struct disk_backend *d, uint64_t bytes)
{
	uint64_t sectors = bytes / DISK_SECTOR;

	if (bytes % DISK_SECTOR)
		return EINVAL;
	if (sectors < d->sectors)
		return disk_cut(d, sectors);
	return d->ops->grow ? d->ops->grow(d, sectors) : EOPNOTSUPP;
}

static int fit_images(struct disk_target *t, const struct disk_meta_identity *id, struct err *err)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct disk_backend *d = t->disk[i].image;
		uint64_t had = d->sectors * DISK_SECTOR;
		int error;

		if (!t->disk[i].meta || id[i].image_bytes == had)
			continue;
		error = change_length(d, id[i].image_bytes);
		if (error)
			return err_set(err, error,
				       "disk %u cannot go from %llu to the live side's %llu "
				       "bytes: %s",
				       i, (unsigned long long)had,
				       (unsigned long long)id[i].image_bytes,
				       error == ENXIO ? "the block device ends before that"
						      : strerror(error));
	}
	return 0;
}

/* Takes BEGIN: from here on the images are mixtures of two contents, and are marked so. */
static int take_begin(struct disk_target *t, struct rd *in, struct err *err)
{
	struct disk_meta_identity id[DISK_SYNC_DISKS];
	int ret = take_identities(t, in, id, err);

	ret = ret ? ret : fit_images(t, id, err);
	if (ret)
		return ret;
	for (unsigned i = 0; i < t->n; i++) {
		struct disk_meta *m = t->disk[i].meta;
		int error = m ? disk_meta_set_state(m, DISK_SYNCING) : 0;

		if (error)
			return metadata_error(err, i, error);
	}
	t->phase = TARGET_BEGUN;
	return 0;
}

struct sync_write {
	uint64_t block;
	uint32_t len;
	const uint8_t *data; /* NULL: the block is all zeros */
};

static int write_block(struct disk_backend *d, void *ctx)
{
	struct sync_write *w = ctx;

	return disk_raw_write(d, w->data, w->len, w->block * DISK_META_BLOCK);
}

static int take_block(struct disk_target *t, struct rd *in, struct err *err)
{
	unsigned i = rd_u8(in);
	struct sync_write w = { .block = rd_varint(in) };
	int error;

	if (in->bad || i >= t->n || !t->disk[i].meta ||
	    w.block >= disk_meta_blocks(t->disk[i].meta))
		return sync_garbled(err, "a block beyond a disk's end");
	w.len = sync_block_bytes(&t->disk[i], w.block);
	if (rd_left(in) && rd_left(in) != w.len)
		return sync_garbled(err, "a block of another length");
	w.data = rd_left(in) ? rd_bytes(in, w.len) : NULL;
	error = disk_between(t->disk[i].image, write_block, &w);
	if (error)
		return sync_block_error(err, "write", i, w.block, error);
	t->received += w.len;
	return 0;
}

static int flush_image(struct disk_backend *d, void *ctx)
{
	return disk_flush_image(d);
}

/* Flushes, and confirms that all blocks before the mark are on stable storage. */
static int confirm(struct disk_target *t, uint64_t mark, struct err *err)
{
	struct buf b = BUF_INIT;

	for (unsigned i = 0; i < t->n; i++) {
		int error = t->disk[i].meta ? disk_between(t->disk[i].image, flush_image, NULL) : 0;

		if (error)
			return err_set(err, error, "cannot flush disk %u: %s", i, strerror(error));
	}
	buf_put_u8(&b, SYNC_DONE);
	buf_put_varint(&b, mark);
	return target_send(t, &b, err);
}

static int take_mark(struct disk_target *t, struct rd *in, struct err *err)
{
	uint64_t mark = rd_varint(in);

	return in->bad ? sync_garbled(err, "a mark") : confirm(t, mark, err);
}

static int take_equal(struct disk_target *t, struct rd *in, struct err *err)
{
	struct disk_meta_identity id[DISK_SYNC_DISKS];
	uint64_t mark = rd_varint(in);
	int ret = in->bad ? sync_garbled(err, "a mark") : take_identities(t, in, id, err);

	if (ret)
		return ret;
	for (unsigned i = 0; i < t->n; i++) {
		struct disk_meta *m = t->disk[i].meta;
		int error;

		id[i].state = DISK_FOLLOWS;
		error = m ? disk_meta_join(m, &id[i]) : 0;
		if (error)
			return metadata_error(err, i, error);
		/* On the live side each write happens first, so our copy is never ahead of it. */
		if (m)
			disk_meta_applied(m, UINT64_MAX);
	}
	t->phase = TARGET_EQUAL;
	ret = confirm(t, mark, err);
	return ret ? ret : 1;
}

/* Messages, with the phases in which each is taken. */
static const struct {
	enum target_phase at;
	int (*take)(struct disk_target *t, struct rd *in, struct err *err);
} takes[] = {
	[SYNC_WANT] = { TARGET_OFFERED, take_want }, [SYNC_BEGIN] = { TARGET_WANTED, take_begin },
	[SYNC_BLOCK] = { TARGET_BEGUN, take_block }, [SYNC_MARK] = { TARGET_BEGUN, take_mark },
	[SYNC_EQUAL] = { TARGET_BEGUN, take_equal },
};

int disk_target_take(struct disk_target *t, struct rd *in, struct err *err)
{
	unsigned kind = rd_u8(in);

	if (in->bad || kind >= sizeof(takes) / sizeof(takes[0]) || !takes[kind].take)
		return sync_garbled(err, "an unknown message");
	if (t->phase != takes[kind].at)
		return sync_garbled(err, "a message at the wrong time");
	return takes[kind].take(t, in, err);
}
