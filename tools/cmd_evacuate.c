// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep evacuate`: every guest that is live on this host goes live on its other host. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/control.h"
#include "host/guest_list.h"
#include "tools/cmd.h"

#define ANSWER_MS 5000
#define SWITCH_MS 15000
#define JOIN_NS	  (60ull * 1000000000) /* for a backup that is joining already */
#define NAP_NS	  (100ull * 1000000)

static bool is(const json_t *status, const char *key, const char *value)
{
	const char *s = json_string_value(json_object_get(status, key));

	return s && !strcmp(s, value);
}

/* A backup takes over the state, or will soon be counted on. */
static bool joins(const json_t *status)
{
	return is(status, "state", "joining") || is(status, "state", "holding") ||
	       is(status, "state", "counted-on") || json_object_get(status, "sync");
}

/*
 * The status when it is protected, or a backup; NULL and err: it is neither, and will not be soon.
 * lost: it lost its backup just now, which comes back by itself, or was lost itself.
 */
static json_t *wait_until_protected(const char *name, bool lost, uint64_t until, struct err *err)
{
	for (;;) {
		json_t *status = control_ask(name, "status", ANSWER_MS, err);
		bool wait = (lost || (status && joins(status))) && host_mono_ns() < until;

		if (status && (is(status, "state", "protected") || is(status, "role", "backup")))
			return status;
		if (status)
			err_set(err, ENOTCONN, "no backup protects it");
		json_decref(status);
		if (!wait)
			return NULL;
		host_sleep_ns(NAP_NS);
	}
}

/*
 * Sends the guest away. Returns the answer of `switch`, with the guest's present place as "to";
 * NULL and err: the guest is still here. A backup that did not take over in time is given up and
 * joins again, and is asked once more then.
 */
static json_t *leave(const char *name, struct err *err)
{
	uint64_t until = host_mono_ns() + JOIN_NS;
	json_t *answer = NULL;
	bool lost = false;

	do {
		struct err why = ERR_INIT;
		json_t *status = wait_until_protected(name, lost, until, lost ? &why : err);

		if (!status)
			return NULL;
		answer = is(status, "role", "backup") ? json_object()
						      : control_ask(name, "switch", SWITCH_MS, err);
		if (answer)
			json_object_set(answer, "to", json_object_get(status, "peer"));
		json_decref(status);
		lost = true;
	} while (!answer && host_mono_ns() < until);
	return answer;
}

/* Adds to the list what became of the guest; whether it has left. */
static bool move(const char *name, json_t *list)
{
	struct err err = ERR_INIT;
	json_t *answer = leave(name, &err);
	json_t *o = json_pack("{s:s, s:b}", "name", name, "moved", answer != NULL);

	if (answer) {
		json_object_set(o, "to", json_object_get(answer, "to"));
		json_object_set(o, "pause_ms", json_object_get(answer, "pause_ms"));
	} else {
		json_object_set_new(o, "why", json_string(err.text));
	}
	json_array_append_new(list, o);
	json_decref(answer);
	return answer != NULL;
}

static void print_last(const json_t *list)
{
	const json_t *o = json_array_get(list, json_array_size(list) - 1);

	const json_t *pause = json_object_get(o, "pause_ms");

	if (json_is_true(json_object_get(o, "moved"))) {
		printf("%s: live at %s", json_string_value(json_object_get(o, "name")),
		       json_string_value(json_object_get(o, "to")));
		if (pause)
			printf(", stood still for %.1f ms", json_number_value(pause));
		putchar('\n');
	} else {
		log_error("%s stays here: %s", json_string_value(json_object_get(o, "name")),
			  json_string_value(json_object_get(o, "why")));
	}
}

/* Guests of a pair that are live here, or soon are, and machines that have no other host. */
static bool is_here(const json_t *guest)
{
	const json_t *status = json_object_get(guest, "status");

	return status && (!json_object_get(status, "role") || is(status, "role", "primary"));
}

static int run(struct options *o)
{
	json_t *guests = guest_list(), *list = json_array(), *guest;
	bool all = true;
	size_t i;

	json_array_foreach(guests, i, guest)
	{
		if (!is_here(guest))
			continue;
		all &= move(json_string_value(json_object_get(guest, "name")), list);
		if (!o->json)
			print_last(list);
	}
	if (o->json) {
		json_dumpf(list, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(list);
	json_decref(guests);
	return all ? 0 : 1;
}

const struct command cmd_evacuate = {
	.id = COMMAND_EVACUATE,
	.name = "evacuate",
	.summary = "let every guest of this host go live on its other host",
	.usage = "[--json]",
	.text = "Every guest that is live here changes places with its backup, one after the "
		"other, as `twinstep switch` does it; a backup that is joining is waited for, "
		"and one that did not take over in time is asked again when it has joined "
		"again. "
		"Then this host follows only, and can be shut down. Guests without a backup stay "
		"as they are.",
	.end = "Exit status: 0 nothing is live here any more; 1 something is, and was told of.",
	.run = run,
};
