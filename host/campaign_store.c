// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/campaign.h"

#define STORE_VERSION 5

static int say(sqlite3 *db, const char *path, struct err *err)
{
	return err_set(err, EIO, "results '%s': %s", path,
		       db ? sqlite3_errmsg(db) : "out of memory");
}

static const char *path_of(sqlite3 *db)
{
	const char *path = sqlite3_db_filename(db, "main");

	return path ? path : "";
}

/* The one integer that a query gives. */
static int ask_number(sqlite3 *db, const char *sql, int64_t *n, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int ret = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW) {
		*n = sqlite3_column_int64(s, 0);
		ret = 0;
	}
	if (ret < 0)
		say(db, path_of(db), err);
	sqlite3_finalize(s);
	return ret;
}

static int create(sqlite3 *db, const struct campaign_plan *plan, struct err *err)
{
	static const char tables[] =
		"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE;"
		"CREATE TABLE plan (text TEXT NOT NULL);"
		"CREATE TABLE result (n INTEGER PRIMARY KEY, count INTEGER, place INTEGER,"
		" idx INTEGER, bit INTEGER, outcome INTEGER, end_count INTEGER, status INTEGER,"
		" first_difference INTEGER, host_ns INTEGER, width INTEGER, amount INTEGER,"
		" pruned INTEGER);"
		"PRAGMA user_version=5;";
	sqlite3_stmt *s = NULL;
	int ret = 0;

	if (sqlite3_exec(db, tables, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "INSERT INTO plan VALUES (?)", -1, &s, NULL) != SQLITE_OK ||
	    sqlite3_bind_text(s, 1, plan->text, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_step(s) != SQLITE_DONE)
		ret = say(db, path_of(db), err);
	sqlite3_finalize(s);
	if (ret == 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		ret = say(db, path_of(db), err);
	return ret;
}

/* A file that is there must be of this plan. */
static int check(sqlite3 *db, const struct campaign_plan *plan, struct err *err)
{
	struct campaign_plan have;
	int64_t version = 0;
	int ret;

	if (ask_number(db, "PRAGMA user_version", &version, err) < 0)
		return -err->code;
	if (version == 0 && plan)
		return create(db, plan, err);
	if (version != STORE_VERSION)
		return err_set(err, EINVAL,
			       "'%s' is not a campaign's results of version %d (it says %lld): run "
			       "its plan again, with another -o",
			       path_of(db), STORE_VERSION, (long long)version);
	ret = campaign_store_plan(db, &have, err);
	if (ret == 0 && plan && strcmp(have.text, plan->text))
		ret = err_set(err, EEXIST, "'%s' has the results of another plan", path_of(db));
	campaign_plan_free(&have);
	return ret;
}

sqlite3 *campaign_store_open(const char *path, const struct campaign_plan *plan, struct err *err)
{
	int flags = SQLITE_OPEN_READWRITE | (plan ? SQLITE_OPEN_CREATE : 0);
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK) {
		say(db, path, err);
		sqlite3_close(db);
		return NULL;
	}
	sqlite3_busy_timeout(db, 10000);
	if (check(db, plan, err) == 0)
		return db;
	sqlite3_close(db);
	return NULL;
}

int campaign_store_plan(sqlite3 *db, struct campaign_plan *p, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int ret;

	*p = (struct campaign_plan){ 0 };
	if (sqlite3_prepare_v2(db, "SELECT text FROM plan", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW && sqlite3_column_text(s, 0))
		ret = campaign_plan_parse(p, (const char *)sqlite3_column_text(s, 0),
					  (size_t)sqlite3_column_bytes(s, 0), path_of(db), err);
	else
		ret = say(db, path_of(db), err);
	sqlite3_finalize(s);
	return ret;
}

int campaign_store_put(sqlite3 *db, const struct campaign_row *r, struct err *err)
{
	const int64_t value[] = { (int64_t)r->n,
				  (int64_t)r->fault.count,
				  r->fault.place,
				  (int64_t)r->fault.index,
				  r->fault.bit,
				  r->result.outcome,
				  (int64_t)r->result.end_count,
				  r->result.status,
				  (int64_t)r->result.first_difference,
				  (int64_t)r->host_ns,
				  r->fault.width,
				  (int64_t)r->fault.amount,
				  r->result.pruned };
	sqlite3_stmt *s = NULL;
	int ret = sqlite3_prepare_v2(
		db, "INSERT OR REPLACE INTO result VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", -1, &s,
		NULL);

	for (int i = 0; ret == SQLITE_OK && i < 13; i++)
		ret = sqlite3_bind_int64(s, i + 1, value[i]);
	if (ret == SQLITE_OK)
		ret = sqlite3_step(s);
	sqlite3_finalize(s);
	return ret == SQLITE_DONE ? 0 : say(db, path_of(db), err);
}

int campaign_store_cut(sqlite3 *db, uint64_t n, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int ret = sqlite3_prepare_v2(db, "DELETE FROM result WHERE n >= ?", -1, &s, NULL);

	if (ret == SQLITE_OK)
		ret = sqlite3_bind_int64(s, 1, (int64_t)n);
	if (ret == SQLITE_OK)
		ret = sqlite3_step(s);
	sqlite3_finalize(s);
	return ret == SQLITE_DONE ? 0 : say(db, path_of(db), err);
}

static bool row_get(sqlite3_stmt *s, struct campaign_row *r)
{
	int64_t place = sqlite3_column_int64(s, 2), outcome = sqlite3_column_int64(s, 5);

	*r = (struct campaign_row){
		.n = (uint64_t)sqlite3_column_int64(s, 0),
		.fault = { .count = (uint64_t)sqlite3_column_int64(s, 1),
			   .place = (enum fault_place)place,
			   .index = (uint64_t)sqlite3_column_int64(s, 3),
			   .bit = (unsigned)sqlite3_column_int64(s, 4),
			   .width = (unsigned)sqlite3_column_int64(s, 10),
			   .amount = (uint64_t)sqlite3_column_int64(s, 11) },
		.result = { .outcome = (enum outcome)outcome,
			    .pruned = sqlite3_column_int64(s, 12) != 0,
			    .end_count = (uint64_t)sqlite3_column_int64(s, 6),
			    .status = (unsigned)sqlite3_column_int64(s, 7),
			    .first_difference = (uint64_t)sqlite3_column_int64(s, 8) },
		.host_ns = (uint64_t)sqlite3_column_int64(s, 9),
	};
	return place >= 0 && place < FAULT_PLACES && outcome >= 0 && outcome < OUTCOMES;
}

int campaign_store_rows(sqlite3 *db, int (*fn)(void *ctx, const struct campaign_row *row),
			void *ctx, struct err *err)
{
	static const char sql[] =
		"SELECT n, count, place, idx, bit, outcome, end_count, status,"
		" first_difference, host_ns, width, amount, pruned FROM result ORDER BY n";
	sqlite3_stmt *s = NULL;
	int ret = sqlite3_prepare_v2(db, sql, -1, &s, NULL), stop = 0;
	struct campaign_row row;

	while (ret == SQLITE_OK || ret == SQLITE_ROW) {
		ret = sqlite3_step(s);
		if (ret != SQLITE_ROW)
			break;
		if (!row_get(s, &row)) {
			err_set(err, EBADMSG, "results '%s': row %llu is damaged", path_of(db),
				(unsigned long long)row.n);
			break;
		}
		if ((stop = fn(ctx, &row)))
			break;
	}
	sqlite3_finalize(s);
	if (err->code)
		return -err->code;
	return ret == SQLITE_DONE || stop ? 0 : say(db, path_of(db), err);
}
