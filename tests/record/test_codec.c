// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "record/codec.h"
#include "tests/unit.h"

static uint64_t seed = 1;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint8_t bytes[4096];

/* An input of any kind but an anchor or a digest, which have their places. */
static struct input any_input(void)
{
	struct input in = { .kind = (enum input_kind)(INPUT_NET_RX + rnd() % 6),
			    .port = (uint8_t)(rnd() % 4) };

	if (in.kind <= INPUT_SEED) {
		in.data = bytes;
		in.len = rnd() % 1500;
	} else if (in.kind != INPUT_FLUSH_TLB) {
		in.a = rnd();
		in.b = rnd() >> rnd() % 64;
	}
	return in;
}

struct run {
	struct sync_point sp;
	struct input in[SYNC_INPUTS_MAX];
	uint64_t digest, ns;
	bool has_digest;
};

static void any_record(struct run *r)
{
	size_t n = 0, more = rnd() % 4;

	r->sp.seq++;
	r->sp.at.count += rnd() >> (rnd() % 48 + 16);
	r->sp.at.rip = rnd();
	r->sp.at.in_rep = rnd() % 4 == 0;
	r->sp.at.rcx = r->sp.at.in_rep ? rnd() >> rnd() % 64 : 0;
	if (rnd() % 2) {
		r->ns += rnd() >> 40;
		r->in[n++] = (struct input){ .kind = INPUT_ANCHOR,
					     .a = r->ns,
					     .b = rnd() % UINT32_MAX + 1 };
	}
	while (more--)
		r->in[n++] = any_input();
	r->has_digest = rnd() % 3 == 0;
	r->digest = r->has_digest ? rnd() : 0;
	if (r->has_digest)
		r->in[n++] = (struct input){ .kind = INPUT_DIGEST };
	r->sp.input = r->in;
	r->sp.n = n;
}

static void same_record(const struct run *want, const struct codec_record *got)
{
	ck_assert_uint_eq(got->sp.seq, want->sp.seq);
	ck_assert_uint_eq(got->sp.at.count, want->sp.at.count);
	ck_assert_uint_eq(got->sp.at.in_rep, want->sp.at.in_rep);
	ck_assert_uint_eq(got->rip_check, codec_rip_check(want->sp.at.rip));
	if (want->sp.at.in_rep) {
		ck_assert_uint_eq(got->sp.at.rip, want->sp.at.rip);
		ck_assert_uint_eq(got->sp.at.rcx, want->sp.at.rcx);
	}
	ck_assert_uint_eq(got->sp.n, want->sp.n);
	ck_assert_uint_eq(got->has_digest, want->has_digest);
	ck_assert_uint_eq(got->has_digest ? got->digest : 0, want->digest);
	for (size_t i = 0; i < want->sp.n; i++) {
		const struct input *a = &want->in[i], *b = &got->sp.input[i];

		ck_assert_int_eq(a->kind, b->kind);
		ck_assert_uint_eq(a->port, b->port);
		ck_assert(a->a == b->a && a->b == b->b && a->len == b->len);
		ck_assert(!a->len || !memcmp(a->data, b->data, a->len));
	}
}

START_TEST(what_goes_in_comes_out)
{
	static struct run r;
	static struct codec_record got;
	struct codec put = { 0 }, get = { 0 };

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rnd();
	for (unsigned batch = 0; batch < 300; batch++) {
		struct buf b = BUF_INIT;
		unsigned n = (unsigned)(rnd() % 20 + 1);
		uint64_t start = seed;
		static struct run again;
		struct err err = ERR_INIT;
		struct rd in;

		again = r;
		codec_restart(&put);
		for (unsigned i = 0; i < n; i++) {
			any_record(&r);
			codec_put(&put, &b, &r.sp, r.digest, NULL);
		}
		/* The same records once more, against what is decoded. */
		seed = start;
		in = (struct rd)RD_INIT(b.data, b.len);
		codec_restart(&get);
		for (unsigned i = 0; i < n; i++) {
			any_record(&again);
			again.sp.input = again.in;
			ck_assert_msg(codec_get(&get, &in, &got, &err) == 0, "%s", err.text);
			same_record(&again, &got);
		}
		ck_assert_uint_eq(rd_left(&in), 0);
		buf_free(&b);
	}
}
END_TEST

START_TEST(a_timer_tick_is_small)
{
	struct sync_point sp = { .seq = 5,
				 .at = { .count = 1000000000, .rip = 0xffffffff81000000 } };
	struct codec c = { 0 };
	struct buf b = BUF_INIT;
	size_t first;

	codec_put(&c, &b, &sp, 0, NULL);
	first = b.len;
	sp.seq++;
	sp.at.count += 100000;
	codec_put(&c, &b, &sp, 0, NULL);
	ck_assert_uint_le(b.len - first, 5);
	buf_free(&b);
}
END_TEST

/* Decodes everything in data; the number of records, or -1. */
static int decode(const uint8_t *data, size_t n, uint64_t last, struct err *err)
{
	static struct codec_record rec;
	struct codec c = { .seq = last };
	struct rd in = RD_INIT(data, n);
	int records = 0;

	while (rd_left(&in)) {
		if (codec_get(&c, &in, &rec, err) < 0)
			return -1;
		records++;
	}
	return records;
}

START_TEST(every_cut_is_noticed)
{
	struct input in[3] = { { .kind = INPUT_ANCHOR, .a = 1000, .b = 70000 },
			       { .kind = INPUT_CONSOLE, .data = (const uint8_t *)"abc", .len = 3 },
			       { .kind = INPUT_DIGEST } };
	struct sync_point sp = { .seq = 1,
				 .at = { .count = 300, .in_rep = true, .rip = 7, .rcx = 400 },
				 .input = in,
				 .n = 3 };
	struct codec c = { 0 };
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;

	codec_put(&c, &b, &sp, 42, NULL);
	ck_assert_int_eq(decode(b.data, b.len, 0, &err), 1);
	for (size_t n = 1; n < b.len; n++) {
		err = (struct err)ERR_INIT;
		ck_assert_int_eq(decode(b.data, n, 0, &err), -1);
		ck_assert_int_eq(err.code, EINVAL);
	}
	buf_free(&b);
}
END_TEST

START_TEST(gaps_between_batches_are_noticed)
{
	struct sync_point sp = { .seq = 7, .at = { .count = 1 } };
	struct codec c = { 0 };
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;

	codec_put(&c, &b, &sp, 0, NULL);
	ck_assert_int_eq(decode(b.data, b.len, 6, &err), 1);
	ck_assert_int_eq(decode(b.data, b.len, 5, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "record 7 follows record 5"));
	ck_assert_int_eq(decode(b.data, b.len, 7, &err), -1);
	buf_free(&b);
}
END_TEST

START_TEST(too_many_inputs_are_refused)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < 4; i++)
		buf_put_varint(&b, 1);
	buf_put_varint(&b, 1); /* has inputs */
	buf_put_u16(&b, 0);
	buf_put_varint(&b, SYNC_INPUTS_MAX + 1);
	for (unsigned i = 0; i <= SYNC_INPUTS_MAX; i++)
		buf_put_u8(&b, INPUT_FLUSH_TLB);
	ck_assert_int_eq(decode(b.data, b.len, 0, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "257 inputs"));
	buf_free(&b);
}
END_TEST

START_TEST(any_bytes_are_safe)
{
	uint8_t data[256];

	for (unsigned i = 0; i < 100000; i++) {
		struct err err = ERR_INIT;
		size_t n = rnd() % sizeof(data);

		for (size_t k = 0; k < n; k++)
			data[k] = (uint8_t)(rnd() >> rnd() % 8 * 8) &
				  (uint8_t)(rnd() % 3 ? 0xff : 0x0f);
		if (decode(data, n, 0, &err) < 0)
			ck_assert_int_eq(err.code, EINVAL);
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, what_goes_in_comes_out);
	tcase_add_test(tc, a_timer_tick_is_small);
	tcase_add_test(tc, every_cut_is_noticed);
	tcase_add_test(tc, gaps_between_batches_are_noticed);
	tcase_add_test(tc, too_many_inputs_are_refused);
	tcase_add_test(tc, any_bytes_are_safe);
}

UNIT_MAIN("codec", add)
