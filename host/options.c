// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/profile.h"

#define WIDTH	    80
#define TEXT_COLUMN 26 /* where an option's help begins */
#define FIRST_VAL   256

/* ---- the table ---- */

const struct option_row *option_find(enum command_id command, const char *name)
{
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].commands >> command & 1 && !strcmp(option_table[i].name, name))
			return &option_table[i];
	}
	return NULL;
}

bool option_for(const struct option_row *row, enum command_id command)
{
	return row->commands >> command & 1 && !row->refusal;
}

/* ---- parsers ---- */

bool parse_number(const char *s, uint64_t *n)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*n = strtoull(s, &end, 10);
	return !errno && !*end;
}

int option_parse_flag(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	*(bool *)target = true;
	return 0;
}

int option_parse_string(const struct option_row *row, void *target, const char *arg,
			struct err *err)
{
	*(const char **)target = arg;
	return 0;
}

int option_parse_number(const struct option_row *row, void *target, const char *arg,
			struct err *err)
{
	uint64_t n;

	if (parse_number(arg, &n) && n >= row->min && n <= row->max) {
		*(uint64_t *)target = n;
		return 0;
	}
	if (row->max == UINT64_MAX)
		return err_set(err, EINVAL, "--%s %s: must be a number of %s", row->name, arg,
			       row->unit);
	return err_set(err, EINVAL, "--%s %s: must be %" PRIu64 " to %" PRIu64 " %s", row->name,
		       arg, row->min, row->max, row->unit);
}

/* Parses one of the words of row->arg ("auto|host|virtual") as its number. */
int option_parse_choice(const struct option_row *row, void *target, const char *arg,
			struct err *err)
{
	size_t len = strlen(arg);
	unsigned n = 0;

	for (const char *word = row->arg;; n++) {
		size_t k = strcspn(word, "|");

		if (k == len && !strncmp(word, arg, k)) {
			*(unsigned *)target = n;
			return 0;
		}
		if (!word[k])
			break;
		word += k + 1;
	}
	return err_set(err, EINVAL, "--%s %s: must be one of %s", row->name, arg, row->arg);
}

/* ---- a command line ---- */

char *options_substitute(const char *text, char letter)
{
	char *out = malloc(strlen(text) + 1), *o = out;

	must(out != NULL);
	for (const char *s = text; *s; s++) {
		bool here = s[0] == '%' && s[1] == 'r';

		*o++ = here ? letter : *s;
		s += here;
	}
	*o = 0;
	return out;
}

void options_defaults(struct options *o, enum command_id command)
{
	*o = (struct options){ .command = command,
			       .epoch_ms = 500,
			       .checkpoint_s = 60,
			       .profile_every = PROFILE_EVERY };
	machine_opts_defaults(&o->machine);
	replica_opts_defaults(&o->replica);
	o->jobs = 1;
	o->runs = 1000;
	o->changes = 16;
	o->patience_s = 300;
	o->bound = 100000000;
	o->explore_seed = 1;
}

void options_free(struct options *o)
{
	machine_opts_free(&o->machine);
	for (size_t i = 0; i < o->ngiven; i++)
		free(o->substituted[i]);
	o->ngiven = 0;
}

static int take(struct options *o, const struct option_row *row, const char *arg, char letter,
		struct err *err)
{
	if (row->refusal)
		return err_set(err, EINVAL, "--%s%s%s: %s", row->name, arg ? " " : "",
			       arg ? arg : "", row->refusal);
	if (o->ngiven == OPTIONS_GIVEN)
		return err_set(err, E2BIG, "more than %d options", OPTIONS_GIVEN);
	o->given[o->ngiven] = (struct option_given){ row, arg };
	if (arg && letter)
		arg = o->substituted[o->ngiven] = options_substitute(arg, letter);
	o->ngiven++;
	return row->parse(row, (char *)o + row->target, arg, err);
}

static int next_error(int opt, char **argv, struct err *err)
{
	const char *given = argv[optind - 1], *command = argv[0];

	if (opt == ':')
		return err_set(err, EINVAL, "option '%s' needs a value; see `twinstep %s --help`",
			       given, command);
	if (optopt)
		return err_set(err, EINVAL,
			       "option '%s' takes no value or is unknown; `twinstep %s --help` "
			       "lists them",
			       given, command);
	return err_set(err, EINVAL, "unknown option '%s'; `twinstep %s --help` lists them", given,
		       command);
}

/* The options of a command as getopt_long() wants them; val is the row's number. */
static void list_options(enum command_id command, struct option *list, char *letters)
{
	*letters++ = ':';
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		if (!(row->commands >> command & 1))
			continue;
		*list++ = (struct option){ row->name, row->arg ? required_argument : no_argument,
					   NULL, FIRST_VAL + (int)i };
		if (row->letter)
			*letters++ = row->letter;
		if (row->letter && row->arg)
			*letters++ = ':';
	}
	*list = (struct option){ 0 };
	*letters = 0;
}

static const struct option_row *row_of(enum command_id command, int opt)
{
	if (opt >= FIRST_VAL)
		return &option_table[opt - FIRST_VAL];
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].letter == opt && option_for(&option_table[i], command))
			return &option_table[i];
	}
	return NULL;
}

static int check_count(const struct options *o, int min, int max, const char *command,
		       struct err *err)
{
	if (o->nargs > max)
		return err_set(err, EINVAL,
			       "unexpected argument '%s'; `twinstep %s --help` tells more",
			       o->args[max], command);
	if (o->nargs < min)
		return err_set(err, EINVAL, "missing argument; `twinstep %s --help` tells more",
			       command);
	return 0;
}

int options_parse(struct options *o, int argc, char **argv, int min, int max, char letter,
		  struct err *err)
{
	struct option *list = calloc(option_count + 1, sizeof(*list));
	char *letters = calloc(option_count + 1, 2);
	int opt, ret = 0;

	must(list && letters);
	list_options(o->command, list, letters);
	opterr = 0;
	optind = 0;
	while (ret == 0 && (opt = getopt_long(argc, argv, letters, list, NULL)) != -1) {
		if (opt == '?' || opt == ':')
			ret = next_error(opt, argv, err);
		else
			ret = take(o, row_of(o->command, opt), optarg, letter, err);
	}
	free(list);
	free(letters);
	o->machine.share.name = o->name;
	o->args = argv + optind;
	o->nargs = argc - optind;
	return ret || o->help ? ret : check_count(o, min, max, argv[0], err);
}

int options_again(struct options *o, const struct options *from, char letter, struct err *err)
{
	int ret = 0;

	options_defaults(o, from->command);
	for (size_t i = 0; ret == 0 && i < from->ngiven; i++)
		ret = take(o, from->given[i].row, from->given[i].arg, letter, err);
	o->machine.share.name = o->name;
	return ret;
}

/* ---- help ---- */

/* Length of the text's next word; longer ones than a line are not cut. */
static size_t word_length(const char *text)
{
	return strcspn(text, " \n");
}

void options_wrap(FILE *f, const char *text, unsigned indent, unsigned column)
{
	bool first = true;

	while (*text) {
		size_t n = word_length(text);

		if (!first && column + 1 + n > WIDTH) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		fprintf(f, "%s%.*s", first ? "" : " ", (int)n, text);
		column += (unsigned)n + !first;
		first = false;
		text += n;
		if (*text == '\n') {
			fprintf(f, "\n%*s", text[1] ? (int)indent : 0, "");
			column = indent;
			first = true;
		}
		text += *text != 0;
	}
	if (!first)
		fputc('\n', f);
}

static void help_row(FILE *f, const struct option_row *row)
{
	char head[128];
	int n = 2;

	n += row->letter ? snprintf(head, sizeof(head), "-%c, --%s", row->letter, row->name)
			 : snprintf(head, sizeof(head), "--%s", row->name);
	fprintf(f, "  %s", head);
	if (row->arg)
		n += fprintf(f, " %s", row->arg);
	if (n >= TEXT_COLUMN) {
		fputc('\n', f);
		n = 0;
	}
	fprintf(f, "%*s", TEXT_COLUMN - n, "");
	options_wrap(f, row->help, TEXT_COLUMN, TEXT_COLUMN);
}

void options_help(FILE *f, enum command_id command)
{
	static const char *const titles[OPTION_GROUPS] = { [GROUP_OWN] = "Options",
							   [GROUP_PAIR] = "Pair",
							   [GROUP_MACHINE] = "Machine",
							   [GROUP_SIDE] = "This host's side of it",
							   [GROUP_SHARE] = "Share of the host" };

	for (unsigned g = 0; g < OPTION_GROUPS; g++) {
		bool any = false;

		for (size_t i = 0; i < option_count; i++) {
			const struct option_row *row = &option_table[i];

			if (row->group != g || !option_for(row, command))
				continue;
			if (!any)
				fprintf(f, "%s:\n", titles[g]);
			any = true;
			help_row(f, row);
		}
	}
}
