/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Subcommands of `twinstep`: one file each, tools/cmd_<name>.c; option parsing lives there and nowhere else. */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

#define EXIT_USAGE 2 /* bad options, unreadable or damaged input files */

struct command {
	const char *name;
	const char *summary;		   /* one line for `twinstep help` */
	int (*run)(int argc, char **argv); /* argv[0] is the subcommand's name; returns the exit status */
};

#endif
