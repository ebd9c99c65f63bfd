// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/guest_log.h"
#include "host/guest_timeline.h"

#define EVENTS_SHOWN 40
#define EVENTS_DRAWN 400

/*
 * A number of a guest: the field of an object of guest_list() that has it ("a.b": of an object
 * within), and the factor to its unit.
 */
struct metric {
	const char *name, *type, *help, *field;
	double scale;
};

static const struct metric metrics[] = {
	{ "live", "gauge", "Whether the outputs of this replica leave.", "status.live", 1 },
	{ "generation", "gauge", "Number of the live term.", "status.generation", 1 },
	{ "lag_seconds", "gauge", "Age of the oldest record that the backup has not applied.",
	  "status.lag_ms", 1e-3 },
	{ "lag_records", "gauge", "Records that the backup has not applied.", "status.lag_records",
	  1 },
	{ "ack_latency_seconds", "gauge", "From sending records to their acknowledgement.",
	  "status.ack_us", 1e-6 },
	{ "outputs_held", "gauge", "Outputs that wait for the backup.", "status.outputs_held", 1 },
	{ "outputs_released_total", "counter", "Outputs that have left.", "status.outputs_released",
	  1 },
	{ "digests_compared_total", "counter", "States compared with the other replica's.",
	  "status.digests_compared", 1 },
	{ "log_bytes_total", "counter", "Bytes of records sent or received.", "status.log_bytes",
	  1 },
	{ "paced_seconds_total", "counter", "For how long the guest was slowed down.",
	  "status.paced_ms", 1e-3 },
	{ "vcpu_still_seconds", "gauge", "Since the vCPU showed progress.", "status.vcpu_ms",
	  1e-3 },
	{ "failovers_total", "counter", "How often this replica went live.",
	  "status.failover.count", 1 },
	{ "last_failover_seconds", "gauge", "From the primary's last sign of life to going live.",
	  "status.failover.ms", 1e-3 },
	{ "join_left_bytes", "gauge", "Bytes of disks still to be sent to a joining backup.",
	  "status.sync.left", 1 },
	{ "memory_bytes", "gauge", "Memory of the replica's process.", "memory_bytes", 1 },
	{ "webhook_delivered_total", "counter", "Events that the webhook's server has taken.",
	  "webhook.delivered", 1 },
	{ "webhook_lost_total", "counter", "Events that it has not taken.", "webhook.lost", 1 },
	{ "cpu_seconds_total", "counter", "CPU time of the replica's process.", "cpu_s", 1 },
};

static const json_t *field_of(const json_t *o, const char *path)
{
	char key[40];

	for (;;) {
		size_t n = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)n, path);
		o = json_object_get(o, key);
		if (!path[n])
			return o;
		path += n + 1;
	}
}

static const char *word(const json_t *guest, const char *path)
{
	const char *text = json_string_value(field_of(guest, path));

	return text ? text : "";
}

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP twinstep_guest_%s %s\n# TYPE twinstep_guest_%s %s\n", name, help, name,
		type);
}

static void put_metric(FILE *f, const struct metric *m, const json_t *guests)
{
	const json_t *guest;
	size_t i;

	head(f, m->name, m->type, m->help);
	json_array_foreach(guests, i, guest)
	{
		const json_t *v = field_of(guest, m->field);

		if (json_is_number(v) || json_is_boolean(v))
			fprintf(f, "twinstep_guest_%s{guest=\"%s\"} %.10g\n", m->name,
				word(guest, "name"),
				json_is_boolean(v) ? (double)json_is_true(v)
						   : json_number_value(v) * m->scale);
	}
}

/* States as words: each as a number that is 0 or 1, as rules want it. Words are our own. */
static void put_states(FILE *f, const json_t *guests)
{
	const json_t *guest;
	size_t i;

	head(f, "up", "gauge", "Whether a replica of the guest answers on this host.");
	json_array_foreach(guests, i, guest)
		fprintf(f, "twinstep_guest_up{guest=\"%s\"} %d\n", word(guest, "name"),
			field_of(guest, "status") != NULL);
	head(f, "protected", "gauge", "Whether this replica is half of a protected pair.");
	json_array_foreach(guests, i, guest)
	{
		const char *state = word(guest, "status.state");

		fprintf(f, "twinstep_guest_protected{guest=\"%s\"} %d\n", word(guest, "name"),
			!strcmp(state, "protected") || !strcmp(state, "backup"));
	}
	head(f, "diverged", "gauge", "Whether the replicas differed.");
	json_array_foreach(guests, i, guest)
		fprintf(f, "twinstep_guest_diverged{guest=\"%s\"} %d\n", word(guest, "name"),
			field_of(guest, "status.divergence") != NULL);
	head(f, "state", "gauge", "State and role of this host's replica, 1.");
	json_array_foreach(guests, i, guest) fprintf(
		f, "twinstep_guest_state{guest=\"%s\",state=\"%s\",role=\"%s\"} 1\n",
		word(guest, "name"),
		field_of(guest, "status") ? word(guest, "status.state") : word(guest, "phase"),
		word(guest, "status.role"));
}

char *metrics_text(const json_t *guests)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	put_states(f, guests);
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		put_metric(f, &metrics[i], guests);
	fclose(f);
	return text;
}

/* ---- for programs, and the page ---- */

static json_t *last_events(const char *name)
{
	json_t *events = json_array();
	char *text = NULL, *line;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return events;
	guest_log_print(f, name, true, NULL);
	fclose(f);
	/* From the end: both files together may have many thousands. */
	while (n && json_array_size(events) < EVENTS_DRAWN) {
		json_t *o;

		line = memrchr(text, '\n', n);
		o = json_loads(line ? line + 1 : text, 0, NULL);
		if (o)
			json_array_insert_new(events, 0, o);
		n = line ? (size_t)(line - text) : 0;
		text[n] = 0;
	}
	free(text);
	return events;
}

static void put_story(json_t *guest)
{
	json_t *events = last_events(word(guest, "name"));

	json_object_set_new(guest, "timeline",
			    guest_timeline(events, !strcmp(word(guest, "phase"), "down")));
	while (json_array_size(events) > EVENTS_SHOWN)
		json_array_remove(events, 0);
	json_object_set_new(guest, "events", events);
}

json_t *metrics_machines(json_t *guests)
{
	char host[256] = "";
	json_t *guest;
	size_t i;

	gethostname(host, sizeof(host) - 1);
	json_array_foreach(guests, i, guest) put_story(guest);
	return json_pack("{s:s, s:I, s:o}", "host", host, "time", (json_int_t)time(NULL),
			 "machines", guests);
}
