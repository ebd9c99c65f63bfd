// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of options: what each row must have, what its parser refuses, and what is made of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/options.h"
#include "tests/unit.h"

static struct options o;

/* What is parsed points into the command line, which lives until the next one. */
static int parse(enum command_id command, int argc, const char *const *words, struct err *err)
{
	static const char *argv[32];

	ck_assert_int_lt(argc, 32);
	memcpy(argv, words, ((size_t)argc + 1) * sizeof(*argv));
	options_free(&o);
	options_defaults(&o, command);
	*err = (struct err)ERR_INIT;
	return options_parse(&o, argc, (char **)(uintptr_t)argv, 0, 1, 0, err);
}

#define PARSE(command, err, ...)                                                       \
	({                                                                             \
		const char *const argv_[] = { "test", __VA_ARGS__, NULL };             \
		parse(command, (int)(sizeof(argv_) / sizeof(char *)) - 1, argv_, err); \
	})

START_TEST(each_row_says_what_it_is)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		ck_assert_ptr_nonnull(row->name);
		ck_assert_msg(!row->help != !row->refusal, "--%s: help or refusal", row->name);
		ck_assert_msg(row->parse != NULL, "--%s has no parser", row->name);
		ck_assert_msg(row->commands != 0, "--%s is for nothing", row->name);
		ck_assert_msg(!(row->refusal && row->config), "--%s: refused in a file", row->name);
		ck_assert_msg(!row->arg == (row->parse == option_parse_flag ||
					    !strcmp(row->name, "no-jail")),
			      "--%s: its value", row->name);
		ck_assert_msg(row->parse != option_parse_number || (row->unit && row->max),
			      "--%s: a number of what?", row->name);
	}
}
END_TEST

/* A name means one thing to a command. */
START_TEST(no_command_has_an_option_twice)
{
	for (size_t i = 0; i < option_count; i++) {
		for (size_t k = 0; k < i; k++)
			ck_assert_msg(
				strcmp(option_table[i].name, option_table[k].name) ||
					!(option_table[i].commands & option_table[k].commands),
				"--%s stands twice for a command", option_table[i].name);
	}
}
END_TEST

static bool takes_anything(const struct option_row *row)
{
	return row->parse == option_parse_string || row->parse == option_parse_flag || !row->arg;
}

/* Of values that no option can have, at least one is refused, by name and with the value. */
START_TEST(parsers_refuse_bad_values)
{
	static const char *const bad[] = { "?", "x,overlay,ro", "a,b,c,d",
					   "unix:", "99999999999999999999" };

	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];
		bool refused = false;
		char begin[64];

		if (takes_anything(row))
			continue;
		snprintf(begin, sizeof(begin), "--%s", row->name);
		for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
			struct err err = ERR_INIT;

			options_free(&o);
			options_defaults(&o, COMMAND_RUN);
			if (row->parse(row, (char *)&o + row->target, bad[k], &err) == 0)
				continue;
			refused = true;
			ck_assert_int_eq(err.code, EINVAL);
			ck_assert_msg(!strncmp(err.text, begin, strlen(begin)) &&
					      strstr(err.text, bad[k]),
				      "%s %s: %s", begin, bad[k], err.text);
		}
		ck_assert_msg(refused, "%s takes everything", begin);
	}
}
END_TEST

static int parse_disk(const char *arg, struct err *err)
{
	options_free(&o);
	options_defaults(&o, COMMAND_RUN);
	*err = (struct err)ERR_INIT;
	return machine_parse_disk(NULL, &o.machine, arg, err);
}

START_TEST(words_behind_a_comma_are_known_ones)
{
	static const char *const bad[] = { "a,b.img",  "a,readonly",	 "a,ro=1",
					   "a,format", "a,format=qcow2", "a,",
					   "a,meta=",  "a,meta=x,meta=y" };
	const struct disk_opt *d = o.machine.disk;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(parse_disk(bad[i], &err) == -EINVAL, "%s", bad[i]);
		ck_assert_msg(strstr(err.text, bad[i]) != NULL, "%s", err.text);
	}
	ck_assert_int_eq(parse_disk("a,,b.img,format=raw,meta=/m,,1", &err), 0);
	ck_assert_str_eq(d->path, "a,b.img");
	ck_assert_str_eq(d->meta, "/m,1");
	ck_assert(d->raw && !d->readonly && !d->overlay);
	ck_assert_int_eq(parse_disk("=,ro", &err), 0);
	ck_assert(d->readonly && !d->raw && !d->meta);
	ck_assert_int_eq(machine_parse_net(NULL, &o.machine, "none,mtu=9000", &err), -EINVAL);
	ck_assert_msg(strstr(err.text, "mtu=9000") && strstr(err.text, "mac="), "%s", err.text);
}
END_TEST

START_TEST(a_tap_has_a_place)
{
	static const struct {
		const char *arg, *why;
	} bad[] = {
		{ "pcap:eth0,bridge=br0", "tap interfaces" },
		{ "none,bridge=br0", "tap interfaces" },
		{ "tap:t0,vlan=7", "add bridge=" },
		{ "tap:t0,bridge=b,vlan=0", "4094" },
		{ "tap:t0,bridge=b,vlan=4095", "4094" },
		{ "tap:t0,bridge=b,vlan=x", "4094" },
		{ "tap:t0,bridge=", "needs BRIDGE" },
	};
	struct err err;

	options_free(&o);
	options_defaults(&o, COMMAND_RUN);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = (struct err)ERR_INIT;
		ck_assert_int_eq(machine_parse_net(NULL, &o.machine, bad[i].arg, &err), -EINVAL);
		ck_assert_msg(strstr(err.text, bad[i].why) != NULL, "%s", err.text);
	}
	ck_assert_int_eq(machine_parse_net(NULL, &o.machine, "tap:t0,bridge=b,,0,vlan=4094", &err),
			 0);
	ck_assert_str_eq(o.machine.nic[0].spec, "tap:t0");
	ck_assert_str_eq(o.machine.nic[0].bridge, "b,0");
	ck_assert_uint_eq(o.machine.nic[0].vlan, 4094);
}
END_TEST

/* What a multiboot guest sees of a module says nothing of where the file lies. */
START_TEST(modules_have_texts)
{
	static const char *const arg[] = { "dir/a.bin", "/b,,c",
					   "/d/e,text=root=/dev/vda,, quiet" };
	static const char *const text[] = { "a.bin", "b,c", "root=/dev/vda, quiet" };
	struct err err;

	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(machine_parse_initrd(NULL, &o.machine, arg[i], &err), 0);
		ck_assert_str_eq(machine_opts_module_text(&o.machine.initrd[i]), text[i]);
	}
	ck_assert_str_eq(o.machine.initrd[1].path, "/b,c");
	ck_assert_int_eq(machine_parse_initrd(NULL, &o.machine, "a,quiet", &err), -EINVAL);
	ck_assert_msg(strstr(err.text, "text=TEXT") != NULL, "%s", err.text);
}
END_TEST

/* A snapshot has a clock of its own: what cannot be had is not taken silently. */
START_TEST(a_restored_machine_has_what_it_had)
{
	static const char *const bad[] = { "--rtc=now", "--append=x", "--initrd=x" };
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(PARSE(COMMAND_RUN, &err, "--restore", "s", bad[i]), 0);
		ck_assert_int_eq(machine_opts_check(&o.machine, &err), -EINVAL);
		ck_assert_msg(strstr(err.text, "--restore") != NULL, "%s", err.text);
	}
}
END_TEST

START_TEST(values_reach_their_targets)
{
	struct err err;

	ck_assert_int_eq(PARSE(COMMAND_PAIR, &err, "--kernel", "k", "--memory=64M", "--clock",
			       "virtual", "--jail=strict", "--on-divergence=halt", "--timeout",
			       "10", "--speculation=allow", "--name=x", "--cpu-weight=7",
			       "--no-wait"),
			 0);
	ck_assert_str_eq(o.machine.kernel, "k");
	ck_assert_uint_eq(o.machine.memory, 64 << 20);
	ck_assert(o.machine.has_memory);
	ck_assert_int_eq(o.machine.clock, CLOCK_VIRTUAL);
	ck_assert_int_eq(o.machine.jail, JAIL_STRICT);
	ck_assert_int_eq(o.machine.speculation, SPECULATION_ALLOW);
	ck_assert_int_eq(o.replica.on_divergence, SURVIVOR_NOBODY);
	ck_assert_uint_eq(o.replica.timeout_ms, 10);
	ck_assert_str_eq(o.machine.share.name, "x");
	ck_assert_uint_eq(o.machine.share.limits.cpu_weight, 7);
	ck_assert(o.replica.no_wait && !o.replica.insecure);
	ck_assert_uint_eq(o.ngiven, 10);
	ck_assert_int_eq(PARSE(COMMAND_RECORD, &err, "-o", "log", "--epoch=7", "--digest-every=9",
			       "--no-jail"),
			 0);
	ck_assert_str_eq(o.output, "log");
	ck_assert_uint_eq(o.epoch_ms, 7);
	ck_assert_uint_eq(o.digest_every, 9);
	ck_assert_uint_eq(o.checkpoint_s, 60);
	ck_assert_int_eq(o.machine.jail, JAIL_OFF);
	ck_assert_int_eq(PARSE(COMMAND_REPLAY, &err, "--until=5", "--from-checkpoint=last", "log"),
			 0);
	ck_assert(o.until.given && o.until.n == 5 && o.from_checkpoint.n == UINT64_MAX);
	ck_assert_int_eq(o.nargs, 1);
	ck_assert_str_eq(o.args[0], "log");
}
END_TEST

static void check_refused(int ret, const struct err *err, const char *word)
{
	ck_assert_int_eq(ret, -EINVAL);
	ck_assert_msg(strstr(err->text, word) != NULL, "no '%s' in: %s", word, err->text);
}

START_TEST(command_lines_that_are_refused)
{
	struct err err;

	check_refused(PARSE(COMMAND_RUN, &err, "--frobnicate"), &err, "unknown option '--frobn");
	check_refused(PARSE(COMMAND_RUN, &err, "--memory"), &err, "'--memory' needs a value");
	check_refused(PARSE(COMMAND_RUN, &err, "--stats=3"), &err, "takes no value");
	check_refused(PARSE(COMMAND_RUN, &err, "one", "two"), &err, "unexpected argument 'two'");
	check_refused(PARSE(COMMAND_REPLAY, &err, "--memory=1G"), &err, "the recorded one");
	check_refused(PARSE(COMMAND_BACKUP, &err, "--kernel=k"), &err, "from the primary");
	check_refused(PARSE(COMMAND_PAIR, &err, "--control=k"), &err, "NAME-a");
	check_refused(PARSE(COMMAND_STATUS, &err, "--pcap=k"), &err, "unknown option");
}
END_TEST

/* What `pair` hands on is what both rows know: parsed again, %r is the replica's letter. */
START_TEST(again_for_another_replica)
{
	static struct options b;
	struct err err = ERR_INIT;
	const char *argv[] = { "pair",	   "--disk",
			       "image%r",  "--net=tap:guest%r,mac=52:54:0:0:0:1",
			       "--memory", "1M",
			       NULL };

	options_free(&o);
	options_defaults(&o, COMMAND_PAIR);
	ck_assert_int_eq(options_parse(&o, 6, (char **)(uintptr_t)argv, 0, 0, 'a', &err), 0);
	ck_assert_str_eq(o.machine.disk[0].path, "imagea");
	ck_assert_int_eq(options_again(&b, &o, 'b', &err), 0);
	ck_assert_str_eq(b.machine.disk[0].path, "imageb");
	ck_assert_str_eq(b.machine.nic[0].spec, "tap:guestb");
	ck_assert_uint_eq(b.machine.memory, 1 << 20);
	options_free(&b);
}
END_TEST

/* Each line of each command's help fits a terminal. */
START_TEST(help_is_readable)
{
	for (unsigned c = 0; c < COMMANDS; c++) {
		char *text = NULL, *line;
		size_t size;
		FILE *f = open_memstream(&text, &size);

		options_help(f, c);
		fclose(f);
		ck_assert_ptr_nonnull(strstr(text, "--help"));
		for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
			ck_assert_msg(strlen(line) <= 80 && line[strlen(line) - 1] != ' ',
				      "a line of %zu: '%s'", strlen(line), line);
		free(text);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, each_row_says_what_it_is);
	tcase_add_test(tc, no_command_has_an_option_twice);
	tcase_add_test(tc, parsers_refuse_bad_values);
	tcase_add_test(tc, words_behind_a_comma_are_known_ones);
	tcase_add_test(tc, a_tap_has_a_place);
	tcase_add_test(tc, modules_have_texts);
	tcase_add_test(tc, a_restored_machine_has_what_it_had);
	tcase_add_test(tc, values_reach_their_targets);
	tcase_add_test(tc, command_lines_that_are_refused);
	tcase_add_test(tc, again_for_another_replica);
	tcase_add_test(tc, help_is_readable);
}

UNIT_MAIN("options", add_tests)
