/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Subcommands of `twinstep`: one file each, tools/cmd_<name>.c. Their options are rows of the table
 * in host/option_table.c.
 */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

#include "host/exit.h"
#include "host/options.h"

struct command {
	enum command_id id;
	const char *name;
	const char *summary; /* one line for `twinstep help` */
	const char *usage;   /* what follows the name; NULL: nothing */
	const char *text;    /* of the help, above the options */
	const char *end;     /* ... and below them; NULL: nothing */
	int min_args, max_args;
	/* The options are parsed, help is not wanted; returns the exit status. */
	int (*run)(struct options *o);
};

/* In the order of `twinstep help`; the last is NULL. */
extern const struct command *const commands[];

extern const struct command cmd_qualify;
extern const struct command cmd_run;
extern const struct command cmd_record;
extern const struct command cmd_replay;
extern const struct command cmd_log;
extern const struct command cmd_diff;
extern const struct command cmd_campaign;
extern const struct command cmd_explore;
extern const struct command cmd_status;
extern const struct command cmd_stop;
extern const struct command cmd_switch;
extern const struct command cmd_migrate;
extern const struct command cmd_evacuate;
extern const struct command cmd_powerdown;
extern const struct command cmd_snapshot;
extern const struct command cmd_balloon;
extern const struct command cmd_verify;
extern const struct command cmd_resize;
extern const struct command cmd_agent;
extern const struct command cmd_primary;
extern const struct command cmd_backup;
extern const struct command cmd_pair;
extern const struct command cmd_keygen;
extern const struct command cmd_arbiter;
extern const struct command cmd_jail;
extern const struct command cmd_host;
extern const struct command cmd_image;
extern const struct command cmd_version;
extern const struct command cmd_completion;
extern const struct command cmd_up;
extern const struct command cmd_down;
extern const struct command cmd_list;
extern const struct command cmd_console;
extern const struct command cmd_check_config;
extern const struct command cmd_exporter;
extern const struct command cmd_net;
extern const struct command cmd_doctor;
extern const struct command cmd_top;

#endif
