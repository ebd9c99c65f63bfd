// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep completion`: what a shell needs to complete commands, options and their values. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"

/* "auto|host|virtual": a list of words that stand for themselves. */
static bool is_choice(const char *arg)
{
	for (const char *s = arg; *s; s++) {
		if (!islower((unsigned char)*s) && *s != '|')
			return false;
	}
	return strchr(arg, '|') != NULL;
}

static void print_words(const char *choice)
{
	for (const char *s = choice; *s; s++)
		putchar(*s == '|' ? ' ' : *s);
}

static void print_options(enum command_id command)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		if (!option_for(row, command))
			continue;
		if (row->letter)
			printf(" -%c", row->letter);
		printf(" --%s", row->name);
	}
}

/* For each option with a value, what it can be; without words the shell offers files. */
static void print_values(const struct command *c)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		if (!option_for(row, c->id) || !row->arg)
			continue;
		printf("\t%s:--%s", c->name, row->name);
		if (row->letter)
			printf(" | %s:-%c", c->name, row->letter);
		printf(") values=\"");
		if (is_choice(row->arg))
			print_words(row->arg);
		printf("\" value=1 ;;\n");
	}
}

static void print_bash(void)
{
	puts("# bash completion for twinstep(1), made by `twinstep completion bash`\n"
	     "_twinstep() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tlocal command=${COMP_WORDS[1]} options= values= value=\n"
	     "\t# --option=value is three words here\n"
	     "\t[ \"$cur\" = = ] && cur=\n"
	     "\t[ \"$prev\" = = ] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
	     "\tCOMPREPLY=()\n"
	     "\tif [ \"$COMP_CWORD\" -eq 1 ]; then");
	printf("\t\tCOMPREPLY=($(compgen -W \"help");
	for (size_t i = 0; commands[i]; i++)
		printf(" %s", commands[i]->name);
	puts("\" -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase $command in");
	for (size_t i = 0; commands[i]; i++) {
		printf("\t%s) options=\"", commands[i]->name);
		print_options(commands[i]->id);
		puts("\" ;;");
	}
	puts("\tesac\n\tcase $command:$prev in");
	for (size_t i = 0; commands[i]; i++)
		print_values(commands[i]);
	puts("\tesac\n"
	     "\tif [ -n \"$value\" ]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$values\" -- \"$cur\"))\n"
	     "\telif [[ $cur == -* ]]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
	     "\tfi\n"
	     "}\n"
	     "complete -o default -F _twinstep twinstep");
}

static int run(struct options *o)
{
	if (strcmp(o->args[0], "bash")) {
		log_error("no completion for '%s': only for bash", o->args[0]);
		return EXIT_USAGE;
	}
	print_bash();
	return 0;
}

const struct command cmd_completion = {
	.id = COMMAND_COMPLETION,
	.name = "completion",
	.summary = "print completion for a shell",
	.usage = "bash",
	.text = "Prints what bash needs to complete commands, options and their values: `source "
		"<(twinstep completion bash)`. `make install` puts it where bash finds it.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
