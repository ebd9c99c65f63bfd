// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_timeline.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct row {
	const char *event;
	const char *state; /* from then on; NULL: as before */
	const char *mark;  /* NULL: none of its own */
	const char *role;  /* from then on; "": none; NULL: as before */
};

static const struct row rows[] = {
	{ "role", "starting", NULL, "" },
	{ "waiting", "waiting", NULL, "" },
	{ "start", "unprotected", "start", "live" },
	{ "live", "unprotected", "failover", "live" },
	{ "switched", "protected", "switch", "live" },
	{ "follows", "backup", "switch", "backup" },
	{ "backup", "backup", NULL, "backup" },
	{ "joining", "joining", NULL, NULL },
	{ "protected", "protected", NULL, NULL },
	{ "unprotected", "unprotected", "backup lost", NULL },
	{ "asking", "asking", "asking", NULL },
	{ "ended", "down", "ended", "" },
	{ "fenced", "down", "fenced", "" },
	{ "left", "down", "left", "" },
	{ "end", "down", "end", "" },
	{ "down", "down", NULL, "" },
	{ "divergence", NULL, "diverged", NULL },
	{ "hang", NULL, "hang", NULL },
	{ "panic", NULL, "panic", NULL },
	{ "disk-error", NULL, "disk error", NULL },
	{ "slow-backup", NULL, "slow backup", NULL },
	{ "slow-join", NULL, "slow join", NULL },
	{ "differs", NULL, "disks differ", NULL },
	{ "healed", NULL, "healed", NULL },
};

struct timeline {
	json_t *states, *marks;
	const char *state, *role;
	double since, last; /* of the role, of the last event */
	double joining;	    /* a join began then; 0: none is on its way */
};

static const char *word(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

/* "2026-01-31T23:59:59.123Z"; 0: it is none. */
static double time_of(const json_t *event)
{
	struct tm tm = { 0 };
	const char *rest = strptime(word(event, "time"), "%Y-%m-%dT%H:%M:%S", &tm);
	double part = 0;

	if (!rest || sscanf(rest, "%lfZ", &part) > 1)
		return 0;
	return (double)timegm(&tm) + part;
}

static void put_state(struct timeline *t, double at, const char *state)
{
	if (t->state && !strcmp(t->state, state))
		return;
	t->state = state;
	json_array_append_new(t->states, json_pack("{s:f, s:s}", "from", at, "state", state));
}

/* s: its length in seconds; below 0: it has none. */
static void put_mark(struct timeline *t, double at, const char *kind, double s, const char *text)
{
	json_t *o = json_pack("{s:f, s:s, s:s}", "at", at, "kind", kind, "text", text);

	if (s >= 0)
		json_object_set_new(o, "s", json_real(s));
	json_array_append_new(t->marks, o);
}

static void put_role(struct timeline *t, double at, const char *role)
{
	if (strcmp(t->role, role))
		t->since = at;
	t->role = role;
}

/*
 * A join lasts from the moment at which it began to "protected" on the live side, to "backup" on
 * the other one. Not each refusal ends it: a stranger's does not.
 */
static void follow_join(struct timeline *t, double at, const json_t *event)
{
	const char *name = word(event, "event"), *text = word(event, "text");
	bool begins = !strcmp(name, "joining") || strstr(text, "begins as backup") == text;
	bool done = !strcmp(name, "protected") || !strcmp(name, "backup");
	bool failed = !strcmp(name, "refused") && strstr(text, "the backup is gone") == text;

	if (t->joining > 0 && (done || failed)) {
		put_mark(t, t->joining, done ? "join" : "join failed", at - t->joining, text);
		if (failed)
			put_state(t, at, "unprotected");
	}
	if (begins)
		t->joining = at;
	else if (done || failed || !strcmp(name, "ended"))
		t->joining = 0;
}

static void take(struct timeline *t, const json_t *event)
{
	const json_t *ms = json_object_get(event, "ms");
	double at = time_of(event);

	if (at <= 0)
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];

		if (strcmp(r->event, word(event, "event")))
			continue;
		if (r->state)
			put_state(t, at, r->state);
		if (r->mark)
			put_mark(t, at, r->mark, ms ? json_number_value(ms) / 1e3 : -1,
				 word(event, "text"));
		if (r->role)
			put_role(t, at, r->role);
	}
	follow_join(t, at, event);
	t->last = at;
}

json_t *guest_timeline(const json_t *events, bool is_down)
{
	struct timeline t = { .states = json_array(), .marks = json_array(), .role = "" };
	const json_t *event;
	json_t *o;
	size_t i;

	json_array_foreach(events, i, event) take(&t, event);
	/* A host that lost its power had no time to say so. */
	if (is_down && t.state && strcmp(t.state, "down"))
		put_state(&t, t.last, "unknown");
	o = json_pack("{s:o, s:o}", "states", t.states, "marks", t.marks);
	if (!is_down && *t.role)
		json_object_set_new(o, "since", json_real(t.since));
	return o;
}
