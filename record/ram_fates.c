// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/ram_fates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ram_fates_add(struct ram_fates *f, uint64_t offset, uint64_t count, struct err *err)
{
	if (f->n == f->room) {
		size_t room = f->room ? 2 * f->room : 256;
		struct ram_byte *more = realloc(f->byte, room * sizeof(*more));

		if (!more)
			return err_set(err, ENOMEM, "out of memory");
		f->byte = more;
		f->room = room;
	}
	f->byte[f->n++] = (struct ram_byte){ .offset = offset, .count = count };
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct ram_byte *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->count < y->count ? -1 : x->count > y->count;
}

/* The first byte that is not before this offset and count. */
static size_t find(const struct ram_fates *f, uint64_t offset, uint64_t count)
{
	const struct ram_byte want = { .offset = offset, .count = count };
	size_t low = 0, high = f->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (by_offset(&f->byte[middle], &want) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- the watch ---- */

static void settle(struct ram_fates *f, struct ram_byte *b, enum ram_fate fate)
{
	if (b->fate != RAM_UNKNOWN)
		return;
	b->fate = fate;
	f->left--;
}

/* The page's bytes are as good as read from here on, and before. */
static void fetched(struct ram_fates *f, uint64_t page)
{
	if (page_set_has(f->code, page) || !page_set_has(f->pages, page))
		return;
	page_set_add(f->code, page);
	for (size_t i = find(f, page * PAGE_SIZE, 0);
	     i < f->n && f->byte[i].offset / PAGE_SIZE == page; i++)
		settle(f, &f->byte[i], RAM_READ);
}

static void used(void *ctx, uint64_t offset, uint64_t len, enum memory_use use)
{
	struct ram_fates *f = ctx;
	uint64_t count = machine_engine(f->m)->ops->count(machine_engine(f->m));

	for (uint64_t at = offset; use == MEMORY_FETCH && at < offset + len;
	     at = (at / PAGE_SIZE + 1) * PAGE_SIZE)
		fetched(f, at / PAGE_SIZE);
	for (size_t i = find(f, offset, 0); i < f->n && f->byte[i].offset - offset < len; i++) {
		struct ram_byte *b = &f->byte[i];

		if (b->count <= count)
			settle(f, b,
			       use == MEMORY_WRITE && b->count < count ? RAM_OVERWRITTEN
								       : RAM_READ);
	}
}

/* ---- the way along the recording ---- */

#define STRIDE 100000000u /* instructions between two looks at whether all is known */

static int walk(struct ram_fates *f, struct timeline *t, uint64_t from, struct err *err)
{
	enum timeline_stop why = TIMELINE_THERE;

	while (f->left && why == TIMELINE_THERE)
		why = timeline_run_to(t, from += STRIDE, err);
	if (why == TIMELINE_FAILED)
		return -err->code;
	if (f->left && why != TIMELINE_END)
		return err_set(err, EINTR, "the way along the recording was told to end");
	for (size_t i = 0; i < f->n; i++)
		settle(f, &f->byte[i], RAM_UNUSED);
	return 0;
}

/* With the sets of pages made. */
static int watch(struct ram_fates *f, struct timeline *t, struct err *err)
{
	struct memory *mem = machine_memory(f->m);
	const struct memory_watch w = { .pages = f->pages, .used = used, .ctx = f };
	struct moment first = { .count = UINT64_MAX };
	int ret;

	for (size_t i = 0; i < f->n; i++) {
		first.count = f->byte[i].count < first.count ? f->byte[i].count : first.count;
		page_set_add(f->pages, f->byte[i].offset / PAGE_SIZE);
	}
	switch (timeline_seek(t, &first, err)) {
	case TIMELINE_THERE:
		break;
	case TIMELINE_FAILED:
		return -err->code;
	default:
		return err_set(err, EINVAL, "count %llu is not inside the recording",
			       (unsigned long long)first.count);
	}
	if (memory_set_watch(mem, &w) < 0)
		return err_set(err, ENOTSUP, "the engine does not tell of its uses of RAM");
	ret = walk(f, t, first.count, err);
	memory_set_watch(mem, NULL);
	return ret;
}

int ram_fates_find(struct ram_fates *f, struct timeline *t, struct machine *m, struct err *err)
{
	size_t words = page_set_words(machine_memory(m)->pages);

	if (!f->n)
		return 0;
	qsort(f->byte, f->n, sizeof(*f->byte), by_offset);
	if (f->byte[f->n - 1].offset >= machine_memory(m)->size)
		return err_set(err, EINVAL, "byte 0x%llx is not in RAM",
			       (unsigned long long)f->byte[f->n - 1].offset);
	f->m = m;
	f->left = f->n;
	f->pages = calloc(words, sizeof(*f->pages));
	f->code = calloc(words, sizeof(*f->code));
	return f->pages && f->code ? watch(f, t, err) : err_set(err, ENOMEM, "out of memory");
}

enum ram_fate ram_fates_get(const struct ram_fates *f, uint64_t offset, uint64_t count)
{
	size_t i = find(f, offset, count);

	return i < f->n && f->byte[i].offset == offset && f->byte[i].count == count
		       ? f->byte[i].fate
		       : RAM_UNKNOWN;
}

void ram_fates_free(struct ram_fates *f)
{
	free(f->byte);
	free(f->pages);
	free(f->code);
	*f = (struct ram_fates){ 0 };
}
