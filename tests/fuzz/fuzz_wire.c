// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: a stream of frames from a peer, and the messages and records inside of them: as plain
 * bytes, as plain bytes behind right checksums, or as frames in good order (wire_stream.h). A
 * message that is taken is the same after it was written and read again.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/fuzz/wire_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAW_MAX 16384

static void records(const struct wire_frame *f)
{
	static struct codec_record rec;
	struct rd in = RD_INIT(f->data, f->len);
	struct wire_stamp stamp;
	struct codec c = { 0 };
	struct err err = ERR_INIT;

	if (wire_stamp_restore(&stamp, &in, &err) < 0)
		return;
	while (rd_left(&in)) {
		size_t n;
		const uint8_t *p;
		struct rd batch;

		rd_varint(&in);
		p = rd_blob(&in, WIRE_FRAME_MAX, &n);
		batch = (struct rd)RD_INIT(p, p ? n : 0);
		codec_restart(&c);
		while (rd_left(&batch) && codec_get(&c, &batch, &rec, &err) == 0)
			;
	}
}

/* Most inputs get right numbers and checksums, so that what is behind them is reached too. */
static void mend(uint8_t *data, size_t size)
{
	for (uint64_t seq = 1; size >= WIRE_HEADER; seq++) {
		uint32_t stored;
		uint64_t check;

		memcpy(data, "TWIR", 4);
		memcpy(&stored, data + 8, 4);
		if (stored > size - WIRE_HEADER)
			return;
		memcpy(data + 16, &seq, 8);
		memset(data + 32, 0, 8);
		check = XXH3_64bits_withSeed(data + WIRE_HEADER, stored,
					     XXH3_64bits(data, WIRE_HEADER));
		memcpy(data + 32, &check, 8);
		data += WIRE_HEADER + stored;
		size -= WIRE_HEADER + stored;
	}
}

static void hello(const struct wire_frame *f, struct err *err)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct wire_hello h, again;
	struct wire_frame copy = { .type = WIRE_HELLO };

	if (wire_hello_restore(&h, f, err) == 0) {
		wire_hello_save(&h, &a);
		copy.data = a.data;
		copy.len = a.len;
		must(wire_hello_restore(&again, &copy, err) == 0);
		wire_hello_save(&again, &b);
		must(a.len == b.len && !memcmp(a.data, b.data, a.len));
	}
	buf_free(&a);
	buf_free(&b);
}

static void frames(struct wire *w)
{
	struct wire_ack ack;
	struct wire_frame f;
	struct err err = ERR_INIT;
	int ret;

	while ((ret = wire_recv(w, &f, 1000, &err)) == 1) {
		must(f.len <= w->max && (f.data || !f.len));
		hello(&f, &err);
		wire_ack_restore(&ack, &f, &err);
		records(&f);
	}
	must(ret == 0 || ret == -EAGAIN || err.code);
}

/* The peer's end of the connection says all that it has to say. */
static void speak(int fd, struct rd *in, bool raw, bool mended)
{
	struct stream s = { .count = 0 };
	uint8_t copy[RAW_MAX];
	size_t n = rd_left(in) < RAW_MAX ? rd_left(in) : RAW_MAX;

	wire_init(&s.wire, peer_from_socket(fd, "fuzz"));
	must(s.wire.peer);
	if (raw) {
		rd_get(in, copy, n);
		if (mended)
			mend(copy, n);
		peer_send(s.wire.peer, copy, n, 0, NULL);
	} else {
		for (unsigned i = 0; i < STREAM_FRAMES && rd_left(in) && stream_frame(&s, in); i++)
			;
	}
	peer_close(s.wire.peer);
	wire_fini(&s.wire);
}

/* The first byte chooses: raw, mended, behind the handshake. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);
	uint8_t how = rd_u8(&in);
	struct wire w;
	int fd[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	wire_init(&w, peer_from_socket(fd[0], "fuzz"));
	must(w.peer);
	if (how & 2)
		wire_established(&w);
	speak(fd[1], &in, how & 4, how & 1);
	frames(&w);
	peer_close(w.peer);
	wire_fini(&w);
	return 0;
}
