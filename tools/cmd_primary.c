// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep primary`: runs the guest, and streams its record to a backup. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/replica_opts.h"
#include "host/stop.h"

static void print_help(void)
{
	puts("usage: twinstep primary --listen ADDR --key-file FILE --arbiter file:DIR --kernel "
	     "FILE [OPTION...]\n\n"
	     "Runs the guest and lets a backup join, which takes over when this process or its "
	     "host fails.\n\n"
	     "  --listen ADDR           where the backup connects: HOST:PORT, [V6]:PORT or "
	     "unix:PATH\n"
	     "  --no-wait               start the guest without waiting for a backup");
	replica_opts_help(stdout, true);
	machine_opts_help(stdout);
	puts("Exit status: as for `twinstep run`; 118 another replica is live; 123 divergence.");
}

static int check(const struct replica_opts *o, struct err *err)
{
	int ret = replica_opts_check(o, err);

	if (ret)
		return ret;
	if (!o->listen)
		return err_set(err, EINVAL, "no address: use --listen ADDR");
	if (o->connect)
		return err_set(err, EINVAL, "--connect is for `twinstep backup`");
	return machine_opts_check(&o->machine, err);
}

static int prepare(struct replica_run *r, struct err *err)
{
	struct output_sink sink;
	int ret;

	r->o.machine.clock = CLOCK_HOST;
	ret = machine_host_enter_share(&r->o.machine, err);
	if (ret == 0)
		ret = machine_host_open(&r->host, &r->o.machine, err);
	if (ret == 0)
		ret = machine_host_promise(&r->host, &r->o.machine.share, err);
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
	ret = replica_run_jail(r, err);
	if (ret == 0)
		ret = machine_host_settle(&r->host, &r->o.machine.share, err);
	if (ret)
		return ret;
	sink = replica_sink(r->replica);
	r->machine = machine_host_create(&r->host, &sink, err);
	return r->machine ? replica_run_start(r, err) : -err->code;
}

static int run_primary(struct replica_run *r, struct err *err)
{
	return replica_run_primary(r->replica, r->machine, &r->end, err);
}

static int run(int argc, char **argv)
{
	static struct replica_run r;
	struct err err = ERR_INIT;
	int status = replica_opts_parse(&r.o, argc, argv, check), ret;

	if (status || r.o.help) {
		if (!status)
			print_help();
		machine_opts_free(&r.o.machine);
		return status;
	}
	log_set_name("twinstep primary");
	share_jail_begin(&r.o.machine.share, r.o.machine.jail);
	stop_on_signals(replica_run_stop, &r);
	if (prepare(&r, &err)) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else {
		ret = replica_run_vcpu(&r, run_primary, &err);
		status = replica_run_status(&r, ret, &err);
	}
	replica_run_close(&r);
	return status;
}

const struct command cmd_primary = { "primary", "run the guest as the primary of a pair", run };
