// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: captured frames whose checksums are finished or whose joined segments are cut. Whatever the
 * frame says of its own lengths, each piece is a whole frame, and the pieces together carry the
 * payload once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "net/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of exactly this length, so that the sanitizer sees a step outside. */
static void finish(const uint8_t *frame, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	must(copy);
	memcpy(copy, frame, len);
	segment_finish_checksum(copy, len);
	free(copy);
}

static void cut(const uint8_t *frame, size_t len)
{
	static struct segments s;
	size_t payload = 0, n, headers, whole;
	uint8_t *copy = malloc(len ? len : 1);

	must(copy);
	memcpy(copy, frame, len);
	if (segments_start(&s, copy, len)) {
		headers = s.headers;
		whole = s.len;
		must(whole <= len && headers < whole);
		for (;;) {
			uint8_t *out = malloc(SEGMENT_FRAME);

			must(out);
			n = segments_next(&s, out);
			must(n <= SEGMENT_FRAME && (!n || n > headers));
			if (n)
				must(!memcmp(out + headers, frame + headers + payload,
					     n - headers));
			payload += n ? n - headers : 0;
			free(out);
			if (!n)
				break;
		}
		must(payload == whole - headers);
	}
	free(copy);
}

/* A header in good order, so that what lies behind it is reached too. */
static size_t forge(struct rd *in, uint8_t kind, uint8_t *frame)
{
	size_t payload = rd_u16(in), l3 = kind & 1 ? 40 : 20, len = 14 + l3 + 20 + payload;
	size_t total = kind & 1 ? len - 54 : len - 14;

	memset(frame, 0, SEGMENT_MAX + 16);
	frame[12] = kind & 1 ? 0x86 : 0x08;
	frame[13] = kind & 1 ? 0xdd : 0;
	frame[14] = kind & 1 ? 0x60 : 0x45;
	frame[kind & 1 ? 20 : 23] = kind & 2 ? 17 : 6;
	if (total <= 0xffff) {
		frame[kind & 1 ? 18 : 16] = (uint8_t)(total >> 8);
		frame[kind & 1 ? 19 : 17] = (uint8_t)total;
	}
	frame[14 + l3 + 12] = (uint8_t)(rd_u8(in) << 4 | 0x50);
	for (unsigned n = rd_u8(in) & 7; n; n--) {
		uint8_t at = rd_u8(in);

		frame[at & 127] = rd_u8(in);
	}
	rd_get(in, frame + 14 + l3 + 20, rd_left(in) < payload ? rd_left(in) : payload);
	return len < SEGMENT_MAX + 16 ? len : SEGMENT_MAX + 16;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t frame[SEGMENT_MAX + 16 + 65536];
	struct rd in = RD_INIT(data, size);
	uint8_t kind = rd_u8(&in);
	size_t len = rd_left(&in) < sizeof(frame) ? rd_left(&in) : sizeof(frame);

	if (kind & 4)
		len = forge(&in, kind, frame);
	else
		rd_get(&in, frame, len);
	finish(frame, len);
	cut(frame, len);
	return 0;
}
