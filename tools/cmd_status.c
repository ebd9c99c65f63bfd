// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep status`, `stop`, `snapshot` and `balloon`: what is asked of a running machine through
 * its control socket.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "record/checkpoint.h"
#include "tools/cmd.h"
#include "host/control.h"
#include "host/machine_opts.h"
#include "host/stop.h"

#define ANSWER_MS   5000
#define SNAPSHOT_MS 600000

enum { OPT_JSON = OPT_COMMAND, OPT_FORCE };

static const struct option options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

struct ask {
	const char *usage;
	int nargs;
	bool json, force, help;
	char **arg;
};

/* 0 with the arguments, or EXIT_USAGE after having said why. */
static int parse(struct ask *a, int argc, char **argv)
{
	int opt;

	while ((opt = options_next(argc, argv, options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		a->json |= opt == OPT_JSON;
		a->force |= opt == OPT_FORCE;
		a->help |= opt == OPT_HELP;
	}
	a->arg = argv + optind;
	if (a->help) {
		puts(a->usage);
		return 0;
	}
	if (argc - optind != a->nargs) {
		log_error("%s argument; `twinstep %s --help` tells more",
			  argc - optind < a->nargs ? "missing" : "unexpected", argv[0]);
		return EXIT_USAGE;
	}
	return 0;
}

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

static int run_status(int argc, char **argv)
{
	struct ask a = { .usage = "usage: twinstep status NAME|PATH [--json]\n\n"
				  "Shows what a machine does: NAME as given with --name, or the "
				  "PATH of its control socket.\n\n"
				  "  --json                  as one line of JSON\n"
				  "Exit status: 0; 1 nobody answers there.",
			 .nargs = 1 };
	int status = parse(&a, argc, argv);
	json_t *answer;

	if (status || a.help)
		return status;
	answer = ask(a.arg[0], json_pack("{s:s}", "command", "status"), ANSWER_MS);
	if (!answer)
		return 1;
	if (a.json)
		print_json(answer);
	else
		print_text(answer);
	json_decref(answer);
	return 0;
}

static int run_stop(int argc, char **argv)
{
	struct ask a = { .usage = "usage: twinstep stop NAME|PATH\n\n"
				  "Ends a machine at once, as if its power had been cut; a "
				  "recording is ended properly.\n"
				  "Exit status: 0; 1 nobody answers there.",
			 .nargs = 1 };
	int status = parse(&a, argc, argv);
	json_t *answer;

	if (status || a.help)
		return status;
	answer = ask(a.arg[0], json_pack("{s:s}", "command", "stop"), ANSWER_MS);
	json_decref(answer);
	return answer ? 0 : 1;
}

/* A signal while the machine writes: the half of a file that nobody will name goes. */
static void drop_half(void *tmp)
{
	unlink(tmp);
	_exit(128 + stop_signal());
}

/* The machine has no names: it writes to a descriptor. */
static json_t *take_snapshot(const struct ask *a)
{
	struct err err = ERR_INIT;
	char *tmp;
	int fd = checkpoint_file_create(a->arg[1], a->force, &tmp, &err);
	json_t *answer = NULL, *request = json_pack("{s:s}", "command", "snapshot");

	if (fd >= 0) {
		stop_on_signals(drop_half, tmp);
		answer = control_request_fd(a->arg[0], request, fd, SNAPSHOT_MS, &err);
		close(fd);
		stop_restore();
		if (!answer)
			checkpoint_file_drop(tmp);
		else if (checkpoint_file_publish(a->arg[1], tmp, a->force, &err) < 0) {
			json_decref(answer);
			answer = NULL;
		}
	}
	json_decref(request);
	if (!answer)
		log_error("%s", err.text);
	return answer;
}

static int run_snapshot(int argc, char **argv)
{
	struct ask a = {
		.usage = "usage: twinstep snapshot NAME|PATH FILE [--force] [--json]\n\n"
			 "Writes the state of a running machine to FILE; `twinstep run --restore "
			 "FILE` goes on from there.\n"
			 "The machine waits while the file is written.\n\n"
			 "  --force                 replace FILE if it is there\n"
			 "  --json                  say where it was taken as one line of JSON\n"
			 "Exit status: 0; 1 no snapshot was taken.",
		.nargs = 2
	};
	int status = parse(&a, argc, argv);
	json_t *answer;

	if (status || a.help)
		return status;
	answer = take_snapshot(&a);
	if (!answer)
		return 1;
	if (a.json)
		print_json(answer);
	else
		print_text(answer);
	json_decref(answer);
	return 0;
}

static int run_balloon(int argc, char **argv)
{
	struct ask a = { .usage = "usage: twinstep balloon NAME|PATH SIZE\n\n"
				  "Asks the guest to hand SIZE of its memory back (for example "
				  "64M; 0: it gets all of it again).\n"
				  "Needs the guest's virtio_balloon driver; the guest gives what "
				  "it can spare.\n"
				  "Exit status: 0 the guest was asked; 1 it could not be.",
			 .nargs = 2 };
	int status = parse(&a, argc, argv);
	uint64_t bytes;
	json_t *answer;

	if (status || a.help)
		return status;
	if (!parse_size(a.arg[1], &bytes) || bytes > INT64_MAX) {
		log_error("'%s' is not a size; write for example 64M", a.arg[1]);
		return EXIT_USAGE;
	}
	answer = ask(a.arg[0],
		     json_pack("{s:s, s:I}", "command", "balloon", "bytes", (json_int_t)bytes),
		     ANSWER_MS);
	json_decref(answer);
	return answer ? 0 : 1;
}

const struct command cmd_status = { "status", "show what a running machine does", run_status };
const struct command cmd_stop = { "stop", "end a running machine", run_stop };
const struct command cmd_snapshot = { "snapshot", "write the state of a running machine to a file",
				      run_snapshot };
const struct command cmd_balloon = { "balloon", "ask a guest to hand memory back", run_balloon };
