// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep primary`: runs the guest, and streams its record to a backup. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/replica_opts.h"
#include "host/replica_run.h"

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

static int run(int argc, char **argv)
{
	static struct replica_run r;
	int status = replica_opts_parse(&r.o, argc, argv, check);

	if (!status && r.o.help) {
		print_help();
	} else if (!status) {
		log_set_name("twinstep primary");
		r.o.machine.clock = CLOCK_HOST;
		status = replica_run_live(&r);
	}
	machine_opts_free(&r.o.machine);
	return status;
}

const struct command cmd_primary = { "primary", "run the guest as the primary of a pair", run };
