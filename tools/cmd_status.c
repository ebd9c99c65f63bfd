// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep status`, `stop`, `switch`, `powerdown`, `snapshot` and `balloon`: what is asked of a
 * running machine through its control socket.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "record/checkpoint.h"
#include "record/checkpoint_diff.h"
#include "tools/cmd.h"
#include "host/control.h"
#include "host/guest_agent.h"
#include "host/guest_freeze.h"
#include "isolation/limits.h"
#include "host/stop.h"

#define ANSWER_MS   5000
#define SWITCH_MS   15000
#define SNAPSHOT_MS 600000

#define SNAPSHOT_NAP_NS 100000000ull

/* Sends the request (and drops it). NULL after having said why. */
static json_t *ask(const char *who, json_t *request, int timeout_ms)
{
	struct err err = ERR_INIT;
	json_t *answer = request ? control_request(who, request, timeout_ms, &err) : NULL;

	if (!request)
		err_set(&err, EINVAL, "the arguments are not valid UTF-8");
	json_decref(request);
	if (!answer)
		log_error("%s", err.text);
	return answer;
}

static void print_json(json_t *answer)
{
	json_dumpf(answer, stdout, JSON_COMPACT);
	putchar('\n');
}

static void print_value(const char *prefix, const char *key, const json_t *v)
{
	char name[64];
	const char *k;
	json_t *inner;

	snprintf(name, sizeof(name), "%s%s", prefix, key);
	if (json_is_string(v)) {
		printf("%-20s %s\n", name, json_string_value(v));
	} else if (json_is_integer(v) && strlen(key) > 3 && !strcmp(key + strlen(key) - 3, "_ns")) {
		name[strlen(name) - 3] = 0;
		printf("%-20s %.3f s\n", name, (double)json_integer_value(v) / 1e9);
	} else if (json_is_integer(v)) {
		printf("%-20s %lld\n", name, (long long)json_integer_value(v));
	} else if (json_is_real(v)) {
		printf("%-20s %.1f\n", name, json_real_value(v));
	} else if (json_is_boolean(v)) {
		printf("%-20s %s\n", name, json_is_true(v) ? "yes" : "no");
	} else if (json_is_object(v)) {
		strncat(name, ".", sizeof(name) - strlen(name) - 1);
		json_object_foreach((json_t *)(uintptr_t)v, k, inner)
		{
			if (!json_is_object(inner))
				print_value(name, k, inner);
		}
	}
}

static void print_text(json_t *answer)
{
	const char *key;
	json_t *v;

	json_object_foreach(answer, key, v)
	{
		if (strcmp(key, "ok"))
			print_value("", key, v);
	}
}

/* The machine's answer, as asked for; 1 without one. */
static int show(const struct options *o, json_t *answer)
{
	if (!answer)
		return 1;
	if (o->json)
		print_json(answer);
	else
		print_text(answer);
	json_decref(answer);
	return 0;
}

static int run_status(struct options *o)
{
	return show(o, ask(o->args[0], json_pack("{s:s}", "command", "status"), ANSWER_MS));
}

/* Sends the command. True: the machine has done it. */
static int tell(const struct options *o, const char *command)
{
	json_t *answer = ask(o->args[0], json_pack("{s:s}", "command", command), ANSWER_MS);

	json_decref(answer);
	return answer ? 0 : 1;
}

static int run_stop(struct options *o)
{
	return tell(o, "stop");
}

static int run_switch(struct options *o)
{
	return show(o, ask(o->args[0], json_pack("{s:s}", "command", "switch"), SWITCH_MS));
}

static int run_powerdown(struct options *o)
{
	return tell(o, "powerdown");
}

/* Files beside the one that is asked for. */
struct halves {
	char *whole, *changes; /* their names; NULL: there is none */
	int fd;		       /* of the first */
};

/* A signal while the machine writes: the half of a file that nobody will name goes. */
static void drop_half(void *halves)
{
	struct halves *h = halves;

	unlink(h->whole);
	if (h->changes)
		unlink(h->changes);
	_exit(128 + stop_signal());
}

/*
 * A backup takes its snapshot while it goes on: what has come of it (drops the status). NULL
 * without err: not yet.
 */
static json_t *snapshot_end(const char *who, json_t *status, json_int_t number, struct err *err)
{
	json_t *now = json_object_get(status, "snapshot");
	const char *stage = json_string_value(json_object_get(now, "stage"));
	const char *why = json_string_value(json_object_get(now, "why"));
	bool done = stage && !strcmp(stage, "done");

	if (!stage || json_integer_value(json_object_get(now, "number")) != number)
		err_set(err, ESRCH, "%s does not know of its snapshot any more", who);
	else if (!strcmp(stage, "failed"))
		err_set(err, EIO, "%s", why ? why : "it has failed");
	now = done && !err->code ? json_incref(now) : NULL;
	json_decref(status);
	return now;
}

/* From there on what the guest writes is not in the snapshot any more. */
static bool is_taken(const json_t *status)
{
	const json_t *now = json_object_get(status, "snapshot");
	const char *stage = json_string_value(json_object_get(now, "stage"));

	return stage && !strcmp(stage, "writing");
}

/* The guest is thawed as soon as the snapshot is taken; err_thaw is of that. */
static json_t *snapshot_wait(const char *who, json_int_t number, struct guest_freeze *f,
			     struct err *err_thaw, struct err *err)
{
	json_t *end = NULL;

	while (!end && !err->code) {
		json_t *status;

		host_sleep_ns(SNAPSHOT_NAP_NS);
		status = control_ask(who, "status", ANSWER_MS, err);
		if (is_taken(status))
			guest_freeze_end(f, err_thaw);
		if (status)
			end = snapshot_end(who, status, number, err);
	}
	if (end) {
		json_object_del(end, "stage");
		json_object_set_new(end, "ok", json_true());
	}
	return end;
}

/* The machine has no names: it writes to a descriptor. */
static json_t *ask_snapshot(const char *who, int fd, struct guest_freeze *f, struct err *err_thaw,
			    struct err *err)
{
	json_t *request = json_pack("{s:s}", "command", "snapshot");
	json_t *answer = control_request_fd(who, request, fd, SNAPSHOT_MS, err);
	json_t *number = json_object_get(answer, "number");

	json_decref(request);
	if (number) {
		json_int_t n = json_integer_value(number);

		json_decref(answer);
		answer = snapshot_wait(who, n, f, err_thaw, err);
	}
	return answer;
}

/* With the guest's file systems frozen, where --freeze names its agent. */
static json_t *ask_frozen(const struct options *o, int fd, struct err *err)
{
	uint64_t ms = o->agent_timeout_ms ? o->agent_timeout_ms : AGENT_PATIENCE_MS;
	struct err err_thaw = ERR_INIT;
	struct guest_freeze f = { 0 };
	json_t *answer;

	if (o->freeze && guest_freeze_begin(&f, o->freeze, ms, err) < 0) {
		err_prefix(err, "the guest cannot be frozen, and no snapshot is taken");
		return NULL;
	}
	answer = ask_snapshot(o->args[0], fd, &f, &err_thaw, err);
	guest_freeze_end(&f, &err_thaw);
	if (err_thaw.code)
		log_warn("%s: the guest's file systems may be frozen still; `twinstep agent SOCKET "
			 "thaw`, where the guest runs now, thaws them",
			 err_thaw.text);
	if (answer && o->freeze)
		json_object_set_new(answer, "frozen", json_integer(f.filesystems));
	return answer;
}

/* Of the whole snapshot there is, what differs from the one before is kept. */
static int keep_changes(const struct options *o, int base, struct halves *h, json_t *answer,
			struct err *err)
{
	const struct checkpoint_file below = { base, o->incremental_from },
				     whole = { h->fd, "the snapshot" };
	struct checkpoint_file changes = { .name = o->args[1] };
	struct checkpoint_info info;
	char *done;
	int ret;

	changes.fd = checkpoint_file_create(o->args[1], o->force, &h->changes, err);
	if (changes.fd < 0)
		return changes.fd;
	ret = checkpoint_diff(&below, &whole, &changes, &info, err);
	close(changes.fd);
	if (ret < 0)
		return ret;
	json_object_set_new(answer, "whole_bytes", json_incref(json_object_get(answer, "bytes")));
	json_object_set_new(answer, "pages", json_integer((json_int_t)info.pages));
	json_object_set_new(answer, "bytes", json_integer((json_int_t)info.bytes));
	unlink(h->whole); /* a signal at any moment finds names that are still there */
	done = h->whole;
	h->whole = h->changes;
	h->changes = NULL;
	free(done);
	return 0;
}

/* base: what --incremental-from names; -1: nothing. Frees the names. */
static int make_snapshot(const struct options *o, int base, struct halves *h, json_t **answer,
			 struct err *err)
{
	int ret;

	*answer = ask_frozen(o, h->fd, err);
	ret = *answer ? 0 : -err->code;
	if (ret == 0 && base >= 0)
		ret = keep_changes(o, base, h, *answer, err);
	if (ret == 0)
		return checkpoint_file_publish(o->args[1], h->whole, o->force, err);
	checkpoint_file_drop(h->whole);
	if (h->changes)
		checkpoint_file_drop(h->changes);
	return ret;
}

static json_t *take_snapshot(const struct options *o)
{
	const char *from = o->incremental_from;
	struct err err = ERR_INIT;
	struct halves h = { .fd = -1 };
	int base = from ? checkpoint_open(from, &err) : -1, ret = from && base < 0 ? base : 0;
	json_t *answer = NULL;

	if (ret == 0)
		ret = h.fd = checkpoint_file_create(o->args[1], o->force, &h.whole, &err);
	if (ret >= 0) {
		stop_on_signals(drop_half, &h);
		ret = make_snapshot(o, base, &h, &answer, &err);
		stop_restore();
		close(h.fd);
	}
	if (base >= 0)
		close(base);
	if (ret >= 0)
		return answer;
	json_decref(answer);
	log_error("%s", err.text);
	return NULL;
}

static int run_snapshot(struct options *o)
{
	return show(o, take_snapshot(o));
}

static int run_balloon(struct options *o)
{
	uint64_t bytes;
	json_t *answer;

	if (!limits_parse_size(o->args[1], &bytes)) {
		log_error("'%s' is not a size; write for example 64M", o->args[1]);
		return EXIT_USAGE;
	}
	answer = ask(o->args[0],
		     json_pack("{s:s, s:I}", "command", "balloon", "bytes", (json_int_t)bytes),
		     ANSWER_MS);
	json_decref(answer);
	return answer ? 0 : 1;
}

const struct command cmd_status = {
	.id = COMMAND_STATUS,
	.name = "status",
	.summary = "show what a running machine does",
	.usage = "NAME|PATH [--json]",
	.text = "Shows what a machine does: NAME as given with --name, or the PATH of its control "
		"socket.",
	.end = "Exit status: 0; 1 nobody answers there.",
	.min_args = 1,
	.max_args = 1,
	.run = run_status,
};

const struct command cmd_stop = {
	.id = COMMAND_STOP,
	.name = "stop",
	.summary = "end a running machine",
	.usage = "NAME|PATH",
	.text = "Ends a machine at once, as if its power had been cut; a recording is ended "
		"properly.",
	.end = "Exit status: 0; 1 nobody answers there.",
	.min_args = 1,
	.max_args = 1,
	.run = run_stop,
};

const struct command cmd_switch = {
	.id = COMMAND_SWITCH,
	.name = "switch",
	.summary = "let the two replicas of a pair change places",
	.usage = "NAME|PATH [--json]",
	.text = "The backup of a protected pair goes live, and the replica that was live, NAME, "
		"follows it: for maintenance of its host, for example. Nothing is lost and no "
		"state "
		"is sent again; the guest stands still for a few milliseconds.",
	.end = "Exit status: 0; 1 they have not changed places: NAME is not live, or not "
	       "protected.",
	.min_args = 1,
	.max_args = 1,
	.run = run_switch,
};

const struct command cmd_powerdown = {
	.id = COMMAND_POWERDOWN,
	.name = "powerdown",
	.summary = "press a machine's power button",
	.usage = "NAME|PATH",
	.text = "Presses the power button of a machine of version 2; the guest's operating system "
		"shuts down, if it listens to the button. `twinstep stop` does not ask.",
	.end = "Exit status: 0 the button was pressed; 1 nobody answers there, or the machine has "
	       "no such button.",
	.min_args = 1,
	.max_args = 1,
	.run = run_powerdown,
};

const struct command cmd_snapshot = {
	.id = COMMAND_SNAPSHOT,
	.name = "snapshot",
	.summary = "write the state of a running machine to a file",
	.usage = "NAME|PATH FILE [--freeze SOCKET] [--incremental-from BASE] [--force] [--json]",
	.text = "Writes the state of a running machine to FILE; `twinstep run --restore FILE` goes "
		"on from there. The machine waits while the file is written; a pair does not: its "
		"snapshot is taken on the backup, NAME, with the content of its disks. With "
		"--freeze the guest's file systems are clean in it: its agent (--guest-agent "
		"unix:SOCKET) freezes them before, and thaws them after it. With "
		"--incremental-from FILE has what differs from BASE only, and is restored with it.",
	.end = "Exit status: 0; 1 no snapshot was taken.",
	.min_args = 2,
	.max_args = 2,
	.run = run_snapshot,
};

const struct command cmd_balloon = {
	.id = COMMAND_BALLOON,
	.name = "balloon",
	.summary = "ask a guest to hand memory back",
	.usage = "NAME|PATH SIZE",
	.text = "Asks the guest to hand SIZE of its memory back (for example 64M; 0: it gets all "
		"of it again). Needs the guest's virtio_balloon driver; the guest gives what it "
		"can spare.",
	.end = "Exit status: 0 the guest was asked; 1 it could not be.",
	.min_args = 2,
	.max_args = 2,
	.run = run_balloon,
};
