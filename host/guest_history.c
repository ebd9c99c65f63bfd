// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/guest_history.h"

#include <stdbool.h>
#include <string.h>

static const char *const series[] = { "lag_ms", "ack_us" };
#define SERIES (sizeof(series) / sizeof(series[0]))

static json_t *make(void)
{
	json_t *o = json_pack("{s:i}", "seconds", GUEST_HISTORY_SECONDS);

	for (size_t i = 0; i < SERIES; i++)
		json_object_set_new(o, series[i], json_array());
	return o;
}

/* A number of a replica that has another one; null of what a backup does not measure. */
static json_t *number(const json_t *status, const char *name)
{
	const json_t *v = json_object_get(status, name);
	bool measured = json_is_true(json_object_get(status, "live")) || strcmp(name, "ack_us");

	if (!json_object_get(status, "peer") || !json_is_number(v) || !measured)
		return json_null();
	return json_real(json_number_value(v));
}

/* True: there is a number among those that are kept. */
static bool push(json_t *values, json_t *v)
{
	const json_t *o;
	bool any = false;
	size_t i;

	json_array_append_new(values, v);
	while (json_array_size(values) > GUEST_HISTORY_LOOKS)
		json_array_remove(values, 0);
	json_array_foreach(values, i, o) any |= json_is_number(o);
	return any;
}

static const json_t *find(const json_t *guests, const char *name)
{
	const json_t *o;
	size_t i;

	json_array_foreach(guests, i, o)
	{
		if (!strcmp(json_string_value(json_object_get(o, "name")), name))
			return o;
	}
	return NULL;
}

void guest_history_take(json_t *history, const json_t *guests)
{
	const json_t *guest;
	const char *name;
	json_t *kept;
	void *next;
	size_t i;

	json_array_foreach(guests, i, guest)
	{
		name = json_string_value(json_object_get(guest, "name"));
		if (!json_object_get(history, name))
			json_object_set_new(history, name, make());
	}
	json_object_foreach_safe(history, next, name, kept)
	{
		const json_t *status;
		bool any = false;

		guest = find(guests, name);
		status = json_object_get(guest, "status");
		for (size_t k = 0; k < SERIES; k++)
			any |= push(json_object_get(kept, series[k]), number(status, series[k]));
		if (!any && !guest)
			json_object_del(history, name);
	}
}
