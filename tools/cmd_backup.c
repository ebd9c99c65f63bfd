// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep backup`: follows a primary in lockstep, and goes live when it is gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/replica_opts.h"
#include "host/replica_run.h"

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

static int run(int argc, char **argv)
{
	static struct replica_run r = { .backup = true };
	int status = replica_opts_parse(&r.o, argc, argv, check);

	if (!status && r.o.help) {
		print_help();
	} else if (!status) {
		log_set_name("twinstep backup");
		status = replica_run_live(&r);
	}
	machine_opts_free(&r.o.machine);
	return status;
}

const struct command cmd_backup = { "backup", "follow a primary and take over when it is gone",
				    run };
