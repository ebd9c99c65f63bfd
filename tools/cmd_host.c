// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `twinstep host`: memory of this host, who was promised how much of it, and each machine's share.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "isolation/host_file.h"
#include "isolation/host_info.h"
#include "tools/cmd.h"
#include "host/share.h"

struct host {
	const struct options *o;
	char *path;
	struct host_info info;
	struct host_state state;
	uint64_t room, promised, free;
};

/* A directory that is not there holds no promises. */
static int look(struct host *h, struct err *err)
{
	int ret = share_host_file(h->o->machine.share.host_file, h->o->limit.given, &h->path, err);

	if (ret == 0 && h->o->limit.given)
		ret = host_file_set_limit(h->path, h->o->limit.n, err);
	if (ret == 0)
		ret = host_file_read(h->path, &h->state, err);
	if (ret == -ENOENT && !h->o->limit.given)
		ret = 0;
	host_info_read(&h->info, "");
	h->room = h->state.limit ? h->state.limit : host_file_room(h->info.memory);
	h->promised = host_file_promised(&h->state);
	h->free = h->room > h->promised ? h->room - h->promised : 0;
	return ret;
}

static unsigned long long mib(uint64_t bytes)
{
	return (unsigned long long)(bytes >> 20);
}

static void print_text(const struct host *h)
{
	char text[256];

	printf("memory      %6llu MiB, %llu available now\n", mib(h->info.memory),
	       mib(h->info.memory_available));
	printf("for guests  %6llu MiB (%s)\n", mib(h->room), h->state.limit ? "as set" : "auto");
	printf("promised    %6llu MiB to %u machine%s\n", mib(h->promised), h->state.n,
	       h->state.n == 1 ? "" : "s");
	printf("free        %6llu MiB\n", mib(h->free));
	printf("CPUs        %6u, SMT %s\n", h->info.cpus, host_smt_name(h->info.smt));
	if (h->state.n)
		printf("\n%-20s %8s %9s %7s %8s  %s\n", "machine", "process", "promised", "guest",
		       "at least", "limits");
	for (unsigned i = 0; i < h->state.n; i++) {
		const struct host_entry *e = &h->state.entry[i];

		limits_describe(&e->limits, text, sizeof(text));
		printf("%-20s %8d %9llu %7llu %8llu  %s\n", e->name, e->pid, mib(e->promised),
		       mib(e->memory), mib(e->balloon_min), text[0] ? text : "none");
	}
}

static void put(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_given(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, v ? json_integer((json_int_t)v) : json_null());
}

static json_t *entry_json(const struct host_entry *e)
{
	static const char *const io[IO_LIMITS] = { "io_read_bps", "io_write_bps", "io_read_ops",
						   "io_write_ops" };
	const struct limits *l = &e->limits;
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(e->name));
	put(o, "pid", (uint64_t)e->pid);
	put(o, "promised", e->promised);
	put(o, "memory", e->memory);
	put(o, "balloon_min", e->balloon_min);
	put_given(o, "cpu_weight", l->cpu_weight);
	json_object_set_new(o, "cpu_max_percent",
			    l->cpu_quota_us ? json_real(100.0 * (double)l->cpu_quota_us /
							(double)l->cpu_period_us)
					    : json_null());
	put_given(o, "memory_max", l->memory_max);
	for (unsigned i = 0; i < IO_LIMITS; i++)
		put_given(o, io[i], l->io[i]);
	return o;
}

static void print_json(const struct host *h)
{
	json_t *o = json_object(), *list = json_array();

	put(o, "memory", h->info.memory);
	put(o, "memory_available", h->info.memory_available);
	put(o, "for_guests", h->room);
	json_object_set_new(o, "limit_set", json_boolean(h->state.limit));
	put(o, "promised", h->promised);
	put(o, "free", h->free);
	put(o, "cpus", h->info.cpus);
	json_object_set_new(o, "smt", json_string(host_smt_name(h->info.smt)));
	json_object_set_new(o, "host_file", json_string(h->path));
	for (unsigned i = 0; i < h->state.n; i++)
		json_array_append_new(list, entry_json(&h->state.entry[i]));
	json_object_set_new(o, "machines", list);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static int run(struct options *o)
{
	static struct host h;
	struct err err = ERR_INIT;
	int status = 0;

	h.o = o;
	if (look(&h, &err) < 0) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else if (o->json) {
		print_json(&h);
	} else {
		print_text(&h);
	}
	free(h.path);
	return status;
}

const struct command cmd_host = {
	.id = COMMAND_HOST,
	.name = "host",
	.summary = "show what this host has promised to machines",
	.usage = "[OPTION...]",
	.text = "Shows the host's memory, what has been promised to machines, and each machine's "
		"share.",
	.end = "Exit status: 0; 2 the file cannot be used.",
	.run = run,
};
