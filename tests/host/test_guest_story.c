// SPDX-License-Identifier: GPL-2.0-or-later
/* What is shown of a guest: alarms, the time line, numbers of the last minutes. */
#include "host/guest_alarms.h"
#include "host/guest_history.h"
#include "host/guest_timeline.h"
#include "tests/unit.h"

static json_t *parse(const char *text)
{
	json_error_t why;
	json_t *o = json_loads(text, 0, &why);

	ck_assert_msg(o != NULL, "%s in %s", why.text, text);
	return o;
}

/* ---- alarms ---- */

/* All alarms of a guest, joined by "; ". */
static const char *alarms_of(const char *guest)
{
	static char text[1000];
	json_t *o = parse(guest), *alarms = guest_alarms(o), *a;
	size_t i;

	text[0] = 0;
	json_array_foreach(alarms, i, a)
	{
		strcat(text, i ? "; " : "");
		strcat(text, json_string_value(a));
	}
	json_decref(alarms);
	json_decref(o);
	return text;
}

START_TEST(all_alarms_are_told)
{
	static const struct {
		const char *guest, *alarms;
	} rows[] = {
		{ "{\"phase\":\"down\"}", "" },
		{ "{\"phase\":\"starting\"}", "" },
		{ "{\"phase\":\"live\"}", "the replica does not answer" },
		{ "{\"phase\":\"waiting\",\"why\":\"for the other host\"}", "for the other host" },
		{ "{\"status\":{\"state\":\"protected\",\"live\":true}}", "" },
		{ "{\"status\":{\"state\":\"protected\",\"live\":false}}",
		  "nothing leaves: the other side does not answer" },
		{ "{\"status\":{\"state\":\"backup\",\"live\":false,\"lag_ms\":3.5}}", "" },
		{ "{\"status\":{\"state\":\"alone\",\"live\":true}}", "UNPROTECTED: alone" },
		{ "{\"status\":{\"live\":false}}", "" },
		{ "{\"status\":{\"state\":\"asking\",\"live\":true,\"vcpu_ms\":7100,"
		  "\"panicked\":true,\"lag_ms\":2500,\"divergence\":{\"differs\":\"RAX\"},"
		  "\"verify\":{\"differing\":3,\"mended\":1}}}",
		  "diverged: RAX; waits for the arbiter; UNPROTECTED: asking; the guest's kernel "
		  "has panicked; the vCPU shows no progress for 7 s; the backup is 2.5 s behind; "
		  "2 blocks of the disks differ between the sides" },
		{ "{\"status\":{\"state\":7,\"live\":\"yes\",\"divergence\":{},\"verify\":[]},"
		  "\"why\":{}}",
		  "diverged: " },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_str_eq(alarms_of(rows[i].guest), rows[i].alarms);
}
END_TEST

/* ---- the time line ---- */

#define BASE 1767312000.0 /* 2026-01-02T00:00:00Z */

struct moment {
	const char *event, *text;
	double at, ms; /* seconds after BASE, below 100; 0: it has none */
};

/* Up to the one without a name. */
static json_t *timeline_of(const struct moment *m, bool is_down)
{
	json_t *events = json_array(), *line;

	for (; m->event; m++) {
		json_t *o = json_pack("{s:s, s:s, s:o}", "event", m->event, "text",
				      m->text ? m->text : "", "time",
				      json_sprintf("2026-01-02T00:%02d:%06.3fZ", (int)m->at / 60,
						   m->at - (int)m->at / 60 * 60));

		if (m->ms > 0)
			json_object_set_new(o, "ms", json_real(m->ms));
		json_array_append_new(events, o);
	}
	line = guest_timeline(events, is_down);
	json_decref(events);
	return line;
}

/* "state@seconds ..." and "kind@seconds[+length] ..." */
static const char *states_text(const json_t *line)
{
	static char text[1000];
	const json_t *o;
	size_t i;
	int n = 0;

	text[0] = 0;
	json_array_foreach(json_object_get(line, "states"), i, o) n += sprintf(
		text + n, "%s%s@%g", i ? " " : "", json_string_value(json_object_get(o, "state")),
		json_number_value(json_object_get(o, "from")) - BASE);
	return text;
}

static const char *marks_text(const json_t *line)
{
	static char text[1000];
	const json_t *o;
	size_t i;
	int n = 0;

	text[0] = 0;
	json_array_foreach(json_object_get(line, "marks"), i, o)
	{
		n += sprintf(text + n, "%s%s@%g", i ? " " : "",
			     json_string_value(json_object_get(o, "kind")),
			     json_number_value(json_object_get(o, "at")) - BASE);
		if (json_object_get(o, "s"))
			n += sprintf(text + n, "+%g", json_number_value(json_object_get(o, "s")));
	}
	return text;
}

START_TEST(a_failover_and_joins_have_their_lengths)
{
	static const struct moment moments[] = {
		{ "role", "begins as backup after generation 1", 1, 0 },
		{ "backup", NULL, 3.5, 0 },
		{ "live", NULL, 10.25, 212.5 },
		{ "joining", NULL, 12, 0 },
		{ "refused", "a stranger is refused", 13, 0 },
		{ "protected", NULL, 16, 0 },
		{ "follows", NULL, 90, 3 },
		{ 0 },
	};
	json_t *line = timeline_of(moments, false);

	ck_assert_str_eq(states_text(line),
			 "starting@1 backup@3.5 unprotected@10.25 joining@12 protected@16 "
			 "backup@90");
	ck_assert_str_eq(marks_text(line), "join@1+2.5 failover@10.25+0.2125 join@12+4 "
					   "switch@90+0.003");
	ck_assert_double_eq(json_number_value(json_object_get(line, "since")), BASE + 90);
	json_decref(line);
}
END_TEST

START_TEST(a_join_that_fails_is_none)
{
	static const struct moment moments[] = {
		{ "start", NULL, 1, 0 },
		{ "joining", NULL, 2, 0 },
		{ "refused", "the backup is gone (reset) before it had the state", 4, 0 },
		{ 0 },
	};
	json_t *line = timeline_of(moments, false);

	ck_assert_str_eq(states_text(line), "unprotected@1 joining@2 unprotected@4");
	ck_assert_str_eq(marks_text(line), "start@1 join failed@2+2");
	ck_assert_double_eq(json_number_value(json_object_get(line, "since")), BASE + 1);
	json_decref(line);
}
END_TEST

START_TEST(an_end_without_a_word_is_not_known)
{
	static const struct moment cut[] = { { "start", NULL, 1, 0 }, { 0 } };
	static const struct moment told[] = { { "start", NULL, 1, 0 },
					      { "ended", NULL, 2, 0 },
					      { 0 } };
	json_t *line = timeline_of(cut, true);

	ck_assert_str_eq(states_text(line), "unprotected@1 unknown@1");
	ck_assert_ptr_null(json_object_get(line, "since"));
	json_decref(line);
	line = timeline_of(told, true);
	ck_assert_str_eq(states_text(line), "unprotected@1 down@2");
	json_decref(line);
}
END_TEST

START_TEST(events_that_are_none_are_passed_over)
{
	json_t *events =
		parse("[1,null,{},{\"event\":7},{\"event\":\"live\",\"time\":\"soon\"},"
		      "{\"event\":\"nonsense\",\"time\":\"2026-01-02T00:00:01Z\"},"
		      "{\"event\":\"live\",\"time\":\"2026-01-02T00:00:02Z\",\"ms\":\"long\","
		      "\"text\":[]}]");
	json_t *line = guest_timeline(events, false);

	ck_assert_str_eq(states_text(line), "unprotected@2");
	ck_assert_str_eq(marks_text(line), "failover@2+0");
	json_decref(line);
	json_decref(events);
	events = json_array();
	line = guest_timeline(events, true);
	ck_assert_str_eq(states_text(line), "");
	json_decref(line);
	json_decref(events);
}
END_TEST

/* ---- numbers of the last minutes ---- */

static void look(json_t *history, const char *guests)
{
	json_t *o = parse(guests);

	guest_history_take(history, o);
	json_decref(o);
}

START_TEST(looks_are_kept_for_minutes)
{
	json_t *history = json_object(), *web;

	look(history,
	     "[{\"name\":\"web\",\"status\":{\"live\":true,\"lag_ms\":1.0,\"ack_us\":2}}]");
	for (int i = 0; i < GUEST_HISTORY_LOOKS + 5; i++)
		look(history, "[{\"name\":\"web\",\"status\":{\"live\":true,\"peer\":\"b\","
			      "\"lag_ms\":1.5,\"ack_us\":300}},{\"name\":\"db\",\"status\":{"
			      "\"live\":false,\"peer\":\"b\",\"lag_ms\":2,\"ack_us\":0}}]");
	web = json_object_get(history, "web");
	ck_assert_uint_eq(json_array_size(json_object_get(web, "lag_ms")), GUEST_HISTORY_LOOKS);
	ck_assert_double_eq(json_real_value(json_array_get(json_object_get(web, "ack_us"), 0)),
			    300);
	ck_assert(json_is_null(
		json_array_get(json_object_get(json_object_get(history, "db"), "ack_us"), 0)));
	json_decref(history);
}
END_TEST

START_TEST(a_guest_that_is_gone_is_forgotten)
{
	json_t *history = json_object();

	look(history, "[{\"name\":\"web\",\"status\":{\"peer\":\"b\",\"lag_ms\":1.5}}]");
	look(history, "[]");
	ck_assert(json_is_null(
		json_array_get(json_object_get(json_object_get(history, "web"), "lag_ms"), 1)));
	for (int i = 0; i < GUEST_HISTORY_LOOKS; i++)
		look(history, "[]");
	ck_assert_uint_eq(json_object_size(history), 0);
	json_decref(history);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, all_alarms_are_told);
	tcase_add_test(t, a_failover_and_joins_have_their_lengths);
	tcase_add_test(t, a_join_that_fails_is_none);
	tcase_add_test(t, an_end_without_a_word_is_not_known);
	tcase_add_test(t, events_that_are_none_are_passed_over);
	tcase_add_test(t, looks_are_kept_for_minutes);
	tcase_add_test(t, a_guest_that_is_gone_is_forgotten);
}

UNIT_MAIN("guest_story", add_tests)
