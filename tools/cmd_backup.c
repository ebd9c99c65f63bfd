// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep backup`: follows a primary in lockstep, and goes live when it is gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/replica_opts.h"
#include "host/stop.h"

static void print_help(void)
{
	puts("usage: twinstep backup --connect ADDR --key-file FILE --arbiter file:DIR "
	     "[OPTION...]\n\n"
	     "Follows a primary in lockstep; takes over when it is gone.\n\n"
	     "  --connect ADDR          where the primary listens\n"
	     "  --connect-wait MS       how long to try to reach it (10000)\n"
	     "  --listen ADDR           where the next backup may join after a failover");
	replica_opts_help(stdout, true);
	puts("Machine (all else comes from the primary):\n"
	     "  --net, --disk, --console, --virtio-console, --debug-console, --engine   this "
	     "host's side of it");
	share_opts_help(stdout);
	puts("Exit status: as for `twinstep run`; 118 another replica is live; 123 divergence.");
}

static int check(const struct replica_opts *o, struct err *err)
{
	if (!o->connect)
		return err_set(err, EINVAL, "no address: use --connect ADDR");
	if (o->machine.kernel || o->machine.restore)
		return err_set(err, EINVAL,
			       "a backup takes its guest from the primary: leave out --kernel and "
			       "--restore");
	return replica_opts_check(o, err);
}

/* The machine that the primary describes, on what this host has. */
static struct machine *create_machine(void *ctx, const struct machine_config *c,
				      const char *counter, const struct output_sink *sink,
				      struct live_config *live, struct err *err)
{
	struct replica_run *r = ctx;

	if (machine_host_fit(&r->host, c, err) ||
	    share_promise(&r->o.machine.share, c->memory, err) ||
	    machine_host_choose_engine(&r->host, counter, err))
		return NULL;
	machine_host_live(&r->host, live);
	return machine_host_create(&r->host, sink, err);
}

static int prepare(struct replica_run *r, struct err *err)
{
	int ret = machine_host_enter_share(&r->o.machine, err);

	if (ret == 0)
		ret = share_promise_later(&r->o.machine.share, err);
	if (ret == 0)
		ret = machine_host_open_side(&r->host, &r->o.machine, err);

	r->cfg.create = create_machine;
	r->cfg.create_ctx = r;
	if (ret == 0)
		ret = machine_host_open_consoles(&r->host, &r->o.machine, replica_run_stop, r, err);
	if (ret == 0)
		ret = replica_run_open(r, err);
	if (ret == 0)
		ret = replica_connect(r->replica, err);
	if (ret == 0)
		ret = replica_run_jail(r, err);
	return ret ? ret : replica_run_start(r, err);
}

static int run_backup(struct replica_run *r, struct err *err)
{
	return replica_run_backup(r->replica, &r->end, err);
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
	log_set_name("twinstep backup");
	share_jail_begin(&r.o.machine.share, r.o.machine.jail);
	stop_on_signals(replica_run_stop, &r);
	if (prepare(&r, &err)) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else {
		ret = replica_join(r.replica, &r.machine, &err);
		if (ret == 0)
			ret = replica_run_vcpu(&r, run_backup, &err);
		status = replica_run_status(&r, ret, &err);
	}
	replica_run_close(&r);
	return status;
}

const struct command cmd_backup = { "backup", "follow a primary and take over when it is gone",
				    run };
