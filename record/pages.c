// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/pages.h"

#include <errno.h>

#define IS_ZERO 1u

void pages_put(struct buf *out, uint64_t number, const void *data)
{
	buf_put_varint(out, number << 1 | (data ? 0 : IS_ZERO));
	if (data)
		buf_put(out, data, PAGE_SIZE);
}

int pages_get(struct rd *in, uint64_t first, uint64_t end, struct page *page)
{
	uint64_t head = rd_varint(in);

	page->number = head >> 1;
	page->data = head & IS_ZERO ? NULL : rd_bytes(in, PAGE_SIZE);
	return in->bad || page->number < first || page->number >= end ? -EINVAL : 0;
}

int pages_load(struct rd *in, struct memory *mem)
{
	while (rd_left(in)) {
		struct page page;
		int ret = pages_get(in, 0, mem->pages, &page);

		if (ret < 0)
			return ret;
		memory_load_page(mem, page.number, page.data);
	}
	return 0;
}
