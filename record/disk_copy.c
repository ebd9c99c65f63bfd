// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/disk_copy.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_io.h"
#include "record/disk_file.h"

#define SLOTS 1024u /* blocks of the pool: 64 MiB */

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_FULL };

struct slot {
	enum slot_state state;
	unsigned disk;
	uint64_t block;
};

struct copied {
	struct disk_backend *disk;
	uint64_t bytes, blocks;
	uint64_t at;   /* where its blocks are kept in the file */
	uint8_t *done; /* one bit for each block: copied or saved; used by the disk's thread */
	/* one bit for each block: saved in the file; used by the copying thread */
	uint8_t *spilled;
	bool begun;
};

struct disk_copy {
	struct copied of[DISK_COPY_DISKS];
	unsigned n;
	int fd;
	uint8_t *pool;

	atomic_int error; /* a positive errno: some blocks could not be saved */

	pthread_mutex_t lock; /* of slot */
	struct slot slot[SLOTS];
	unsigned next; /* where to look for a free one */
};

static bool bit_is_set(const uint8_t *bits, uint64_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

static void bit_set(uint8_t *bits, uint64_t i)
{
	bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

static uint64_t bytes_of(const struct disk_backend *d)
{
	return d ? d->sectors * DISK_SECTOR : 0;
}

static uint64_t blocks_of(const struct disk_backend *d)
{
	return (bytes_of(d) + DISK_COPY_BLOCK - 1) / DISK_COPY_BLOCK;
}

static unsigned block_bytes(const struct copied *of, uint64_t block)
{
	uint64_t left = of->bytes - block * DISK_COPY_BLOCK;

	return left < DISK_COPY_BLOCK ? (unsigned)left : DISK_COPY_BLOCK;
}

uint64_t disk_copy_room(struct disk_backend *const *disks, unsigned n)
{
	uint64_t blocks = 0;

	for (unsigned i = 0; i < n; i++)
		blocks += blocks_of(disks[i]);
	return blocks * DISK_COPY_BLOCK;
}

uint64_t disk_copy_blocks(const struct disk_copy *c, unsigned i)
{
	return c->of[i].blocks;
}

struct disk_copy *disk_copy_new(struct disk_backend *const *disks, unsigned n, int fd, uint64_t at)
{
	struct disk_copy *c = calloc(1, sizeof(*c));
	bool good = c && n <= DISK_COPY_DISKS;

	for (unsigned i = 0; good && i < n; i++) {
		struct copied *of = &c->of[i];

		*of = (struct copied){ .disk = disks[i],
				       .bytes = bytes_of(disks[i]),
				       .blocks = blocks_of(disks[i]),
				       .at = at };
		at += of->blocks * DISK_COPY_BLOCK;
		of->done = calloc(of->blocks / 8 + 1, 1);
		of->spilled = calloc(of->blocks / 8 + 1, 1);
		c->n = i + 1;
		good = of->done && of->spilled;
	}
	if (c) {
		pthread_mutex_init(&c->lock, NULL);
		c->fd = fd;
		c->pool = malloc((size_t)SLOTS * DISK_COPY_BLOCK);
	}
	if (good && c->pool)
		return c;
	disk_copy_free(c);
	return NULL;
}

/* ---- the disk's thread ---- */

static struct slot *slot_take(struct disk_copy *c, unsigned disk, uint64_t block)
{
	struct slot *s = NULL;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < SLOTS && !s; i++, c->next = (c->next + 1) % SLOTS) {
		if (c->slot[c->next].state == SLOT_FREE)
			s = &c->slot[c->next];
	}
	if (s)
		*s = (struct slot){ SLOT_FILLING, disk, block };
	pthread_mutex_unlock(&c->lock);
	return s;
}

static void slot_put(struct disk_copy *c, struct slot *s, enum slot_state state)
{
	pthread_mutex_lock(&c->lock);
	s->state = state;
	pthread_mutex_unlock(&c->lock);
}

static uint8_t *slot_data(struct disk_copy *c, const struct slot *s)
{
	return c->pool + (size_t)(s - c->slot) * DISK_COPY_BLOCK;
}

static void keep(struct disk_copy *c, unsigned i, uint64_t block)
{
	struct copied *of = &c->of[i];
	struct slot *s = slot_take(c, i, block);
	int error = ENOBUFS;

	if (s) {
		error = disk_raw_read(of->disk, slot_data(c, s), block_bytes(of, block),
				      block * DISK_COPY_BLOCK);
		slot_put(c, s, error ? SLOT_FREE : SLOT_FULL);
	}
	if (error)
		atomic_store(&c->error, error);
	bit_set(of->done, block);
}

void disk_copy_before_write(struct disk_copy *c, unsigned i, uint64_t offset, uint64_t len)
{
	uint64_t block = offset / DISK_COPY_BLOCK;

	for (; len && block * DISK_COPY_BLOCK < offset + len && block < c->of[i].blocks; block++) {
		if (!bit_is_set(c->of[i].done, block) && !atomic_load(&c->error))
			keep(c, i, block);
	}
}

/* ---- the copying thread ---- */

/* Moves kept blocks to the file, so that there is room for more. 0, or a positive errno. */
static int spill(struct disk_copy *c)
{
	int error = 0;

	for (unsigned k = 0; k < SLOTS && !error; k++) {
		struct slot *s = &c->slot[k], now;
		struct copied *of;

		pthread_mutex_lock(&c->lock);
		now = *s;
		pthread_mutex_unlock(&c->lock);
		if (now.state != SLOT_FULL)
			continue;
		of = &c->of[now.disk];
		error = file_write_at(c->fd, slot_data(c, s), block_bytes(of, now.block),
				      of->at + now.block * DISK_COPY_BLOCK);
		bit_set(of->spilled, now.block);
		slot_put(c, s, SLOT_FREE);
	}
	return error;
}

/*
 * Blocks to be read on the disk's thread; blocks that were overwritten since have been saved
 * already.
 */
struct sweep {
	struct copied *of;
	uint64_t first;
	unsigned n;
	uint8_t *data;
};

static int sweep_run(struct disk_backend *d, void *ctx)
{
	const struct sweep *s = ctx;
	struct copied *of = s->of;
	int error = 0;

	for (unsigned k = 0; k < s->n && !error; k++) {
		uint64_t block = s->first + k;

		if (bit_is_set(of->done, block))
			continue;
		error = disk_raw_read(d, s->data + (size_t)k * DISK_COPY_BLOCK,
				      block_bytes(of, block), block * DISK_COPY_BLOCK);
		bit_set(of->done, block);
	}
	return error;
}

static int read_kept(struct disk_copy *c, const struct sweep *s)
{
	int error = spill(c);

	for (unsigned k = 0; k < s->n && !error; k++) {
		uint64_t block = s->first + k;

		if (bit_is_set(s->of->spilled, block))
			error = file_read_at(c->fd, s->data + (size_t)k * DISK_COPY_BLOCK,
					     block_bytes(s->of, block),
					     s->of->at + block * DISK_COPY_BLOCK);
	}
	return error;
}

int disk_copy_read(struct disk_copy *c, unsigned i, uint64_t first, unsigned max, uint8_t *data,
		   struct err *err)
{
	struct copied *of = &c->of[i];
	uint64_t left = of->blocks - first;
	struct sweep s = { of, first, left < max ? (unsigned)left : max, data };
	int error = disk_between(of->disk, sweep_run, &s);

	if (!error)
		error = read_kept(c, &s);
	if (!error)
		error = atomic_load(&c->error);
	if (error == ENOBUFS)
		return err_set(err, error,
			       "the guest overwrites its disks faster than the copy of what was "
			       "there can be written");
	return error ? err_set(err, error, "disk %u cannot be copied: %s", i, strerror(error))
		     : (int)s.n;
}

/* ---- begin and end ---- */

void disk_copy_begin(struct disk_copy *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (!c->of[i].disk)
			continue;
		disk_keep_for(c->of[i].disk, c, i);
		c->of[i].begun = true;
	}
}

void disk_copy_free(struct disk_copy *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->n; i++) {
		if (c->of[i].begun)
			disk_keep_not(c->of[i].disk);
		free(c->of[i].done);
		free(c->of[i].spilled);
	}
	free(c->pool);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
