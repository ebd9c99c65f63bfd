// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep pair`: runs both replicas on this host and keeps them going. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/pair.h"
#include "host/replica_opts.h"
#include "tools/cmd.h"

static const struct option options[] = { MACHINE_OPTIONS, REPLICA_OPTIONS, { 0 } };

static void print_help(void)
{
	puts("usage: twinstep pair --kernel FILE [OPTION...]\n\n"
	     "Runs the guest in two replicas on this host. When one dies, the other goes on and a "
	     "new one is started.\n\n"
	     "In --net and --disk, %r stands for a and b: each replica needs a tap device and an "
	     "image of its own\n"
	     "(`--net tap:guest%r`, `--disk image%r`); `pcap:IFACE` is shared as it is.");
	replica_opts_help(stdout, false);
	puts("  --name NAME             the replicas' control sockets are NAME-a and NAME-b (see "
	     "`twinstep status`)\n"
	     "  --no-wait               start the guest without waiting for the backup");
	machine_opts_help(stdout);
	puts("Exit status: as for `twinstep run`.");
}

/* a and b: the options as each replica sees them. */
static int check_options(const struct replica_opts *a, const struct replica_opts *b,
			 struct err *err)
{
	if (a->listen || a->connect || a->key_file || a->arbiter || a->insecure)
		return err_set(err, EINVAL,
			       "a pair on one host makes its own addresses, key and arbiter: leave "
			       "out --listen, --connect, --key-file, --insecure and --arbiter");
	if (a->control)
		return err_set(err, EINVAL,
			       "use --name for a pair: its sockets are NAME-a and NAME-b");
	for (unsigned i = 0; i < a->machine.nnics; i++) {
		const char *spec = a->machine.nic[i].spec;

		if (!strncmp(spec, "tap:", 4) && !strcmp(spec, b->machine.nic[i].spec))
			return err_set(err, EINVAL,
				       "--net %s: two replicas cannot share a tap device: write "
				       "tap:NAME%%r",
				       spec);
	}
	for (unsigned i = 0; i < a->machine.ndisks; i++) {
		const struct disk_opt *d = &a->machine.disk[i];

		if (!d->readonly && !d->overlay && !strcmp(d->path, b->machine.disk[i].path))
			return err_set(err, EINVAL,
				       "--disk %s: two replicas cannot write one image: write "
				       "FILE%%r, a copy each",
				       d->path);
	}
	return machine_opts_check(&a->machine, err);
}

/*
 * Parses the options as replica `letter` sees them. The strings in *o live as long as the process.
 */
static int parse_as(struct replica_opts *o, char letter, int argc, char **argv, struct err *err)
{
	char **own = calloc((size_t)argc + 1, sizeof(*own));
	int opt;

	must(own != NULL);
	for (int i = 0; i < argc; i++)
		own[i] = pair_substitute(argv[i], letter);
	replica_opts_defaults(o);
	optind = 0;
	while ((opt = options_next(argc, own, options)) != -1) {
		if (opt == '?')
			return -EINVAL;
		if (replica_opts_take(o, opt, optarg, err)) {
			log_error("%s", err->text);
			return -EINVAL;
		}
	}
	return 0;
}

static int parse(struct replica_opts *o, int argc, char **argv)
{
	static struct replica_opts other;
	struct err err = ERR_INIT;

	if (parse_as(o, 'a', argc, argv, &err))
		return EXIT_USAGE;
	if (o->help)
		return 0;
	if (optind < argc)
		err_set(&err, EINVAL, "unexpected argument '%s'; `twinstep pair --help` tells more",
			argv[optind]);
	else if (parse_as(&other, 'b', argc, argv, &err) == 0)
		check_options(o, &other, &err);
	machine_opts_free(&other.machine);
	if (!err.code)
		return 0;
	log_error("%s", err.text);
	return EXIT_USAGE;
}

static int run(int argc, char **argv)
{
	static struct replica_opts o;
	int status = parse(&o, argc, argv);

	if (!status && o.help) {
		print_help();
	} else if (!status) {
		log_set_name("twinstep pair");
		status = pair_run(&o, argc, argv);
	}
	machine_opts_free(&o.machine);
	return status;
}

const struct command cmd_pair = { "pair", "run the guest in two replicas on this host", run };
