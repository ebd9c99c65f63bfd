// SPDX-License-Identifier: GPL-2.0-or-later
/* The `twinstep` command: finds the subcommand and hands over. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/std_fds.h"
#include "tools/cmd.h"

const struct command *const commands[] = {
	&cmd_run,
	&cmd_record,
	&cmd_replay,
	&cmd_log,
	&cmd_diff,
	&cmd_campaign,
	&cmd_explore,
	&cmd_primary,
	&cmd_backup,
	&cmd_pair,
	&cmd_keygen,
	&cmd_arbiter,
	&cmd_status,
	&cmd_stop,
	&cmd_switch,
	&cmd_migrate,
	&cmd_evacuate,
	&cmd_powerdown,
	&cmd_snapshot,
	&cmd_balloon,
	&cmd_verify,
	&cmd_resize,
	&cmd_agent,
	&cmd_host,
	&cmd_image,
	&cmd_jail,
	&cmd_qualify,
	&cmd_version,
	&cmd_completion,
	&cmd_up,
	&cmd_down,
	&cmd_list,
	&cmd_console,
	&cmd_check_config,
	&cmd_exporter,
	&cmd_net,
	&cmd_doctor,
	&cmd_top,
	/* the end */
	NULL,
};

static void print_help(FILE *f)
{
	fprintf(f, "usage: twinstep COMMAND [OPTION...]\n\n"
		   "A deterministic, fault-tolerant hypervisor: the same workload in two VMs, in "
		   "lockstep.\n\nCommands:\n");
	for (size_t i = 0; commands[i]; i++)
		fprintf(f, "  %-14s%s\n", commands[i]->name, commands[i]->summary);
	fprintf(f, "\n`twinstep COMMAND --help` tells more; see also twinstep(1).\n");
}

static void print_command_help(const struct command *c)
{
	char usage[200];

	snprintf(usage, sizeof(usage), "usage: twinstep %s%s%s", c->name, c->usage ? " " : "",
		 c->usage ? c->usage : "");
	options_wrap(stdout, usage, 16, 0);
	putchar('\n');
	options_wrap(stdout, c->text, 0, 0);
	putchar('\n');
	options_help(stdout, c->id);
	if (c->end)
		options_wrap(stdout, c->end, 0, 0);
}

static int run_command(const struct command *c, int argc, char **argv)
{
	static struct options o;
	struct err err = ERR_INIT;
	int status;

	options_defaults(&o, c->id);
	/* Options of a pair are parsed as replica a sees them, first of all. */
	if (options_parse(&o, argc, argv, c->min_args, c->max_args, c->id == COMMAND_PAIR ? 'a' : 0,
			  &err) < 0) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else if (o.help) {
		print_command_help(c);
		status = 0;
	} else {
		status = c->run(&o);
	}
	options_free(&o);
	return status;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; commands[i]; i++) {
		if (!strcmp(name, commands[i]->name))
			return commands[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct command *c;

	std_fds_open();
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(stdout);
		return 0;
	}
	c = !strcmp(argv[1], "--version") ? &cmd_version : find_command(argv[1]);
	if (c)
		return run_command(c, argc - 1, argv + 1);
	log_error("unknown command '%s'; `twinstep help` lists them", argv[1]);
	return EXIT_USAGE;
}
