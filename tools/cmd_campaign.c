// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep campaign`: fault injection by the thousand. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/campaign_report.h"
#include "tools/cmd.h"

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

	if (ret == 0 && p.npair)
		ret = campaign_pair_check(&p, &err);
	if (ret == 0 && !o->check) {
		printf("%s: %" PRIu64 " experiments on '%s', seed %" PRIu64
		       "; a share is known to %.2f %% or better\n",
		       o->args[1], p.experiments, p.npair ? "a pair" : p.log, p.seed,
		       50 * p.deviations / __builtin_sqrt((double)p.experiments));
		if (p.margin > 0)
			printf("they end before that when every share is known to %.2f %%\n",
			       100 * p.margin);
	}
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
	campaign_order_add(ctx, row->n, row->result.outcome);
	return 0;
}

/* What is known at the end, and what of it is kept. */
static int end_run(const struct campaign_run *r, sqlite3 *db, int status, struct err *err)
{
	const struct campaign_order *order = r->order;
	const struct campaign_tally *t = order->enough ? &order->before : &order->all;
	char text[400];

	if (order->enough && campaign_store_cut(db, order->prefix, err) < 0)
		return fail(err);
	campaign_tally_say(t, order->z, text, sizeof(text));
	log_info("%" PRIu64 " experiments are done%s: %s", t->n,
		 order->enough ? ", which is enough" : "", text);
	return status;
}

static int run_all(struct options *o, const struct campaign_plan *p, sqlite3 *db, struct err *err)
{
	struct campaign_order order;
	struct campaign_run r = { .o = o,
				  .plan = p,
				  .order = &order,
				  .only = UINT64_MAX,
				  .jobs = (unsigned)o->jobs,
				  .patience_s = (unsigned)o->patience_s,
				  .shard = o->shard.part - 1,
				  .shards = o->shard.parts,
				  .put = put_row,
				  .ctx = db };
	uint64_t left, all;
	int status = EXIT_ENGINE;

	if (!campaign_order_init(&order, p->experiments, p->margin, p->deviations))
		return EXIT_ENGINE;
	if (campaign_store_rows(db, note_done, &order, err) < 0)
		status = fail(err);
	left = campaign_run_left(&r, &all);
	if (!err->code) {
		log_info("%" PRIu64 " of %" PRIu64 " experiments are to be done",
			 order.enough ? 0 : left, all);
		status = left && !order.enough ? campaign_run(&r) : 0;
		status = end_run(&r, db, status, err);
	}
	campaign_order_free(&order);
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
	else if (campaign_plan_read(&p, o->args[1], &err) == 0 &&
		 (!p.npair || campaign_pair_check(&p, &err) == 0))
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

/* ---- merge ---- */

struct merge {
	sqlite3 *db;
	struct campaign_order order;
	const char *from;
	int status;
};

static int merge_row(void *ctx, const struct campaign_row *row)
{
	struct merge *m = ctx;
	struct err err = ERR_INIT;
	uint8_t have = row->n < m->order.experiments ? m->order.outcome[row->n] : 0;

	if (have && have != 1 + row->result.outcome) {
		log_error("experiment %" PRIu64 " is '%s' in '%s' and '%s' in a file before it",
			  row->n, outcome_name(row->result.outcome), m->from,
			  outcome_name((enum outcome)(have - 1)));
		m->status = EXIT_DIVERGED;
	} else if (campaign_store_put(m->db, row, &err) < 0) {
		m->status = fail(&err);
	}
	return m->status ? m->status : note_done(&m->order, row);
}

/* The results of one file, which must be of the same plan. An exit status. */
static int merge_file(struct merge *m, const struct campaign_plan *p, const char *path)
{
	struct campaign_plan other = { 0 };
	struct err err = ERR_INIT;
	sqlite3 *db = campaign_store_open(path, NULL, &err);
	int ret = db ? campaign_store_plan(db, &other, &err) : -1;

	m->from = path;
	if (ret == 0 && strcmp(other.text, p->text))
		ret = err_set(&err, EINVAL, "'%s' has the results of another plan", path);
	if (ret == 0)
		ret = campaign_store_rows(db, merge_row, m, &err);
	campaign_plan_free(&other);
	sqlite3_close(db);
	return ret < 0 ? fail(&err) : m->status;
}

static int merge_files(struct merge *m, struct options *o, const struct campaign_plan *p)
{
	struct err err = ERR_INIT;
	int status = 0;

	if (!campaign_order_init(&m->order, p->experiments, p->margin, p->deviations))
		return EXIT_ENGINE;
	if (campaign_store_rows(m->db, note_done, &m->order, &err) < 0)
		status = fail(&err);
	sqlite3_exec(m->db, "BEGIN", NULL, NULL, NULL);
	for (int i = 1; i < o->nargs && !status; i++)
		status = merge_file(m, p, o->args[i]);
	if (!status && m->order.enough && campaign_store_cut(m->db, m->order.prefix, &err) < 0)
		status = fail(&err);
	sqlite3_exec(m->db, status ? "ROLLBACK" : "COMMIT", NULL, NULL, NULL);
	if (!status)
		log_info("%" PRIu64 " of %" PRIu64 " experiments are there%s", m->order.known,
			 p->experiments, m->order.enough ? "; they are enough" : "");
	campaign_order_free(&m->order);
	return status;
}

static int run_merge(struct options *o)
{
	struct campaign_plan p = { 0 };
	struct merge m = { 0 };
	struct err err = ERR_INIT;
	sqlite3 *first = NULL;
	int status = EXIT_USAGE;

	if (!o->output)
		err_set(&err, EINVAL, "-o FILE says where the results go");
	else if ((first = campaign_store_open(o->args[1], NULL, &err)) &&
		 campaign_store_plan(first, &p, &err) == 0)
		m.db = campaign_store_open(o->output, &p, &err);
	sqlite3_close(first);
	if (m.db)
		status = merge_files(&m, o, &p);
	else
		fail(&err);
	sqlite3_close(m.db);
	campaign_plan_free(&p);
	return status;
}

/* ---- report ---- */

static int run_report(struct options *o)
{
	struct err err = ERR_INIT;
	sqlite3 *db = campaign_store_open(o->args[1], NULL, &err);
	int ret = db ? campaign_report(db, o, &err) : -1;

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

/* Where the fault went on its way out. */
static void print_spread(const struct campaign_row *row)
{
	const struct experiment_spread *s = &row->spread;
	uint64_t output = row->result.first_difference;
	char whose[80] = "";

	if (!s->found) {
		if (row->result.outcome != OUTCOME_REFUSED)
			printf("no other byte of RAM was seen to differ\n");
		return;
	}
	if (s->paging)
		snprintf(whose, sizeof(whose), " of %s with CR3 0x%" PRIx64,
			 s->user ? "the process" : "the kernel, under the process", s->cr3);
	printf("first difference in RAM: by the instruction at count %" PRIu64 " (RIP 0x%" PRIx64
	       "%s), in page 0x%" PRIx64 " (byte 0x%" PRIx64 ")",
	       s->count, s->rip, whose, s->byte & ~(uint64_t)(PAGE_SIZE - 1), s->byte);
	if (output != UINT64_MAX)
		printf("; %" PRIu64 " pages when it reached the output at count %" PRIu64 "\n",
		       s->pages, output);
	else
		printf("; %" PRIu64 " pages at the end\n", s->pages);
}

/* Of two live replicas the outcome repeats; how far each had come does not. */
static int print_show_pair(const struct show *s, const char *what)
{
	const struct experiment_result *r = &s->again.result;

	printf("experiment %" PRIu64 ": %s, after %.3f ms under protection\n"
	       "outcome: %s, after %.3f ms, exit status %u\n",
	       s->n, what, (double)s->again.fault.count / 1e3, outcome_name(r->outcome),
	       (double)r->end_count / 1e3, r->status);
	if (r->first_difference != UINT64_MAX)
		printf("first byte of the output that differs: %" PRIu64 "\n", r->first_difference);
	if (!s->has_stored)
		return 0;
	if (s->stored.result.outcome == r->outcome) {
		printf("the same as in the campaign\n");
		return 0;
	}
	log_error("the campaign had another outcome: %s", outcome_name(s->stored.result.outcome));
	return EXIT_DIVERGED;
}

static int print_show(const struct show *s, const struct campaign_plan *p)
{
	const struct fault *f = &s->again.fault;
	const struct experiment_result *r = &s->again.result, *was = &s->stored.result;
	char what[160];

	fault_say(f, what, sizeof(what));
	if (p->npair)
		return print_show_pair(s, what);
	printf("experiment %" PRIu64 ": %s, at count %" PRIu64 "\n", s->n, what, f->count);
	for (uint64_t i = 1; i < p->together; i++) {
		fault_say(&s->again.also[i - 1], what, sizeof(what));
		printf("  and at once: %s\n", what);
	}
	printf("outcome: %s, at count %" PRIu64 ", exit status %u\n", outcome_name(r->outcome),
	       r->end_count, r->status);
	if (r->first_difference != UINT64_MAX)
		printf("first output that differs: at count %" PRIu64 ", %" PRIu64
		       " instructions after the fault\n",
		       r->first_difference, r->first_difference - f->count);
	print_spread(&s->again);
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

/* ... as a recording. */
static int keep_again(struct options *o, const struct campaign_plan *p,
		      const struct campaign_row *row)
{
	struct fault fault[CAMPAIGN_TOGETHER] = { row->fault };

	memcpy(fault + 1, row->also, sizeof(row->also));
	if (p->npair) {
		log_error("an experiment on a pair is no recording");
		return EXIT_USAGE;
	}
	if (row->result.outcome != OUTCOME_REFUSED)
		return campaign_record(o, o->record, p->log, fault, p->together, row->result.bound);
	log_error("experiment %" PRIu64 " has nothing to record: no CPU can hold its value",
		  row->n);
	return EXIT_USAGE;
}

static int run_show(struct options *o)
{
	struct show s = { 0 };
	struct campaign_plan p = { 0 };
	struct campaign_run r = { .o = o,
				  .plan = &p,
				  .jobs = 1,
				  .patience_s = (unsigned)o->patience_s,
				  .put = take_again,
				  .ctx = &s };
	struct err err = ERR_INIT;
	sqlite3 *db = campaign_store_open(o->args[1], NULL, &err);
	int status = EXIT_USAGE;

	if (db && o->nargs > 2 && parse_number(o->args[2], &s.n) &&
	    campaign_store_plan(db, &p, &err) == 0 && s.n < p.experiments &&
	    campaign_store_rows(db, find_row, &s, &err) == 0) {
		r.only = s.n;
		status = campaign_run(&r);
		if (status == 0 && s.has_again)
			status = print_show(&s, &p);
		sqlite3_close(db);
		db = NULL; /* the jail leaves no file open */
		fflush(stdout);
		if (status == 0 && s.has_again && o->record)
			status = keep_again(o, &p, &s.again);
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
	{ "plan", run_plan },	{ "run", run_run },   { "report", run_report },
	{ "merge", run_merge }, { "show", run_show },
};

static int run(struct options *o)
{
	signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is a full disk */
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(verbs[i].name, o->args[0]))
			return verbs[i].run(o);
	}
	log_error("campaign %s: must be plan, run, report, merge or show", o->args[0]);
	return EXIT_USAGE;
}

const struct command cmd_campaign = {
	.id = COMMAND_CAMPAIGN,
	.name = "campaign",
	.summary = "inject faults into a recording, by the thousand",
	.usage = "plan PLAN | run PLAN -o FILE | report FILE | show FILE N | merge -o FILE FILE...",
	.text = "plan checks a plan (docs/campaigns.md). run does its experiments, those that FILE "
		"does not have yet, and keeps the results there. report sums them up. show repeats "
		"experiment N alone. merge puts the results of shards into one file.",
	.end = "Exit status: 0; 123 an experiment did not repeat; 2 a plan or file is not good.",
	.min_args = 2,
	.max_args = 1000,
	.run = run,
};
