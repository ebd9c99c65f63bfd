/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Subcommands of `twinstep`: one file each, tools/cmd_<name>.c; option parsing lives there and
 * nowhere else.
 */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

#include "host/exit.h"

struct command {
	const char *name;
	const char *summary; /* one line for `twinstep help` */
	int (*run)(int argc,
		   char **argv); /* argv[0] is the subcommand's name; returns the exit status */
};

extern const struct command cmd_qualify;
extern const struct command cmd_run;
extern const struct command cmd_record;
extern const struct command cmd_replay;
extern const struct command cmd_log;
extern const struct command cmd_diff;
extern const struct command cmd_status;
extern const struct command cmd_stop;
extern const struct command cmd_snapshot;
extern const struct command cmd_balloon;
extern const struct command cmd_primary;
extern const struct command cmd_backup;
extern const struct command cmd_pair;
extern const struct command cmd_keygen;
extern const struct command cmd_jail;
extern const struct command cmd_host;
extern const struct command cmd_version;

#endif
