// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep run`: one machine, neither recorded nor replicated. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/guest_run.h"

enum { OPT_DIGEST_EVERY = OPT_COMMAND };

static const struct option options[] = {
	MACHINE_OPTIONS,
	GUEST_RUN_OPTIONS,
	{ "digest-every", required_argument, NULL, OPT_DIGEST_EVERY },
	{ 0 },
};

struct run {
	struct guest_run g;
	uint64_t digest_every;
	bool help;
};

static void print_help(void)
{
	puts("usage: twinstep run --kernel FILE [OPTION...]\n\nRuns a machine.\n");
	machine_opts_help(stdout);
	puts("Run:\n"
	     "  --digest-every N        print count and state digest every N instructions");
	guest_run_help(stdout);
	puts("  --help                  this text\n"
	     "Exit status: what the guest writes to port 0xf4; 0 halt or power-off; 119 reset; 120 "
	     "triple fault;\n"
	     "121 stuck; 122 engine failure; 123 divergence; 2 nothing was run; 128+N ended by "
	     "signal N.");
}

static int take_option(struct run *r, int opt, const char *arg, struct err *err)
{
	int ret = guest_run_take(&r->g, opt, arg, err);

	if (ret)
		return ret < 0 ? ret : 0;
	if (opt == OPT_DIGEST_EVERY && (!parse_number(arg, &r->digest_every) || !r->digest_every))
		return err_set(err, EINVAL, "--digest-every %s: must be a number of instructions",
			       arg);
	r->help |= opt == OPT_HELP;
	return 0;
}

/* 0, or EXIT_USAGE after having said why. */
static int parse(struct run *r, int argc, char **argv)
{
	struct err err = ERR_INIT;
	int opt;

	machine_opts_defaults(&r->g.opts);
	while ((opt = options_next(argc, argv, options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (take_option(r, opt, optarg, &err))
			goto bad;
	}
	if (r->help)
		return 0;
	if (optind < argc) {
		log_error("unexpected argument '%s'; `twinstep run --help` tells more",
			  argv[optind]);
		return EXIT_USAGE;
	}
	if (machine_opts_check(&r->g.opts, &err))
		goto bad;
	guest_run_choose_report(&r->g);
	return 0;
bad:
	log_error("%s", err.text);
	return EXIT_USAGE;
}

static bool print_digest(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest)
{
	struct run *r = ctx;
	unsigned long long count = sp->at.count, d = digest;

	/* A snapshot takes one as well. */
	if (!r->digest_every || !sp->n || sp->input[sp->n - 1].kind != INPUT_DIGEST)
		return true;
	if (r->g.json)
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

static int run(int argc, char **argv)
{
	static const struct guest_run_role role = { .kind = "run" };
	static struct run r;
	int status = parse(&r, argc, argv);

	if (!status && r.help) {
		print_help();
	} else if (!status) {
		r.g.role = &role;
		r.g.ctx = &r;
		r.g.live_config =
			(struct live_config){ .next_seq = 1, .digest_count = r.digest_every };
		live_hooks_chain_add(&r.g.hooks,
				     &(struct live_hooks){ .ctx = &r, .applied = print_digest });
		status = guest_run_live(&r.g, execute);
	}
	machine_opts_free(&r.g.opts);
	return status;
}

const struct command cmd_run = { "run", "run a machine", run };
