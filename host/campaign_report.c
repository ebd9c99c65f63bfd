// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/campaign_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

struct report {
	struct campaign_tally all, place[FAULT_PLACES];
	struct named_tallies named;
	uint64_t pruned;
	double z;
};

static int count_row(void *ctx, const struct campaign_row *row)
{
	struct report *r = ctx;

	campaign_tally_add(&r->all, row->result.outcome);
	r->pruned += row->result.pruned;
	campaign_tally_add(&r->place[row->fault.place], row->result.outcome);
	named_tallies_add(&r->named, &row->fault, row->result.outcome);
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
	printf(",%u,%" PRIu64 ",%d\n", row->fault.width, row->fault.amount, row->result.pruned);
	return ferror(stdout);
}

static void print_shares(const char *title, const struct campaign_tally *t, double z)
{
	printf("%s: %" PRIu64 " experiments\n", title, t->n);
	for (unsigned i = 0; i < OUTCOMES; i++) {
		double low, high;

		if (!t->outcome[i])
			continue;
		share_interval(t->outcome[i], t->n, z, &low, &high);
		printf("  %-13s %8" PRIu64 "  %6.2f %%  (%.2f to %.2f)\n",
		       outcome_name((enum outcome)i), t->outcome[i],
		       100 * (double)t->outcome[i] / (double)t->n, 100 * low, 100 * high);
	}
}

static json_t *json_shares(const struct campaign_tally *t, double z)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < OUTCOMES; i++) {
		double low, high;

		share_interval(t->outcome[i], t->n, z, &low, &high);
		json_object_set_new(all, outcome_name((enum outcome)i),
				    json_pack("{s:I,s:f,s:f}", "n", (json_int_t)t->outcome[i],
					      "low", low, "high", high));
	}
	return all;
}

static void print_json(const struct report *r)
{
	json_t *o = json_object(), *places = json_object(), *names = json_object();
	char *text;

	json_object_set_new(o, "experiments", json_integer((json_int_t)r->all.n));
	json_object_set_new(o, "pruned", json_integer((json_int_t)r->pruned));
	json_object_set_new(o, "outcomes", json_shares(&r->all, r->z));
	for (unsigned i = 0; i < FAULT_PLACES; i++) {
		if (r->place[i].n)
			json_object_set_new(places, fault_place_name((enum fault_place)i),
					    json_shares(&r->place[i], r->z));
	}
	json_object_set_new(o, "places", places);
	for (size_t i = 0; i < r->named.n; i++)
		json_object_set_new(names, r->named.list[i].name,
				    json_shares(&r->named.list[i].t, r->z));
	json_object_set_new(o, "symbols", names);
	text = json_dumps(o, JSON_COMPACT);
	puts(text ? text : "{}");
	free(text);
	json_decref(o);
}

static void print_table(const struct report *r)
{
	print_shares("all", &r->all, r->z);
	if (r->pruned)
		printf("  %" PRIu64 " were not run: nothing reads what they change\n", r->pruned);
	for (unsigned i = 0; i < FAULT_PLACES; i++) {
		if (r->place[i].n)
			print_shares(fault_place_name((enum fault_place)i), &r->place[i], r->z);
	}
	for (size_t i = 0; i < r->named.n; i++)
		print_shares(r->named.list[i].name, &r->named.list[i].t, r->z);
}

/* With the plan's intervals. */
static int sum_up(struct report *r, sqlite3 *db, const struct options *o, struct err *err)
{
	int ret = named_tallies_open(&r->named, o->symbols, err);

	if (ret == 0)
		ret = campaign_store_rows(db, count_row, r, err);
	if (ret == 0)
		ret = named_tallies_sort(&r->named, err);
	if (ret == 0 && o->json)
		print_json(r);
	else if (ret == 0)
		print_table(r);
	named_tallies_free(&r->named);
	return ret;
}

int campaign_report(sqlite3 *db, const struct options *o, struct err *err)
{
	struct report r = { 0 };
	struct campaign_plan p;
	int ret = campaign_store_plan(db, &p, err);

	r.z = p.deviations;
	if (ret == 0 && o->html)
		ret = campaign_page(db, &p, o, err);
	campaign_plan_free(&p);
	if (ret < 0)
		return ret;
	if (o->csv) {
		puts("n,count,place,index,bit,outcome,end_count,status,first_difference,width,"
		     "amount,pruned");
		return campaign_store_rows(db, print_csv_row, NULL, err);
	}
	return sum_up(&r, db, o, err);
}
