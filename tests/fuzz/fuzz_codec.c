// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: the record decoder; what it takes it gives back the same after encoding; build with
// -fsanitize=fuzzer
#include <string.h>

#include "base/log.h"
#include "record/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct codec_record *a, const struct codec_record *b)
{
	must(a->sp.seq == b->sp.seq && a->sp.at.count == b->sp.at.count && a->sp.n == b->sp.n);
	must(a->has_digest == b->has_digest && (!a->has_digest || a->digest == b->digest));
	for (size_t i = 0; i < a->sp.n; i++) {
		const struct input *x = &a->sp.input[i], *y = &b->sp.input[i];

		must(x->kind == y->kind && x->port == y->port && x->a == y->a && x->b == y->b &&
		     x->len == y->len);
		must(!x->len || !memcmp(x->data, y->data, x->len));
	}
}

/* Through the encoder and back, as a batch of its own. */
static void again(struct codec_record *rec)
{
	static struct codec_record out;
	struct codec put = { 0 }, get = { 0 };
	struct buf b = BUF_INIT, detail = BUF_INIT;
	struct err err = ERR_INIT;
	struct rd in;

	/* An anchor is a difference from the last one: the batch starts before it. */
	if (rec->sp.n && rec->sp.input[0].kind == INPUT_ANCHOR)
		put.ns = rec->sp.input[0].a;
	for (size_t i = 1; i < rec->sp.n; i++) {
		if (rec->sp.input[i].kind == INPUT_ANCHOR)
			return; /* never made, and refused by the machine if time goes back */
	}
	buf_put(&detail, rec->detail, rec->detail_len);
	codec_put(&put, &b, &rec->sp, rec->digest, &detail);
	in = (struct rd)RD_INIT(b.data, b.len);
	must(codec_get(&get, &in, &out, &err) == 0 && !rd_left(&in));
	same(rec, &out);
	buf_free(&b);
	buf_free(&detail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec_record rec;
	struct codec c = { 0 };
	struct rd in = RD_INIT(data, size);
	struct err err = ERR_INIT;

	while (rd_left(&in) && codec_get(&c, &in, &rec, &err) == 0)
		again(&rec);
	return 0;
}
