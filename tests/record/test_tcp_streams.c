// SPDX-License-Identifier: GPL-2.0-or-later
// Payload of TCP connections out of frames: segments, repetitions and gaps do not show.
#include <string.h>

#include "base/buf.h"
#include "record/tcp_streams.h"
#include "tests/record/tcp_frame.h"
#include "tests/unit.h"

static struct tcp_streams *t;
static uint64_t stream[8];
static struct buf said[8];
static size_t nstreams;
static uint8_t frame[TCP_FRAME];
static size_t len;

static void setup(void)
{
	t = tcp_streams_new();
	ck_assert_ptr_nonnull(t);
}

static void teardown(void)
{
	tcp_streams_free(t);
	for (size_t i = 0; i < nstreams; i++)
		buf_free(&said[i]);
	nstreams = 0;
}

static void take(void *ctx, uint64_t which, const uint8_t *data, size_t n)
{
	size_t i = 0;

	ck_assert(which & TCP_STREAM && n);
	while (i < nstreams && stream[i] != which)
		i++;
	ck_assert_uint_lt(i, 8);
	if (i == nstreams)
		said[nstreams++] = (struct buf)BUF_INIT;
	stream[i] = which;
	buf_put(&said[i], data, n);
}

static void make(bool v6, unsigned port, uint32_t seq, unsigned flags, const char *text)
{
	len = tcp_frame(frame, v6, port, seq, flags, text, strlen(text));
}

static void send(unsigned port, uint32_t seq, unsigned flags, const char *text)
{
	make(port & 1, port, seq, flags, text);
	ck_assert(tcp_streams_add(t, 0, frame, len, take, NULL));
}

static void expect(size_t i, const char *text)
{
	ck_assert_uint_lt(i, nstreams);
	ck_assert_uint_eq(said[i].len, strlen(text));
	ck_assert_int_eq(memcmp(said[i].data, text, strlen(text)), 0);
}

/* Odd ports are IPv6's. Sequence numbers go over their end. */
START_TEST(segments)
{
	for (unsigned port = 80; port < 82; port++) {
		uint32_t seq = 0xfffffffd;

		send(port, seq, SYN | ACK, "");
		send(port, seq, SYN | ACK, ""); /* once more */
		seq++;
		send(port, seq, ACK, "one ");
		send(port, seq, ACK, "one t");
		send(port, seq + 8, ACK, "three"); /* early */
		send(port, seq + 10, ACK, "ree four");
		send(port, seq + 4, ACK, "two ");
		send(port, seq + 18, ACK | FIN, "");
		send(port, seq, ACK, "");
		send(port, seq + 18, ACK | FIN, "");
		send(port, seq + 19, RST, "");
		send(port, seq + 19, RST, "");
	}
	ck_assert_uint_eq(nstreams, 4);
	for (size_t i = 0; i < 4; i += 2) {
		expect(i, "SFR");
		expect(i + 1, "one two three four");
	}
	ck_assert(!tcp_streams_bad(t));
}
END_TEST

/* What is missing stays missing, and so does the end behind it. */
START_TEST(gaps)
{
	send(80, 99, SYN, "");
	send(80, 102, ACK | FIN, "c");
	ck_assert_uint_eq(nstreams, 1);
	expect(0, "S");
	send(80, 100, ACK, "ab");
	expect(1, "abc");
	expect(0, "SF");
}
END_TEST

/* The same ends again, another NIC, and one that nobody saw begin. */
START_TEST(connections)
{
	send(80, 99, SYN, "");
	send(80, 100, ACK, "first");
	send(80, 5000, SYN, "");
	send(80, 5001, ACK, "second");
	make(false, 80, 99, SYN, "");
	ck_assert(tcp_streams_add(t, 1, frame, len, take, NULL));
	send(82, 7000, ACK, "x");
	send(82, 7001, ACK, "y");
	ck_assert_uint_eq(nstreams, 6);
	expect(0, "S");
	expect(1, "first");
	expect(2, "S");
	expect(3, "second");
	expect(4, "S");
	expect(5, "xy");
}
END_TEST

/* Frames that nobody takes for a segment are left as they are: a flipped bit anywhere, or a cut. */
START_TEST(no_segments)
{
	for (unsigned port = 80; port < 82; port++) {
		make(port & 1, port, 99, ACK, "payload");
		for (size_t bit = 14 * 8; bit < len * 8; bit++) {
			bool taken;

			frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
			taken = tcp_streams_add(t, 0, frame, len, take, NULL);
			/* Traffic class, flow label and hop limit are under no checksum. */
			ck_assert_msg(!taken || (port == 81 && bit >= 14 * 8 && bit < 22 * 8),
				      "port %u, bit %zu", port, bit);
			frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		for (size_t n = 0; n < len; n++)
			ck_assert(!tcp_streams_add(t, 0, frame, n, take, NULL));
		frame[13] = 6;
		ck_assert(!tcp_streams_add(t, 0, frame, len, take, NULL));
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, segments);
	tcase_add_test(tc, gaps);
	tcase_add_test(tc, connections);
	tcase_add_test(tc, no_segments);
}

UNIT_MAIN("tcp_streams", add)
