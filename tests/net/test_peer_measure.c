// SPDX-License-Identifier: GPL-2.0-or-later
/* Measuring the way to another host, over a pair of sockets; and words that are no request. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "net/peer_measure.h"
#include "net/rdma_ports.h"
#include "tests/unit.h"

static struct peer *a, *b;
static struct err answer_err;

static void set_up(void)
{
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	a = peer_from_socket(fd[0], "a");
	b = peer_from_socket(fd[1], "b");
	ck_assert(a && b);
	answer_err = (struct err)ERR_INIT;
}

static void tear_down(void)
{
	peer_close(a);
	peer_close(b);
}

static void *answer(void *arg)
{
	return (void *)(intptr_t)peer_measure_answer(b, &answer_err);
}

static int answered(pthread_t t)
{
	void *ret;

	pthread_join(t, &ret);
	return (int)(intptr_t)ret;
}

START_TEST(what_is_measured_is_told)
{
	struct err err = ERR_INIT;
	struct peer_measure m;
	pthread_t t;

	pthread_create(&t, NULL, answer, NULL);
	ck_assert_msg(peer_measure_ask(a, 100, 20, &m, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(m.trips, 100);
	ck_assert_double_gt(m.median_us, 0);
	ck_assert_double_ge(m.p99_us, m.median_us);
	ck_assert_double_ge(m.longest_us, m.p99_us);
	ck_assert_double_gt(m.stream_mbyte, 0);
	ck_assert_double_eq(m.placed_mbyte, 0);
	ck_assert_str_ne(m.path, "");
	peer_shutdown(a);
	ck_assert_int_eq(answered(t), 0);
}
END_TEST

/* Bytes and wanted bytes beyond what is asked for ever; an end in the middle. */
START_TEST(other_words_are_refused)
{
	static const uint32_t words[][2] = { { 65537, 0 }, { 0, 65537 }, { ~0u, ~0u } };
	struct err err = ERR_INIT;
	pthread_t t;

	pthread_create(&t, NULL, answer, NULL);
	ck_assert_int_eq(peer_send(a, words[_i], 8, 1000, &err), 0);
	ck_assert_int_eq(answered(t), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(answer_err.text, "does not"));
}
END_TEST

START_TEST(an_end_in_the_middle_is_told)
{
	static const uint32_t request[] = { 100, 8 };
	struct err err = ERR_INIT;
	pthread_t t;

	pthread_create(&t, NULL, answer, NULL);
	ck_assert_int_eq(peer_send(a, request, _i ? 8 : 5, 1000, &err), 0);
	peer_shutdown(a);
	ck_assert_int_eq(answered(t), -EPIPE);
}
END_TEST

/* ibv_query_port(3): widths 1, 2, 4, 8, 16 are 1, 4, 8, 12 and 2 lanes. */
START_TEST(speeds_of_ports)
{
	ck_assert_double_eq(rdma_ports_gbit(1, 1), 2.5);
	ck_assert_double_eq(rdma_ports_gbit(2, 4), 40);
	ck_assert_double_eq(rdma_ports_gbit(2, 64), 200);
	ck_assert_double_eq(rdma_ports_gbit(2, 128), 400);
	ck_assert_double_eq(rdma_ports_gbit(16, 64), 100);
	ck_assert_double_eq(rdma_ports_gbit(3, 64), 0);
	ck_assert_double_eq(rdma_ports_gbit(2, 3), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, what_is_measured_is_told);
	tcase_add_loop_test(tc, other_words_are_refused, 0, 3);
	tcase_add_loop_test(tc, an_end_in_the_middle_is_told, 0, 2);
	tcase_add_test(tc, speeds_of_ports);
}

UNIT_MAIN("peer_measure", add_tests)
