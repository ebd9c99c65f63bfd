// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define STILL_MS 5000 /* a vCPU without progress */

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

/* The same guest's process before, if it is the same. */
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

static void put_guest(FILE *f, const struct guest_table *t, const json_t *o)
{
	const json_t *s = json_object_get(o, "status");
	const char *state =
		s && json_object_get(s, "state") ? text_of(s, "state") : text_of(o, "phase");
	char alarm[400];

	fprintf(f, "%-16s %-10s %-8s %-22s %4lld", text_of(o, "name"), state,
		s ? text_of(s, "role") : "-", s ? text_of(s, "peer") : "-",
		(long long)json_integer_value(json_object_get(s, "generation")));
	put_lag(f, s);
	put_size(f, json_number_value(json_object_get(o, "memory_bytes")));
	put_cpu(f, t, o);
	put_age(f, json_real_value(json_object_get(o, "age_s")));
	fputc('\n', f);
	if (guest_alarm(o, alarm, sizeof(alarm)))
		fprintf(f, "    %s\n", alarm);
}

bool guest_alarm(const json_t *guest, char *text, size_t size)
{
	const json_t *s = json_object_get(guest, "status");
	const json_t *differs = json_object_get(json_object_get(s, "divergence"), "differs");
	const char *state = text_of(s, "state"), *why = text_of(guest, "why");
	double still = json_number_value(json_object_get(s, "vcpu_ms"));

	text[0] = 0;
	if (!s && strcmp(why, "-"))
		snprintf(text, size, "%s", why);
	else if (differs)
		snprintf(text, size, "diverged: %s", json_string_value(differs));
	else if (!strcmp(state, "asking") || !strcmp(state, "claiming"))
		snprintf(text, size, "waits for the arbiter");
	else if (still > STILL_MS)
		snprintf(text, size, "the vCPU shows no progress for %.0f s", still / 1000);
	else if (json_is_true(json_object_get(s, "live")) && strcmp(state, "-") &&
		 strcmp(state, "protected"))
		snprintf(text, size, "UNPROTECTED: %s", state);
	return text[0] != 0;
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
	FILE *all = open_memstream(&text, &n);

	if (!all)
		return;
	fprintf(all, "%-16s %-10s %-8s %-22s %4s %6s %8s %5s %7s\n", "NAME", "STATE", "ROLE",
		"PEER", "GEN", "LAG", "MEMORY", "CPU", "AGE");
	json_array_foreach(t->guests, i, guest) put_guest(all, t, guest);
	if (fclose(all) == 0)
		put_lines(f, text, t);
	free(text);
}
