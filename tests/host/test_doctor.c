// SPDX-License-Identifier: GPL-2.0-or-later
/* What `twinstep doctor` says of set-ups that are in order, and of broken ones. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/version.h"
#include "host/doctor.h"
#include "host/guest_conf.h"
#include "hypervisor/cpuid.h"
#include "net/peer.h"
#include "record/codec.h"
#include "replica/arbiter.h"
#include "replica/wire.h"
#include "tests/unit.h"

/* ---- judgements ---- */

START_TEST(a_link_is_judged_by_losses_and_time)
{
	struct doctor_finding f;
	struct doctor_link l = {
		.tries = 20, .answers = 20, .min_ms = 0.1, .max_ms = 3, .timeout_ms = 200
	};

	doctor_judge_link(&l, "h:1", &f);
	ck_assert_int_eq(f.verdict, DOCTOR_GOOD);
	l.max_ms = 150;
	doctor_judge_link(&l, "h:1", &f);
	ck_assert_int_eq(f.verdict, DOCTOR_WARN);
	ck_assert_ptr_nonnull(strstr(f.cure, "timeout"));
	l.answers = 17;
	doctor_judge_link(&l, "h:1", &f);
	ck_assert_int_eq(f.verdict, DOCTOR_WARN);
	ck_assert_ptr_nonnull(strstr(f.text, "3 of 20 connections got no answer"));
	l.answers = 0;
	doctor_judge_link(&l, "h:1", &f);
	ck_assert_int_eq(f.verdict, DOCTOR_BAD);
}
END_TEST

START_TEST(a_disk_is_judged_by_its_state)
{
	static const enum doctor_verdict idle[DISK_STATES] = {
		[DISK_IN_STEP] = DOCTOR_GOOD, [DISK_AHEAD] = DOCTOR_GOOD,
		[DISK_BEHIND] = DOCTOR_WARN,  [DISK_SYNCING] = DOCTOR_BAD,
		[DISK_FOLLOWS] = DOCTOR_WARN,
	};
	struct doctor_finding f;

	for (unsigned s = 0; s < DISK_STATES; s++) {
		struct disk_meta_identity id = { .state = s };

		doctor_judge_disk(&id, "/d", false, &f);
		ck_assert_int_eq(f.verdict, idle[s]);
		ck_assert_int_eq(f.cure == NULL, f.verdict == DOCTOR_GOOD);
		doctor_judge_disk(&id, "/d", true, &f);
		ck_assert_int_eq(f.verdict, DOCTOR_GOOD);
	}
}
END_TEST

static enum doctor_verdict fate(const char *state, bool live, struct doctor_finding *f)
{
	json_t *status = json_pack("{s:s, s:b, s:s}", "state", state, "live", live, "peer", "p:1");
	struct doctor_fate in = { .status = status, .arbiter_answers = true };

	doctor_judge_fate(&in, f);
	json_decref(status);
	return f->verdict;
}

START_TEST(fate_follows_from_the_state)
{
	struct doctor_fate dark = { 0 };
	struct doctor_finding f;

	ck_assert_int_eq(fate("protected", true, &f), DOCTOR_GOOD);
	ck_assert_ptr_nonnull(strstr(f.text, "go on at p:1"));
	ck_assert_int_eq(fate("backup", false, &f), DOCTOR_GOOD);
	ck_assert_ptr_nonnull(strstr(f.text, "go on here"));
	ck_assert_int_eq(fate("alone", true, &f), DOCTOR_WARN);
	ck_assert_int_eq(fate("joining", true, &f), DOCTOR_WARN);
	ck_assert_int_eq(fate("following", false, &f), DOCTOR_WARN);
	doctor_judge_fate(&dark, &f);
	ck_assert_int_eq(f.verdict, DOCTOR_BAD);
}
END_TEST

/* ---- whole set-ups ---- */

static char dir[] = "/tmp/twinstep-doctor-XXXXXX";
static char conf_path[100], key_path[100], peer_addr[120];
static struct doctor d;

static void put(const char *name, const char *text, mode_t mode)
{
	char path[120];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	fchmod(fd, mode);
	close(fd);
}

static void make_disk(enum disk_meta_state state)
{
	struct disk_meta_identity id = {
		.image_bytes = 1 << 20, .current = 5, .generation = 3, .state = state
	};
	struct err err = ERR_INIT;
	char path[120];
	int fd;

	snprintf(path, sizeof(path), "%s/disk.img", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
	strcat(path, ".twin");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(disk_meta_format(fd, path, &id, &err), 0);
	close(fd);
}

/* All in order, but that no replica runs and nobody listens at the other host's address. */
static void make_guest(void)
{
	char host[256] = "", text[2000], spec[120];
	struct err err = ERR_INIT;

	gethostname(host, sizeof(host) - 1);
	ck_assert_ptr_nonnull(mkdtemp(strcpy(dir, "/tmp/twinstep-doctor-XXXXXX")));
	snprintf(conf_path, sizeof(conf_path), "%s/guest.conf", dir);
	snprintf(key_path, sizeof(key_path), "%s/key", dir);
	snprintf(peer_addr, sizeof(peer_addr), "unix:%s/peer", dir);
	snprintf(spec, sizeof(spec), "file:%s/arbiter", dir);
	snprintf(text, sizeof(text),
		 "kernel = %s/kernel\nkey-file = %s\narbiter = %s\nconnect = %s\n"
		 "disk = %s/disk.img\n[host %s]\nlisten = unix:%s/own\n",
		 dir, key_path, spec, peer_addr, dir, host, dir);
	put("guest.conf", text, 0600);
	put("kernel", "k", 0600);
	ck_assert_int_eq(peer_key_create(key_path, &err), 0);
	ck_assert_int_eq(arbiter_init(spec, &err), 0);
	make_disk(DISK_IN_STEP);
}

static void remove_guest(void)
{
	char command[120];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void examine(void)
{
	doctor_begin(&d);
	doctor_guest(&d, conf_path);
}

/* Verdict of a check, and its text in *text; NULL: it was not made. */
static const char *verdict(const char *check, const char **text)
{
	const json_t *o;
	size_t i;

	json_array_foreach(d.checks, i, o)
	{
		if (strcmp(json_string_value(json_object_get(o, "check")), check))
			continue;
		if (text)
			*text = json_string_value(json_object_get(o, "text"));
		return json_string_value(json_object_get(o, "verdict"));
	}
	return NULL;
}

#define EXPECT(check, what) ck_assert_pstr_eq(verdict(check, &text), what)

START_TEST(a_good_set_up_is_told_what_it_lacks)
{
	const char *text;

	examine();
	EXPECT("config", "good");
	EXPECT("key", "good");
	EXPECT("arbiter", "good");
	EXPECT("disk", "good");
	EXPECT("link", "good"); /* its host says that nobody listens */
	EXPECT("peer", "note");
	EXPECT("failover", "warning");
	ck_assert_ptr_nonnull(strstr(text, "no replica runs here"));
	ck_assert_int_eq(d.worst, DOCTOR_WARN);
}
END_TEST

START_TEST(a_key_that_others_can_read_is_bad)
{
	const char *text;

	chmod(key_path, 0644);
	examine();
	EXPECT("config", "bad");
	ck_assert_ptr_nonnull(strstr(text, key_path));
	ck_assert_ptr_nonnull(strstr(text, "chmod 600"));
	ck_assert_int_eq(d.worst, DOCTOR_BAD);
}
END_TEST

START_TEST(an_arbiter_that_is_gone_is_bad)
{
	char was[120], now[120];
	const char *text;

	snprintf(was, sizeof(was), "%s/arbiter", dir);
	snprintf(now, sizeof(now), "%s/elsewhere", dir);
	ck_assert_int_eq(rename(was, now), 0);
	examine();
	EXPECT("arbiter", "bad");
	EXPECT("failover", "bad");
	ck_assert_ptr_nonnull(strstr(text, "the arbiter does not answer"));
}
END_TEST

START_TEST(old_disks_are_told_of)
{
	const char *text;

	make_disk(DISK_BEHIND);
	examine();
	EXPECT("disk", "warning");
	ck_assert_ptr_nonnull(strstr(text, "disk.img: behind in generation 3"));
	doctor_end(&d);
	make_disk(DISK_SYNCING);
	examine();
	EXPECT("disk", "bad");
	doctor_end(&d);
	put("disk.img.twin", "this is no metadata", 0600);
	examine();
	EXPECT("disk", "bad");
	ck_assert_ptr_nonnull(strstr(text, "disk.img.twin"));
}
END_TEST

START_TEST(a_faulty_file_ends_the_examination)
{
	const char *text;

	put("guest.conf", "kernl = x\n", 0600);
	examine();
	EXPECT("config", "bad");
	ck_assert_ptr_nonnull(strstr(text, "guest.conf:1:1: unknown option 'kernl'"));
	ck_assert_ptr_null(verdict("arbiter", NULL));
	doctor_end(&d);
	unlink(conf_path);
	examine();
	EXPECT("config", "bad");
	ck_assert_ptr_nonnull(strstr(text, conf_path));
}
END_TEST

START_TEST(a_host_that_is_silent_is_bad)
{
	char text_conf[2000], host[256] = "";
	const char *text;

	gethostname(host, sizeof(host) - 1);
	snprintf(text_conf, sizeof(text_conf),
		 "kernel = %s/kernel\nkey-file = %s\narbiter = file:%s/arbiter\n"
		 "connect = no.such.host.invalid:7777\n[host %s]\nlisten = unix:%s/own\n",
		 dir, key_path, dir, host, dir);
	put("guest.conf", text_conf, 0600);
	examine();
	EXPECT("link", "bad");
	ck_assert_ptr_nonnull(strstr(text, "no.such.host.invalid"));
	EXPECT("peer", "note");
}
END_TEST

/* ---- somebody at the other host's address ---- */

struct other {
	pthread_t thread;
	struct peer_key *key;
	struct peer_listener *listener;
	const char *version; /* that its HELLO tells; NULL: it refuses */
	char answer[200];    /* the frame that came back */
	atomic_bool over;
};

static void say_hello(struct other *o, struct wire *w)
{
	struct wire_hello h = { .wire_version = WIRE_VERSION,
				.codec_version = CODEC_VERSION,
				.primary = true,
				.cpuid_digest = cpuid_v1_digest(),
				.timeout_ms = 200,
				.hang_timeout_ms = 5000 };
	struct buf b = BUF_INIT;
	struct wire_frame f;

	machine_config_defaults(&h.config);
	strcpy(h.version, o->version);
	wire_hello_save(&h, &b);
	wire_send(w, WIRE_HELLO, b.data, b.len, false, 1000, NULL);
	buf_free(&b);
	if (wire_recv(w, &f, 5000, NULL) == 1)
		snprintf(o->answer, sizeof(o->answer), "%.*s", (int)f.len, (const char *)f.data);
}

static void *be_other(void *arg)
{
	struct other *o = arg;

	while (!atomic_load(&o->over)) {
		struct peer *p = peer_accept(o->listener, 50, NULL);
		struct wire w;

		if (!p)
			continue;
		wire_init(&w, p);
		if (o->version)
			say_hello(o, &w);
		else
			wire_send(&w, WIRE_REFUSE, "I have one", 10, false, 1000, NULL);
		wire_fini(&w);
		peer_close(p);
	}
	return NULL;
}

static void meet(struct other *o, const char *key)
{
	struct err err = ERR_INIT;

	o->key = peer_key_load(key, &err);
	o->listener = peer_listen(peer_addr, o->key, &err);
	ck_assert_ptr_nonnull(o->listener);
	ck_assert_int_eq(pthread_create(&o->thread, NULL, be_other, o), 0);
	examine();
	atomic_store(&o->over, true);
	pthread_join(o->thread, NULL);
	peer_listener_close(o->listener);
	peer_key_free(o->key);
	unlink(peer_addr + 5);
}

START_TEST(the_other_version_is_asked_for)
{
	struct other same = { .version = twinstep_version }, older = { .version = "0.9" };
	const char *text;

	meet(&same, key_path);
	EXPECT("peer", "good");
	ck_assert_ptr_nonnull(strstr(same.answer, "twinstep doctor"));
	doctor_end(&d);
	meet(&older, key_path);
	EXPECT("peer", "warning");
	ck_assert_ptr_nonnull(strstr(text, "version 0.9"));
}
END_TEST

START_TEST(a_busy_side_proves_its_key)
{
	struct other busy = { 0 };
	const char *text;

	meet(&busy, key_path);
	EXPECT("peer", "note");
	ck_assert_ptr_nonnull(strstr(text, "holds the key"));
	ck_assert_ptr_nonnull(strstr(text, "I have one"));
}
END_TEST

START_TEST(another_key_is_bad)
{
	struct other stranger = { .version = twinstep_version };
	struct err err = ERR_INIT;
	char path[120];
	const char *text;

	snprintf(path, sizeof(path), "%s/key2", dir);
	ck_assert_int_eq(peer_key_create(path, &err), 0);
	meet(&stranger, path);
	EXPECT("peer", "bad");
}
END_TEST

static void begin(void)
{
	signal(SIGPIPE, SIG_IGN);
	make_guest();
}

static void finish(void)
{
	doctor_end(&d);
	remove_guest();
}

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, begin, finish);
	tcase_add_test(tc, a_link_is_judged_by_losses_and_time);
	tcase_add_test(tc, a_disk_is_judged_by_its_state);
	tcase_add_test(tc, fate_follows_from_the_state);
	tcase_add_test(tc, a_good_set_up_is_told_what_it_lacks);
	tcase_add_test(tc, a_key_that_others_can_read_is_bad);
	tcase_add_test(tc, an_arbiter_that_is_gone_is_bad);
	tcase_add_test(tc, old_disks_are_told_of);
	tcase_add_test(tc, a_faulty_file_ends_the_examination);
	tcase_add_test(tc, a_host_that_is_silent_is_bad);
	tcase_add_test(tc, the_other_version_is_asked_for);
	tcase_add_test(tc, a_busy_side_proves_its_key);
	tcase_add_test(tc, another_key_is_bad);
}

UNIT_MAIN("doctor", add_tests)
