/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options of all subcommands: one table (option_table.c), and what is made from it: the parsing
 * of a command line, the help of a subcommand, completion, and which options one subcommand hands
 * on to another.
 */
#ifndef HOST_OPTIONS_H
#define HOST_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "host/machine_opts.h"
#include "host/replica_opts.h"

enum command_id {
	COMMAND_RUN,
	COMMAND_RECORD,
	COMMAND_REPLAY,
	COMMAND_LOG,
	COMMAND_DIFF,
	COMMAND_CAMPAIGN,
	COMMAND_EXPLORE,
	COMMAND_PRIMARY,
	COMMAND_BACKUP,
	COMMAND_PAIR,
	COMMAND_KEYGEN,
	COMMAND_ARBITER,
	COMMAND_STATUS,
	COMMAND_STOP,
	COMMAND_SWITCH,
	COMMAND_MIGRATE,
	COMMAND_EVACUATE,
	COMMAND_POWERDOWN,
	COMMAND_SNAPSHOT,
	COMMAND_BALLOON,
	COMMAND_VERIFY,
	COMMAND_RESIZE,
	COMMAND_AGENT,
	COMMAND_HOST,
	COMMAND_IMAGE,
	COMMAND_JAIL,
	COMMAND_QUALIFY,
	COMMAND_VERSION,
	COMMAND_COMPLETION,
	COMMAND_UP,
	COMMAND_DOWN,
	COMMAND_LIST,
	COMMAND_CONSOLE,
	COMMAND_CHECK_CONFIG,
	COMMAND_EXPORTER,
	COMMAND_NET,
	COMMAND_DOCTOR,
	COMMAND_TOP,
	COMMANDS,
};

/* Under which heading an option stands in the help. */
enum option_group { GROUP_OWN, GROUP_PAIR, GROUP_MACHINE, GROUP_SIDE, GROUP_SHARE, OPTION_GROUPS };

struct option_row;
/* Puts arg into *target: 0, or -EINVAL and a sentence that begins with the option's name. */
typedef int option_parser(const struct option_row *row, void *target, const char *arg,
			  struct err *err);

struct option_row {
	const char *name;
	char letter;	 /* short form; 0: none */
	const char *arg; /* as the help calls its value; NULL: it takes none */
	option_parser *parse;
	size_t target; /* in struct options */
	const char *help;
	const char *refusal; /* for these commands it is known and refused: why; no help then */
	uint64_t commands;   /* 1 << command_id */
	enum option_group group;
	bool config;	   /* a guest's configuration file may set it */
	bool own;	   /* `pair` does it itself, and does not hand it on */
	uint64_t min, max; /* of a number */
	const char *unit;
};

extern const struct option_row option_table[];
extern const size_t option_count;

/* A number that may be left out. */
struct option_number {
	bool given;
	uint64_t n;
};

struct option_given {
	const struct option_row *row;
	const char *arg;
};

/* A part of several ("2/5"); parts 0: not given. */
struct option_shard {
	uint64_t part, parts; /* from 1 */
};
#define OPTION_SHARDS 100000u

#define OPTIONS_GIVEN 128

/* A command line. Strings point into argv, or live until options_free(). */
struct options {
	enum command_id command;
	struct machine_opts machine;
	struct replica_opts replica;
	const char *name, *control;
	bool help, stats, json, force, quiet, list, test, csv, check;
	bool keep; /* migrate: the old replica stays as backup */
	const char *to;
	const char *size;   /* resize */
	bool quick, longer; /* of qualify: less than usual, or more */
	uint64_t digest_every, profile_every, epoch_ms, checkpoint_s, jobs;
	uint64_t runs, changes, bound, explore_seed; /* of explore */
	uint64_t patience_s;			     /* of campaign and explore */
	uint64_t agent_timeout_ms;		     /* 0: what is usual */
	struct option_number fail_status;
	const char *fail_console, *fail_check, *after;
	struct option_number until, from_checkpoint, limit, disk;
	struct option_shard shard;
	enum verify_mend mend;
	char newer;   /* pair: 'a' or 'b', whose disks count; 0: what their metadata says */
	double speed; /* times real time; 0: as fast as it goes */
	const char *output, *pcap, *gdb, *record, *html, *profile, *symbols;
	/* up, down, console, log of a guest with a configuration file */
	bool detach, all, history, follow, batch;
	struct option_number times; /* top: so many looks */
	uint64_t delay_ms;
	const char *first, *on_event, *webhook;
	const char *incremental_from; /* snapshot: of this one the changes only */
	const char *freeze;	      /* snapshot: socket of the guest's agent */
	const char *user;	      /* net: who may open the taps; NULL: root */
	char **args;		      /* what is no option */
	int nargs;
	struct option_given given[OPTIONS_GIVEN];
	char *substituted[OPTIONS_GIVEN]; /* each value in which %r has become a letter; or NULL */
	size_t ngiven;
};

/* The row of a command's option, without the dashes; NULL: it has none of that name. */
const struct option_row *option_find(enum command_id command, const char *name);
/* True: the command takes the option. Others may have a row for it that gives a reason to refuse.
 */
bool option_for(const struct option_row *row, enum command_id command);

void options_defaults(struct options *o, enum command_id command);
/*
 * Parses argv, whose first element is the command's name; %r in values becomes `letter`, unless it
 * is 0. min, max: of arguments that are no options; not checked where help is wanted. 0, or -EINVAL
 * and err.
 */
int options_parse(struct options *o, int argc, char **argv, int min, int max, char letter,
		  struct err *err);
/* Takes all that was given to `from` once more, for another replica's letter. */
int options_again(struct options *o, const struct options *from, char letter, struct err *err);
void options_free(struct options *o);
/* The text in which %r has become the letter; free the result. */
char *options_substitute(const char *text, char letter);

/* Prints all options of a command, by group. */
void options_help(FILE *f, enum command_id command);
/* Prints text in lines of at most 80 columns; a line feed begins a new one. */
void options_wrap(FILE *f, const char *text, unsigned indent, unsigned column);

/* Parsers that several rows use. */
option_parser option_parse_flag, option_parse_string, option_parse_choice, option_parse_number;

/* "64M", "1G", "4096": see limits_parse_size(). A whole decimal number; false for anything else. */
bool parse_number(const char *s, uint64_t *n);

#endif
