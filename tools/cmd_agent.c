// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep agent`: asks QEMU's guest agent in a guest. Nothing but ASCII is printed of what it
 * says, which is the guest's.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "host/guest_agent.h"
#include "tools/cmd.h"

static json_t *no_arguments(void)
{
	return json_object();
}

static json_t *time_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return json_pack("{s:I}", "time", (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec);
}

static const struct word {
	const char *word, *command;
	json_t *(*arguments)(void);
} words[] = {
	{ "ping", "guest-ping", no_arguments },
	{ "info", "guest-info", no_arguments },
	{ "freeze", "guest-fsfreeze-freeze", no_arguments },
	{ "thaw", "guest-fsfreeze-thaw", no_arguments },
	{ "frozen", "guest-fsfreeze-status", no_arguments },
	{ "set-time", "guest-set-time", time_now },
};

/* Command and arguments of what was typed; NULL: wrong use, which was said. */
static const char *read_command(const struct options *o, json_t **arguments)
{
	const char *word = o->args[1], *given = o->nargs > 2 ? o->args[2] : NULL;
	json_error_t bad;

	for (size_t i = 0; !given && i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(words[i].word, word)) {
			*arguments = words[i].arguments();
			return words[i].command;
		}
	}
	if (strncmp(word, "guest-", strlen("guest-"))) {
		log_error("%s%s: ping, info, freeze, thaw, frozen, set-time, or a command of the "
			  "agent's (guest-...)",
			  word, given ? " takes no arguments" : "");
		return NULL;
	}
	*arguments = given ? json_loads(given, 0, &bad) : json_object();
	if (json_is_object(*arguments))
		return word;
	log_error("%s: arguments are an object of JSON, such as '{\"path\": \"/etc/hostname\"}'",
		  given);
	return NULL;
}

static void print_value(const json_t *value)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_INDENT(2));
	putchar('\n');
}

static int run(struct options *o)
{
	uint64_t ms = o->agent_timeout_ms ? o->agent_timeout_ms : AGENT_PATIENCE_MS;
	struct err err = ERR_INIT;
	json_t *arguments = NULL, *value = NULL;
	const char *command = read_command(o, &arguments);
	struct agent a;

	if (!command) {
		json_decref(arguments);
		return EXIT_USAGE;
	}
	if (agent_connect(&a, o->args[0], ms, &err) == 0)
		value = agent_ask(&a, command, arguments, &err);
	agent_close(&a);
	if (value)
		print_value(value);
	else
		log_error("%s", err.text);
	json_decref(value);
	json_decref(arguments);
	return value ? 0 : 1;
}

const struct command cmd_agent = {
	.id = COMMAND_AGENT,
	.name = "agent",
	.summary = "ask QEMU's guest agent in a guest",
	.usage = "SOCKET COMMAND [ARGUMENTS] [OPTION...]",
	.text = "SOCKET is that of --guest-agent unix:SOCKET; qemu-guest-agent runs in the guest. "
		"COMMAND is ping, info, freeze (file systems, so that a copy of the disks is "
		"clean), thaw, frozen, set-time (to this host's: after a restore), or one of the "
		"agent's own, such as guest-network-get-interfaces; ARGUMENTS are an object of "
		"JSON. What it returns is printed as JSON.",
	.end = "Exit status: 0; 1 the agent did not answer, or with an error; 2 wrong use.",
	.min_args = 2,
	.max_args = 3,
	.run = run,
};
