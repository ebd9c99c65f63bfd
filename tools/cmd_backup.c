// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep backup`: follows a primary in lockstep, and goes live when it is gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "tools/replica_opts.h"
#include "tools/stop.h"

static const struct option options[] = { MACHINE_OPTIONS, REPLICA_OPTIONS, { 0 } };

static void print_help(void)
{
	puts("usage: twinstep backup --connect ADDR --key-file FILE --arbiter file:DIR [OPTION...]\n\n"
	     "Follows a primary in lockstep; takes over when it is gone.\n\n"
	     "  --connect ADDR          where the primary listens\n"
	     "  --connect-wait MS       how long to try to reach it (10000)\n"
	     "  --listen ADDR           where the next backup may join after a failover");
	replica_opts_help(stdout);
	puts("Machine (all else comes from the primary):\n"
	     "  --net, --disk, --console, --virtio-console, --debug-console, --engine   this host's side of it");
	puts("Exit status: as for `twinstep run`; 118 another replica is live; 123 divergence.");
}

static int parse(struct replica_run *r, int argc, char **argv)
{
	struct err err = ERR_INIT;
	int opt;

	replica_opts_defaults(&r->o);
	while ((opt = options_next(argc, argv, options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (replica_opts_take(&r->o, opt, optarg, &err))
			goto bad;
	}
	if (r->o.help)
		return 0;
	if (optind < argc)
		err_set(&err, EINVAL, "unexpected argument '%s'; `twinstep backup --help` tells more", argv[optind]);
	else if (!r->o.connect)
		err_set(&err, EINVAL, "no address: use --connect ADDR");
	else if (r->o.machine.kernel || r->o.machine.restore)
		err_set(&err, EINVAL, "a backup takes its guest from the primary: leave out --kernel and --restore");
	else
		replica_opts_check(&r->o, &err);
	if (!err.code)
		return 0;
bad:
	log_error("%s", err.text);
	return EXIT_USAGE;
}

/* The machine that the primary describes, on what this host has. */
static struct machine *create_machine(void *ctx, const struct machine_config *c, const struct output_sink *sink,
				      struct live_config *live, struct err *err)
{
	struct replica_run *r = ctx;

	if (machine_host_open_for(&r->host, &r->o.machine, c, err))
		return NULL;
	if (machine_host_open_consoles(&r->host, &r->o.machine, replica_run_stop, r, err))
		return NULL;
	machine_host_live(&r->host, live);
	return machine_host_create(&r->host, sink, err);
}

static int run(int argc, char **argv)
{
	static struct replica_run r;
	struct err err = ERR_INIT;
	int status = parse(&r, argc, argv), ret;

	if (status || r.o.help) {
		if (!status)
			print_help();
		machine_opts_free(&r.o.machine);
		return status;
	}
	log_set_name("twinstep backup");
	stop_on_signals(replica_run_stop, &r);
	r.cfg.create = create_machine;
	r.cfg.create_ctx = &r;
	if (replica_run_open(&r, &err)) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else {
		ret = replica_run_backup(r.replica, &r.machine, &r.end, &err);
		status = replica_run_status(&r, ret, &err);
	}
	replica_run_close(&r);
	return status;
}

const struct command cmd_backup = { "backup", "follow a primary and take over when it is gone", run };
