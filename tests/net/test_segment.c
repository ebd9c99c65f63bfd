// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/segment.h"

#include <string.h>

#include "tests/unit.h"

#define HEADERS4 (14 + 20 + 32) /* TCP with 12 bytes of options */
#define HEADERS6 (14 + 40 + 32)

static uint8_t frame[SEGMENT_MAX];
static struct segments seg;

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static unsigned ones_sum(const uint8_t *p, size_t n, unsigned sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static size_t make4(size_t payload)
{
	size_t total = 20 + 32 + payload;
	uint8_t *ip = frame + 14, *tcp = ip + 20;

	memset(frame, 0, sizeof(frame));
	memset(frame, 0x52, 12);
	frame[12] = 8;
	memcpy(ip, "\x45\0\0\0\xff\xff\x40\0\x40\x06\0\0\x0a\0\0\1\x0a\0\0\2", 20);
	ip[2] = (uint8_t)(total >> 8);
	ip[3] = (uint8_t)total;
	memcpy(tcp, "\x04\xd2\x18\xeb\xff\xff\xff\x00\0\0\0\1\x80\x99\1\0\0\0\0\0", 20);
	for (size_t i = 0; i < payload; i++)
		frame[HEADERS4 + i] = (uint8_t)(i * 13 + i / 256);
	return 14 + total;
}

static size_t make6(size_t payload)
{
	size_t l4 = 32 + payload;

	make4(0);
	memset(frame + 12, 0, sizeof(frame) - 12);
	memcpy(frame + 12, "\x86\xdd\x60\0\0\0\0\0\x06\x40", 10);
	frame[18] = (uint8_t)(l4 >> 8);
	frame[19] = (uint8_t)l4;
	for (int i = 0; i < 32; i++)
		frame[22 + i] = (uint8_t)(0xf0 + i);
	memcpy(frame + 54, "\x04\xd2\x18\xeb\0\0\1\0\0\0\0\1\x80\x18\1\0\0\0\0\0", 20);
	for (size_t i = 0; i < payload; i++)
		frame[HEADERS6 + i] = (uint8_t)(i * 7);
	return HEADERS6 + payload;
}

/* The pieces have right checksums and headers, and put together they are the payload. */
static void check_pieces(size_t headers, size_t payload, bool v6)
{
	uint8_t out[SEGMENT_FRAME];
	size_t n, done = 0, l4 = v6 ? 54 : 34, addr = v6 ? 22 : 26, alen = v6 ? 32 : 8;
	unsigned number = 0;

	while ((n = segments_next(&seg, out))) {
		size_t part = n - headers;
		uint32_t sequence = (uint32_t)be16(out + l4 + 4) << 16 | be16(out + l4 + 6);
		uint32_t first = (uint32_t)be16(frame + l4 + 4) << 16 | be16(frame + l4 + 6);
		bool last = done + part == payload;

		ck_assert_uint_le(n, SEGMENT_FRAME);
		ck_assert_uint_eq(sequence, (uint32_t)(first + done));
		ck_assert_int_eq(memcmp(out + headers, frame + headers + done, part), 0);
		ck_assert_uint_eq(ones_sum(out + l4, n - l4,
					   ones_sum(out + addr, alen, 6 + (unsigned)(n - l4))),
				  0xffff);
		ck_assert_uint_eq(out[l4 + 13] & 0x09, last ? frame[l4 + 13] & 0x09 : 0);
		ck_assert_uint_eq(out[l4 + 13] & 0x80, number ? 0 : frame[l4 + 13] & 0x80);
		if (v6) {
			ck_assert_uint_eq(be16(out + 18), n - 54);
		} else {
			ck_assert_uint_eq(be16(out + 16), n - 14);
			ck_assert_uint_eq(be16(out + 18), (be16(frame + 18) + number) & 0xffff);
			ck_assert_uint_eq(ones_sum(out + 14, 20, 0), 0xffff);
		}
		done += part;
		number++;
	}
	ck_assert_uint_eq(done, payload);
	ck_assert_uint_eq(number,
			  (payload + SEGMENT_FRAME - headers - 1) / (SEGMENT_FRAME - headers));
}

START_TEST(cuts_ipv4)
{
	static const size_t payload[] = { 1449, 1448 * 2, 1448 * 3 + 1, 20000, 65483 };

	ck_assert(segments_start(&seg, frame, make4(payload[_i])));
	check_pieces(HEADERS4, payload[_i], false);
}
END_TEST

START_TEST(cuts_ipv6)
{
	ck_assert(segments_start(&seg, frame, make6(30001)));
	check_pieces(HEADERS6, 30001, true);
}
END_TEST

START_TEST(refuses_others)
{
	size_t n = make4(3000);

	ck_assert(segments_start(&seg, frame, n));
	frame[23] = 17;
	ck_assert(!segments_start(&seg, frame, n)); /* UDP */
	ck_assert_uint_eq(segments_next(&seg, frame + 30000), 0);
	make4(3000);
	frame[20] = 0x20;
	ck_assert(!segments_start(&seg, frame, n)); /* a fragment */
	make4(3000);
	frame[46] = 0x40;
	ck_assert(!segments_start(&seg, frame, n)); /* a TCP header shorter than can be */
	make4(3000);
	ck_assert(!segments_start(&seg, frame, n - 1)); /* cut short */
	frame[12] = 0x12;
	ck_assert(!segments_start(&seg, frame, n)); /* not IP */
	ck_assert(!segments_start(&seg, frame, 15));
}
END_TEST

/* No bytes make it read or write outside: run under a sanitizer too. */
START_TEST(survives_noise)
{
	uint8_t out[SEGMENT_FRAME];
	uint32_t x = 1;

	for (int i = 0; i < 20000; i++) {
		size_t len = 14 + (x >> 8) % 4000;
		uint8_t *copy = malloc(len);

		ck_assert_ptr_nonnull(copy);
		if (i % 2)
			make4(len);
		memcpy(copy, frame, len);
		for (int k = 0; k < 6; k++) {
			x = x * 1664525 + 1013904223;
			copy[(x >> 8) % (len < 80 ? len : 80)] = (uint8_t)(x >> 24);
		}
		segment_finish_checksum(copy, len);
		if (segments_start(&seg, copy, len))
			while (segments_next(&seg, out))
				;
		free(copy);
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, cuts_ipv4, 0, 5);
	tcase_add_test(tc, cuts_ipv6);
	tcase_add_test(tc, refuses_others);
	tcase_add_test(tc, survives_noise);
}

UNIT_MAIN("segment", add)
