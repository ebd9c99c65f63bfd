// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep run`: one machine, neither recorded nor replicated; one that can move may be soon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/guest_run.h"
#include "host/replica_opts.h"
#include "host/replica_run.h"

struct run {
	struct guest_run g;
};

static bool print_digest(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest)
{
	struct run *r = ctx;
	unsigned long long count = sp->at.count, d = digest;

	/* A snapshot takes one as well. */
	if (!r->g.o->digest_every || !sp->n || sp->input[sp->n - 1].kind != INPUT_DIGEST)
		return true;
	if (r->g.o->json)
		fprintf(r->g.report,
			"{\"event\":\"digest\",\"count\":%llu,\"digest\":\"%016llx\"}\n", count, d);
	else
		fprintf(r->g.report, "digest %llu %016llx\n", count, d);
	fflush(r->g.report);
	return true;
}

static int execute(void *ctx)
{
	struct run *r = ctx;

	return guest_run_execute(&r->g);
}

/* Refuses options that a machine which can move cannot have. */
static int check_movable(const struct options *o, struct err *err)
{
	int ret = replica_opts_check(&o->replica, err);

	if (ret)
		return ret;
	if (!o->name && !o->control)
		return err_set(err, EINVAL,
			       "a machine that can move is asked to by its --name or --control");
	if (o->digest_every || o->profile || o->machine.clock == CLOCK_VIRTUAL)
		return err_set(err, EINVAL,
			       "--digest-every, --profile and --clock virtual are for machines "
			       "that cannot move: leave out --arbiter and --key-file");
	return 0;
}

/* A replica that is alone, and that no backup finds: `twinstep migrate` brings one. */
static int run_movable(struct options *o)
{
	static struct replica_run r;
	struct err err = ERR_INIT;

	if (check_movable(o, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_USAGE;
	}
	log_set_name("twinstep run");
	o->machine.clock = CLOCK_HOST;
	o->replica.no_wait = true;
	r.o = o;
	return replica_run_live(&r);
}

static int run(struct options *o)
{
	static const struct guest_run_role role = { .kind = "run" };
	static struct run r;

	if (machine_opts_say_check(&o->machine) < 0)
		return EXIT_USAGE;
	if (o->replica.arbiter || o->replica.key_file || o->replica.sync_rate)
		return run_movable(o);
	r.g.role = &role;
	r.g.ctx = &r;
	r.g.o = o;
	r.g.live_config = (struct live_config){ .next_seq = 1, .digest_count = o->digest_every };
	live_hooks_chain_add(&r.g.hooks,
			     &(struct live_hooks){ .ctx = &r, .applied = print_digest });
	return guest_run_live(&r.g, execute);
}

const struct command cmd_run = {
	.id = COMMAND_RUN,
	.name = "run",
	.summary = "run a machine",
	.usage = "--kernel FILE [OPTION...]",
	.text = "Runs a machine. It has one processor, and no screen, USB, UEFI, "
		"vsock, shared directory or CD-ROM drive.",
	.end = "Exit status: what the guest writes to port 0xf4; 0 halt or power-off; 119 reset; "
	       "120 triple fault; 121 stuck; 122 engine failure; 123 divergence; 2 nothing was "
	       "run; 128+N ended by signal N.",
	.run = run,
};
