// SPDX-License-Identifier: GPL-2.0-or-later
/* The stream to the other replica: who holds the key gets in, nobody else. */
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

struct side {
	struct peer_key *key;
	struct peer *peer;
	struct err err;
};

static void *connect_side(void *arg)
{
	struct side *s = arg;

	s->peer = peer_connect(addr, s->key, 1000, &s->err);
	return NULL;
}

/* Both sides with these keys (NULL: bare). True when both are connected. */
static bool meet(struct side *server, struct side *client)
{
	struct err err = ERR_INIT;
	int fd = peer_listen(addr, &err);
	pthread_t t;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pthread_create(&t, NULL, connect_side, client), 0);
	for (int i = 0;
	     i < 200 && !server->peer && (!server->err.code || server->err.code == EAGAIN); i++) {
		server->err.code = 0;
		server->peer = peer_accept(fd, server->key, 500, &server->err);
		if (!server->peer)
			usleep(5000);
	}
	if (!server->peer)
		close(fd);
	pthread_join(t, NULL);
	if (server->peer)
		close(fd);
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
		ck_assert_int_eq(peer_send(a.peer, out + sent, 30000, 1000, &err), 0);
		while (got < sent + 30000) {
			ssize_t n = peer_recv(b.peer, in + got, sizeof(in) - got, 1000, &err);

			ck_assert_int_gt(n, 0);
			got += (size_t)n;
		}
	}
	ck_assert_mem_eq(in, out, sizeof(out));
	ck_assert_int_eq(peer_recv(b.peer, in, 1, 20, &err), -EAGAIN);
	peer_shutdown(a.peer);
	ck_assert_int_le(peer_recv(b.peer, in, 1, 1000, &err), 0);
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

/* Raw bytes to the listener; what it made of them. */
static void raw_client(const void *data, size_t n, struct side *a)
{
	struct err err = ERR_INIT;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = peer_listen(addr, &err), s = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, addr + 5);
	ck_assert_int_eq(connect(s, (struct sockaddr *)&un, sizeof(un)), 0);
	if (n)
		ck_assert_int_eq(send(s, data, n, MSG_NOSIGNAL), (ssize_t)n);
	a->peer = peer_accept(fd, a->key, 300, &a->err);
	close(s);
	close(fd);
}

START_TEST(garbage_and_silence_are_refused)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	struct err err = ERR_INIT;
	struct side a = { .key = peer_key_load(key_path, &err) };
	uint8_t noise[4096];

	raw_client(http, sizeof(http) - 1, &a);
	ck_assert_ptr_null(a.peer);
	raw_client(NULL, 0, &a);
	ck_assert_ptr_null(a.peer);
	ck_assert_int_eq(a.err.code, ETIMEDOUT);
	srandom(1);
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)random();
		noise[0] = 22; /* looks like a TLS handshake record */
		noise[1] = 3;
		noise[2] = 1;
		raw_client(noise, 1 + (size_t)random() % sizeof(noise), &a);
		ck_assert_ptr_null(a.peer);
	}
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
	int fd = peer_listen(addr, &err);
	pthread_t tap, client;
	uint8_t byte;

	snprintf(front, sizeof(front), "unix:%s/front", dir);
	t.listener = peer_listen(front, &err);
	fcntl(t.listener, F_SETFL, 0);
	t.server = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(un.sun_path, addr + 5);
	ck_assert_int_eq(connect(t.server, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(pthread_create(&tap, NULL, tap_thread, &t), 0);
	strcpy(addr, front);
	ck_assert_int_eq(pthread_create(&client, NULL, connect_side, &b), 0);
	a.peer = peer_accept(fd, a.key, 2000, &a.err);
	pthread_join(client, NULL);
	ck_assert(a.peer && b.peer);
	ck_assert_int_eq(peer_send(b.peer, "x", 1, 1000, &err), 0);
	ck_assert_int_eq(peer_recv(a.peer, &byte, 1, 1000, &err), 1);
	close(fd);
	peer_close(a.peer);
	peer_close(b.peer);
	pthread_join(tap, NULL);
	ck_assert_uint_gt(t.n, 100);
	a.peer = NULL;
	snprintf(addr, sizeof(addr), "unix:%s/sock2", dir);
	raw_client(t.bytes, t.n, &a);
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

	ck_assert_int_lt(peer_listen("nonsense", &err), 0);
	ck_assert_int_lt(peer_listen("host:", &err), 0);
	ck_assert_int_lt(peer_listen("127.0.0.1:notaport", &err), 0);
	ck_assert_ptr_null(peer_connect("127.0.0.1:1", NULL, 200, &err));
	ck_assert_int_ne(err.code, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, same_key_talks);
	tcase_add_test(tc, other_key_is_refused);
	tcase_add_test(tc, no_key_is_refused);
	tcase_add_test(tc, garbage_and_silence_are_refused);
	tcase_add_test(tc, replayed_handshake_is_refused);
	tcase_add_test(tc, key_files);
	tcase_add_test(tc, bad_addresses);
}

UNIT_MAIN("peer", add_tests)
