// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two passes. The first makes a checksum of every piece (page or disk block) of the checkpoint
 * below. The second reads the other checkpoint and writes the pieces whose checksum differs. The
 * key of the checksums is random, so a guest cannot make two different pieces with the same
 * checksum.
 */
#include "record/checkpoint_diff.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "hypervisor/devices/disk.h"
#include "record/checkpoint_private.h"

/* Stands for a piece of zeros, which a checkpoint that stands alone leaves out. */
#define SUM_ZERO ((XXH128_hash_t){ 0, 0 })

/* Checksums of a sequence of pieces, from number 0 on. */
struct sums {
	XXH128_hash_t *sum;
	uint64_t n;
	uint64_t next; /* the second pass has come here */
};

struct diff {
	uint64_t seed;
	struct checkpoint_info info; /* of the one below */
	struct sums pages, disk[MACHINE_DISKS];
	const struct checkpoint_file *below, *from, *to;
	struct checkpoint_out *out;
	int content; /* disk whose content is written; -1: none */
	struct err *err;
};

static XXH128_hash_t sum_of(const struct diff *d, const uint8_t *data, size_t len)
{
	return data ? XXH3_128bits_withSeed(data, len, d->seed) : SUM_ZERO;
}

static int sums_make(struct diff *d, struct sums *s, uint64_t n)
{
	s->n = n;
	s->sum = calloc(n ? n : 1, sizeof(*s->sum));
	return s->sum ? 0 : err_set(d->err, ENOMEM, "out of memory");
}

static unsigned block_bytes(const struct diff *d, unsigned disk, uint64_t block)
{
	return checkpoint_block_bytes(d->info.config.disk_sectors[disk], block);
}

static int is_changes(struct diff *d, const char *name)
{
	return err_set(d->err, EINVAL,
		       "'%s' holds changes only: others are written from a snapshot that stands "
		       "alone",
		       name);
}

/* ---- the one below ---- */

static int below_state(void *ctx, const struct checkpoint_info *info, const struct buf *state)
{
	struct diff *d = ctx;
	int ret = info->base ? is_changes(d, d->below->name)
			     : sums_make(d, &d->pages, info->config.memory / PAGE_SIZE);

	d->info = *info;
	for (unsigned i = 0; i < info->config.ndisks && ret == 0; i++)
		ret = sums_make(d, &d->disk[i],
				(info->config.disk_sectors[i] * DISK_SECTOR + CHECKPOINT_BLOCK -
				 1) / CHECKPOINT_BLOCK);
	return ret;
}

static int below_page(void *ctx, uint64_t number, const uint8_t *data)
{
	struct diff *d = ctx;

	d->pages.sum[number] = sum_of(d, data, PAGE_SIZE);
	return 0;
}

static int below_changes(void *ctx, unsigned disk, const struct buf *changes)
{
	return 0;
}

static int below_content(void *ctx, unsigned disk)
{
	return 0;
}

static int below_block(void *ctx, unsigned disk, uint64_t block, const uint8_t *data)
{
	struct diff *d = ctx;

	d->disk[disk].sum[block] = sum_of(d, data, block_bytes(d, disk, block));
	return 0;
}

/* ---- the one that is to be restored ---- */

typedef int put_fn(struct checkpoint_out *w, uint64_t number, const uint8_t *data);

/* The pieces before number `end` are zeros now: writes those that were not. */
static int put_zeros(struct diff *d, struct sums *s, uint64_t end, put_fn *put)
{
	int ret = 0;

	for (; s->next < end && ret == 0; s->next++) {
		if (!XXH128_isEqual(s->sum[s->next], SUM_ZERO))
			ret = put(d->out, s->next, NULL);
	}
	return ret;
}

static int put_piece(struct diff *d, struct sums *s, uint64_t number, const uint8_t *data,
		     size_t len, put_fn *put)
{
	int ret = put_zeros(d, s, number, put);

	if (ret == 0 && !XXH128_isEqual(s->sum[number], sum_of(d, data, len)))
		ret = put(d->out, number, data);
	s->next = number + 1;
	return ret;
}

/* Called before each disk, and at the end: completes the pages, or the disk before. */
static int finish_row(struct diff *d)
{
	int ret = put_zeros(d, &d->pages, d->pages.n, checkpoint_out_page);

	if (ret == 0 && d->content >= 0)
		ret = put_zeros(d, &d->disk[d->content], d->disk[d->content].n,
				checkpoint_out_block);
	d->content = -1;
	return ret;
}

/*
 * True: the machines have the same configuration. The digest alone would do for honest files; the
 * sizes are compared as well, because the arrays of checksums depend on them.
 */
static bool same_config(const struct machine_config *a, const struct machine_config *b)
{
	bool same = a->memory == b->memory && a->ndisks == b->ndisks;

	for (unsigned i = 0; same && i < a->ndisks; i++)
		same = a->disk_sectors[i] == b->disk_sectors[i];
	return same && machine_config_digest(a) == machine_config_digest(b);
}

static int check_pair(struct diff *d, const struct checkpoint_info *info)
{
	if (info->base)
		return is_changes(d, d->from->name);
	if (!same_config(&d->info.config, &info->config) ||
	    strcmp(d->info.counter, info->counter) || d->info.contents != info->contents)
		return err_set(d->err, EINVAL, "'%s' is of another machine", d->below->name);
	return 0;
}

static int new_state(void *ctx, const struct checkpoint_info *info, const struct buf *state)
{
	struct diff *d = ctx;
	struct checkpoint_info changes = *info;
	int ret = check_pair(d, info);

	if (ret < 0)
		return ret;
	changes.base = d->info.id;
	d->out = checkpoint_out_begin(d->to->fd, d->to->name, &changes, state, d->err);
	return d->out ? 0 : -d->err->code;
}

static int new_page(void *ctx, uint64_t number, const uint8_t *data)
{
	struct diff *d = ctx;

	return put_piece(d, &d->pages, number, data, PAGE_SIZE, checkpoint_out_page);
}

static int new_changes(void *ctx, unsigned disk, const struct buf *changes)
{
	struct diff *d = ctx;
	int ret = finish_row(d);

	return ret ? ret : checkpoint_out_changes(d->out, disk, changes);
}

static int new_content(void *ctx, unsigned disk)
{
	struct diff *d = ctx;
	int ret = finish_row(d);

	d->content = (int)disk;
	return ret ? ret : checkpoint_out_content(d->out, disk);
}

static int new_block(void *ctx, unsigned disk, uint64_t block, const uint8_t *data)
{
	struct diff *d = ctx;

	return put_piece(d, &d->disk[disk], block, data, block_bytes(d, disk, block),
			 checkpoint_out_block);
}

/* ---- the whole ---- */

static int run(struct diff *d, struct checkpoint_info *info)
{
	const struct checkpoint_visitor first = {
		d, below_state, below_page, below_changes, below_content, below_block
	};
	const struct checkpoint_visitor second = { d,		new_state,   new_page,
						   new_changes, new_content, new_block };
	int ret = checkpoint_visit_fd(d->below->fd, d->below->name, &first, &d->info, d->err);

	if (ret == 0)
		ret = checkpoint_visit_fd(d->from->fd, d->from->name, &second, NULL, d->err);
	if (ret == 0)
		ret = finish_row(d);
	if (ret == 0)
		ret = checkpoint_out_end(d->out, info);
	return ret ? ret : checkpoint_out_sync(d->out);
}

int checkpoint_diff(const struct checkpoint_file *below, const struct checkpoint_file *from,
		    const struct checkpoint_file *to, struct checkpoint_info *info, struct err *err)
{
	struct diff d = { .below = below, .from = from, .to = to, .content = -1, .err = err };
	int ret = -EIO;

	if (getrandom(&d.seed, sizeof(d.seed), 0) == (ssize_t)sizeof(d.seed))
		ret = run(&d, info);
	else
		err_set(err, EIO, "the host has no random numbers");
	checkpoint_out_free(d.out);
	free(d.pages.sum);
	for (unsigned i = 0; i < MACHINE_DISKS; i++)
		free(d.disk[i].sum);
	return ret;
}
