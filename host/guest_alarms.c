// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_alarms.h"

#include <stdbool.h>
#include <string.h>

#define STILL_MS 5000 /* a vCPU without progress */
#define LAG_MS	 1000

static const char *word(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static void add(json_t *alarms, json_t *sentence)
{
	json_array_append_new(alarms, sentence);
}

static void look_at_states(json_t *alarms, const json_t *status)
{
	const json_t *divergence = json_object_get(status, "divergence");
	const char *state = word(status, "state");
	bool holds = !strcmp(state, "protected") || !strcmp(state, "counted-on");

	if (holds && json_is_false(json_object_get(status, "live")))
		add(alarms, json_string("nothing leaves: the other side does not answer"));
	if (divergence)
		add(alarms, json_sprintf("diverged: %s", word(divergence, "differs")));
	if (!strcmp(state, "asking") || !strcmp(state, "claiming"))
		add(alarms, json_string("waits for the arbiter"));
	if (json_is_true(json_object_get(status, "live")) && *state && strcmp(state, "protected"))
		add(alarms, json_sprintf("UNPROTECTED: %s", state));
	if (json_is_true(json_object_get(status, "panicked")))
		add(alarms, json_string("the guest's kernel has panicked"));
}

static void look_at_numbers(json_t *alarms, const json_t *status)
{
	double still = json_number_value(json_object_get(status, "vcpu_ms"));
	double lag = json_number_value(json_object_get(status, "lag_ms"));
	json_int_t differing =
		json_integer_value(json_object_get(json_object_get(status, "verify"), "differing"));
	json_int_t mended =
		json_integer_value(json_object_get(json_object_get(status, "verify"), "mended"));

	if (still > STILL_MS)
		add(alarms, json_sprintf("the vCPU shows no progress for %.0f s", still / 1e3));
	if (lag > LAG_MS)
		add(alarms, json_sprintf("the backup is %.1f s behind", lag / 1e3));
	if (differing > mended)
		add(alarms, json_sprintf("%lld blocks of the disks differ between the sides",
					 (long long)(differing - mended)));
}

json_t *guest_alarms(const json_t *guest)
{
	const json_t *status = json_object_get(guest, "status");
	const char *phase = word(guest, "phase");
	json_t *alarms = json_array();

	if (!status && *word(guest, "why"))
		add(alarms, json_string(word(guest, "why")));
	else if (!status && (!strcmp(phase, "live") || !strcmp(phase, "backup")))
		add(alarms, json_string("the replica does not answer"));
	look_at_states(alarms, status);
	look_at_numbers(alarms, status);
	return alarms;
}
