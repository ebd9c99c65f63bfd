// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames and messages between replicas: whole, damaged, out of order, too long, of another version.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "record/codec.h"
#include "replica/wire.h"
#include "tests/net/fake_peer.h"
#include "tests/unit.h"

struct pipe_of_frames {
	struct wire out, in;
	int raw; /* the sending end's descriptor */
};

static void open_pipe(struct pipe_of_frames *p)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	p->raw = fd[0];
	wire_init(&p->out, peer_from_socket(fd[0], "a"));
	wire_init(&p->in, peer_from_socket(fd[1], "b"));
}

static void close_pipe(struct pipe_of_frames *p)
{
	peer_close(p->out.peer);
	peer_close(p->in.peer);
	wire_fini(&p->out);
	wire_fini(&p->in);
}

/* Frames ask nothing of a transport but what peer_ops has: no descriptor, no size. */
START_TEST(frames_arrive_over_another_transport)
{
	struct wire out, in;
	struct peer *a, *b;
	struct wire_frame f;
	struct err err = ERR_INIT;
	uint8_t text[3000];

	fake_peers(&a, &b);
	wire_init(&out, a);
	wire_init(&in, b);
	for (int i = 0; i < 10; i++) {
		memset(text, 'a' + i, sizeof(text));
		ck_assert_int_eq(wire_send(&out, WIRE_PAGES, text, sizeof(text), false, 100, &err),
				 0);
		ck_assert_int_eq(wire_recv(&in, &f, 100, &err), 1);
		ck_assert_uint_eq(f.len, sizeof(text));
		ck_assert_mem_eq(f.data, text, sizeof(text));
	}
	ck_assert_int_eq(wire_recv(&in, &f, 10, &err), -EAGAIN);
	peer_shutdown(a);
	ck_assert_int_eq(wire_recv(&in, &f, 100, &err), 0);
	peer_close(a);
	peer_close(b);
	wire_fini(&out);
	wire_fini(&in);
}
END_TEST

START_TEST(frames_arrive)
{
	struct pipe_of_frames p;
	struct wire_frame f;
	struct err err = ERR_INIT;
	uint8_t text[3000];

	memset(text, 'x', sizeof(text));
	open_pipe(&p);
	for (int compress = 0; compress < 2; compress++) {
		ck_assert_int_eq(
			wire_send(&p.out, WIRE_PAGES, text, sizeof(text), compress, 100, &err), 0);
		ck_assert_int_eq(wire_recv(&p.in, &f, 100, &err), 1);
		ck_assert_int_eq(f.type, WIRE_PAGES);
		ck_assert_uint_eq(f.len, sizeof(text));
		ck_assert_mem_eq(f.data, text, sizeof(text));
	}
	ck_assert_int_eq(wire_recv(&p.in, &f, 10, &err), -EAGAIN);
	peer_shutdown(p.out.peer);
	ck_assert_int_eq(wire_recv(&p.in, &f, 100, &err), 0);
	close_pipe(&p);
}
END_TEST

/* One frame's bytes, as they go over the wire. */
static size_t frame_bytes(uint8_t *bytes, size_t max)
{
	struct pipe_of_frames p;
	struct err err = ERR_INIT;
	ssize_t n;

	open_pipe(&p);
	ck_assert_int_eq(wire_send(&p.out, WIRE_ACK, "abcdefgh", 8, false, 100, &err), 0);
	n = peer_recv(p.in.peer, bytes, max, 100, &err);
	ck_assert_int_gt(n, WIRE_HEADER);
	close_pipe(&p);
	return (size_t)n;
}

START_TEST(every_flipped_bit_is_found)
{
	uint8_t bytes[256], bad[256];
	size_t n = frame_bytes(bytes, sizeof(bytes));

	for (size_t bit = 0; bit < n * 8; bit++) {
		struct pipe_of_frames p;
		struct wire_frame f;
		struct err err = ERR_INIT;
		int ret;

		memcpy(bad, bytes, n);
		bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
		open_pipe(&p);
		ck_assert_int_eq(write(p.raw, bad, n), (ssize_t)n);
		peer_shutdown(p.out.peer);
		ret = wire_recv(&p.in, &f, 100, &err);
		ck_assert_msg(ret < 0 && err.text[0], "bit %zu: %d", bit, ret);
		close_pipe(&p);
	}
}
END_TEST

START_TEST(truncation_is_found)
{
	uint8_t bytes[256];
	size_t n = frame_bytes(bytes, sizeof(bytes));

	for (size_t len = 1; len < n; len++) {
		struct pipe_of_frames p;
		struct wire_frame f;
		struct err err = ERR_INIT;

		open_pipe(&p);
		ck_assert_int_eq(write(p.raw, bytes, len), (ssize_t)len);
		peer_shutdown(p.out.peer);
		ck_assert_int_lt(wire_recv(&p.in, &f, 100, &err), 0);
		close_pipe(&p);
	}
}
END_TEST

START_TEST(repeated_frame_is_refused)
{
	uint8_t bytes[256];
	size_t n = frame_bytes(bytes, sizeof(bytes));
	struct pipe_of_frames p;
	struct wire_frame f;
	struct err err = ERR_INIT;

	open_pipe(&p);
	ck_assert_int_eq(write(p.raw, bytes, n), (ssize_t)n);
	ck_assert_int_eq(write(p.raw, bytes, n), (ssize_t)n);
	ck_assert_int_eq(wire_recv(&p.in, &f, 100, &err), 1);
	ck_assert_int_eq(wire_recv(&p.in, &f, 100, &err), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err.text, "expected"));
	close_pipe(&p);
}
END_TEST

/* Before the handshake nobody makes us allocate more than a small frame. */
START_TEST(long_frame_before_handshake_is_refused)
{
	struct pipe_of_frames p;
	struct wire_frame f;
	struct err err = ERR_INIT;
	static uint8_t big[WIRE_HELLO_MAX + 1];

	open_pipe(&p);
	ck_assert_int_eq(wire_send(&p.out, WIRE_HELLO, big, sizeof(big), true, 100, &err), 0);
	ck_assert_int_eq(wire_recv(&p.in, &f, 100, &err), -EBADMSG);
	ck_assert_uint_le(p.in.in_cap, 8192);
	close_pipe(&p);
	open_pipe(&p);
	wire_established(&p.in);
	ck_assert_int_eq(wire_send(&p.out, WIRE_PAGES, big, sizeof(big), true, 100, &err), 0);
	ck_assert_int_eq(wire_recv(&p.in, &f, 100, &err), 1);
	close_pipe(&p);
}
END_TEST

static struct wire_hello a_hello(void)
{
	struct wire_hello h = { .wire_version = WIRE_VERSION,
				.codec_version = CODEC_VERSION,
				.primary = true,
				.generation = 7,
				.timeout_ms = 200,
				.hang_timeout_ms = 5000,
				.on_divergence = 1 };

	machine_config_defaults(&h.config);
	h.config_digest = machine_config_digest(&h.config);
	strcpy(h.counter, "retired");
	traits_of_soft(1, &h.traits);
	strcpy(h.version, "1.0~\n1");
	return h;
}

static int hello_round(const struct wire_hello *h, struct wire_hello *got, size_t cut,
		       struct err *err)
{
	struct buf b = BUF_INIT;
	struct wire_frame f;
	int ret;

	wire_hello_save(h, &b);
	f = (struct wire_frame){ .type = WIRE_HELLO, .data = b.data, .len = b.len - cut };
	ret = wire_hello_restore(got, &f, err);
	buf_free(&b);
	return ret;
}

START_TEST(hello_survives_the_wire)
{
	struct wire_hello h = a_hello(), got;
	struct err err = ERR_INIT;

	ck_assert_int_eq(hello_round(&h, &got, 0, &err), 0);
	ck_assert_uint_eq(got.generation, 7);
	ck_assert_uint_eq(got.timeout_ms, 200);
	ck_assert_uint_eq(got.hang_timeout_ms, 5000);
	ck_assert_uint_eq(got.on_divergence, 1);
	ck_assert_str_eq(got.counter, "retired");
	ck_assert_mem_eq(&got.traits, &h.traits, sizeof(got.traits));
	ck_assert_str_eq(got.version, "1.0~?1");
	ck_assert_uint_eq(machine_config_digest(&got.config), h.config_digest);
	for (size_t cut = 1; cut < 60; cut++)
		ck_assert_int_lt(hello_round(&h, &got, cut, &err), 0);
}
END_TEST

START_TEST(other_versions_are_refused)
{
	struct wire_hello h = a_hello(), got;
	struct err err = ERR_INIT;

	h.wire_version++;
	ck_assert_int_eq(hello_round(&h, &got, 0, &err), -EPROTO);
	ck_assert_ptr_nonnull(strstr(err.text, "version"));
	h = a_hello();
	h.codec_version++;
	ck_assert_int_eq(hello_round(&h, &got, 0, &err), -EPROTO);
}
END_TEST

START_TEST(ack_and_stamp)
{
	struct wire_ack a = { .echo_ns = 1,
			      .received = 2,
			      .applied = 3,
			      .digests = 4,
			      .beat = 9,
			      .flush = 5 },
			b;
	struct wire_stamp s = { .sent_ns = 5,
				.released = 6,
				.beat = 8,
				.protecting = true,
				.silence_ms = 400 },
			  t;
	struct buf buf = BUF_INIT;
	struct wire_frame f;
	struct err err = ERR_INIT;
	struct rd in;

	wire_ack_save(&a, &buf);
	f = (struct wire_frame){ .type = WIRE_ACK, .data = buf.data, .len = buf.len };
	ck_assert_int_eq(wire_ack_restore(&b, &f, &err), 0);
	ck_assert_uint_eq(b.applied, 3);
	ck_assert_uint_eq(b.beat, 9);
	ck_assert_uint_eq(b.flush, 5);
	f.len--;
	ck_assert_int_lt(wire_ack_restore(&b, &f, &err), 0);
	buf_clear(&buf);
	wire_stamp_save(&s, &buf);
	in = (struct rd)RD_INIT(buf.data, buf.len);
	ck_assert_int_eq(wire_stamp_restore(&t, &in, &err), 0);
	ck_assert(t.protecting && t.released == 6 && t.beat == 8 && t.silence_ms == 400);
	memset(buf.data + buf.len - 4, 0, 4); /* dead at once? */
	in = (struct rd)RD_INIT(buf.data, buf.len);
	ck_assert_int_lt(wire_stamp_restore(&t, &in, &err), 0);
	buf_free(&buf);
}
END_TEST

/* A byte of a long frame every now and then: nobody may keep a handshake waiting like that. */
static void *trickle(void *arg)
{
	struct pipe_of_frames *p = arg;
	uint8_t bytes[WIRE_HEADER + 100];
	size_t n = frame_bytes(bytes, sizeof(bytes));

	for (size_t i = 0; i + 1 < n; i++) {
		if (write(p->raw, bytes + i, 1) != 1)
			break;
		usleep(20000);
	}
	return NULL;
}

START_TEST(a_trickle_is_no_handshake)
{
	struct pipe_of_frames p;
	struct wire_frame f;
	struct timespec a, b;
	struct err err = ERR_INIT;
	pthread_t t;

	open_pipe(&p);
	ck_assert_int_eq(pthread_create(&t, NULL, trickle, &p), 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	ck_assert_int_eq(wire_recv(&p.in, &f, 100, &err), -EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ck_assert_int_lt((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000,
			 1500); /* all of it would take more than two seconds */
	pthread_join(t, NULL);
	close_pipe(&p);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_host_test(tc, a_trickle_is_no_handshake);
	tcase_add_test(tc, frames_arrive);
	tcase_add_test(tc, frames_arrive_over_another_transport);
	tcase_add_test(tc, every_flipped_bit_is_found);
	tcase_add_test(tc, truncation_is_found);
	tcase_add_test(tc, repeated_frame_is_refused);
	tcase_add_test(tc, long_frame_before_handshake_is_refused);
	tcase_add_test(tc, hello_survives_the_wire);
	tcase_add_test(tc, other_versions_are_refused);
	tcase_add_test(tc, ack_and_stamp);
}

UNIT_MAIN("wire", add_tests)
