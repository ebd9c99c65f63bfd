// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/shots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CHUNK_PAGES 256
#define SHOTS_MAX   1024

struct shot_page {
	unsigned refs;
	uint8_t data[PAGE_SIZE];
};

/* Neighbouring pages; NULL: zeros. Shared by the shots in which none of them differs. */
struct shot_chunk {
	unsigned refs;
	struct shot_page *page[CHUNK_PAGES];
};

/* A disk's changes, shared by the shots between which it was not written. */
struct shot_blob {
	unsigned refs;
	struct buf bytes;
};

/* ---- disks ---- */

static void blob_drop(struct shots *s, struct shot_blob *b)
{
	if (!b || --b->refs)
		return;
	s->bytes -= b->bytes.len;
	buf_free(&b->bytes);
	free(b);
}

/* The changes of disk i now; those of `before`, which may be NULL, when they are the same. */
static int disk_save(struct shots *s, unsigned i, const struct shot *before, struct shot_blob **out,
		     struct err *err)
{
	struct shot_blob *last = before ? before->disk[i] : NULL, *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(err, ENOMEM, "no memory for a checkpoint");
	b->refs = 1;
	if (s->config->disk_export(s->config->disk_ctx, i, &b->bytes, err) < 0) {
		buf_free(&b->bytes);
		free(b);
		return -err->code;
	}
	s->bytes += b->bytes.len;
	if (last && last->bytes.len == b->bytes.len &&
	    !memcmp(last->bytes.data, b->bytes.data, b->bytes.len)) {
		blob_drop(s, b);
		b = last;
		b->refs++;
	}
	*out = b;
	return b->bytes.bad ? err_set(err, ENOMEM, "no memory for a checkpoint") : 0;
}

/* ---- pages ---- */

static void page_drop(struct shots *s, struct shot_page *p)
{
	if (!p || --p->refs)
		return;
	s->bytes -= sizeof(*p);
	free(p);
}

static struct shot_page *page_make(struct shots *s, const void *data)
{
	struct shot_page *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	p->refs = 1;
	memcpy(p->data, data, PAGE_SIZE);
	s->bytes += sizeof(*p);
	return p;
}

static void chunk_drop(struct shots *s, struct shot_chunk *c)
{
	if (!c || --c->refs)
		return;
	for (size_t i = 0; i < CHUNK_PAGES; i++)
		page_drop(s, c->page[i]);
	s->bytes -= sizeof(*c);
	free(c);
}

/* A chunk of its own, with the same pages. */
static struct shot_chunk *chunk_copy(struct shots *s, const struct shot_chunk *from)
{
	struct shot_chunk *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->refs = 1;
	s->bytes += sizeof(*c);
	for (size_t i = 0; from && i < CHUNK_PAGES; i++) {
		c->page[i] = from->page[i];
		if (c->page[i])
			c->page[i]->refs++;
	}
	return c;
}

static bool page_same(const struct shot_page *p, const void *data)
{
	return p ? !memcmp(p->data, data, PAGE_SIZE) : memory_page_is_zero(data);
}

/* Makes page `number` of the table what RAM holds. */
static int table_update(struct shots *s, struct shot_chunk **table, uint64_t number)
{
	const uint8_t *data = machine_memory(s->m)->base + number * PAGE_SIZE;
	struct shot_chunk **c = &table[number / CHUNK_PAGES];
	struct shot_page **p = *c ? &(*c)->page[number % CHUNK_PAGES] : NULL;
	struct shot_page *made = NULL;

	if (page_same(p ? *p : NULL, data))
		return 0;
	if (!*c || (*c)->refs > 1) {
		struct shot_chunk *own = chunk_copy(s, *c);

		if (!own)
			return -ENOMEM;
		chunk_drop(s, *c);
		*c = own;
	}
	if (!memory_page_is_zero(data) && !(made = page_make(s, data)))
		return -ENOMEM;
	p = &(*c)->page[number % CHUNK_PAGES];
	page_drop(s, *p);
	*p = made;
	return 0;
}

static struct shot_chunk **table_share(struct shots *s, struct shot_chunk *const *from)
{
	struct shot_chunk **table = calloc(s->nchunks, sizeof(*table));

	for (size_t i = 0; table && from && i < s->nchunks; i++) {
		table[i] = from[i];
		if (table[i])
			table[i]->refs++;
	}
	return table;
}

static void table_drop(struct shots *s, struct shot_chunk **table)
{
	for (size_t i = 0; table && i < s->nchunks; i++)
		chunk_drop(s, table[i]);
	free(table);
}

/* ---- what changed since the base ---- */

void shots_page_dirty(void *shots, uint64_t offset, const void *page, uint64_t hash)
{
	struct shots *s = shots;

	s->changed[offset >> PAGE_SHIFT] = 1;
}

/*
 * A page that is dirty may have been so before, and written again since: only its content tells.
 */
static bool may_differ(const struct shots *s, const struct memory *mem, uint64_t number)
{
	return !s->base || s->changed[number] || mem->dirty[number];
}

static int rebase(struct shots *s, struct shot_chunk *const *table)
{
	struct shot_chunk **old = s->base;

	s->base = table_share(s, table);
	table_drop(s, old);
	memset(s->changed, 0, machine_memory(s->m)->pages);
	return s->base ? 0 : -ENOMEM;
}

/* ---- one shot ---- */

static void shot_free(struct shots *s, struct shot *shot)
{
	if (!shot)
		return;
	table_drop(s, shot->chunk);
	s->bytes -= shot->state.len + shot->hidden.len;
	for (unsigned i = 0; i < MACHINE_DISKS; i++)
		blob_drop(s, shot->disk[i]);
	buf_free(&shot->state);
	buf_free(&shot->hidden);
	free(shot->dirty);
	free(shot);
}

static int shot_save_memory(struct shots *s, struct shot *shot)
{
	struct memory *mem = machine_memory(s->m);
	int ret = 0;

	shot->chunk = table_share(s, s->base);
	shot->dirty = malloc(mem->pages);
	if (!shot->chunk || !shot->dirty)
		return -ENOMEM;
	memcpy(shot->dirty, mem->dirty, mem->pages);
	for (uint64_t i = 0; i < mem->pages && ret == 0; i++) {
		if (may_differ(s, mem, i))
			ret = table_update(s, shot->chunk, i);
	}
	return ret == 0 ? rebase(s, shot->chunk) : ret;
}

static int shot_save(struct shots *s, struct shot *shot, const struct shot *before, struct err *err)
{
	struct engine *e = machine_engine(s->m);
	const struct machine_config *c = machine_get_config(s->m);
	int ret = 0;

	e->ops->sync_dirty(e);
	machine_save(s->m, &shot->state);
	e->ops->hidden_save(e, &shot->hidden);
	s->bytes += shot->state.len + shot->hidden.len;
	for (unsigned i = 0; i < c->ndisks && s->config->disk_export && ret == 0; i++) {
		if (!c->disk_readonly[i])
			ret = disk_save(s, i, before, &shot->disk[i], err);
	}
	if (ret < 0)
		return ret;
	if (shot->state.bad || shot->hidden.bad || shot_save_memory(s, shot) < 0)
		return err_set(err, ENOMEM, "no memory for a checkpoint");
	return 0;
}

/* ---- the list ---- */

int shots_init(struct shots *s, const struct timeline_config *c, struct err *err)
{
	uint64_t pages = machine_memory(c->m)->pages;

	*s = (struct shots){ .m = c->m,
			     .config = c,
			     .spacing = c->spacing,
			     .nchunks = (pages + CHUNK_PAGES - 1) / CHUNK_PAGES };
	s->changed = calloc(pages, 1);
	return s->changed ? 0 : err_set(err, ENOMEM, "out of memory");
}

void shots_fini(struct shots *s)
{
	for (size_t i = 0; i < s->n; i++)
		shot_free(s, s->list[i]);
	free(s->list);
	table_drop(s, s->base);
	free(s->changed);
	*s = (struct shots){ 0 };
}

ssize_t shots_find(const struct shots *s, uint64_t count)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->list[middle]->count <= count)
			low = middle + 1;
		else
			high = middle;
	}
	return (ssize_t)low - 1;
}

/*
 * Drops every other checkpoint, except the first and the last. From then on they are taken twice as
 * far apart.
 */
static void thin(struct shots *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (i % 2 && i != s->n - 1)
			shot_free(s, s->list[i]);
		else
			s->list[kept++] = s->list[i];
	}
	s->n = kept;
	s->spacing *= 2;
}

static int insert(struct shots *s, size_t at, struct shot *shot)
{
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct shot **list = realloc(s->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		s->list = list;
		s->room = room;
	}
	memmove(s->list + at + 1, s->list + at, (s->n - at) * sizeof(*s->list));
	s->list[at] = shot;
	s->n++;
	return 0;
}

int shots_take(struct shots *s, const struct logstream_place *place, struct err *err)
{
	struct engine *e = machine_engine(s->m);
	uint64_t count = e->ops->count(e);
	ssize_t before = shots_find(s, count);
	struct shot *shot;
	int ret;

	if (before >= 0 && s->list[before]->count == count)
		return 0;
	shot = calloc(1, sizeof(*shot));
	if (!shot)
		return err_set(err, ENOMEM, "no memory for a checkpoint");
	shot->count = count;
	shot->place = *place;
	ret = shot_save(s, shot, before >= 0 ? s->list[before] : NULL, err);
	if (ret == 0 && insert(s, (size_t)(before + 1), shot) < 0)
		ret = err_set(err, ENOMEM, "no memory for a checkpoint");
	if (ret < 0) {
		shot_free(s, shot);
		return ret;
	}
	while (s->n > 2 && (s->n > SHOTS_MAX || s->bytes > s->config->memory_max))
		thin(s);
	return 0;
}

/* ---- going back ---- */

static void load_chunk(const struct shots *s, const struct shot *shot, size_t chunk)
{
	struct memory *mem = machine_memory(s->m);
	const struct shot_chunk *to = shot->chunk[chunk], *from = s->base[chunk];
	uint64_t first = chunk * CHUNK_PAGES, end = first + CHUNK_PAGES;

	for (uint64_t i = first; i < end && i < mem->pages; i++) {
		struct shot_page *want = to ? to->page[i - first] : NULL;
		struct shot_page *have = from ? from->page[i - first] : NULL;

		if (want != have || may_differ(s, mem, i))
			memory_load_page(mem, i, want ? want->data : NULL);
	}
}

static int load_disks(const struct shots *s, const struct shot *shot, struct err *err)
{
	for (unsigned i = 0; i < machine_get_config(s->m)->ndisks && s->config->disk_import; i++) {
		const struct shot_blob *b = shot->disk[i];

		if (b && s->config->disk_import(s->config->disk_ctx, i, b->bytes.data, b->bytes.len,
						err) < 0)
			return -err->code;
	}
	return 0;
}

int shots_restore(struct shots *s, size_t index, struct err *err)
{
	const struct shot *shot = s->list[index];
	struct engine *e = machine_engine(s->m);
	struct memory *mem = machine_memory(s->m);
	struct rd state = RD_INIT(shot->state.data, shot->state.len),
		  hidden = RD_INIT(shot->hidden.data, shot->hidden.len);
	int ret;

	e->ops->sync_dirty(e);
	for (size_t i = 0; i < s->nchunks; i++)
		load_chunk(s, shot, i);
	memory_load_end(mem);
	if (rebase(s, shot->chunk) < 0)
		return err_set(err, ENOMEM, "out of memory");
	ret = load_disks(s, shot, err);
	if (ret == 0)
		ret = machine_restore(s->m, &state, err);
	if (ret == 0 && e->ops->hidden_restore(e, &hidden) < 0)
		ret = err_set(err, EINVAL, "a checkpoint in memory is damaged");
	memcpy(mem->dirty, shot->dirty, mem->pages);
	return ret;
}
