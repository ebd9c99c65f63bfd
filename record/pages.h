/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list of pages: how guest memory stands in checkpoints, in logs and on the wire. For each page
 *     varint  number (by offset in guest RAM) << 1 | is zero
 *     4096 bytes, unless it is zero
 */
#ifndef RECORD_PAGES_H
#define RECORD_PAGES_H

#include <stdint.h>

#include "base/buf.h"
#include "hypervisor/memory.h"

/* Appends a page; data NULL: the page is all zeros. */
void pages_put(struct buf *out, uint64_t number, const void *data);

struct page {
	uint64_t number;
	const uint8_t *data; /* in the bytes that are read; NULL: the page is zero */
};

/*
 * Takes the next page off a list. Its number must be at least `first` and below `end`. 0, or
 * -EINVAL: the bytes are no such page.
 */
int pages_get(struct rd *in, uint64_t first, uint64_t end, struct page *page);

/*
 * Puts all pages of a list into memory, in any order; memory_load_end() has to follow when all of
 * it is there. 0, or -EINVAL: the bytes are no list of pages of this memory.
 */
int pages_load(struct rd *in, struct memory *mem);

#endif
