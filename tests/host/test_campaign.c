// SPDX-License-Identifier: GPL-2.0-or-later
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/campaign.h"
#include "host/replay_worker.h"
#include "tests/unit.h"

static struct err err;

START_TEST(intervals)
{
	double low, high;

	share_interval(10, 100, 1.96, &low, &high);
	ck_assert_double_eq_tol(low, 0.0552, 1e-4);
	ck_assert_double_eq_tol(high, 0.1744, 1e-4);
	share_interval(0, 20, 1.96, &low, &high);
	ck_assert_double_eq_tol(low, 0, 1e-9);
	ck_assert_double_eq_tol(high, 0.1611, 1e-4);
	share_interval(20, 20, 1.96, &low, &high);
	ck_assert_double_eq_tol(high, 1, 1e-9);
	share_interval(0, 0, 1.96, &low, &high);
	ck_assert_double_eq_tol(high - low, 1, 1e-9);
}
END_TEST

/* Textbook figures: 95 % and 5 % of an endless population take 385, of 1000 take 278. */
START_TEST(sample_sizes)
{
	double z = share_deviations(0.95);

	ck_assert_double_eq_tol(z, 1.959964, 1e-5);
	ck_assert_double_eq_tol(share_deviations(0.99), 2.575829, 1e-5);
	ck_assert_uint_eq(share_sample(0.05, z, HUGE_VAL), 385);
	ck_assert_uint_eq(share_sample(0.05, z, 1000), 278);
	ck_assert_uint_eq(share_sample(0.01, z, HUGE_VAL), 9604);
	ck_assert_uint_eq(share_sample(0.05, z, 1), 1);
}
END_TEST

/* Whatever comes first, the same experiments are enough. */
START_TEST(enough_is_a_matter_of_numbers)
{
	enum { N = 2000 };
	struct campaign_order forth, back;

	ck_assert(campaign_order_init(&forth, N, 0.05, 1.96));
	ck_assert(campaign_order_init(&back, N, 0.05, 1.96));
	for (unsigned n = 0; n < N && !forth.enough; n++)
		campaign_order_add(&forth, n, n % 7 ? OUTCOME_NONE : OUTCOME_WRONG);
	for (unsigned n = N; n-- > 0;)
		campaign_order_add(&back, n, n % 7 ? OUTCOME_NONE : OUTCOME_WRONG);
	ck_assert(forth.enough && back.enough);
	ck_assert_uint_eq(forth.prefix, back.prefix);
	ck_assert_uint_lt(forth.prefix, N / 2);
	ck_assert_uint_eq(forth.before.outcome[OUTCOME_WRONG], back.before.outcome[OUTCOME_WRONG]);
	ck_assert_double_le(campaign_tally_margin(&forth.before, 1.96), 0.05);
	campaign_order_free(&forth);
	campaign_order_free(&back);
}
END_TEST

START_TEST(a_margin_says_how_many)
{
	static const char text[] = "{\"log\": \"x\", \"margin\": 0.02, \"confidence\": 0.99,"
				   " \"faults\": [{\"place\": \"register\"}]}";
	static const char few[] =
		"{\"log\": \"x\", \"margin\": 0.02, \"from\": 10, \"to\": 15, \"faults\":"
		" [{\"place\": \"register\", \"first\": 3, \"last\": 3}]}";
	struct campaign_plan p;

	ck_assert_int_eq(campaign_plan_parse(&p, text, strlen(text), "plan", &err), 0);
	ck_assert_uint_eq(p.experiments, 4147);
	campaign_plan_free(&p);
	/* 320 faults there are. */
	ck_assert_int_eq(campaign_plan_parse(&p, few, strlen(few), "plan", &err), 0);
	ck_assert_uint_eq(p.experiments, 283);
	campaign_plan_free(&p);
}
END_TEST

/* What is kept has addresses: it is read without the symbols, and tells other symbols apart. */
START_TEST(names_become_addresses)
{
	static const char map[] = "ffffffff81000000 T first\nffffffff81000040 T second\n";
	char path[] = "/tmp/twinstep-map-XXXXXX", text[300];
	struct campaign_plan p, kept;
	int fd = mkstemp(path);

	ck_assert_int_eq(write(fd, map, strlen(map)), (ssize_t)strlen(map));
	close(fd);
	snprintf(text, sizeof(text),
		 "{\"log\": \"x\", \"experiments\": 5, \"symbols\": \"%s\", \"when\": "
		 "{\"executed\": \"second\"}, \"faults\": [{\"place\": \"linear\", "
		 "\"symbol\": \"first\"}]}",
		 path);
	ck_assert_msg(campaign_plan_parse(&p, text, strlen(text), "plan", &err) == 0, "%s",
		      err.text);
	unlink(path);
	ck_assert_msg(campaign_plan_parse(&kept, p.text, strlen(p.text), "kept", &err) == 0, "%s",
		      err.text);
	ck_assert_str_eq(kept.text, p.text);
	ck_assert_uint_eq(kept.fault[0].first, 0xffffffff81000000);
	ck_assert_uint_eq(kept.fault[0].last, 0xffffffff8100003f);
	ck_assert_uint_eq(kept.when.address, 0xffffffff81000040);
	ck_assert_int_eq(kept.when.kind, WHEN_EXECUTED);
	campaign_plan_free(&kept);
	campaign_plan_free(&p);
}
END_TEST

/* It is done to the very packet that the golden run had there, whatever NICs there are. */
START_TEST(faults_of_a_packet)
{
	static const char text[] = "{\"log\": \"x\", \"experiments\": 50, \"together\": 2,"
				   " \"when\": {\"packet\": \"0800\"}, \"faults\":"
				   " [{\"place\": \"packet lost\"}, {\"place\": \"register\"}]}";
	static const char range[] = "{\"log\": \"x\", \"experiments\": 5,"
				    " \"when\": {\"packet\": \"0800\"}, \"faults\":"
				    " [{\"place\": \"packet lost\", \"first\": 1}]}";
	static const struct machine_config config = { .memory = 1 << 20, .nnics = 4 };
	static const struct experiment_moment moment[] = { { 100, 3, 1 }, { 700, 1, 2 } };
	const struct campaign_space space = {
		.start = 100, .end = 5000, .config = &config, .moment = moment, .nmoments = 2
	};
	struct campaign_plan p;
	unsigned seen = 0;

	ck_assert_msg(campaign_plan_parse(&p, text, strlen(text), "plan", &err) == 0, "%s",
		      err.text);
	for (uint64_t n = 0; n < p.experiments; n++) {
		struct fault f[CAMPAIGN_TOGETHER];
		bool of_packet;

		ck_assert(campaign_plan_draw(&p, n, &space, f));
		of_packet = fault_is_packet(f[0].place) || fault_is_packet(f[1].place);
		for (unsigned i = 0; i < 2; i++) {
			ck_assert_uint_eq(f[i].count, of_packet ? 699 : 700);
			ck_assert(!fault_is_packet(f[i].place) ||
				  (f[i].index == 1 && f[i].packet == 2));
			ck_assert(fault_is_packet(f[i].place) || f[i].packet == 0);
		}
		seen |= 1u << of_packet;
	}
	ck_assert_uint_eq(seen, 3);
	campaign_plan_free(&p);
	ck_assert_int_lt(campaign_plan_parse(&p, range, strlen(range), "plan", &err), 0);
	ck_assert_msg(strstr(err.text, "says which NIC") != NULL, "%s", err.text);
	campaign_plan_free(&p);
	err = (struct err)ERR_INIT;
}
END_TEST

/* What a worker may say of an experiment, and what it may not. */
START_TEST(results_that_can_be)
{
	static const char text[] =
		"{\"pair\": [\"--kernel\", \"x\"], \"experiments\": 5,"
		" \"faults\": [{\"place\": \"pair cut\", \"amount\": 40},"
		" {\"place\": \"backup differs\", \"first\": 16, \"last\": 31}]}";
	const struct fault cut = { .place = FAULT_PAIR_CUT, .width = 1, .amount = 40 };
	const struct fault differs = {
		.place = FAULT_BACKUP_DIFFERS, .width = 1, .index = 31, .bit = 7
	};
	struct fault f[8] = { cut, cut, cut, differs, differs, differs, differs, differs };
	struct campaign_plan p;

	ck_assert_msg(campaign_plan_parse(&p, text, strlen(text), "plan", &err) == 0, "%s",
		      err.text);
	ck_assert(campaign_plan_has(&p, &cut) && campaign_plan_has(&p, &differs));
	f[0].amount = 41;
	f[1].index = 1;
	f[2].packet = 1;
	f[3].index = 15;
	f[4].bit = 8;
	f[5].width = 2;
	f[6].place = FAULT_PRIMARY_DIFFERS;
	f[7].place = FAULT_PLACES;
	for (unsigned i = 0; i < 8; i++)
		ck_assert_msg(!campaign_plan_has(&p, &f[i]), "%u", i);
	campaign_plan_free(&p);
	for (enum outcome o = OUTCOME_NONE; o < OUTCOMES; o++)
		ck_assert(outcome_can_be(o, false) || outcome_can_be(o, true));
	ck_assert(outcome_can_be(OUTCOME_LOST, true) && !outcome_can_be(OUTCOME_LOST, false));
	ck_assert(outcome_can_be(OUTCOME_CRASH, false) && !outcome_can_be(OUTCOME_CRASH, true));
	ck_assert(!outcome_can_be(OUTCOMES, false) && !outcome_can_be(OUTCOMES, true));
}
END_TEST

/* A worker that beats, and one that stands still. */
START_TEST(workers_are_watched)
{
	struct replay_watch w;
	uint64_t last = 0;
	int status;
	pid_t pid;

	ck_assert_int_eq(replay_watch_open(&w), 0);
	ck_assert_uint_eq(replay_watch_look(&w), 1);
	ck_assert_uint_eq(replay_watch_look(&w), 2);
	pid = fork();
	if (pid == 0) {
		replay_watch_beat(w.beats);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_uint_eq(replay_watch_look(&w), 0);
	ck_assert_uint_eq(replay_watch_look(&w), 1);
	replay_watch_reset(&w);
	ck_assert_uint_eq(replay_watch_look(&w), 1);
	replay_watch_close(&w);
	replay_watch_beat(NULL); /* nobody watches */
	ck_assert(replay_watch_is_time(&last));
	ck_assert_uint_gt(last, 0);
}
END_TEST

static bool same(const char *want, const char *shown, bool again, uint64_t *differs)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	bool is;

	buf_put(&a, want, strlen(want));
	buf_put(&b, shown, strlen(shown));
	is = campaign_pair_same(&a, &b, again, differs);
	buf_free(&a);
	buf_free(&b);
	return is;
}

/* A replica that goes on may say once more what the other one has said already, and nothing else.
 */
START_TEST(a_piece_may_come_again)
{
	uint64_t at;

	ck_assert(same("one two three", "one two three", false, &at));
	ck_assert(same("one two three", "one two two three", true, &at));
	ck_assert(same("one two three", "one two threee", true, &at));
	ck_assert(same("one two three", "oone two three", true, &at));
	ck_assert(!same("one two three", "one two two three", false, &at));
	ck_assert(!same("one two three", "one two fro three", true, &at));
	ck_assert(!same("one two three", "one three", true, &at)); /* something is missing */
	ck_assert_uint_eq(at, 5);
	ck_assert(!same("one two three", "one two", true, &at));
	ck_assert_uint_eq(at, 7); /* all that there is */
	ck_assert(!same("one two three", "one TWO three", true, &at));
	ck_assert_uint_eq(at, 4);
	ck_assert(same("", "", true, &at));
	ck_assert(!same("", "x", true, &at));
}
END_TEST

/* One that ends, with its status, and one that hears no signal that can be ignored. */
START_TEST(workers_end)
{
	int status[2], ready[2];
	pid_t pid[2];
	char go;

	ck_assert_int_eq(pipe(ready), 0);
	for (unsigned i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		signal(SIGTERM, SIG_IGN);
		if (write(ready[1], "", 1) != 1 || !i)
			_exit(7);
		for (;;)
			pause();
	}
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(read(ready[0], &go, 1), 1);
	kill(pid[1], SIGTERM);
	replay_worker_reap(pid, 1, 60000, status);
	replay_worker_reap(pid + 1, 1, 50, status + 1);
	ck_assert(WIFEXITED(status[0]) && WEXITSTATUS(status[0]) == 7);
	ck_assert(WIFSIGNALED(status[1]) && WTERMSIG(status[1]) == SIGKILL);
	close(ready[0]);
	close(ready[1]);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, intervals);
	tcase_add_test(tc, sample_sizes);
	tcase_add_test(tc, enough_is_a_matter_of_numbers);
	tcase_add_test(tc, a_margin_says_how_many);
	tcase_add_test(tc, names_become_addresses);
	tcase_add_test(tc, faults_of_a_packet);
	tcase_add_test(tc, results_that_can_be);
	tcase_add_test(tc, a_piece_may_come_again);
	tcase_add_test(tc, workers_end);
	tcase_add_test(tc, workers_are_watched);
}

UNIT_MAIN("campaign", add)
