// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/detail.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Detail:  varint number of changed parts, each: u8 index, u32 hash
 *          varint pages, varint groups
 *          as many groups as pages: for each page varint (number - last number), u8 hash
 *          fewer: one byte a group of neighbours
 */

static void detail_page(void *ctx, uint64_t offset, const void *page, uint64_t hash)
{
	struct detail *d = ctx;

	buf_put_u64(&d->pages, offset / PAGE_SIZE);
	buf_put_u64(&d->pages, hash);
	if (d->also)
		d->also(d->also_ctx, offset, page, hash);
}

void detail_init(struct detail *d, struct machine *m,
		 void (*also)(void *ctx, uint64_t offset, const void *page, uint64_t hash),
		 void *also_ctx)
{
	*d = (struct detail){ .also = also, .also_ctx = also_ctx };
	machine_on_dirty_page(m, detail_page, d);
}

void detail_fini(struct detail *d)
{
	buf_free(&d->pages);
}

static uint64_t detail_pages(const struct detail *d)
{
	return d->pages.len / 16;
}

static uint64_t detail_u64(const struct detail *d, uint64_t page, unsigned field)
{
	struct rd r = RD_INIT(d->pages.data + page * 16 + field * 8, 8);

	return rd_u64(&r);
}

/* First page of group g when n pages are dealt into `groups` groups. */
static uint64_t group_start(uint64_t n, uint64_t groups, uint64_t g)
{
	return g * n / groups;
}

/* Hash of one page, the same as that of a group that holds this page alone. */
static uint8_t page_hash(const struct detail *d, uint64_t i)
{
	return (uint8_t)((detail_u64(d, i, 1) + detail_u64(d, i, 0)) * 0x9e3779b97f4a7c15ull >> 56);
}

static uint8_t group_hash(const struct detail *d, uint64_t groups, uint64_t g)
{
	uint64_t n = detail_pages(d), h = 0;

	for (uint64_t i = group_start(n, groups, g); i < group_start(n, groups, g + 1); i++)
		h = (h + detail_u64(d, i, 1) + detail_u64(d, i, 0)) * 0x9e3779b97f4a7c15ull;
	return (uint8_t)(h >> 56);
}

static void detail_next(struct detail *d, struct machine *m)
{
	d->nlast = machine_digest_parts(m, d->last, DETAIL_PARTS);
	buf_clear(&d->pages);
}

void detail_make(struct detail *d, struct machine *m, struct buf *out)
{
	struct digest_part part[DETAIL_PARTS];
	size_t n = machine_digest_parts(m, part, DETAIL_PARTS), changed = 0;
	uint64_t pages = detail_pages(d), groups = pages < DETAIL_GROUPS ? pages : DETAIL_GROUPS;

	for (size_t i = 0; i < n; i++)
		changed += i >= d->nlast || part[i].hash != d->last[i].hash;
	buf_put_varint(out, changed);
	for (size_t i = 0; i < n; i++) {
		if (i < d->nlast && part[i].hash == d->last[i].hash)
			continue;
		buf_put_u8(out, (uint8_t)i);
		buf_put_u32(out, (uint32_t)part[i].hash);
	}
	buf_put_varint(out, pages);
	buf_put_varint(out, groups);
	for (uint64_t g = 0, last = 0; g < groups; g++) {
		if (groups == pages) {
			buf_put_varint(out, detail_u64(d, g, 0) - last);
			last = detail_u64(d, g, 0);
		}
		buf_put_u8(out, group_hash(d, groups, g));
	}
	detail_next(d, m);
}

void detail_agreed(struct detail *d, struct machine *m)
{
	detail_next(d, m);
}

/* ---- naming a difference ---- */

#define NAMED_MAX 4

struct phrase {
	char *p;
	size_t n, used;
};

static void phrase_add(struct phrase *t, const char *what)
{
	int n = snprintf(t->p + t->used, t->n - t->used, "%s%s", t->used ? ", " : "", what);

	if (n > 0)
		t->used += (size_t)n < t->n - t->used ? (size_t)n : t->n - t->used - 1;
}

/* Parts whose hash the other side lists and that are different here, or that changed here only. */
static void compare_parts(const struct detail *d, struct machine *m, struct rd *r, struct phrase *t)
{
	struct digest_part part[DETAIL_PARTS];
	bool listed[DETAIL_PARTS] = { false };
	size_t n = machine_digest_parts(m, part, DETAIL_PARTS);

	for (uint64_t left = rd_varint(r); left && !r->bad; left--) {
		uint8_t i = rd_u8(r);
		uint32_t hash = rd_u32(r);

		if (i >= n || r->bad)
			continue;
		listed[i] = true;
		if (hash != (uint32_t)part[i].hash && strcmp(part[i].name, "memory"))
			phrase_add(t, part[i].name);
	}
	for (size_t i = 0; i < n; i++) {
		if (!listed[i] && (i >= d->nlast || part[i].hash != d->last[i].hash) &&
		    strcmp(part[i].name, "memory"))
			phrase_add(t, part[i].name);
	}
}

static void name_page(uint64_t page, const char *what, struct phrase *t)
{
	char text[96];

	snprintf(text, sizeof(text), "memory page at 0x%" PRIx64 "%s", page * PAGE_SIZE, what);
	phrase_add(t, text);
}

static void name_group(const struct detail *d, uint64_t groups, uint64_t g, struct phrase *t)
{
	uint64_t n = detail_pages(d), first = group_start(n, groups, g),
		 last = group_start(n, groups, g + 1) - 1;
	char text[96];

	if (first == last) {
		name_page(detail_u64(d, first, 0), "", t);
		return;
	}
	snprintf(text, sizeof(text),
		 "memory: one of %" PRIu64 " pages from 0x%" PRIx64 " to 0x%" PRIx64,
		 last - first + 1, detail_u64(d, first, 0) * PAGE_SIZE,
		 detail_u64(d, last, 0) * PAGE_SIZE);
	phrase_add(t, text);
}

/* Both lists are in order of page numbers. */
static void compare_lists(const struct detail *d, struct rd *r, uint64_t theirs, struct phrase *t)
{
	uint64_t n = detail_pages(d), mine = 0, page = 0, named = 0;

	for (; theirs && !r->bad && named < NAMED_MAX; theirs--) {
		uint8_t hash;
		bool here;

		page += rd_varint(r);
		hash = rd_u8(r);
		if (r->bad)
			return;
		for (; mine < n && detail_u64(d, mine, 0) < page && named < NAMED_MAX;
		     mine++, named++)
			name_page(detail_u64(d, mine, 0), " (written here only)", t);
		here = mine < n && detail_u64(d, mine, 0) == page;
		if (!here || hash != page_hash(d, mine)) {
			name_page(page, here ? "" : " (written there only)", t);
			named++;
		}
		mine += here;
	}
	for (; mine < n && named < NAMED_MAX; mine++, named++)
		name_page(detail_u64(d, mine, 0), " (written here only)", t);
}

static void compare_pages(const struct detail *d, struct rd *r, struct phrase *t)
{
	uint64_t pages = rd_varint(r), groups = rd_varint(r), named = 0;
	char text[96];

	if (r->bad || groups > DETAIL_GROUPS || groups > pages)
		return;
	if (groups == pages) {
		compare_lists(d, r, pages, t);
		return;
	}
	if (pages != detail_pages(d)) {
		snprintf(text, sizeof(text),
			 "memory: %" PRIu64 " pages written there, %" PRIu64 " here", pages,
			 detail_pages(d));
		phrase_add(t, text);
		return;
	}
	for (uint64_t g = 0; g < groups && named < NAMED_MAX; g++) {
		if (rd_u8(r) == group_hash(d, groups, g) || r->bad)
			continue;
		name_group(d, groups, g, t);
		named++;
	}
}

void detail_compare(struct detail *d, struct machine *m, const uint8_t *detail, size_t len,
		    char *text, size_t n)
{
	struct rd r = RD_INIT(detail, len);
	struct phrase t = { .p = text, .n = n };

	text[0] = 0;
	compare_parts(d, m, &r, &t);
	compare_pages(d, &r, &t);
	if (!t.used)
		phrase_add(&t, "the state before this epoch");
	detail_next(d, m);
}
