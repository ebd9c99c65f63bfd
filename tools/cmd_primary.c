// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep primary`: runs the guest, and streams its record to a backup. */
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
	puts("usage: twinstep primary --listen ADDR --key-file FILE --arbiter file:DIR --kernel FILE [OPTION...]\n\n"
	     "Runs the guest and lets a backup join, which takes over when this process or its host fails.\n\n"
	     "  --listen ADDR           where the backup connects: HOST:PORT, [V6]:PORT or unix:PATH\n"
	     "  --no-wait               start the guest without waiting for a backup");
	replica_opts_help(stdout);
	machine_opts_help(stdout);
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
		err_set(&err, EINVAL, "unexpected argument '%s'; `twinstep primary --help` tells more", argv[optind]);
	else if (!r->o.listen)
		err_set(&err, EINVAL, "no address: use --listen ADDR");
	else if (r->o.connect)
		err_set(&err, EINVAL, "--connect is for `twinstep backup`");
	else if (!replica_opts_check(&r->o, &err))
		machine_opts_check(&r->o.machine, &err);
	if (!err.code)
		return 0;
bad:
	log_error("%s", err.text);
	return EXIT_USAGE;
}

static int prepare(struct replica_run *r, struct err *err)
{
	struct output_sink sink;
	int ret;

	r->o.machine.clock = CLOCK_HOST;
	ret = machine_host_open(&r->host, &r->o.machine, err);
	if (ret)
		return ret;
	r->cfg.wait_for_backup = !r->o.no_wait;
	ret = machine_host_open_consoles(&r->host, &r->o.machine, replica_run_stop, r, err);
	if (ret)
		return ret;
	machine_host_live(&r->host, &r->cfg.live);
	ret = replica_run_open(r, err);
	if (ret)
		return ret;
	sink = replica_sink(r->replica);
	r->machine = machine_host_create(&r->host, &sink, err);
	machine_host_drop_images(&r->host);
	return r->machine ? 0 : -err->code;
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
	log_set_name("twinstep primary");
	stop_on_signals(replica_run_stop, &r);
	if (prepare(&r, &err)) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else {
		ret = replica_run_primary(r.replica, r.machine, &r.end, &err);
		status = replica_run_status(&r, ret, &err);
	}
	replica_run_close(&r);
	return status;
}

const struct command cmd_primary = { "primary", "run the guest as the primary of a pair", run };
