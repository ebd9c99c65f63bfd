// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/codec.h"

#include <errno.h>
#include <string.h>

/*
 * Record:  varint  (count - last count) << 2 | in_rep << 1 | has inputs
 *          u16     check of RIP                      or, in_rep: u64 RIP, varint RCX
 *          varint  number of inputs                  when there are any
 *          inputs: u8 kind | port << 4, then by the shape of the kind
 */
#define HEAD_INPUTS 1u
#define HEAD_REP    2u
#define SEQ_MAX	    (1ull << 62) /* record numbers stay below this, so that they never wrap */

static uint64_t zigzag(uint64_t v)
{
	return v << 1 ^ (uint64_t)((int64_t)v >> 63);
}

static uint64_t unzigzag(uint64_t v)
{
	return v >> 1 ^ (0 - (v & 1));
}

void codec_restart(struct codec *c)
{
	c->begun = false;
}

/* ---- writing ---- */

static void put_anchor(struct codec *c, struct buf *out, const struct input *in)
{
	buf_put_varint(out, in->a - c->ns);
	buf_put_varint(out, zigzag(in->b - c->rate));
	c->ns = in->a;
	c->rate = in->b;
}

static void put_input(struct codec *c, struct buf *out, const struct input *in, uint64_t digest,
		      const struct buf *detail)
{
	const struct input_form *form = input_form(in->kind);

	buf_put_u8(out, (uint8_t)(in->kind | in->port << 4));
	switch (form ? form->shape : INPUT_SHAPE_NONE) {
	case INPUT_SHAPE_TIME:
		put_anchor(c, out, in);
		break;
	case INPUT_SHAPE_DATA:
		buf_put_blob(out, in->data, in->len);
		break;
	case INPUT_SHAPE_PAIR:
		buf_put_varint(out, in->a);
		buf_put_varint(out, in->b);
		break;
	case INPUT_SHAPE_DIGEST:
		buf_put_u64(out, digest);
		buf_put_blob(out, detail ? detail->data : NULL, detail ? detail->len : 0);
		break;
	case INPUT_SHAPE_NONE:
	case INPUT_SHAPE_COUNT_:
		break;
	}
}

static void put_batch_start(struct codec *c, struct buf *out, const struct sync_point *sp)
{
	*c = (struct codec){ .seq = sp->seq - 1,
			     .count = sp->at.count,
			     .ns = c->ns,
			     .rate = c->rate,
			     .begun = true };
	buf_put_varint(out, sp->seq);
	buf_put_varint(out, c->count);
	buf_put_varint(out, c->ns);
	buf_put_varint(out, c->rate);
}

void codec_put(struct codec *c, struct buf *out, const struct sync_point *sp, uint64_t digest,
	       const struct buf *detail)
{
	if (!c->begun)
		put_batch_start(c, out, sp);
	buf_put_varint(out, (sp->at.count - c->count) << 2 | (sp->at.in_rep ? HEAD_REP : 0) |
				    (sp->n ? HEAD_INPUTS : 0));
	if (sp->at.in_rep) {
		buf_put_u64(out, sp->at.rip);
		buf_put_varint(out, sp->at.rcx);
	} else {
		buf_put_u16(out, codec_rip_check(sp->at.rip));
	}
	if (sp->n)
		buf_put_varint(out, sp->n);
	for (size_t i = 0; i < sp->n; i++)
		put_input(c, out, &sp->input[i], digest, detail);
	c->seq = sp->seq;
	c->count = sp->at.count;
}

/* ---- reading ---- */

static bool get_anchor(struct codec *c, struct rd *in, struct input *input)
{
	input->a = c->ns + rd_varint(in);
	input->b = c->rate + unzigzag(rd_varint(in));
	if (input->a < c->ns || input->b > UINT32_MAX)
		return false;
	c->ns = input->a;
	c->rate = input->b;
	return true;
}

static bool get_digest(struct rd *in, struct codec_record *rec)
{
	rec->has_digest = true;
	rec->digest = rd_u64(in);
	rec->detail = rd_blob(in, INPUT_DATA_MAX, &rec->detail_len);
	return true;
}

static bool get_input(struct codec *c, struct rd *in, struct codec_record *rec, struct input *input)
{
	uint8_t head = rd_u8(in);
	const struct input_form *form = input_form(head & 15);

	*input = (struct input){ .kind = head & 15, .port = head >> 4 };
	if (!form)
		return false;
	switch (form->shape) {
	case INPUT_SHAPE_TIME:
		return get_anchor(c, in, input);
	case INPUT_SHAPE_DATA:
		input->data = rd_blob(in, INPUT_DATA_MAX, &input->len);
		return true;
	case INPUT_SHAPE_PAIR:
		input->a = rd_varint(in);
		input->b = rd_varint(in);
		return true;
	case INPUT_SHAPE_DIGEST:
		return !rec->has_digest && get_digest(in, rec);
	case INPUT_SHAPE_NONE:
	case INPUT_SHAPE_COUNT_:
		break;
	}
	return true;
}

static int get_batch_start(struct codec *c, struct rd *in, struct err *err)
{
	uint64_t seq = rd_varint(in), last = c->seq;

	c->count = rd_varint(in);
	c->ns = rd_varint(in);
	c->rate = rd_varint(in);
	if (in->bad || !seq)
		return err_set(err, EINVAL, "a batch of records has no valid start");
	if (last && seq != last + 1)
		return err_set(err, EINVAL, "record %llu follows record %llu",
			       (unsigned long long)seq, (unsigned long long)last);
	c->seq = seq - 1;
	c->begun = true;
	return 0;
}

static int get_landmark(struct codec *c, struct rd *in, struct codec_record *rec, bool *has_inputs,
			struct err *err)
{
	uint64_t head = rd_varint(in);
	struct landmark *at = &rec->sp.at;

	*at = (struct landmark){ .count = c->count + (head >> 2), .in_rep = head & HEAD_REP };
	*has_inputs = head & HEAD_INPUTS;
	if (at->in_rep) {
		at->rip = rd_u64(in);
		at->rcx = rd_varint(in);
		rec->rip_check = codec_rip_check(at->rip);
	} else {
		rec->rip_check = rd_u16(in);
	}
	if (in->bad || at->count < c->count)
		return err_set(err, EINVAL, "record %llu has no valid landmark",
			       (unsigned long long)c->seq + 1);
	return 0;
}

int codec_get(struct codec *c, struct rd *in, struct codec_record *rec, struct err *err)
{
	bool has_inputs = false;
	uint64_t n;
	int ret = c->begun ? 0 : get_batch_start(c, in, err);

	rec->has_digest = false;
	rec->detail = NULL;
	rec->detail_len = 0;
	if (ret == 0 && c->seq >= SEQ_MAX)
		ret = err_set(err, EINVAL, "record %llu cannot be: there are never so many",
			      (unsigned long long)c->seq + 1);
	if (ret == 0)
		ret = get_landmark(c, in, rec, &has_inputs, err);
	if (ret < 0)
		return ret;
	n = has_inputs ? rd_varint(in) : 0;
	if (in->bad)
		return err_set(err, EINVAL, "record %llu ends before its inputs",
			       (unsigned long long)c->seq + 1);
	if (n > SYNC_INPUTS_MAX)
		return err_set(err, EINVAL, "record %llu has %llu inputs, more than %d",
			       (unsigned long long)c->seq + 1, (unsigned long long)n,
			       SYNC_INPUTS_MAX);
	for (uint64_t i = 0; i < n; i++) {
		if (!get_input(c, in, rec, &rec->input[i]) || in->bad)
			return err_set(err, EINVAL, "record %llu: input %llu is damaged",
				       (unsigned long long)c->seq + 1, (unsigned long long)i);
	}
	c->seq++;
	c->count = rec->sp.at.count;
	rec->sp.seq = c->seq;
	rec->sp.input = rec->input;
	rec->sp.n = (size_t)n;
	return 0;
}
