// SPDX-License-Identifier: GPL-2.0-or-later
/* fuzz: a stream of frames from a peer, and the messages and records inside of them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "record/codec.h"
#include "replica/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void records(const struct wire_frame *f)
{
	static struct codec_record rec;
	struct rd in = RD_INIT(f->data, f->len);
	struct wire_stamp stamp;
	struct codec c = { 0 };
	struct err err;

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

/* Most inputs get a right checksum, so that what is behind it is reached too. */
static void mend(uint8_t *data, size_t size)
{
	while (size >= WIRE_HEADER) {
		uint32_t stored;
		uint64_t check;

		memcpy(&stored, data + 8, 4);
		if (stored > size - WIRE_HEADER)
			return;
		memset(data + 32, 0, 8);
		check = XXH3_64bits_withSeed(data + WIRE_HEADER, stored, XXH3_64bits(data, WIRE_HEADER));
		memcpy(data + 32, &check, 8);
		data += WIRE_HEADER + stored;
		size -= WIRE_HEADER + stored;
	}
}

static void frames(struct wire *w)
{
	struct wire_hello hello;
	struct wire_ack ack;
	struct wire_frame f;
	struct err err;

	while (wire_recv(w, &f, 0, &err) == 1) {
		wire_hello_restore(&hello, &f, &err);
		wire_ack_restore(&ack, &f, &err);
		records(&f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t copy[16384];
	struct wire w;
	int fd[2];

	if (size < 1 || size > sizeof(copy) || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0)
		return 0;
	memcpy(copy, data, size);
	if (data[0] & 1)
		mend(copy + 1, size - 1);
	wire_init(&w, peer_from_socket(fd[0], "fuzz"));
	if (data[0] & 2)
		wire_established(&w);
	if (write(fd[1], copy + 1, size - 1) == (ssize_t)(size - 1)) {
		close(fd[1]);
		frames(&w);
	} else {
		close(fd[1]);
	}
	peer_close(w.peer);
	wire_fini(&w);
	return 0;
}
