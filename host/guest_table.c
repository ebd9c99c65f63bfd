// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && *text ? text : "-";
}

/* ---- columns ---- */

static void put_size(FILE *f, double bytes)
{
	if (bytes <= 0)
		fprintf(f, " %8s", "-");
	else if (bytes < 1e9)
		fprintf(f, " %7.0fM", bytes / 1048576);
	else
		fprintf(f, " %7.1fG", bytes / 1073741824);
}

static void put_age(FILE *f, double s)
{
	char text[32];

	if (s <= 0)
		snprintf(text, sizeof(text), "-");
	else if (s < 3600)
		snprintf(text, sizeof(text), "%ld:%02ld", (long)s / 60, (long)s % 60);
	else
		snprintf(text, sizeof(text), "%ldd%02ldh", (long)s / 86400, (long)s % 86400 / 3600);
	fprintf(f, " %7s", text);
}

/* The guest in the list before, if its process is still the same; else NULL. */
static const json_t *find_before(const struct guest_table *t, const json_t *guest)
{
	const json_t *o;
	size_t i;

	json_array_foreach(t->before, i, o)
	{
		if (!strcmp(text_of(o, "name"), text_of(guest, "name")) &&
		    json_equal(json_object_get(o, "replica"), json_object_get(guest, "replica")))
			return o;
	}
	return NULL;
}

static void put_cpu(FILE *f, const struct guest_table *t, const json_t *guest)
{
	double age = json_real_value(json_object_get(guest, "age_s"));
	double cpu = json_real_value(json_object_get(guest, "cpu_s"));
	const json_t *before = find_before(t, guest);

	if (age > 0 && before && t->seconds > 0) {
		cpu -= json_real_value(json_object_get(before, "cpu_s"));
		age = t->seconds;
	}
	if (age > 0)
		fprintf(f, " %4.0f%%", 100 * cpu / age);
	else
		fprintf(f, " %5s", "-");
}

static void put_lag(FILE *f, const json_t *status)
{
	const json_t *lag = json_object_get(status, "lag_ms");

	if (json_is_real(lag))
		fprintf(f, " %6.1f", json_real_value(lag));
	else
		fprintf(f, " %6s", "-");
}

/* ---- a second line ---- */

static long long integer(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static void put_times(FILE *f, const json_t *status, const char *key, const char *name)
{
	const json_t *o = json_object_get(status, key);

	if (integer(o, "count"))
		fprintf(f, ", %s %lld (last %.1f ms)", name, integer(o, "count"),
			json_number_value(json_object_get(o, "ms")));
}

static void put_disks(FILE *f, const json_t *guest)
{
	const json_t *left =
		json_object_get(json_object_get(json_object_get(guest, "status"), "sync"), "left");
	const json_t *disks = json_object_get(guest, "disks"), *d;
	size_t i;

	json_array_foreach(disks, i, d)
		fprintf(f, "%s%s", i ? ", " : "    disks: ",
			json_object_get(d, "error") ? "not readable" : text_of(d, "state"));
	if (json_array_size(disks) && left)
		fprintf(f, "; %lld MiB left to send", (long long)json_integer_value(left) >> 20);
	if (json_array_size(disks))
		fputc('\n', f);
}

/* Prints details for which `list` has no room. */
static void put_details(FILE *f, const json_t *guest)
{
	const json_t *s = json_object_get(guest, "status");
	double ack = json_number_value(json_object_get(s, "ack_us"));

	fputs("    ", f);
	if (json_is_true(json_object_get(s, "live")) && ack > 0)
		fprintf(f, "acknowledged after %.2f ms, ", ack / 1e3);
	fprintf(f, "%lld outputs held, %lld digests agreed", integer(s, "outputs_held"),
		integer(s, "digests_compared"));
	put_times(f, s, "failover", "failovers");
	put_times(f, s, "switch", "switches");
	fputc('\n', f);
	put_disks(f, guest);
}

/* ---- a guest ---- */

static const char *state_of(const json_t *guest)
{
	const json_t *s = json_object_get(guest, "status");

	return json_object_get(s, "state") ? text_of(s, "state") : text_of(guest, "phase");
}

/* Widths of the columns whose text may be long: those of the longest texts in them. */
struct widths {
	int name, state, peer;
};

static int wider(int width, const char *text)
{
	int n = (int)strlen(text);

	return n > width ? n : width;
}

static struct widths measure(const json_t *guests)
{
	struct widths w = { .name = 8, .state = 10, .peer = 8 };
	const json_t *o;
	size_t i;

	json_array_foreach(guests, i, o)
	{
		w.name = wider(w.name, text_of(o, "name"));
		w.state = wider(w.state, state_of(o));
		w.peer = wider(w.peer, text_of(json_object_get(o, "status"), "peer"));
	}
	return w;
}

static void put_guest(FILE *f, const struct guest_table *t, const struct widths *w, const json_t *o)
{
	const json_t *s = json_object_get(o, "status"), *alarm;
	size_t i;

	fprintf(f, "%-*s %-*s %-7s %-*s %4lld", w->name, text_of(o, "name"), w->state, state_of(o),
		text_of(s, "role"), w->peer, text_of(s, "peer"),
		(long long)json_integer_value(json_object_get(s, "generation")));
	put_lag(f, s);
	put_size(f, json_number_value(json_object_get(o, "memory_bytes")));
	put_cpu(f, t, o);
	put_age(f, json_real_value(json_object_get(o, "age_s")));
	fputc('\n', f);
	json_array_foreach(json_object_get(o, "alarms"), i, alarm)
		fprintf(f, "    %s\n", json_string_value(alarm));
	if (t->details && json_object_get(s, "role"))
		put_details(f, o);
}

/* ---- what fits ---- */

/* A line of text, without its end and without what a terminal would take for an order. */
static void put_line(FILE *f, const char *line, size_t n, unsigned width)
{
	for (size_t i = 0; i < n && (!width || i < width); i++)
		fputc(isprint((unsigned char)line[i]) ? line[i] : '?', f);
	fputc('\n', f);
}

static void put_lines(FILE *f, const char *text, const struct guest_table *t)
{
	unsigned lines = 0;

	while (*text && (!t->height || lines++ < t->height)) {
		size_t n = strcspn(text, "\n");

		put_line(f, text, n, t->width);
		text += n + (text[n] == '\n');
	}
}

void guest_table_print(FILE *f, const struct guest_table *t)
{
	char *text = NULL;
	const json_t *guest;
	size_t i, n;
	struct widths w = measure(t->guests);
	FILE *all = open_memstream(&text, &n);

	if (!all)
		return;
	fprintf(all, "%-*s %-*s %-7s %-*s %4s %6s %8s %5s %7s\n", w.name, "NAME", w.state, "STATE",
		"ROLE", w.peer, "PEER", "GEN", "LAG", "MEMORY", "CPU", "AGE");
	json_array_foreach(t->guests, i, guest) put_guest(all, t, &w, guest);
	if (fclose(all) == 0)
		put_lines(f, text, t);
	free(text);
}
