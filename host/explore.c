// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs have numbers, and what run n changes follows from the seed and n alone. The failure that is
 * kept is that of the lowest number, whichever worker was the fastest.
 */
#include "host/explore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/campaign.h"
#include "host/exit.h"

#define NONE UINT64_MAX

struct explore {
	const struct options *o;
	const char *log;
	struct explore_crew *crew;
	struct explore_space space;
	struct explore_failure failure;
	struct explore_answer answer;
	regex_t after;
	bool has_after, has_console;
	uint64_t runs, shrinking;     /* runs so far; of them, to make it fewer */
	uint64_t doing[EXPLORE_JOBS]; /* run that a worker is at; NONE: none */
	uint64_t failed;	      /* the lowest that did; NONE */
	struct fault fault[DEVIATE_FAULTS];
	size_t nfaults, drawn; /* the former falls while they are made fewer */
	uint64_t began, shown;
};

static void show_progress(struct explore *e)
{
	uint64_t now = host_mono_ns();
	double s = (double)(now - e->began) / 1e9;

	if (!isatty(STDERR_FILENO) || now - e->shown < 200000000)
		return;
	e->shown = now;
	if (e->failed == NONE)
		fprintf(stderr,
			"\r\033[Ktwinstep: %" PRIu64 " of %" PRIu64
			" runs, %.1f a second, none has failed",
			e->runs, e->o->runs, s > 0 ? (double)e->runs / s : 0);
	else
		fprintf(stderr,
			"\r\033[Ktwinstep: run %" PRIu64 " fails; %zu of its %zu changes are left",
			e->failed, e->nfaults, e->drawn);
}

/* ---- the search ---- */

static int judge(struct explore *e, struct err *err)
{
	e->runs++;
	show_progress(e);
	return explore_judge(&e->failure, &e->answer, err);
}

static int ask_run(struct explore *e, unsigned worker, uint64_t n, struct err *err)
{
	struct fault fault[DEVIATE_FAULTS];
	size_t count =
		explore_draw(&e->space, e->o->explore_seed, n, (unsigned)e->o->changes, fault);

	e->doing[worker] = n;
	return explore_ask(e->crew, worker, fault, count, err);
}

/* The next answer, and whether its run failed. */
static int hear_run(struct explore *e, struct err *err)
{
	int worker = explore_hear(e->crew, &e->answer, err), ret;

	if (worker < 0)
		return worker;
	ret = judge(e, err);
	if (ret > 0 && e->doing[worker] < e->failed)
		e->failed = e->doing[worker];
	e->doing[worker] = NONE;
	return ret < 0 ? ret : 0;
}

static int search(struct explore *e, struct err *err)
{
	unsigned jobs = (unsigned)e->o->jobs, busy;
	uint64_t next = 0;
	int ret = 0;

	for (unsigned i = 0; i < jobs; i++)
		e->doing[i] = NONE;
	do {
		busy = 0;
		for (unsigned i = 0; i < jobs && ret == 0; i++) {
			if (e->doing[i] == NONE && e->failed == NONE && next < e->o->runs)
				ret = ask_run(e, i, next++, err);
			/* What is behind a failure does not matter any more. */
			busy += e->doing[i] != NONE && e->doing[i] < e->failed;
		}
		if (ret == 0 && busy)
			ret = hear_run(e, err);
	} while (ret == 0 && busy);
	return ret;
}

/* ---- fewer ---- */

static int fails(void *ctx, const struct fault *faults, size_t n)
{
	struct explore *e = ctx;
	struct err err = ERR_INIT;
	unsigned worker = 0;
	int ret;

	while (e->doing[worker] != NONE)
		worker++;
	ret = explore_ask(e->crew, worker, faults, n, &err);
	while (ret == 0) {
		int heard = explore_hear(e->crew, &e->answer, &err);

		if (heard < 0)
			ret = heard;
		else if ((unsigned)heard == worker)
			break;
		else
			e->doing[heard] = NONE; /* of the search, and late */
	}
	if (ret == 0)
		ret = judge(e, &err);
	if (ret < 0)
		log_error("%s", err.text);
	e->shrinking++;
	return ret;
}

static int make_fewest(struct explore *e)
{
	int ret = explore_shrink(&e->space, e->o->explore_seed, e->fault, &e->nfaults, fails, e);

	/* Once more: the answer is of what is kept. */
	return ret < 0 ? ret : fails(e, e->fault, e->nfaults);
}

/* ---- results ---- */

static void print_change(const struct explore *e, const struct fault *f, bool first)
{
	char what[160];

	if (e->o->json) {
		printf("%s{\"place\":\"%s\",\"index\":%" PRIu64 ",\"count\":%" PRIu64
		       ",\"amount\":%" PRIu64 "}",
		       first ? "" : ",", fault_place_name(f->place), f->index, f->count, f->amount);
		return;
	}
	fault_say(f, what, sizeof(what));
	printf("  at count %" PRIu64 ": %s\n", f->count, what);
}

static void print_result(const struct explore *e, const char *recording)
{
	const struct experiment_try *t = &e->answer.t;

	if (e->o->json)
		printf("{\"event\":\"explore\",\"runs\":%" PRIu64 ",\"shrinking\":%" PRIu64
		       ",\"failed\":%" PRIu64 ",\"drawn\":%zu,\"status\":%u,\"count\":%" PRIu64
		       ",\"recording\":%s,\"changes\":[",
		       e->runs, e->shrinking, e->failed, e->drawn, t->status, t->count,
		       recording ? "true" : "false");
	else
		printf("run %" PRIu64 " fails, at count %" PRIu64
		       "; %zu of its %zu changes do it:\n",
		       e->failed, t->count, e->nfaults, e->drawn);
	for (size_t i = 0; i < e->nfaults; i++)
		print_change(e, &e->fault[i], i == 0);
	if (e->o->json)
		printf("]}\n");
	else
		printf("%" PRIu64 " runs, %" PRIu64 " of them to make it fewer%s%s\n", e->runs,
		       e->shrinking, recording ? "; recorded in " : "", recording ? recording : "");
	fflush(stdout);
}

static void print_none(const struct explore *e)
{
	if (e->o->json)
		printf("{\"event\":\"explore\",\"runs\":%" PRIu64 ",\"failed\":null}\n", e->runs);
	else
		printf("none of %" PRIu64 " runs failed\n", e->runs);
}

/* ---- the whole ---- */

static int compile(regex_t *r, const char *text, const char *option, struct err *err)
{
	if (strlen(text) > 500 || regcomp(r, text, REG_EXTENDED | REG_NOSUB))
		return err_set(err, EINVAL, "--%s %.100s: must be a regular expression", option,
			       text);
	return 0;
}

static int prepare(struct explore *e, struct err *err)
{
	const struct options *o = e->o;
	int ret = o->nargs == 1 ? 0 : err_set(err, EINVAL, "explore LOG: one recording");

	if (ret == 0 && !o->output)
		ret = err_set(err, EINVAL, "-o LOG says where a run that fails is kept");
	if (ret == 0 && access(o->output, F_OK) == 0)
		ret = err_set(err, EEXIST, "'%s' is there: give -o another name", o->output);
	if (ret == 0 && o->after) {
		ret = compile(&e->after, o->after, "after", err);
		e->has_after = ret == 0;
	}
	if (ret == 0 && o->fail_console) {
		ret = compile(&e->failure.expression, o->fail_console, "fail-console", err);
		e->has_console = ret == 0;
	}
	e->failure.console = o->fail_console;
	e->failure.check = o->fail_check;
	e->failure.patience_s = (unsigned)o->patience_s;
	e->failure.by_status = o->fail_status.given;
	e->failure.status = (uint8_t)o->fail_status.n;
	return ret;
}

/* The recording as it is must not fail, or there is nothing to look for. */
static int begin(struct explore *e, struct err *err)
{
	int ret;

	e->crew = explore_hire(e->o, e->log, (unsigned)e->o->jobs, e->has_after ? &e->after : NULL,
			       &e->space, &e->answer, err);
	if (!e->crew)
		return -err->code;
	e->failure.golden = e->answer.t;
	ret = explore_judge(&e->failure, &e->answer, err);
	if (ret > 0)
		return err_set(err, EINVAL, "'%s' fails as it is: nothing has to be changed",
			       e->log);
	if (ret == 0 && e->space.after >= e->space.end)
		return err_set(err, EINVAL, "nothing of '%s' comes after that line", e->log);
	e->began = host_mono_ns();
	return ret;
}

/* 1: one failed, and e->fault are the fewest; 0: none. */
static int explore(struct explore *e, struct err *err)
{
	int ret = begin(e, err);

	e->failed = NONE;
	if (ret == 0)
		ret = search(e, err);
	if (ret < 0 || e->failed == NONE)
		return ret;
	e->drawn = e->nfaults = explore_draw(&e->space, e->o->explore_seed, e->failed,
					     (unsigned)e->o->changes, e->fault);
	ret = make_fewest(e);
	if (ret == 0)
		return err_set(err, EILSEQ, "run %" PRIu64 " failed once, and not again",
			       e->failed);
	return ret;
}

static int finish(struct explore *e, int found, const struct err *err)
{
	int status;

	explore_dismiss(e->crew);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (found < 0) {
		if (err->code)
			log_error("%s", err->text);
		return found == -EILSEQ ? EXIT_DIVERGED : EXIT_USAGE;
	}
	if (!found) {
		print_none(e);
		return 1;
	}
	print_result(e, e->o->output);
	status = campaign_record(e->o, e->o->output, e->log, e->fault, e->nfaults,
				 e->answer.t.bound);
	return status;
}

int explore_run(struct options *o)
{
	static struct explore e;
	struct err err = ERR_INIT;
	int status, found;

	e = (struct explore){ .o = o, .log = o->args[0], .answer.shown = BUF_INIT };
	found = prepare(&e, &err);
	if (found == 0)
		found = explore(&e, &err);
	status = finish(&e, found, &err);
	buf_free(&e.answer.shown);
	if (e.has_after)
		regfree(&e.after);
	if (e.has_console)
		regfree(&e.failure.expression);
	return status;
}
