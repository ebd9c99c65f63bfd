// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/disk_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/devices/disk.h"

#define CACHE_MAX (64u << 20)

struct cached_write {
	struct cached_write *next, *prev;
	uint64_t offset, len;
	bool zeros;
	uint8_t data[]; /* what was there before, and what is there now unless it is zeros */
};

struct disk_cache {
	struct cached_write *first, *last; /* as they were made */
	uint64_t bytes;
};

struct disk_cache *disk_cache_new(void)
{
	return calloc(1, sizeof(struct disk_cache));
}

static void drop_first(struct disk_cache *c)
{
	struct cached_write *w = c->first;

	c->first = w->next;
	if (c->first)
		c->first->prev = NULL;
	else
		c->last = NULL;
	c->bytes -= w->len;
	free(w);
}

void disk_cache_flush(struct disk_cache *c)
{
	while (c->first)
		drop_first(c);
}

void disk_cache_free(struct disk_cache *c)
{
	if (c)
		disk_cache_flush(c);
	free(c);
}

struct cached_write *disk_cache_write_new(uint64_t len, bool zeros)
{
	struct cached_write *w = malloc(sizeof(*w) + (zeros ? len : 2 * len));

	if (w)
		*w = (struct cached_write){ .len = len, .zeros = zeros };
	return w;
}

uint8_t *disk_cache_before(struct cached_write *w)
{
	return w->data;
}

void disk_cache_add(struct disk_cache *c, struct cached_write *w, uint64_t offset,
		    const uint8_t *after)
{
	w->offset = offset;
	w->prev = c->last;
	if (!w->zeros)
		memcpy(w->data + w->len, after, w->len);
	if (c->last)
		c->last->next = w;
	else
		c->first = w;
	c->last = w;
	c->bytes += w->len;
	while (c->bytes > CACHE_MAX)
		drop_first(c);
}

/* SplitMix64, as in campaign_plan.c. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

#define TORN_OF 8 /* of the writes that are done, one in so many is done in part */

static int do_some(const struct cached_write *w, uint64_t quarters, uint64_t *state,
		   disk_cache_write *write, void *ctx)
{
	uint64_t luck = next_random(state), sectors = w->len / DISK_SECTOR, len = w->len;

	if (luck % 4 >= quarters)
		return 0;
	if (luck / 4 % TORN_OF == 0)
		len = luck / 4 / TORN_OF % sectors * DISK_SECTOR;
	return len ? write(ctx, w->zeros ? NULL : w->data + w->len, len, w->offset) : 0;
}

int disk_cache_lose(struct disk_cache *c, uint64_t seed, disk_cache_write *write, void *ctx)
{
	uint64_t state = seed, quarters = next_random(&state) % 4;
	int error = 0;

	for (const struct cached_write *w = c->last; w && !error; w = w->prev)
		error = write(ctx, w->data, w->len, w->offset);
	for (const struct cached_write *w = c->first; w && !error; w = w->next)
		error = do_some(w, quarters, &state, write, ctx);
	disk_cache_flush(c);
	return error;
}

/* ---- checkpoints in memory: varint 0: none; else 1 + number of writes, and those ---- */

void disk_cache_export(const struct disk_cache *c, struct buf *out)
{
	uint64_t n = 0;

	for (const struct cached_write *w = c ? c->first : NULL; w; w = w->next)
		n++;
	buf_put_varint(out, c ? 1 + n : 0);
	for (const struct cached_write *w = c ? c->first : NULL; w; w = w->next) {
		buf_put_varint(out, w->offset);
		buf_put_varint(out, w->len << 1 | w->zeros);
		buf_put(out, w->data, w->zeros ? w->len : 2 * w->len);
	}
}

static int import_write(struct disk_cache *c, struct rd *in)
{
	uint64_t offset = rd_varint(in), len = rd_varint(in);
	bool zeros = len & 1;
	const uint8_t *before, *after;
	struct cached_write *w;

	len >>= 1;
	if (in->bad || !len || len > CACHE_MAX || len % DISK_SECTOR || offset % DISK_SECTOR)
		return EINVAL;
	before = rd_bytes(in, len);
	after = zeros ? NULL : rd_bytes(in, len);
	if (in->bad)
		return EINVAL;
	w = disk_cache_write_new(len, zeros);
	if (!w)
		return ENOMEM;
	memcpy(w->data, before, len);
	disk_cache_add(c, w, offset, after);
	return 0;
}

int disk_cache_import(struct disk_cache **c, struct rd *in)
{
	uint64_t n = rd_varint(in);
	int error = in->bad ? EINVAL : 0;

	disk_cache_free(*c);
	*c = NULL;
	if (error || !n)
		return error;
	*c = disk_cache_new();
	if (!*c)
		return ENOMEM;
	for (uint64_t i = 1; i < n && !error; i++)
		error = import_write(*c, in);
	return error;
}
