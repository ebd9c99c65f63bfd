// SPDX-License-Identifier: GPL-2.0-or-later
/* The stream to the other replica: who holds the key gets in, nobody else. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/peer.h"
#include "tests/net/fake_peer.h"
#include "tests/unit.h"

static char dir[64], addr[96], key_path[96], other_path[96];

static void set_up(void)
{
	struct err err = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/twinstep-peer-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(addr, sizeof(addr), "unix:%s/sock", dir);
	snprintf(key_path, sizeof(key_path), "%s/key", dir);
	snprintf(other_path, sizeof(other_path), "%s/other", dir);
	ck_assert_int_eq(peer_key_create(key_path, &err), 0);
	ck_assert_int_eq(peer_key_create(other_path, &err), 0);
}

static void tear_down(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* For what takes a moment on a host that is not busy. */
#define PATIENCE_MS 20000

struct side {
	struct peer_key *key;
	struct peer *peer;
	struct err err;
};

static void *connect_side(void *arg)
{
	struct side *s = arg;

	s->peer = peer_connect(addr, s->key, PATIENCE_MS, &s->err);
	return NULL;
}

/* Both sides with these keys (NULL: bare). True when both are connected. */
static bool meet(struct side *server, struct side *client)
{
	struct err err = ERR_INIT;
	struct peer_listener *l = peer_listen(addr, server->key, &err);
	pthread_t t;

	ck_assert_ptr_nonnull(l);
	ck_assert_int_eq(pthread_create(&t, NULL, connect_side, client), 0);
	server->peer = peer_accept(l, 5000, &server->err);
	pthread_join(t, NULL);
	peer_listener_close(l);
	return server->peer && client->peer;
}

static void part(struct side *s)
{
	peer_close(s->peer);
	peer_key_free(s->key);
}

START_TEST(same_key_talks)
{
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) },
		    b = { .key = peer_key_load(key_path, &err) };
	static uint8_t out[300000], in[300000];
	size_t got = 0;

	ck_assert(a.key && b.key);
	ck_assert_msg(meet(&a, &b), "%s / %s", a.err.text, b.err.text);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	for (size_t sent = 0; sent < sizeof(out); sent += 30000) {
		ck_assert_int_eq(peer_send(a.peer, out + sent, 30000, PATIENCE_MS, &err), 0);
		while (got < sent + 30000) {
			ssize_t n =
				peer_recv(b.peer, in + got, sizeof(in) - got, PATIENCE_MS, &err);

			ck_assert_int_gt(n, 0);
			got += (size_t)n;
		}
	}
	ck_assert_mem_eq(in, out, sizeof(out));
	ck_assert_int_eq(peer_recv(b.peer, in, 1, 20, &err), -EAGAIN);
	peer_shutdown(a.peer);
	ck_assert_int_le(peer_recv(b.peer, in, 1, PATIENCE_MS, &err), 0);
	part(&a);
	part(&b);
}
END_TEST

START_TEST(other_key_is_refused)
{
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) },
		    b = { .key = peer_key_load(other_path, &err) };

	ck_assert(!meet(&a, &b));
	ck_assert_ptr_null(a.peer);
	ck_assert_msg(strstr(a.err.text, "key") != NULL, "%s", a.err.text);
	part(&b);
	peer_key_free(a.key);
}
END_TEST

START_TEST(no_key_is_refused)
{
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) }, b = { .key = NULL };

	meet(&a, &b);
	ck_assert_ptr_null(a.peer);
	part(&b);
	peer_key_free(a.key);
}
END_TEST

/* Raw bytes to the listener, and then the end of them or silence; what it made of that. */
static void raw_client(const void *data, size_t n, bool ends, struct side *a)
{
	struct err err = ERR_INIT;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct peer_listener *l = peer_listen(addr, a->key, &err);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, addr + 5);
	ck_assert_int_eq(connect(s, (struct sockaddr *)&un, sizeof(un)), 0);
	if (n)
		ck_assert_int_eq(send(s, data, n, MSG_NOSIGNAL), (ssize_t)n);
	if (ends)
		shutdown(s, SHUT_WR);
	a->peer = peer_accept(l, 5000, &a->err);
	close(s);
	peer_listener_close(l);
}

START_TEST(garbage_and_silence_are_refused)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) };
	uint8_t noise[4096];

	raw_client(http, sizeof(http) - 1, false, &a);
	ck_assert_ptr_null(a.peer);
	raw_client("\x16", 1, false, &a);
	ck_assert_ptr_null(a.peer);
	ck_assert_int_eq(a.err.code, ETIMEDOUT);
	srandom(1);
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)random();
		noise[0] = 22; /* looks like a TLS handshake record */
		noise[1] = 3;
		noise[2] = 1;
		/* Noise that claims to be longer than it is takes all the time that there is. */
		raw_client(noise, 1 + (size_t)random() % sizeof(noise), round >= 5, &a);
		ck_assert_ptr_null(a.peer);
	}
	peer_key_free(a.key);
}
END_TEST

/* Who answers, and ends the connection before the handshake is over. */
static void *end_early(void *listener)
{
	int s = accept(*(int *)listener, NULL, NULL);
	char hello[16384];

	ck_assert_int_gt(read(s, hello, sizeof(hello)), 0);
	close(s);
	return NULL;
}

static void was_cut(const struct side *s)
{
	ck_assert_ptr_null(s->peer);
	ck_assert_int_eq(s->err.code, ECONNRESET);
	ck_assert_msg(strstr(s->err.text, "ended the connection in the TLS handshake") &&
			      !strstr(s->err.text, "key"),
		      "%s", s->err.text);
}

/* Nothing is known of its key, on either side. */
START_TEST(end_in_the_handshake_is_no_other_key)
{
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) }, b = a;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t t;

	raw_client("\x16\x03\x01", 3, true, &a);
	was_cut(&a);
	snprintf(addr, sizeof(addr), "unix:%s/early", dir);
	strcpy(un.sun_path, addr + 5);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, end_early, &listener), 0);
	connect_side(&b);
	pthread_join(t, NULL);
	was_cut(&b);
	close(listener);
	peer_key_free(a.key);
}
END_TEST

struct tapped {
	int listener, server;
	uint8_t bytes[65536];
	size_t n;
};

/* Between client and server: keeps what the client says. */
static void *tap_thread(void *arg)
{
	struct tapped *t = arg;
	int c = accept(t->listener, NULL, NULL);
	char back[16384];
	fd_set set;

	for (;;) {
		ssize_t n;

		FD_ZERO(&set);
		FD_SET(c, &set);
		FD_SET(t->server, &set);
		if (select((c > t->server ? c : t->server) + 1, &set, NULL, NULL, NULL) < 0)
			break;
		if (FD_ISSET(c, &set)) {
			n = read(c, t->bytes + t->n, sizeof(t->bytes) - t->n);
			if (n <= 0 || write(t->server, t->bytes + t->n, (size_t)n) != n)
				break;
			t->n += (size_t)n;
		}
		if (FD_ISSET(t->server, &set)) {
			n = read(t->server, back, sizeof(back));
			if (n <= 0 || write(c, back, (size_t)n) != n)
				break;
		}
	}
	close(c);
	close(t->server);
	return NULL;
}

/* A handshake that was overheard, and the message after it, say nothing the second time. */
START_TEST(replayed_handshake_is_refused)
{
	static struct tapped t;
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) },
		    b = { .key = peer_key_load(key_path, &err) };
	char front[128];
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct peer_listener *l = peer_listen(addr, a.key, &err);
	pthread_t tap, client;
	uint8_t byte;

	snprintf(front, sizeof(front), "unix:%s/front", dir);
	t.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(un.sun_path, front + 5);
	ck_assert_int_eq(bind(t.listener, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(t.listener, 1), 0);
	t.server = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(un.sun_path, addr + 5);
	ck_assert_int_eq(connect(t.server, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(pthread_create(&tap, NULL, tap_thread, &t), 0);
	strcpy(addr, front);
	ck_assert_int_eq(pthread_create(&client, NULL, connect_side, &b), 0);
	a.peer = peer_accept(l, 5000, &a.err);
	pthread_join(client, NULL);
	ck_assert(a.peer && b.peer);
	ck_assert_int_eq(peer_send(b.peer, "x", 1, PATIENCE_MS, &err), 0);
	ck_assert_int_eq(peer_recv(a.peer, &byte, 1, PATIENCE_MS, &err), 1);
	peer_listener_close(l);
	close(t.listener);
	peer_close(a.peer);
	peer_close(b.peer);
	pthread_join(tap, NULL);
	ck_assert_uint_gt(t.n, 100);
	a.peer = NULL;
	snprintf(addr, sizeof(addr), "unix:%s/sock2", dir);
	raw_client(t.bytes, t.n, false, &a);
	ck_assert_ptr_null(a.peer);
	peer_key_free(a.key);
	peer_key_free(b.key);
}
END_TEST

START_TEST(key_files)
{
	struct err err = ERR_INIT;
	char path[128];
	int fd;

	ck_assert_int_eq(peer_key_create(key_path, &err), -EEXIST);
	chmod(key_path, 0640);
	ck_assert_ptr_null(peer_key_load(key_path, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "0640"));
	ck_assert_ptr_null(peer_key_load(dir, &err));
	snprintf(path, sizeof(path), "%s/short", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, "1234\n", 5), 5);
	close(fd);
	ck_assert_ptr_null(peer_key_load(path, &err));
	ck_assert_ptr_null(peer_key_load("/nonexistent", &err));
}
END_TEST

START_TEST(bad_addresses)
{
	struct err err = ERR_INIT;

	ck_assert_ptr_null(peer_listen("nonsense", NULL, &err));
	ck_assert_ptr_null(peer_listen("host:", NULL, &err));
	ck_assert_ptr_null(peer_listen("127.0.0.1:notaport", NULL, &err));
	ck_assert_ptr_null(peer_listen("unix:", NULL, &err));
	ck_assert_ptr_null(peer_dial("unix:", 100, &err));
	ck_assert_ptr_null(peer_connect("127.0.0.1:1", NULL, 200, &err));
	ck_assert_int_ne(err.code, 0);
}
END_TEST

static int silent_client(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, addr + 5);
	ck_assert_int_eq(connect(s, (struct sockaddr *)&un, sizeof(un)), 0);
	return s;
}

/* Connections that say no more than a word keep nobody waiting; each is told off in its own time.
 */
static void among_silent_ones(unsigned n)
{
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) },
		    b = { .key = peer_key_load(key_path, &err) };
	struct peer_listener *l = peer_listen(addr, a.key, &err);
	unsigned slow = 0, crowded = 0;
	int s[60];
	pthread_t t;

	for (unsigned i = 0; i < n; i++) {
		s[i] = silent_client();
		ck_assert_int_eq(write(s[i], "\x16", 1), 1);
	}
	ck_assert_int_eq(pthread_create(&t, NULL, connect_side, &b), 0);
	while (!a.peer) {
		a.peer = peer_accept(l, 5000, &a.err);
		slow += !a.peer && a.err.code == ETIMEDOUT;
		crowded += !a.peer && a.err.code == EBUSY;
		ck_assert(a.peer || a.err.code == ETIMEDOUT || a.err.code == EBUSY);
	}
	ck_assert_uint_eq(slow, 0);
	ck_assert_uint_eq(crowded, n > 31 ? n - 31 : 0);
	pthread_join(t, NULL);
	for (unsigned i = crowded; i < n; i++) {
		ck_assert_ptr_null(peer_accept(l, 5000, &a.err));
		ck_assert_int_eq(a.err.code, ETIMEDOUT);
	}
	for (unsigned i = 0; i < n; i++)
		close(s[i]);
	peer_listener_close(l);
	part(&a);
	part(&b);
}

/* Whoever only looks whether anybody listens is no news; whoever says something wrong is. */
START_TEST(who_only_looks_is_not_told_off)
{
	struct err err = ERR_INIT;
	struct peer_key *key = peer_key_load(key_path, &err);
	struct peer_listener *l = peer_listen(addr, key, &err);
	int s = silent_client();

	close(s);
	ck_assert_ptr_null(peer_accept(l, 200, &err));
	ck_assert_int_eq(err.code, EAGAIN);
	s = silent_client();
	ck_assert_int_eq(write(s, "GET / HTTP/1.1\r\n", 16), 16);
	close(s);
	ck_assert_ptr_null(peer_accept(l, 5000, &err));
	ck_assert_int_eq(err.code, EACCES);
	peer_listener_close(l);
	peer_key_free(key);
}
END_TEST

START_TEST(silent_connections_delay_nobody)
{
	among_silent_ones(20);
}
END_TEST

START_TEST(a_crowd_gives_way_to_who_comes_last)
{
	among_silent_ones(50);
}
END_TEST

static void *greet_side(void *arg)
{
	struct side *s = arg;

	return (void *)(intptr_t)peer_greet(s->peer, s->key, 20000, &s->err);
}

/* A TCP connection from one address of this host to another one, which says nothing. */
static int silent_client_from(const char *from, const struct sockaddr_in *to)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, from, &sin.sin_addr);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(connect(s, (const struct sockaddr *)to, sizeof(*to)), 0);
	return s;
}

static struct sockaddr_in free_port(const char *host)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, host, &sin.sin_addr);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&sin, len), 0);
	ck_assert_int_eq(getsockname(s, (struct sockaddr *)&sin, &len), 0);
	close(s);
	return sin;
}

/* A backup has dialled and waits for its jail; a host without the key comes in a crowd. */
START_TEST(a_crowd_of_one_host_gives_way_itself)
{
	struct sockaddr_in sin = free_port("127.9.8.7");
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) },
		    b = { .key = peer_key_load(key_path, &err) };
	char text[32];
	struct peer_listener *l;
	unsigned crowded = 0;
	int s[50];
	pthread_t t;

	snprintf(text, sizeof(text), "127.9.8.7:%u", ntohs(sin.sin_port));
	l = peer_listen(text, a.key, &err);
	ck_assert_msg(l != NULL, "%s", err.text);
	b.peer = peer_dial(text, 5000, &err);
	ck_assert_msg(b.peer != NULL, "%s", err.text);
	for (unsigned i = 0; i < 50; i++) {
		s[i] = silent_client_from("127.9.8.8", &sin);
		if (i % 10 == 9)
			while (!peer_accept(l, 50, &a.err) && a.err.code == EBUSY)
				crowded += strstr(a.err.text, "127.9.8.8") != NULL;
	}
	ck_assert_uint_eq(crowded, 50 - 31);
	ck_assert_int_eq(pthread_create(&t, NULL, greet_side, &b), 0);
	a.peer = peer_accept(l, 20000, &a.err);
	ck_assert_msg(a.peer != NULL, "%s", a.err.text);
	pthread_join(t, NULL);
	for (unsigned i = 0; i < 50; i++)
		close(s[i]);
	peer_listener_close(l);
	part(&a);
	part(&b);
}
END_TEST

static void *greet_late(void *arg)
{
	usleep((PEER_GREET_MS + 300) * 1000);
	return greet_side(arg);
}

/* A backup dials before its jail closes, which may take a host that is busy long. */
START_TEST(who_begins_late_is_let_in)
{
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) },
		    b = { .key = peer_key_load(key_path, &err) };
	struct peer_listener *l = peer_listen(addr, a.key, &err);
	pthread_t t;
	void *ret;

	b.peer = peer_dial(addr, 5000, &err);
	ck_assert_ptr_nonnull(b.peer);
	ck_assert_int_eq(pthread_create(&t, NULL, greet_late, &b), 0);
	a.peer = peer_accept(l, 20000, &a.err);
	ck_assert_msg(a.peer != NULL, "%s", a.err.text);
	pthread_join(t, &ret);
	ck_assert_ptr_null(ret);
	peer_listener_close(l);
	part(&a);
	part(&b);
}
END_TEST

static void *wake_soon(void *arg)
{
	usleep(20000);
	peer_listener_wake(arg);
	return NULL;
}

START_TEST(who_accepts_can_be_woken)
{
	struct err err = ERR_INIT;
	struct peer_listener *nobody = peer_listen(NULL, NULL, &err),
			     *l = peer_listen(addr, NULL, &err);
	pthread_t t;

	ck_assert(nobody && l);
	ck_assert_ptr_null(peer_listener_path(nobody));
	ck_assert_str_eq(peer_listener_path(l), addr + 5);
	ck_assert_ptr_null(peer_accept(l, 10, &err));
	ck_assert_int_eq(err.code, EAGAIN);
	ck_assert_int_eq(pthread_create(&t, NULL, wake_soon, nobody), 0);
	ck_assert_ptr_null(peer_accept(nobody, -1, &err));
	ck_assert_int_eq(err.code, EAGAIN);
	pthread_join(t, NULL);
	peer_listener_wake(l); /* before it waits */
	ck_assert_ptr_null(peer_accept(l, -1, &err));
	ck_assert_int_eq(err.code, EAGAIN);
	peer_listener_close(nobody);
	peer_listener_close(l);
}
END_TEST

START_TEST(listening_removes_old_sockets_and_no_files)
{
	struct err err = ERR_INIT;
	struct peer_listener *l = peer_listen(addr, NULL, &err);
	struct stat st;
	int fd;

	ck_assert_ptr_null(peer_listen(addr, NULL, &err));
	ck_assert_int_eq(err.code, EADDRINUSE);
	peer_listener_close(l);
	ck_assert_int_eq(stat(addr + 5, &st), 0);
	l = peer_listen(addr, NULL, &err);
	ck_assert_msg(l != NULL, "%s", err.text);
	peer_listener_close(l);
	unlink(addr + 5);
	fd = open(addr + 5, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	close(fd);
	ck_assert_ptr_null(peer_listen(addr, NULL, &err));
	ck_assert(stat(addr + 5, &st) == 0 && st.st_size == 1);
}
END_TEST

START_TEST(so_many_bytes_or_an_error)
{
	struct err err = ERR_INIT;
	struct peer *p;
	char data[8];
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	p = peer_from_socket(fd[0], "pair");
	ck_assert_int_eq(write(fd[1], "abcdef", 6), 6);
	ck_assert_int_eq(peer_recv_all(p, data, 4, 5000, &err), 0);
	ck_assert_mem_eq(data, "abcd", 4);
	ck_assert_int_eq(peer_recv_all(p, data, 4, 20, &err), -ETIMEDOUT);
	ck_assert_mem_eq(data, "ef", 2);
	close(fd[1]);
	ck_assert_int_eq(peer_recv_all(p, data, 1, 5000, &err), -EPIPE);
	ck_assert_int_eq(peer_recv_all(p, data, 0, 5000, &err), 0);
	peer_close(p);
}
END_TEST

START_TEST(another_transport)
{
	struct err err = ERR_INIT;
	struct peer *a, *b;
	uint8_t in[8];

	fake_peers(&a, &b);
	ck_assert_str_eq(peer_name(a), "fake");
	ck_assert_int_eq(peer_send(a, "hello", 5, 100, &err), 0);
	ck_assert_int_eq(peer_recv(b, in, 3, 100, &err), 3);
	ck_assert_int_eq(peer_recv(b, in, 8, 100, &err), 2);
	ck_assert_int_eq(peer_recv(b, in, 8, 10, &err), -EAGAIN);
	peer_shutdown(b);
	ck_assert_int_eq(peer_recv(a, in, 8, -1, &err), 0);
	ck_assert_int_eq(peer_send(a, "x", 1, 100, &err), -EPIPE);
	peer_close(a);
	peer_close(b);
}
END_TEST

static void add_tests(TCase *tc)
{
	unit_mostly_waits();
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, same_key_talks);
	tcase_add_test(tc, other_key_is_refused);
	tcase_add_test(tc, no_key_is_refused);
	tcase_add_test(tc, garbage_and_silence_are_refused);
	tcase_add_test(tc, end_in_the_handshake_is_no_other_key);
	tcase_add_test(tc, replayed_handshake_is_refused);
	tcase_add_test(tc, key_files);
	tcase_add_test(tc, bad_addresses);
	tcase_add_test(tc, silent_connections_delay_nobody);
	tcase_add_test(tc, who_begins_late_is_let_in);
	tcase_add_test(tc, who_only_looks_is_not_told_off);
	tcase_add_test(tc, a_crowd_gives_way_to_who_comes_last);
	tcase_add_test(tc, a_crowd_of_one_host_gives_way_itself);
	tcase_add_test(tc, who_accepts_can_be_woken);
	tcase_add_test(tc, listening_removes_old_sockets_and_no_files);
	tcase_add_test(tc, so_many_bytes_or_an_error);
	tcase_add_test(tc, another_transport);
}

UNIT_MAIN("peer", add_tests)
