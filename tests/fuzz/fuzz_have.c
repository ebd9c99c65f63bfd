// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: a joining backup's list of the pages that it has (replica/have.h). Whatever it says, only
 * pages of this guest are on the list, each once and in order, and each can be asked about once.
 * (A fuzzer sees the hashes that its input is compared with, so a page may count as equal.)
 */
#include <string.h>

#include "base/log.h"
#include "replica/have.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGES 200u

/* Every listed page once, in order; returns how many. */
static uint64_t look(struct have *h)
{
	static const uint8_t page[PAGE_SIZE] = { 1 };
	uint64_t n = 0;

	for (uint64_t i = have_next(h, 0); i < PAGES; i = have_next(h, i + 1), n++) {
		must(have_claims(h, i));
		have_equal(h, i, page);
		must(!have_claims(h, i) && !have_equal(h, i, page));
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct have *h = have_new(PAGES);
	struct rd in = RD_INIT(data, size);
	struct err err = ERR_INIT;
	int ret = 0;

	must(h);
	while (ret == 0 && rd_left(&in)) {
		size_t n = rd_u16(&in), left = rd_left(&in);
		bool complete = have_is_complete(h);

		n = n < left ? n : left;
		ret = have_take(h, in.p, n, &err);
		in.p += n;
		must(ret <= 0 && (ret == 0 || err.text[0]));
		must(!complete || ret < 0);
	}
	must(have_count(h) <= PAGES && look(h) == have_count(h));
	have_free(h);
	return 0;
}
