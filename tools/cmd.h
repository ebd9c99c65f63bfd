/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Subcommands of `twinstep`: one file each, tools/cmd_<name>.c; option parsing lives there and
 * nowhere else.
 */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

/*
 * Exit statuses. A guest that ends itself through the debug exit port chooses its own; the others
 * are ours. A run that a signal ended exits with 128 + the signal's number.
 */
#define EXIT_USAGE  2	/* bad options, unreadable or damaged input files; nothing was run */
#define EXIT_FENCED 118 /* another replica is live */
#define EXIT_RESET  119 /* the guest asked for a reset */
#define EXIT_TRIPLE 120 /* triple fault */
#define EXIT_STUCK  121 /* no instruction of the guest can retire any more */
#define EXIT_ENGINE 122 /* the engine or the host failed */
/* a replica or replay differs from its record, or the record cannot be applied */
#define EXIT_DIVERGED 123

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
