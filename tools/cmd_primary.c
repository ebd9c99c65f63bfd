// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep primary`: runs the guest, and streams its record to a backup. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/replica_opts.h"
#include "host/replica_run.h"

static int check(const struct options *o, struct err *err)
{
	int ret = replica_opts_check(&o->replica, err);

	if (ret)
		return ret;
	if (!o->replica.listen)
		return err_set(err, EINVAL, "no address: use --listen ADDR");
	return machine_opts_check(&o->machine, err);
}

static int run(struct options *o)
{
	static struct replica_run r;
	struct err err = ERR_INIT;

	if (check(o, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_USAGE;
	}
	log_set_name("twinstep primary");
	o->machine.clock = CLOCK_HOST;
	r.o = o;
	return replica_run_live(&r);
}

const struct command cmd_primary = {
	.id = COMMAND_PRIMARY,
	.name = "primary",
	.summary = "run the guest as the primary of a pair",
	.usage = "--listen ADDR --key-file FILE --arbiter file:DIR --kernel FILE [OPTION...]",
	.text = "Runs the guest and lets a backup join, which takes over when this process or its "
		"host fails.",
	.end = "Exit status: as for `twinstep run`; 118 another replica is live; 123 divergence.",
	.run = run,
};
