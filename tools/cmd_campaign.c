// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep campaign`: fault injection by the thousand. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/campaign.h"
#include "tools/cmd.h"

#define Z95 1.959964

static int fail(const struct err *err)
{
	log_error("%s", err->text);
	return EXIT_USAGE;
}

/* ---- plan ---- */

static int run_plan(struct options *o)
{
	struct campaign_plan p;
	struct err err = ERR_INIT;
	int ret = campaign_plan_read(&p, o->args[1], &err);

	if (ret == 0)
		printf("%s: %" PRIu64 " experiments on '%s', seed %" PRIu64
		       "; a share is known to %.2f %% or better\n",
		       o->args[1], p.experiments, p.log, p.seed,
		       100 * Z95 / 2 / __builtin_sqrt((double)p.experiments));
	campaign_plan_free(&p);
	return ret < 0 ? fail(&err) : 0;
}

/* ---- run ---- */

static int put_row(void *ctx, const struct campaign_row *row, struct err *err)
{
	return campaign_store_put(ctx, row, err);
}

static int note_done(void *ctx, const struct campaign_row *row)
{
	struct campaign_run *r = ctx;

	if (row->n < r->plan->experiments)
		((uint8_t *)(uintptr_t)r->done)[row->n] = 1;
	return 0;
}

static int run_all(struct options *o, const struct campaign_plan *p, sqlite3 *db, struct err *err)
{
	struct campaign_run r = { .o = o,
				  .plan = p,
				  .done = calloc(p->experiments, 1),
				  .only = UINT64_MAX,
				  .jobs = (unsigned)o->jobs,
				  .put = put_row,
				  .ctx = db };
	uint64_t left = 0;
	int status;

	if (!r.done || campaign_store_rows(db, note_done, &r, err) < 0) {
		free((void *)(uintptr_t)r.done);
		return err->code ? fail(err) : EXIT_ENGINE;
	}
	for (uint64_t n = 0; n < p->experiments; n++)
		left += !r.done[n];
	log_info("%" PRIu64 " of %" PRIu64 " experiments are to be done", left, p->experiments);
	status = left ? campaign_run(&r) : 0;
	free((void *)(uintptr_t)r.done);
	return status;
}

static int run_run(struct options *o)
{
	struct campaign_plan p;
	struct err err = ERR_INIT;
	sqlite3 *db = NULL;
	int status = EXIT_USAGE;

	if (!o->output)
		err_set(&err, EINVAL, "-o FILE says where the results go");
	else if (campaign_plan_read(&p, o->args[1], &err) == 0)
		db = campaign_store_open(o->output, &p, &err);
	if (db)
		status = run_all(o, &p, db, &err);
	else
		fail(&err);
	sqlite3_close(db);
	if (o->output)
		campaign_plan_free(&p);
	return status;
}

/* ---- report ---- */

struct report {
	uint64_t n, outcome[OUTCOMES], place[FAULT_PLACES][OUTCOMES], places[FAULT_PLACES];
};

static int count_row(void *ctx, const struct campaign_row *row)
{
	struct report *r = ctx;

	r->n++;
	r->outcome[row->result.outcome]++;
	r->place[row->fault.place][row->result.outcome]++;
	r->places[row->fault.place]++;
	return 0;
}

static int print_csv_row(void *ctx, const struct campaign_row *row)
{
	printf("%" PRIu64 ",%" PRIu64 ",%s,%" PRIu64 ",%u,%s,%" PRIu64 ",%u,", row->n,
	       row->fault.count, fault_place_name(row->fault.place), row->fault.index,
	       row->fault.bit, outcome_name(row->result.outcome), row->result.end_count,
	       row->result.status);
	if (row->result.first_difference != UINT64_MAX)
		printf("%" PRIu64, row->result.first_difference);
	putchar('\n');
	return ferror(stdout);
}

static void print_shares(const char *title, const uint64_t *outcome, uint64_t n)
{
	printf("%s: %" PRIu64 " experiments\n", title, n);
	for (unsigned i = 0; i < OUTCOMES; i++) {
		double low, high;

		if (!outcome[i])
			continue;
		share_interval(outcome[i], n, Z95, &low, &high);
		printf("  %-13s %8" PRIu64 "  %6.2f %%  (95 %%: %.2f to %.2f)\n",
		       outcome_name((enum outcome)i), outcome[i],
		       100 * (double)outcome[i] / (double)n, 100 * low, 100 * high);
	}
}

static json_t *json_shares(const uint64_t *outcome, uint64_t n)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < OUTCOMES; i++) {
		double low, high;

		share_interval(outcome[i], n, Z95, &low, &high);
		json_object_set_new(all, outcome_name((enum outcome)i),
				    json_pack("{s:I,s:f,s:f}", "n", (json_int_t)outcome[i], "low",
					      low, "high", high));
	}
	return all;
}

static void print_json(const struct report *r)
{
	json_t *o = json_object(), *places = json_object();
	char *text;

	json_object_set_new(o, "experiments", json_integer((json_int_t)r->n));
	json_object_set_new(o, "outcomes", json_shares(r->outcome, r->n));
	for (unsigned i = 0; i < FAULT_PLACES; i++) {
		if (r->places[i])
			json_object_set_new(places, fault_place_name((enum fault_place)i),
					    json_shares(r->place[i], r->places[i]));
	}
	json_object_set_new(o, "places", places);
	text = json_dumps(o, JSON_COMPACT);
	puts(text ? text : "{}");
	free(text);
	json_decref(o);
}

static void print_report(const struct options *o, const struct report *r)
{
	if (o->json) {
		print_json(r);
		return;
	}
	print_shares("all", r->outcome, r->n);
	for (unsigned i = 0; i < FAULT_PLACES; i++) {
		if (r->places[i])
			print_shares(fault_place_name((enum fault_place)i), r->place[i],
				     r->places[i]);
	}
}

static int run_report(struct options *o)
{
	struct report r = { 0 };
	struct err err = ERR_INIT;
	sqlite3 *db = campaign_store_open(o->args[1], NULL, &err);
	int ret = db ? 0 : -1;

	if (ret == 0 && o->csv) {
		puts("n,count,place,index,bit,outcome,end_count,status,first_difference");
		ret = campaign_store_rows(db, print_csv_row, NULL, &err);
	} else if (ret == 0) {
		ret = campaign_store_rows(db, count_row, &r, &err);
		if (ret == 0)
			print_report(o, &r);
	}
	sqlite3_close(db);
	return ret < 0 ? fail(&err) : 0;
}

/* ---- show ---- */

struct show {
	uint64_t n;
	struct campaign_row stored, again;
	bool has_stored, has_again;
};

static int find_row(void *ctx, const struct campaign_row *row)
{
	struct show *s = ctx;

	if (row->n != s->n)
		return 0;
	s->stored = *row;
	s->has_stored = true;
	return 1;
}

static int take_again(void *ctx, const struct campaign_row *row, struct err *err)
{
	struct show *s = ctx;

	s->again = *row;
	s->has_again = true;
	return 0;
}

static int print_show(const struct show *s)
{
	const struct fault *f = &s->again.fault;
	const struct experiment_result *r = &s->again.result, *was = &s->stored.result;

	printf("experiment %" PRIu64 ": %s %" PRIu64 ", bit %u, at count %" PRIu64 "\n", s->n,
	       fault_place_name(f->place), f->index, f->bit, f->count);
	printf("outcome: %s, at count %" PRIu64 ", exit status %u\n", outcome_name(r->outcome),
	       r->end_count, r->status);
	if (r->first_difference != UINT64_MAX)
		printf("first output that differs: at count %" PRIu64 ", %" PRIu64
		       " instructions after the fault\n",
		       r->first_difference, r->first_difference - f->count);
	if (!s->has_stored)
		return 0;
	if (was->outcome == r->outcome && was->end_count == r->end_count &&
	    was->first_difference == r->first_difference) {
		printf("the same as in the campaign\n");
		return 0;
	}
	log_error("the campaign had another result: %s at count %" PRIu64,
		  outcome_name(was->outcome), was->end_count);
	return EXIT_DIVERGED;
}

static int run_show(struct options *o)
{
	struct show s = { 0 };
	struct campaign_plan p = { 0 };
	struct campaign_run r = { .o = o, .plan = &p, .jobs = 1, .put = take_again, .ctx = &s };
	struct err err = ERR_INIT;
	sqlite3 *db = campaign_store_open(o->args[1], NULL, &err);
	int status = EXIT_USAGE;

	if (db && o->nargs > 2 && parse_number(o->args[2], &s.n) &&
	    campaign_store_plan(db, &p, &err) == 0 && s.n < p.experiments &&
	    campaign_store_rows(db, find_row, &s, &err) == 0) {
		r.only = s.n;
		status = campaign_run(&r);
		if (status == 0 && s.has_again)
			status = print_show(&s);
	} else if (!err.code) {
		err_set(&err, EINVAL, "campaign show FILE N: N is the number of an experiment");
	}
	if (err.code)
		fail(&err);
	campaign_plan_free(&p);
	sqlite3_close(db);
	return status;
}

static const struct {
	const char *name;
	int (*run)(struct options *o);
} verbs[] = {
	{ "plan", run_plan }, { "run", run_run }, { "report", run_report }, { "show", run_show }
};

static int run(struct options *o)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(verbs[i].name, o->args[0]))
			return verbs[i].run(o);
	}
	log_error("campaign %s: must be plan, run, report or show", o->args[0]);
	return EXIT_USAGE;
}

const struct command cmd_campaign = {
	.id = COMMAND_CAMPAIGN,
	.name = "campaign",
	.summary = "inject faults into a recording, by the thousand",
	.usage = "plan PLAN | run PLAN -o FILE | report FILE | show FILE N",
	.text = "plan checks a plan (docs/campaigns.md). run does its experiments, those that FILE "
		"does not have yet, and keeps the results there. report sums them up. show repeats "
		"experiment N alone.",
	.end = "Exit status: 0; 123 an experiment did not repeat; 2 a plan or file is not good.",
	.min_args = 2,
	.max_args = 3,
	.run = run,
};
