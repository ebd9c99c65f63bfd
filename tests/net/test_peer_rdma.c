// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Peers over RDMA writes, on verbs in memory: every byte arrives once and in order, whatever
 * becomes of the queue pair.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/rdma_private.h"
#include "tests/net/fake_verbs.h"
#include "tests/unit.h"

#define PATIENCE_MS 20000 /* for what takes a moment on a host that is not busy */

static char dir[64], addr[96], key_path[96];
static struct peer *a, *b; /* a has called */
static struct peer_key *key;

static void *connect_side(void *arg)
{
	struct err err = ERR_INIT;

	return peer_connect(addr, key, PATIENCE_MS, &err);
}

/* Two control connections that have shaken hands. */
static void meet_control(struct peer **caller, struct peer **other)
{
	struct err err = ERR_INIT;
	struct peer_listener *l = peer_listen(addr, key, &err);
	pthread_t t;
	void *p;

	ck_assert_ptr_nonnull(l);
	ck_assert_int_eq(pthread_create(&t, NULL, connect_side, NULL), 0);
	*other = peer_accept(l, PATIENCE_MS, &err);
	pthread_join(t, &p);
	*caller = p;
	peer_listener_close(l);
	ck_assert(*caller && *other);
}

static struct peer *over(struct peer *control, bool caller, bool clear)
{
	struct err err = ERR_INIT;
	struct peer *p =
		rdma_peer_new(control, &fake_verbs, fake_open(NULL, &err), caller, clear, &err);

	ck_assert_msg(p != NULL, "%s", err.text);
	return p;
}

static void meet(bool clear_a, bool clear_b)
{
	struct peer *ca, *cb;

	meet_control(&ca, &cb);
	a = over(ca, true, clear_a);
	b = over(cb, false, clear_b);
}

static void set_up(void)
{
	struct err err = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/twinstep-rdma-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(addr, sizeof(addr), "unix:%s/sock", dir);
	snprintf(key_path, sizeof(key_path), "%s/key", dir);
	ck_assert_int_eq(peer_key_create(key_path, &err), 0);
	key = peer_key_load(key_path, &err);
	ck_assert_ptr_nonnull(key);
}

static void tear_down(void)
{
	char cmd[128];

	peer_close(a);
	peer_close(b);
	peer_key_free(key);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static bool is_up(struct peer *p)
{
	return !strcmp(peer_path(p, NULL, 0), "rdma");
}

struct sending {
	struct peer *from;
	char c;
	int ret;
	struct err err;
	atomic_bool done;
};

static void *send_main(void *arg)
{
	struct sending *s = arg;

	s->ret = peer_send(s->from, &s->c, 1, PATIENCE_MS, &s->err);
	s->done = true;
	return NULL;
}

/* The sender looks for news as well: a lost write goes again. */
static void take_byte(struct peer *from, struct peer *to, char c)
{
	struct err err = ERR_INIT;
	ssize_t n = -EAGAIN;
	char x = 0;

	for (unsigned i = 0; i < PATIENCE_MS / 10; i++) {
		n = peer_recv(to, &x, 1, 10, &err);
		if (n != -EAGAIN)
			break;
		ck_assert_int_eq(peer_recv(from, &x, 1, 0, &err), -EAGAIN);
	}
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(x, c);
}

/*
 * The other side takes what comes until the sender is through, as a replica's receiver does: where
 * a path has gone, what it carried goes again first, and that is more than a socket holds.
 */
static void send_byte(struct peer *from, struct peer *to, char c)
{
	struct sending s = { .from = from, .c = c, .err = ERR_INIT };
	struct err err = ERR_INIT;
	pthread_t t;
	char x = 0;

	ck_assert_int_eq(pthread_create(&t, NULL, send_main, &s), 0);
	take_byte(from, to, c);
	while (!s.done)
		ck_assert_int_eq(peer_recv(to, &x, 1, 1, &err), -EAGAIN);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	ck_assert_msg(s.ret == 0, "%s", s.err.text);
}

/* One byte to and fro, so that both look at what has arrived. */
static void ping(void)
{
	send_byte(a, b, 'x');
	send_byte(b, a, 'y');
}

static bool pings_until(bool up)
{
	for (unsigned i = 0; i < 20000; i++) { /* a pause may be 10 s */
		if (is_up(a) == up && is_up(b) == up)
			return true;
		ping();
		usleep(1000);
	}
	return false;
}

/* ---- much data, both ways at once ---- */

struct flow {
	struct peer *from, *to;
	size_t n;
	atomic_size_t sent, got;
	pthread_t sender, receiver;
	uint64_t seed;
};

static uint8_t pattern(uint64_t seed, size_t i)
{
	return (uint8_t)((i * 0x9e3779b97f4a7c15ull + seed) >> 40);
}

static void *flow_send(void *arg)
{
	static _Thread_local uint8_t bytes[100000];
	struct flow *f = arg;
	struct err err = ERR_INIT;
	size_t at = 0, n = 1;

	while (at < f->n) {
		n = n * 5 % sizeof(bytes) + 1;
		if (n > f->n - at)
			n = f->n - at;
		for (size_t i = 0; i < n; i++)
			bytes[i] = pattern(f->seed, at + i);
		if (peer_send(f->from, bytes, n, PATIENCE_MS, &err) < 0) {
			fprintf(stderr, "send: %s\n", err.text);
			return (void *)1;
		}
		at += n;
		f->sent = at;
	}
	return NULL;
}

static struct flow flows[2];
static atomic_bool flows_failed;

static bool flows_arrived(void)
{
	return flows[0].got == flows[0].n && flows[1].got == flows[1].n;
}

/*
 * To the end of its own flow, and on until the other one is through: a replica's receiver does not
 * leave either, and it is there that a lost write is noticed and sent again.
 */
static void *flow_receive(void *arg)
{
	static _Thread_local uint8_t bytes[70000];
	struct flow *f = arg;
	struct err err = ERR_INIT;

	while (f->got < f->n) {
		ssize_t n = peer_recv(f->to, bytes, sizeof(bytes), PATIENCE_MS, &err);

		if (n <= 0) {
			fprintf(stderr, "recv: %zd %s\n", n, err.text);
			flows_failed = true;
			return (void *)1;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (bytes[i] != pattern(f->seed, f->got + (size_t)i)) {
				flows_failed = true;
				return (void *)2;
			}
		}
		f->got += (size_t)n;
	}
	while (!flows_arrived() && !flows_failed)
		peer_recv(f->to, bytes, 1, 10, &err);
	return NULL;
}

static void flows_start(size_t n)
{
	for (unsigned i = 0; i < 2; i++) {
		flows[i].n = n;
		flows[i].got = 0;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct flow *f = &flows[i];

		f->from = i ? b : a;
		f->to = i ? a : b;
		f->seed = i * 77;
		ck_assert_int_eq(pthread_create(&f->sender, NULL, flow_send, f), 0);
		ck_assert_int_eq(pthread_create(&f->receiver, NULL, flow_receive, f), 0);
	}
}

static void flows_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		void *sent, *got;

		pthread_join(flows[i].sender, &sent);
		pthread_join(flows[i].receiver, &got);
		ck_assert_ptr_null(sent);
		ck_assert_ptr_null(got);
	}
}

START_TEST(bytes_go_by_writes)
{
	unsigned long before;

	meet(false, false);
	ck_assert(pings_until(true));
	before = fake.writes;
	flows_start(8 << 20);
	flows_end();
	ck_assert_uint_gt(fake.writes - before, 2 * (8 << 20) / RDMA_FRAME);
	ck_assert(is_up(a) && is_up(b));
	ck_assert_uint_eq(rdma_peer_of(a)->breaks, 0);
}
END_TEST

START_TEST(without_a_path_tcp_does)
{
	char why[100];

	fake.refuse = true;
	meet(false, false);
	for (unsigned i = 0; i < 20; i++)
		ping();
	flows_start(4 << 20);
	flows_end();
	ck_assert_str_eq(peer_path(a, why, sizeof(why)), "tcp");
	ck_assert_ptr_nonnull(strstr(why, "nobody has that address"));
	fake.refuse = false;
	ck_assert(pings_until(true));
}
END_TEST

START_TEST(a_broken_queue_pair_loses_nothing)
{
	unsigned breaks = 0;

	meet(false, false);
	ck_assert(pings_until(true));
	flows_start(48 << 20);
	while (flows[0].got < flows[0].n || flows[1].got < flows[1].n) {
		usleep(3000);
		fake_break_all();
		breaks++;
	}
	flows_end();
	ck_assert_uint_gt(breaks, 2);
	ck_assert_uint_gt(rdma_peer_of(a)->breaks + rdma_peer_of(b)->breaks, 0);
	ck_assert(pings_until(true));
}
END_TEST

START_TEST(a_port_that_goes_down_and_comes_back)
{
	meet(false, false);
	ck_assert(pings_until(true));
	flows_start(32 << 20);
	fake_lock();
	fake.down = true;
	fake_unlock();
	fake_break_all();
	flows_end();
	ck_assert(pings_until(false)); /* all may have been there before the port went down */
	for (unsigned i = 0; i < 50; i++)
		ping();
	ck_assert(!is_up(a));
	fake_lock();
	fake.down = false;
	fake_unlock();
	ck_assert(pings_until(true));
	ping();
}
END_TEST

/* What the process logs from now on goes to this file; the descriptor of before. */
static int log_into(const char *path)
{
	int old = dup(STDERR_FILENO), fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	ck_assert(old >= 0 && fd >= 0);
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
	return old;
}

static void log_back(int old)
{
	dup2(old, STDERR_FILENO);
	close(old);
}

static unsigned lines_with(const char *path, const char *text, const char *more)
{
	char line[256];
	unsigned n = 0;
	FILE *f = fopen(path, "r");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, text) && strstr(line, more);
	fclose(f);
	return n;
}

static uint32_t lane_of(struct rdma_peer *p)
{
	uint32_t lane;

	pthread_mutex_lock(&p->lock);
	lane = p->lane;
	pthread_mutex_unlock(&p->lock);
	return lane;
}

/*
 * The caller's is removed. Whether the kernel flushes the queue pair first, or just tells: one line
 * says so, however often a queue pair is tried; all that is sent arrives by TCP.
 */
START_TEST(a_device_that_is_gone)
{
	char path[96], text[160], why[160] = "";
	int old;

	snprintf(path, sizeof(path), "%s/log", dir);
	meet(false, false);
	ck_assert(pings_until(true));
	flows_start(8 << 20);
	old = log_into(path);
	fake_remove(rdma_peer_of(a)->device, _i);
	flows_end();
	for (unsigned i = 0; i < PATIENCE_MS && !strstr(why, "is gone"); i++) {
		ping();
		peer_path(a, why, sizeof(why));
		usleep(1000);
	}
	ck_assert_str_eq(why, "RDMA device fake0 is gone");
	for (unsigned i = 0; i < 3; i++) {
		uint32_t lane = lane_of(rdma_peer_of(a));

		for (unsigned k = 0; k < PATIENCE_MS && lane_of(rdma_peer_of(a)) == lane; k++) {
			ping();
			usleep(1000);
		}
		ck_assert_uint_ne(lane_of(rdma_peer_of(a)), lane);
	}
	ck_assert(!is_up(a) && !is_up(b));
	log_back(old);
	snprintf(text, sizeof(text), "RDMA to %s", peer_name(a));
	ck_assert_uint_eq(lines_with(path, text, "RDMA device fake0 is gone"), 1);
	ck_assert_uint_eq(lines_with(path, text, ""), _i ? 2 : 1);
}
END_TEST

/* ---- calls of verbs that do not return ---- */

/* Bytes go on both ways while somebody is in such a call; RDMA is used when it has returned. */
static void goes_on_meanwhile(void)
{
	for (unsigned i = 0; i < PATIENCE_MS && !fake_stalled(); i++) {
		ping();
		usleep(1000);
	}
	ck_assert_uint_gt(fake_stalled(), 0);
	for (unsigned i = 0; i < 50; i++)
		ping();
	flows_start(2 << 20);
	flows_end();
	ck_assert_uint_gt(fake_stalled(), 0);
	ck_assert(!is_up(a) || !is_up(b));
	fake_set_stall(0);
	ck_assert(pings_until(true));
}

static const unsigned calls_of_making[] = { STALL_CHECK, STALL_NEW, STALL_CONNECT };

START_TEST(bytes_go_on_while_a_queue_pair_is_made)
{
	fake_set_stall(calls_of_making[_i]);
	meet(false, false);
	goes_on_meanwhile();
}
END_TEST

START_TEST(bytes_go_on_while_a_queue_pair_is_freed)
{
	meet(false, false);
	ck_assert(pings_until(true));
	for (unsigned i = 0; i < 3; i++) {
		fake_set_stall(STALL_FREE);
		fake_break_all();
		goes_on_meanwhile();
	}
}
END_TEST

static bool maker_rests(struct rdma_peer *p)
{
	bool rests;

	pthread_mutex_lock(&p->lock);
	rests = !p->maker.busy && !p->maker.gone && !p->maker.job;
	pthread_mutex_unlock(&p->lock);
	return rests && !fake_stalled();
}

/* Of anybody. */
static unsigned queue_pairs(void)
{
	unsigned n = 0;

	fake_lock();
	for (unsigned i = 0; i < FAKE_QPS; i++)
		n += fake.qp[i].there;
	fake_unlock();
	return n;
}

/* Who has lost interest in a queue pair that is being made does not get it: it is freed. */
START_TEST(a_queue_pair_that_comes_too_late)
{
	struct rdma_peer *p;
	uint32_t lane;

	fake_set_stall(STALL_CONNECT);
	meet(false, false);
	p = rdma_peer_of(b);
	for (unsigned i = 0; i < PATIENCE_MS && !fake_stalled(); i++)
		ping();
	ck_assert_uint_eq(queue_pairs(), 2);
	pthread_mutex_lock(&p->lock);
	ck_assert_int_eq(p->state, PATH_MAKING);
	rdma_path_drop(p);
	lane = p->lane;
	pthread_mutex_unlock(&p->lock);
	fake_set_stall(0);
	for (unsigned i = 0; i < PATIENCE_MS && !maker_rests(p); i++)
		usleep(1000);
	ck_assert(maker_rests(p));
	pthread_mutex_lock(&p->lock);
	ck_assert_int_eq(p->state, PATH_NONE);
	ck_assert_ptr_null(p->qp);
	ck_assert_ptr_null(p->maker.made_qp);
	pthread_mutex_unlock(&p->lock);
	ck_assert_uint_eq(queue_pairs(), 1); /* the caller's */
	for (unsigned i = 0; i < 200; i++) {
		ping();
		usleep(1000);
	}
	pthread_mutex_lock(&p->lock);
	ck_assert(p->lane != lane || !p->qp); /* another offer may have come by now */
	pthread_mutex_unlock(&p->lock);
}
END_TEST

/* Gives the queue pair up: how many of the frames that were sent go again. */
static uint64_t drop_and_count(struct rdma_peer *p)
{
	uint64_t n;

	pthread_mutex_lock(&p->lock);
	n = p->writer.sent_number;
	rdma_path_drop(p);
	n -= p->writer.sent_number;
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* TLS loses nothing: what went that way while no queue pair was up is there, or will be. */
START_TEST(only_what_went_by_rdma_goes_again)
{
	const uint64_t by_tls = 9;
	struct err err = ERR_INIT;
	uint64_t all, again;

	fake_set_stall(STALL_CONNECT);
	meet(false, false);
	for (unsigned i = 0; i < by_tls; i++) /* so few are not credited */
		ping();
	ck_assert_uint_eq(rdma_peer_of(a)->writer.kept_number, 0);
	ck_assert_uint_eq(drop_and_count(rdma_peer_of(a)), 0);
	ck_assert_uint_eq(drop_and_count(rdma_peer_of(b)), 0);
	fake_set_stall(0);
	ck_assert(pings_until(true));
	fake_lock();
	fake.hold = true;
	fake_unlock();
	ck_assert_int_eq(peer_send(a, "1", 1, PATIENCE_MS, &err), 0);
	ck_assert_int_eq(peer_send(a, "2", 1, PATIENCE_MS, &err), 0);
	all = rdma_peer_of(a)->writer.number;
	again = drop_and_count(rdma_peer_of(a));
	ck_assert_uint_ge(again, 2);
	ck_assert_uint_le(again, all - by_tls);
	fake_lock();
	fake.hold = false;
	fake_unlock();
	fake_forget();
	take_byte(a, b, '1');
	take_byte(a, b, '2');
	ck_assert(pings_until(true));
}
END_TEST

/* Writes that get no answer are given up by themselves. */
START_TEST(a_fabric_that_swallows_writes)
{
	meet(false, false);
	ck_assert(pings_until(true));
	fake_lock();
	fake.lose = true;
	fake_unlock();
	flows_start(2 << 20);
	flows_end();
	ck_assert_uint_gt(rdma_peer_of(a)->breaks + rdma_peer_of(b)->breaks, 0);
	ck_assert(!is_up(a) || !is_up(b));
}
END_TEST

START_TEST(late_and_torn_writes)
{
	struct err err = ERR_INIT;
	static uint8_t out[5000], in[5000];

	meet(false, false);
	ck_assert(pings_until(true));
	memset(out, 'Q', sizeof(out));
	fake_lock();
	fake.hold = true;
	fake_unlock();
	ck_assert_int_eq(peer_send(a, out, sizeof(out), PATIENCE_MS, &err), 0);
	fake_tear();
	ck_assert_int_eq(peer_recv(b, in, sizeof(in), 20, &err), -EAGAIN);
	fake_deliver(false);
	ck_assert_int_eq(peer_recv(b, in, sizeof(in), PATIENCE_MS, &err), (ssize_t)sizeof(in));
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert(is_up(a));
	fake_lock();
	fake.hold = false;
	fake_unlock();
}
END_TEST

START_TEST(words_in_another_order)
{
	struct err err = ERR_INIT;
	uint8_t in[64];

	meet(false, false);
	ck_assert(pings_until(true));
	for (unsigned round = 0; round < 30; round++) {
		size_t got = 0;

		fake_lock();
		fake.hold = true;
		fake_unlock();
		for (uint8_t i = 0; i < 5; i++)
			ck_assert_int_eq(peer_send(a, &i, 1, PATIENCE_MS, &err), 0);
		fake_deliver(true);
		fake_lock();
		fake.hold = false;
		fake_unlock();
		while (got < 5) {
			ssize_t n = peer_recv(b, in + got, 1, PATIENCE_MS, &err);

			ck_assert_int_eq(n, 1);
			ck_assert_uint_eq(in[got], got);
			got++;
		}
	}
	ck_assert_uint_eq(rdma_peer_of(b)->breaks, 0);
}
END_TEST

/* Somebody on the fabric who knows where the ring is, and that a write there is announced. */
static void forge(struct peer *victim, const void *bytes, size_t n)
{
	struct rdma_peer *p = rdma_peer_of(victim);
	uint64_t next = p->reader.next;

	fake_lock();
	memcpy(p->area + p->reader.position % RDMA_RING, bytes, n);
	fake_complete(p->qp,
		      (struct verbs_completion){ .what = VERBS_ARRIVED, .number = (uint32_t)next });
	fake_unlock();
}

START_TEST(rubbish_in_the_ring_is_not_taken)
{
	struct err err = ERR_INIT;
	uint8_t frame[96] = { 50 }, in[64];

	meet(false, false);
	ck_assert(pings_until(true));
	frame[8] = (uint8_t)rdma_peer_of(b)->reader.next;
	forge(b, frame, sizeof(frame));
	for (unsigned i = 0; i < 200 && is_up(b); i++)
		ck_assert_int_eq(peer_recv(b, in, sizeof(in), 5, &err), -EAGAIN);
	ck_assert(!is_up(b));
	ck_assert(pings_until(true));
	frame[4] = RDMA_FLAG_CLEAR;
	frame[8] = (uint8_t)rdma_peer_of(b)->reader.next;
	forge(b, frame, sizeof(frame));
	for (unsigned i = 0; i < 200 && is_up(b); i++)
		ck_assert_int_eq(peer_recv(b, in, sizeof(in), 5, &err), -EAGAIN);
	ping();
	ck_assert_uint_eq(rdma_peer_of(b)->breaks, 2);
}
END_TEST

/*
 * A queue pair broke within a frame, and the next one carries what comes after it: the frame itself
 * is on its way over TLS, also where no seal would tell what the ring has of it.
 */
START_TEST(a_part_of_a_frame_that_comes_over_tls_is_not_taken)
{
	uint8_t frame[96] = { 50, [4] = RDMA_FLAG_CLEAR }, in[64];
	struct err err = ERR_INIT;
	struct rdma_peer *p;
	uint64_t next;

	meet(true, true);
	ck_assert(pings_until(true));
	p = rdma_peer_of(b);
	pthread_mutex_lock(&p->lock);
	next = p->reader.next;
	memcpy(frame + 8, &next, sizeof(next));
	memcpy(p->area + p->reader.position % RDMA_RING, frame, sizeof(frame));
	p->lane_first = ~0ull; /* nothing has come over this one */
	fake_lock();
	fake_complete(p->qp, (struct verbs_completion){ .what = VERBS_ARRIVED,
							.number = (uint32_t)next + 1 });
	fake_unlock();
	rdma_path_pump(p, READY_QP);
	pthread_mutex_unlock(&p->lock);
	ck_assert_int_eq(peer_recv(b, in, sizeof(in), 100, &err), -EAGAIN);
	ck_assert(is_up(b));
	send_byte(a, b, 'x');
}
END_TEST

/* Whether the bytes that were sent last stand in the other one's ring as they are. */
static bool readable_on_fabric(void)
{
	static const char text[] = "what nobody else should read";
	struct err err = ERR_INIT;
	uint8_t in[64];

	ck_assert(pings_until(true));
	ck_assert_int_eq(peer_send(a, text, sizeof(text), PATIENCE_MS, &err), 0);
	ck_assert_int_eq(peer_recv(b, in, sizeof(in), PATIENCE_MS, &err), sizeof(text));
	return memmem(rdma_peer_of(b)->area, RDMA_RING, text, sizeof(text)) != NULL;
}

START_TEST(sealed_unless_both_want_it_clear)
{
	meet(false, false);
	ck_assert(!readable_on_fabric());
	peer_close(a);
	peer_close(b);
	meet(true, false);
	ck_assert(!readable_on_fabric());
	peer_close(a);
	peer_close(b);
	meet(true, true);
	ck_assert(readable_on_fabric());
}
END_TEST

START_TEST(without_a_key_only_clear)
{
	struct err err = ERR_INIT;
	struct peer *ca, *cb;

	peer_key_free(key);
	key = NULL;
	meet_control(&ca, &cb);
	ck_assert_ptr_null(
		rdma_peer_new(ca, &fake_verbs, fake_open(NULL, &err), true, false, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "--rdma-clear"));
	peer_close(cb);
	meet(true, true);
	ck_assert(readable_on_fabric());
}
END_TEST

START_TEST(the_other_side_speaks_plain_tcp)
{
	struct err err = ERR_INIT;
	struct peer *ca;
	uint8_t in[16];

	meet_control(&ca, &b);
	a = over(ca, true, false);
	ck_assert_int_eq(peer_send(b, "TWIR and what comes after it", 28, PATIENCE_MS, &err), 0);
	ck_assert_int_eq(peer_recv(a, in, sizeof(in), PATIENCE_MS, &err), -EPROTO);
	ck_assert_ptr_nonnull(strstr(err.text, "rdma:"));
}
END_TEST

START_TEST(the_end_comes_after_the_last_byte)
{
	struct err err = ERR_INIT;
	static uint8_t out[300000], in[300000];
	size_t got = 0;
	ssize_t n;

	meet(false, false);
	ck_assert(pings_until(true));
	memset(out, 'z', sizeof(out));
	ck_assert_int_eq(peer_send(a, out, sizeof(out), PATIENCE_MS, &err), 0);
	peer_close(a);
	a = NULL;
	while ((n = peer_recv(b, in + got, sizeof(in) - got, PATIENCE_MS, &err)) > 0)
		got += (size_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, sizeof(out));
	ck_assert_int_eq(peer_send(b, "x", 1, PATIENCE_MS, &err), -EPIPE);
}
END_TEST

static void *receive_for_ever(void *arg)
{
	struct err err = ERR_INIT;
	uint8_t in[16];

	return (void *)peer_recv(arg, in, sizeof(in), -1, &err);
}

static void *send_for_ever(void *arg)
{
	static uint8_t much[4 << 20];
	struct err err = ERR_INIT;

	return (void *)(intptr_t)peer_send(arg, much, sizeof(much), -1, &err);
}

/* Both ends at once, while threads wait in all four places. */
START_TEST(both_sides_close)
{
	pthread_t t[4];
	void *ret;

	meet(false, false);
	ck_assert(pings_until(true));
	fake_lock();
	fake.hold = true;
	fake_unlock();
	pthread_create(&t[0], NULL, receive_for_ever, a);
	pthread_create(&t[1], NULL, receive_for_ever, b);
	pthread_create(&t[2], NULL, send_for_ever, a);
	pthread_create(&t[3], NULL, send_for_ever, b);
	usleep(20000);
	peer_shutdown(a);
	peer_shutdown(b);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], &ret);
		ck_assert_int_le((intptr_t)ret, 16);
	}
	fake_forget();
}
END_TEST

START_TEST(who_takes_nothing_is_told_of)
{
	static uint8_t much[4 << 20];
	struct err err = ERR_INIT;

	meet(false, false);
	ck_assert(pings_until(true));
	ck_assert_int_eq(peer_send(a, much, sizeof(much), 50, &err), -ETIMEDOUT);
}
END_TEST

static void *receive_one(void *arg)
{
	struct err err = ERR_INIT;
	uint8_t in = 0;

	return (void *)(intptr_t)(peer_recv(arg, &in, 1, PATIENCE_MS, &err) == 1 ? in : 0);
}

static bool receiver_waits(struct rdma_peer *p)
{
	bool waits;

	pthread_mutex_lock(&p->lock);
	waits = p->rx_waits;
	pthread_mutex_unlock(&p->lock);
	return waits;
}

/*
 * Both threads of a side were woken by one arrival. The one that comes second, when the first has
 * armed the queue and waits again, may not leave it without an event for the next arrival.
 */
START_TEST(two_threads_and_one_event)
{
	struct err err = ERR_INIT;
	struct rdma_peer *p;
	pthread_t t;
	void *got;

	meet(false, false);
	ck_assert(pings_until(true));
	p = rdma_peer_of(b);
	ck_assert_int_eq(pthread_create(&t, NULL, receive_one, b), 0);
	while (!receiver_waits(p))
		usleep(1000);
	pthread_mutex_lock(&p->lock);
	rdma_path_pump(p, READY_QP);
	ck_assert(p->armed);
	pthread_mutex_unlock(&p->lock);
	ck_assert_int_eq(peer_send(a, "z", 1, PATIENCE_MS, &err), 0);
	pthread_join(t, &got);
	ck_assert_int_eq((intptr_t)got, 'z');
}
END_TEST

/* Whether it waits or looks: an idle receiver takes (nearly) no time of a CPU. */
START_TEST(who_waits_sleeps)
{
	struct err err = ERR_INIT;
	struct timespec before, after;
	uint8_t in[16];

	meet(false, false);
	ck_assert(pings_until(true));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	ck_assert_int_eq(peer_recv(a, in, sizeof(in), 500, &err), -EAGAIN);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000000000l + after.tv_nsec -
				 before.tv_nsec,
			 50000000);
}
END_TEST

/* ---- pages that are placed ---- */

#define PAGES (4u * PEER_PLACE)

static uint8_t *ours, *theirs; /* memory of a and of b */
static pthread_t reader;
static ssize_t reader_got;
static struct err reader_err;

/* The other side reads, as a backup that joins does, until there is an end. */
static void *read_all(void *arg)
{
	uint8_t bytes[4096];

	while ((reader_got = peer_recv(b, bytes, sizeof(bytes), PATIENCE_MS, &reader_err)) > 0)
		;
	return NULL;
}

static void share_memory(bool clear)
{
	meet(clear, clear);
	ck_assert(pings_until(true));
	ours = aligned_alloc(PEER_PAGE, PAGES * PEER_PAGE);
	theirs = aligned_alloc(PEER_PAGE, PAGES * PEER_PAGE);
	ck_assert(ours && theirs);
	for (size_t i = 0; i < PAGES * PEER_PAGE; i++)
		ours[i] = pattern(5, i);
	memset(theirs, 0, PAGES * PEER_PAGE);
	peer_share(a, ours, PAGES * PEER_PAGE);
	peer_share(b, theirs, PAGES * PEER_PAGE);
}

static void share(bool clear)
{
	share_memory(clear);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_all, NULL), 0);
}

/* What was placed has been read when the stream has come to its end. */
static void stop_sharing(void)
{
	peer_shutdown(a);
	pthread_join(reader, NULL);
	peer_share(a, NULL, 0);
	peer_share(b, NULL, 0);
	free(ours);
	free(theirs);
}

/* Tries until there is a way again, as pages go in frames meanwhile. */
static unsigned place_surely(uint64_t page, unsigned n, uint64_t *changed)
{
	unsigned tries = 0;

	while (peer_place(a, page, n, changed) < 0) {
		ck_assert_uint_lt(++tries, 20000);
		ck_assert_int_eq(peer_send(a, "x", 1, PATIENCE_MS, NULL), 0);
		usleep(1000);
	}
	return tries;
}

START_TEST(pages_are_placed)
{
	uint64_t changed[PEER_PLACE / 64];

	share(true);
	ck_assert_int_eq(peer_places(a), PEER_PLACES_NOW);
	for (unsigned sweep = 0; sweep < 3; sweep++) {
		for (uint64_t i = 0; i < PAGES; i += PEER_PLACE) {
			ours[i * PEER_PAGE] = (uint8_t)sweep;
			place_surely(i, i ? PEER_PLACE : 3, changed);
			ck_assert_uint_eq(changed[0], 0);
		}
	}
	ck_assert_mem_eq(theirs, ours, 3 * PEER_PAGE);
	ck_assert_mem_eq(theirs + PEER_PLACE * PEER_PAGE, ours + PEER_PLACE * PEER_PAGE,
			 (PAGES - PEER_PLACE) * PEER_PAGE);
	ck_assert_uint_eq(theirs[3 * PEER_PAGE], 0);
	stop_sharing();
	ck_assert_int_eq(reader_got, 0);
}
END_TEST

static atomic_bool placed;
static int place_result;

static void *place_main(void *arg)
{
	uint64_t changed[PEER_PLACE / 64];

	place_result = peer_place(a, 0, 16, changed);
	placed = true;
	return NULL;
}

/* They may hold the same pages, as they were before. */
START_TEST(nothing_is_placed_while_frames_are_unread)
{
	uint64_t changed[PEER_PLACE / 64];
	struct rdma_peer *p;
	pthread_t t;

	share_memory(true);
	p = rdma_peer_of(b);
	ck_assert_int_eq(peer_send(a, "page 0", 6, PATIENCE_MS, NULL), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, place_main, NULL), 0);
	while (!placed) { /* the other side does all but that */
		pthread_mutex_lock(&p->lock);
		rdma_path_pump(p, READY_CONTROL | READY_QP);
		pthread_mutex_unlock(&p->lock);
		usleep(1000);
	}
	pthread_join(t, NULL);
	ck_assert_int_eq(place_result, -EAGAIN);
	ck_assert_uint_eq(theirs[0], 0);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_all, NULL), 0);
	place_surely(0, 16, changed);
	ck_assert_mem_eq(theirs, ours, 16 * PEER_PAGE);
	stop_sharing();
	ck_assert_int_eq(reader_got, 0);
}
END_TEST

static atomic_bool scribbles;

static void *scribble(void *arg)
{
	uint64_t seed = 1;

	while (atomic_load(&scribbles)) {
		seed = seed * 6364136223846793005 + 1442695040888963407;
		__atomic_store_n((uint64_t *)(void *)ours + (seed >> 33) % (PAGES * PEER_PAGE / 8),
				 seed, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* One sweep; the number of pages that were written meanwhile. */
static unsigned sweep_once(void)
{
	uint64_t changed[PEER_PLACE / 64];
	unsigned n = 0;

	for (uint64_t i = 0; i < PAGES; i += PEER_PLACE) {
		place_surely(i, PEER_PLACE, changed);
		for (unsigned k = 0; k < PEER_PLACE / 64; k++)
			n += (unsigned)__builtin_popcountll(changed[k]);
	}
	return n;
}

START_TEST(pages_that_are_written_meanwhile_are_told_of)
{
	unsigned changed = 0;
	pthread_t t;

	share(true);
	atomic_store(&scribbles, true);
	ck_assert_int_eq(pthread_create(&t, NULL, scribble, NULL), 0);
	for (unsigned i = 0; i < 2000 && !changed; i++)
		changed = sweep_once();
	atomic_store(&scribbles, false);
	pthread_join(t, NULL);
	ck_assert_uint_gt(changed, 0);
	ck_assert_uint_eq(sweep_once(), 0);
	ck_assert_mem_eq(theirs, ours, PAGES * PEER_PAGE);
	stop_sharing();
	ck_assert_int_eq(reader_got, 0); /* nothing that was told of was taken for damage */
}
END_TEST

START_TEST(a_damaged_page_is_found)
{
	uint64_t changed[PEER_PLACE / 64];

	share(true);
	fake_lock();
	fake.damage = true;
	fake_unlock();
	place_surely(7, 20, changed);
	pthread_join(reader, NULL);
	ck_assert_int_eq(reader_got, -EBADMSG);
	ck_assert_ptr_nonnull(strstr(reader_err.text, "has another checksum"));
	fake_lock();
	fake.damage = false;
	fake_unlock();
	ck_assert_int_eq(pthread_create(&reader, NULL, read_all, NULL), 0);
	stop_sharing();
}
END_TEST

START_TEST(placing_goes_on_after_a_broken_queue_pair)
{
	unsigned failed = 0;
	uint64_t changed[PEER_PLACE / 64];

	share(true);
	for (unsigned i = 0; i < 4; i++) {
		fake_break_all();
		for (uint64_t k = 0; k < PAGES; k += PEER_PLACE)
			failed += place_surely(k, PEER_PLACE, changed);
	}
	ck_assert_uint_gt(failed, 0);
	ck_assert_mem_eq(theirs, ours, PAGES * PEER_PAGE);
	stop_sharing();
	ck_assert_int_eq(reader_got, 0);
}
END_TEST

START_TEST(nothing_is_placed_where_frames_are_sealed)
{
	uint64_t changed[PEER_PLACE / 64];

	share(false);
	ck_assert_int_eq(peer_places(a), PEER_PLACES_NOT);
	ck_assert_int_eq(peer_place(a, 0, 9, changed), -EAGAIN);
	stop_sharing();
}
END_TEST

static bool all_is_read(void)
{
	const struct rdma_writer *w = &rdma_peer_of(a)->writer;

	return w->kept_number == w->number;
}

/* A backup that runs: nobody writes into its memory any more. */
START_TEST(nothing_is_placed_where_nothing_is_shared_any_more)
{
	uint64_t changed[PEER_PLACE / 64];
	char x;

	share(true);
	place_surely(0, 9, changed);
	for (unsigned i = 0; !all_is_read() && i < PATIENCE_MS / 10; i++)
		ck_assert_int_eq(peer_recv(a, &x, 1, 10, NULL), -EAGAIN);
	ck_assert(all_is_read());
	peer_share(b, NULL, 0);
	ours[0] ^= 1;
	ck_assert_int_eq(peer_place(a, 0, 9, changed), -EAGAIN);
	ck_assert_int_eq(peer_places(a), PEER_PLACES_NOT);
	ck_assert_int_eq(theirs[0], ours[0] ^ 1);
	stop_sharing();
	ck_assert_int_eq(reader_got, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, bytes_go_by_writes);
	tcase_add_test(tc, without_a_path_tcp_does);
	tcase_add_host_test(tc, a_broken_queue_pair_loses_nothing);
	tcase_add_host_test(tc, a_port_that_goes_down_and_comes_back);
	tcase_add_loop_test(tc, a_device_that_is_gone, 0, 2);
	tcase_add_loop_test(tc, bytes_go_on_while_a_queue_pair_is_made, 0, 3);
	tcase_add_host_test(tc, bytes_go_on_while_a_queue_pair_is_freed);
	tcase_add_host_test(tc, a_queue_pair_that_comes_too_late);
	tcase_add_test(tc, only_what_went_by_rdma_goes_again);
	tcase_add_host_test(tc, a_fabric_that_swallows_writes);
	tcase_add_host_test(tc, late_and_torn_writes);
	tcase_add_host_test(tc, words_in_another_order);
	tcase_add_test(tc, rubbish_in_the_ring_is_not_taken);
	tcase_add_test(tc, a_part_of_a_frame_that_comes_over_tls_is_not_taken);
	tcase_add_test(tc, sealed_unless_both_want_it_clear);
	tcase_add_test(tc, without_a_key_only_clear);
	tcase_add_host_test(tc, the_other_side_speaks_plain_tcp);
	tcase_add_test(tc, the_end_comes_after_the_last_byte);
	tcase_add_test(tc, both_sides_close);
	tcase_add_host_test(tc, who_takes_nothing_is_told_of);
	tcase_add_host_test(tc, two_threads_and_one_event);
	tcase_add_host_test(tc, who_waits_sleeps);
	tcase_add_test(tc, pages_are_placed);
	tcase_add_test(tc, nothing_is_placed_while_frames_are_unread);
	tcase_add_test(tc, pages_that_are_written_meanwhile_are_told_of);
	tcase_add_test(tc, a_damaged_page_is_found);
	tcase_add_host_test(tc, placing_goes_on_after_a_broken_queue_pair);
	tcase_add_test(tc, nothing_is_placed_where_frames_are_sealed);
	tcase_add_test(tc, nothing_is_placed_where_nothing_is_shared_any_more);
}

UNIT_MAIN("peer_rdma", add_tests)
