// SPDX-License-Identifier: GPL-2.0-or-later
/* The `twinstep` command: finds the subcommand and hands over. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/std_fds.h"
#include "tools/cmd.h"

/* In the order of `twinstep help`. */
static const struct command *const commands[] = {
	&cmd_run,
	&cmd_record,
	&cmd_replay,
	&cmd_log,
	&cmd_diff,
	&cmd_primary,
	&cmd_backup,
	&cmd_pair,
	&cmd_keygen,
	&cmd_status,
	&cmd_stop,
	&cmd_snapshot,
	&cmd_balloon,
	&cmd_host,
	&cmd_jail,
	&cmd_qualify,
	&cmd_version,
	/* the end */
	NULL,
};

static void print_help(FILE *f)
{
	fprintf(f, "usage: twinstep COMMAND [OPTION...]\n\n"
		   "A deterministic, fault-tolerant hypervisor: the same workload in two VMs, in "
		   "lockstep.\n\nCommands:\n");
	for (size_t i = 0; commands[i]; i++)
		fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(f, "\n`twinstep COMMAND --help` tells more; see also twinstep(1).\n");
}

int main(int argc, char **argv)
{
	std_fds_open();
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version"))
		return cmd_version.run(argc - 1, argv + 1);
	for (size_t i = 0; commands[i]; i++) {
		if (!strcmp(argv[1], commands[i]->name))
			return commands[i]->run(argc - 1, argv + 1);
	}
	log_error("unknown command '%s'; `twinstep help` lists them", argv[1]);
	return EXIT_USAGE;
}
