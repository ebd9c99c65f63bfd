// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep backup`: follows a primary in lockstep, and goes live when it is gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/replica_opts.h"
#include "host/replica_run.h"

static int check(const struct options *o, struct err *err)
{
	if (!o->replica.connect && !o->replica.listen)
		return err_set(err, EINVAL,
			       "no address: use --connect ADDR, or --listen ADDR to wait for a "
			       "guest that moves here");
	return replica_opts_check(&o->replica, err);
}

static int run(struct options *o)
{
	static struct replica_run r = { .backup = true };
	struct err err = ERR_INIT;

	if (check(o, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_USAGE;
	}
	log_set_name("twinstep backup");
	r.o = o;
	return replica_run_live(&r);
}

const struct command cmd_backup = {
	.id = COMMAND_BACKUP,
	.name = "backup",
	.summary = "follow a primary and take over when it is gone",
	.usage = "--connect ADDR --key-file FILE --arbiter file:DIR [OPTION...]",
	.text = "Follows a primary in lockstep; takes over when it is gone. What is not said here "
		"of the machine comes from the primary. Without --connect it waits at its --listen "
		"for a guest that `twinstep migrate` brings.",
	.end = "Exit status: as for `twinstep run`; 118 another replica is live; 123 divergence.",
	.run = run,
};
