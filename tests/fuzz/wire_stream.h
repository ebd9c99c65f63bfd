/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that speaks the protocol's form and means harm: frames with right numbers, lengths and
 * checksums, compressed or not, whose contents come from a byte script, or are true messages with a
 * few bytes changed.
 */
#ifndef TESTS_FUZZ_WIRE_STREAM_H
#define TESTS_FUZZ_WIRE_STREAM_H

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/cpuid.h"
#include "record/codec.h"
#include "record/pages.h"
#include "replica/wire.h"

#define STREAM_CODE   0x7c00 /* where a guest starts that comes with a true state */
#define STREAM_FRAMES 48     /* all of them fit into the socket before anybody reads */

static const struct machine_config stream_config = {
	.version = MACHINE_VERSION, .memory = MEMORY_MIN, .nnics = 1, .mac = { { 2 } }
};

/* A few bytes become others: number of changes, then (offset, value) pairs. */
static inline void stream_patch(struct buf *b, struct rd *in)
{
	for (unsigned n = rd_u8(in) & 7; n && b->len; n--) {
		uint16_t at = rd_u16(in);

		b->data[at % b->len] = rd_u8(in);
	}
}

/*
 * Some of the script's bytes, perhaps many times over: what compresses well is short here and long
 * there.
 */
static inline void stream_bytes(struct buf *b, struct rd *in)
{
	size_t n = rd_u8(in), times = 1;

	if (n >= 0xf0) {
		times = (size_t)1 << (n & 15);
		n = rd_u8(in);
	} else if (n >= 0xe0) {
		n = (n & 15) << 8 | rd_u8(in);
	}
	n = n < rd_left(in) ? n : rd_left(in);
	while (times-- && b->len < WIRE_FRAME_MAX)
		buf_put(b, in->p, n);
	in->p += n;
}

static inline void stream_hello(struct buf *b, struct rd *in)
{
	struct wire_hello h = {
		.wire_version = WIRE_VERSION,
		.codec_version = CODEC_VERSION,
		.primary = !(rd_u8(in) & 1),
		.generation = 1,
		.config_digest = machine_config_digest(&stream_config),
		.cpuid_digest = cpuid_v1_digest(),
		.counter = "retired",
		.timeout_ms = 1000,
		.hang_timeout_ms = 3600000,
		.config = stream_config,
	};
	const size_t at = 9 + WIRE_ID_LEN + 24 + sizeof(h.counter) + 1; /* of the two times */

	wire_hello_save(&h, b);
	stream_patch(b, in);
	/* Times that a fuzzer does not have. */
	memcpy(b->data + at, &h.timeout_ms, 4);
	memcpy(b->data + at + 4, &h.hang_timeout_ms, 4);
}

static inline void stream_stamp(struct buf *b, struct rd *in)
{
	const struct wire_stamp s = { .sent_ns = rd_u8(in),
				      .released = rd_u8(in),
				      .beat = rd_u8(in),
				      .protecting = true,
				      .silence_ms = 1000 };

	wire_stamp_save(&s, b);
	stream_patch(b, in);
}

/* One record with inputs of all kinds, as the script says. */
static inline void stream_record(struct codec *c, struct buf *b, struct rd *in, uint64_t *seq,
				 uint64_t *count)
{
	struct input input[16];
	uint8_t head = rd_u8(in);
	struct sync_point sp = { .seq = *seq += 1, .input = input, .n = head & 15 };
	struct buf detail = BUF_INIT;

	*count += rd_u8(in);
	sp.at = (struct landmark){ .count = *count, .in_rep = head & 0x10 };
	if (sp.at.in_rep)
		sp.at.rcx = rd_u16(in);
	if (head & 0x20)
		sp.at.rip = rd_u64(in);
	else
		sp.at.rip = STREAM_CODE + 2 * *count +
			    (head >> 6 == 3); /* zeros are ADD, two bytes long */
	for (size_t i = 0; i < sp.n; i++) {
		uint8_t kind = rd_u8(in);

		input[i] = (struct input){ .kind = 1 + kind % 8, .port = (kind >> 4) & 3 };
		if (input[i].kind == INPUT_ANCHOR) {
			input[i].a = c->ns + (uint64_t)rd_u16(in) * 1000;
			input[i].b = rd_u8(in) ? 0x10000 : rd_u32(in);
		} else if (input[i].kind == INPUT_CONTROL || input[i].kind == INPUT_DISK_ERROR) {
			input[i].a = rd_u8(in);
			input[i].b = rd_u32(in);
		} else {
			input[i].len = input[i].kind == INPUT_SEED ? 32 : rd_u8(in);
			if (input[i].len > rd_left(in))
				input[i].len = rd_left(in);
			input[i].data = in->p;
			in->p += input[i].len;
			if (input[i].kind == INPUT_DIGEST)
				buf_put(&detail, input[i].data, input[i].len);
		}
	}
	codec_put(c, b, &sp, rd_u64(in), &detail);
	buf_free(&detail);
}

/* A stamp and a batch. The numbers of the records go on from `*seq`. */
static inline void stream_records(struct buf *b, struct rd *in, uint64_t *seq, uint64_t *count)
{
	struct codec c = { 0 };
	struct buf batch = BUF_INIT;

	stream_stamp(b, in);
	for (unsigned n = 1 + (rd_u8(in) & 7); n && rd_left(in); n--)
		stream_record(&c, &batch, in, seq, count);
	stream_patch(&batch, in);
	buf_put_varint(b, *seq);
	buf_put_blob(b, batch.data, batch.len);
	buf_free(&batch);
}

static inline void stream_ack(struct buf *b, struct rd *in)
{
	const struct wire_ack a = { .echo_ns = rd_u8(in),
				    .received = rd_u8(in),
				    .applied = rd_u8(in),
				    .digests = rd_u8(in),
				    .beat = rd_u8(in),
				    .flush = rd_u8(in) };

	wire_ack_save(&a, b);
	stream_patch(b, in);
}

/* Pages of RAM: number, then a pattern. */
static inline void stream_pages(struct buf *b, struct rd *in)
{
	for (unsigned n = rd_u8(in) & 3; n; n--) {
		uint8_t page[4096], head[64] = { 0 };
		size_t len = rd_u8(in) & 63;

		len = len < rd_left(in) ? len : rd_left(in);
		rd_get(in, head, len);
		memset(page, 0x90, sizeof(page));
		memcpy(page + 0xc00, head, len);
		pages_put(b, rd_u8(in), page);
	}
	stream_patch(b, in);
}

struct stream {
	struct wire wire;
	uint64_t seq, count;
	/* What a STATE frame holds; may be NULL. */
	void (*state)(struct buf *b, struct rd *in, struct stream *s);
};

/* Four bits of the head are the type; two more that are set at once are the fifth one. */
static inline uint8_t stream_type(uint8_t head)
{
	return (head & 15) | ((head & 0xc0) == 0xc0 ? 16 : 0);
}

_Static_assert(WIRE_TYPE_END_ <= 32, "stream_type() makes every type, and some that there are not");

/* One frame of a type that the script chooses; false when the socket is full. */
static inline bool stream_frame(struct stream *s, struct rd *in)
{
	uint8_t head = rd_u8(in), type = stream_type(head);
	struct buf b = BUF_INIT;
	bool sent;

	if (head & 0x20)
		stream_bytes(&b, in);
	else if (type == WIRE_HELLO)
		stream_hello(&b, in);
	else if (type == WIRE_STATE && s->state)
		s->state(&b, in, s);
	else if (type == WIRE_PAGES)
		stream_pages(&b, in);
	else if (type == WIRE_RECORDS)
		stream_records(&b, in, &s->seq, &s->count);
	else if (type == WIRE_HEARTBEAT)
		stream_stamp(&b, in);
	else if (type == WIRE_ACK)
		stream_ack(&b, in);
	else if (type != WIRE_STATE_END && type != WIRE_READY)
		stream_bytes(&b, in);
	sent = !b.bad &&
	       wire_send(&s->wire, (enum wire_type)type, b.data, b.len, head & 0x10, 0, NULL) == 0;
	buf_free(&b);
	return sent;
}

#endif
