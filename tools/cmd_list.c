// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep list`: the guests of this host. */
#include <stdio.h>
#include <string.h>

#include "host/guest_list.h"
#include "tools/cmd.h"

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "-";
}

static void print_size(double bytes)
{
	if (bytes <= 0)
		printf(" %8s", "-");
	else if (bytes < 1e9)
		printf(" %7.0fM", bytes / 1048576);
	else
		printf(" %7.1fG", bytes / 1073741824);
}

static void print_age(double s)
{
	char text[32];

	if (s <= 0)
		snprintf(text, sizeof(text), "-");
	else if (s < 3600)
		snprintf(text, sizeof(text), "%ld:%02ld", (long)s / 60, (long)s % 60);
	else
		snprintf(text, sizeof(text), "%ldd%02ldh", (long)s / 86400, (long)s % 86400 / 3600);
	printf(" %7s", text);
}

static void print_guest(const json_t *o)
{
	const json_t *s = json_object_get(o, "status");
	double age = json_real_value(json_object_get(o, "age_s"));
	double cpu = json_real_value(json_object_get(o, "cpu_s"));
	const char *state =
		s && json_object_get(s, "state") ? text_of(s, "state") : text_of(o, "phase");

	printf("%-16s %-10s %-8s %-22s %4lld", text_of(o, "name"), state,
	       s ? text_of(s, "role") : "-", s ? text_of(s, "peer") : "-",
	       (long long)json_integer_value(json_object_get(s, "generation")));
	if (json_is_real(json_object_get(s, "lag_ms")))
		printf(" %6.1f", json_real_value(json_object_get(s, "lag_ms")));
	else
		printf(" %6s", "-");
	print_size(json_number_value(json_object_get(o, "memory_bytes")));
	if (age > 0)
		printf(" %4.0f%%", 100 * cpu / age);
	else
		printf(" %5s", "-");
	print_age(age);
	putchar('\n');
	if (!s && *text_of(o, "why") && strcmp(text_of(o, "why"), "-"))
		printf("    %s\n", text_of(o, "why"));
}

static int run(struct options *o)
{
	json_t *list = guest_list(), *guest;
	size_t i;

	if (o->json) {
		json_dumpf(list, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		printf("%-16s %-10s %-8s %-22s %4s %6s %8s %5s %7s\n", "NAME", "STATE", "ROLE",
		       "PEER", "GEN", "LAG", "MEMORY", "CPU", "AGE");
		json_array_foreach(list, i, guest) print_guest(guest);
	}
	json_decref(list);
	return 0;
}

const struct command cmd_list = {
	.id = COMMAND_LIST,
	.name = "list",
	.summary = "show the guests of this host",
	.usage = "[--json]",
	.text = "Shows each guest that has a configuration file here, is up, or runs under a name: "
		"state, role, the other side, generation, how far the backup is behind (ms), "
		"memory, CPU and age of the replica's process.",
	.run = run,
};
