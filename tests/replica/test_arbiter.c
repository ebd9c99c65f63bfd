// SPDX-License-Identifier: GPL-2.0-or-later
/* The arbiter: each generation has one owner, for ever, however many ask at once. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "isolation/keeper.h"
#include "replica/arbiter.h"
#include "replica/witness.h"
#include "tests/unit.h"

static char dir[64], spec[600];

/* The kinds. An etcd comes from tests/e2e/etcd.sh, which starts it. */
enum { KIND_FILE, KIND_ETCD, KIND_WITNESS, KINDS };

static pid_t witness; /* 0: none runs */

/* A witness in a process of its own, at a socket in dir; its name is in spec. */
static void start_witness(void)
{
	static volatile bool stop;
	char key[100], addr[100], state[100];
	struct err err = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(addr, sizeof(addr), "unix:%s/socket", dir);
	snprintf(state, sizeof(state), "%s/state", dir);
	ck_assert_int_eq(peer_key_create(key, &err), 0);
	witness = fork();
	if (witness == 0) {
		log_set_level(LOG_ERROR);
		_exit(witness_serve(state, addr, peer_key_load(key, NULL), &stop, NULL) ? 1 : 0);
	}
	snprintf(spec, sizeof(spec), "witness:%s/guest-1,key=%s", addr, key);
	for (unsigned i = 0; i < 1000 && arbiter_init(spec, &err) < 0; i++)
		usleep(10000);
}

static void stop_witness(void)
{
	if (witness) {
		kill(witness, SIGKILL);
		waitpid(witness, NULL, 0);
	}
	witness = 0;
}

/* A new arbiter of that kind; its name is in spec. NULL: there is none here. */
static struct arbiter *open_new(int kind)
{
	const char *etcd = getenv("ARBITER_ETCD");
	struct err err = ERR_INIT;
	struct arbiter *a;

	strcpy(dir, "/tmp/twinstep-arbiter-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	if (kind == KIND_FILE)
		snprintf(spec, sizeof(spec), "file:%s/deep", dir);
	else if (kind == KIND_WITNESS)
		start_witness();
	else
		snprintf(spec, sizeof(spec), "%s/%s", etcd, dir + 5);
	if (kind != KIND_ETCD)
		ck_assert_msg(arbiter_init(spec, &err) == 0, "%s", err.text);
	a = kind != KIND_ETCD || etcd ? arbiter_open(spec, &err) : NULL;
	ck_assert_msg(a != NULL || (kind == KIND_ETCD && !etcd), "%s", err.text);
	if (!a)
		rmdir(dir);
	return a;
}

static void clean(struct arbiter *a)
{
	char cmd[128];

	arbiter_close(a);
	stop_witness();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(first_one_wins)
{
	const uint8_t me[ARBITER_ID_LEN] = { 1 }, you[ARBITER_ID_LEN] = { 2 };
	uint8_t owner[ARBITER_ID_LEN];
	struct arbiter *a = open_new(_i);
	struct err err = ERR_INIT;
	uint64_t last = 9;

	if (!a)
		return;
	ck_assert_int_eq(arbiter_last(a, &last, &err), 0);
	ck_assert_uint_eq(last, 0);
	ck_assert_int_eq(arbiter_owner(a, 1, owner, &err), 0);
	ck_assert_int_eq(arbiter_take(a, 1, me, &err), 1);
	ck_assert_int_eq(arbiter_take(a, 1, you, &err), 0);
	ck_assert_int_eq(arbiter_take(a, 1, me, &err), 1);
	ck_assert_int_eq(arbiter_take(a, 2, you, &err), 1);
	ck_assert_int_eq(arbiter_take(a, 0, me, &err), -EPERM);
	ck_assert_int_eq(arbiter_take(a, 4, me, &err), -EPERM); /* 3 is nobody's */
	ck_assert_int_eq(arbiter_owner(a, 4, owner, &err), 0);
	ck_assert_int_eq(arbiter_owner(a, 1, owner, &err), 1);
	ck_assert_mem_eq(owner, me, sizeof(me));
	ck_assert_int_eq(arbiter_last(a, &last, &err), 0);
	ck_assert_uint_eq(last, 2);
	clean(a);
}
END_TEST

#define RACERS 8
#define ROUNDS 25

static void race(int n)
{
	uint8_t id[ARBITER_ID_LEN] = { (uint8_t)(n + 1) };
	struct err err = ERR_INIT;
	struct arbiter *a = arbiter_open(spec, &err);
	int won = 0;

	for (uint64_t g = 1; a && g <= ROUNDS; g++)
		won += arbiter_take(a, g, id, &err) == 1;
	_exit(a ? won : 255);
}

START_TEST(one_winner_of_many)
{
	struct arbiter *a = open_new(_i);
	int status, won = 0;

	if (!a)
		return;
	for (int i = 0; i < RACERS; i++) {
		if (fork() == 0)
			race(i);
	}
	for (int i = 0; i < RACERS; i++) {
		ck_assert_int_gt(wait(&status), 0);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 255);
		won += WEXITSTATUS(status);
	}
	ck_assert_int_eq(won, ROUNDS);
	clean(a);
}
END_TEST

START_TEST(damage_is_no_victory)
{
	const uint8_t me[ARBITER_ID_LEN] = { 1 };
	struct arbiter *a = open_new(KIND_FILE);
	struct err err = ERR_INIT;
	char path[700];
	int fd;

	snprintf(path, sizeof(path), "%s/generation-1", spec + 5);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "zz", 2), 2);
	close(fd);
	ck_assert_int_lt(arbiter_take(a, 1, me, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "damaged"));
	clean(a);
}
END_TEST

/* The requests of arbiter.c, as whoever has taken over a replica may send them. */
enum { ASK_TAKE = KEEPER_SERVICE };

static int ask_take(struct arbiter *a, uint64_t generation)
{
	struct keeper_message m = { .op = ASK_TAKE, .arg = generation, .data = { 7 } };

	arbiter_serve(a, &m);
	return m.result;
}

START_TEST(a_replica_takes_in_order_and_not_for_ever)
{
	const uint8_t other[ARBITER_ID_LEN] = { 1 };
	struct arbiter *a = open_new(_i);
	struct err err = ERR_INIT;
	uint64_t g = 1, last;

	if (!a)
		return;
	ck_assert_int_eq(ask_take(a, 0), -EPERM);
	ck_assert_int_eq(ask_take(a, 2), -EPERM);
	ck_assert_int_eq(ask_take(a, UINT64_MAX), -EPERM);
	ck_assert_int_eq(arbiter_last(a, &last, &err), 0);
	ck_assert_uint_eq(last, 0);
	while (g < 2000 && ask_take(a, g) == 1)
		g++;
	ck_assert_uint_gt(g, 100); /* what an unlucky pair may need */
	ck_assert_uint_lt(g, 1000);
	ck_assert_int_eq(ask_take(a, g), -EAGAIN);
	ck_assert_int_eq(ask_take(a, g - 1), 1); /* is ours already */
	ck_assert_int_eq(arbiter_take(a, g, other, &err), 1);
	ck_assert_int_eq(ask_take(a, g), 0);
	clean(a);
}
END_TEST

/* As from inside a jail: the descriptor is the keeper's, and each request goes through it. */
START_TEST(a_keeper_asks_for_it)
{
	const uint8_t me[ARBITER_ID_LEN] = { 1 }, you[ARBITER_ID_LEN] = { 2 };
	uint8_t owner[ARBITER_ID_LEN];
	struct arbiter *a = open_new(_i);
	struct err err = ERR_INIT;
	struct keeper_post post;
	struct keeper *k;
	uint64_t last;

	if (!a)
		return;
	post = arbiter_post(a);
	k = keeper_start(&post, &err);
	ck_assert_msg(k != NULL, "%s", err.text);
	arbiter_delegate(a, k);
	ck_assert_int_eq(arbiter_post(a).fd, -1);
	ck_assert_int_eq(arbiter_take(a, 1, me, &err), 1);
	ck_assert_int_eq(arbiter_take(a, 1, you, &err), 0);
	ck_assert_int_eq(arbiter_take(a, 3, me, &err), -EPERM);
	ck_assert_ptr_nonnull(strstr(err.text, "not the next one"));
	ck_assert_int_eq(arbiter_owner(a, 1, owner, &err), 1);
	ck_assert_mem_eq(owner, me, sizeof(me));
	ck_assert_int_eq(arbiter_last(a, &last, &err), 0);
	ck_assert_uint_eq(last, 1);
	keeper_end(k);
	clean(a);
}
END_TEST

/* A directory that is not mounted must not decide alone. */
START_TEST(a_directory_is_an_arbiter_when_it_is_marked)
{
	const uint8_t me[ARBITER_ID_LEN] = { 1 };
	struct arbiter *a = open_new(KIND_FILE);
	struct err err = ERR_INIT;
	char cmd[2000], other[80];

	ck_assert_int_eq(arbiter_init(spec, &err), 0); /* stays the same one */
	ck_assert_int_eq(arbiter_take(a, 1, me, &err), 1);
	snprintf(other, sizeof(other), "file:%s/other", dir);
	ck_assert_ptr_null(arbiter_open(other, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "is it mounted?"));
	ck_assert_int_eq(mkdir(other + 5, 0700), 0);
	ck_assert_ptr_null(arbiter_open(other, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "twinstep arbiter init"));
	snprintf(other, sizeof(other), "file:%s/no/parent", dir);
	ck_assert_int_eq(arbiter_init(other, &err), -ENOENT);
	/* Another one in its place, and none at all. */
	snprintf(cmd, sizeof(cmd),
		 "cd %s && echo 0123456789abcdef0123456789abcdef >twinstep-arbiter", spec + 5);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(arbiter_take(a, 2, me, &err), -ESTALE);
	snprintf(cmd, sizeof(cmd), "rm %s/twinstep-arbiter", spec + 5);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(arbiter_take(a, 2, me, &err), -ENOENT);
	clean(a);
}
END_TEST

START_TEST(bad_specs)
{
	static const char *const bad[] = {
		"etcd:127.0.0.1:1/x",
		"etcd://",
		"etcd://127.0.0.1:1",
		"etcd://127.0.0.1:1/",
		"etcd:///x",
		"etcd://127.0.0.1:0/x",
		"etcd://127.0.0.1:x/x",
		"etcd://127.0.0.1:99999/x",
		"etcd://[::1/x",
		"etcd://127.0.0.1:1/a b",
		"etcd://127.0.0.1:1/x,so",
		"etcd://127.0.0.1:1/x,cert=/dev/null/etcd",
		"etcd://a b:1/x",
		"etcd://1,1,1,1,1,1,1,1,1,1/x",
		"etcd://no.such.host.invalid:1/x",
	};
	struct err err = ERR_INIT;

	ck_assert_ptr_null(arbiter_open("nonsense", &err));
	ck_assert_ptr_null(arbiter_open("file:", &err));
	ck_assert_ptr_null(arbiter_open("file:/proc/no/such/place", &err));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_ptr_null(arbiter_open(bad[i], &err));
		ck_assert_ptr_nonnull(strstr(err.text, "etcd"));
	}
	ck_assert_int_ne(err.code, 0);
}
END_TEST

START_TEST(a_witness_knows_its_guests_and_its_key)
{
	struct arbiter *a = open_new(KIND_WITNESS);
	struct err err = ERR_INIT;
	char other[700];

	snprintf(other, sizeof(other), "witness:unix:%s/socket/guest-2,key=%s/key", dir, dir);
	ck_assert_ptr_null(arbiter_open(other, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "knows no guest guest-2"));
	snprintf(other, sizeof(other), "%s/key2", dir);
	ck_assert_int_eq(peer_key_create(other, &err), 0);
	snprintf(other, sizeof(other), "witness:unix:%s/socket/guest-1,key=%s/key2", dir, dir);
	ck_assert_ptr_null(arbiter_open(other, &err));
	ck_assert_ptr_null(arbiter_open("witness:127.0.0.1:1/guest", &err));
	ck_assert_ptr_nonnull(strstr(err.text, "key=FILE"));
	ck_assert_ptr_null(arbiter_open("witness:127.0.0.1:1/../x,key=/k", &err));
	clean(a);
}
END_TEST

/* One that has been killed and started again knows what it knew. */
START_TEST(a_witness_forgets_nothing)
{
	const uint8_t me[ARBITER_ID_LEN] = { 1 }, you[ARBITER_ID_LEN] = { 2 };
	struct arbiter *a = open_new(KIND_WITNESS);
	struct err err = ERR_INIT;
	char cmd[200];

	ck_assert_int_eq(arbiter_take(a, 1, me, &err), 1);
	stop_witness();
	ck_assert_int_lt(arbiter_take(a, 2, you, &err), 0);
	snprintf(cmd, sizeof(cmd), "rm %s/key %s/socket", dir, dir);
	ck_assert_int_eq(system(cmd), 0);
	start_witness();
	arbiter_close(a);
	a = arbiter_open(spec, &err);
	ck_assert_msg(a != NULL, "%s", err.text);
	ck_assert_int_eq(arbiter_take(a, 1, you, &err), 0);
	ck_assert_int_eq(arbiter_take(a, 2, you, &err), 1);
	clean(a);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, a_witness_knows_its_guests_and_its_key);
	tcase_add_test(tc, a_witness_forgets_nothing);
	tcase_add_loop_test(tc, first_one_wins, 0, KINDS);
	tcase_add_loop_test(tc, one_winner_of_many, 0, KINDS);
	tcase_add_test(tc, damage_is_no_victory);
	tcase_add_loop_test(tc, a_replica_takes_in_order_and_not_for_ever, 0, KINDS);
	tcase_add_loop_test(tc, a_keeper_asks_for_it, 0, KINDS);
	tcase_add_test(tc, a_directory_is_an_arbiter_when_it_is_marked);
	tcase_add_test(tc, bad_specs);
}

UNIT_MAIN("arbiter", add_tests)
