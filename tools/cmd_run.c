// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep run`: one machine, neither recorded nor replicated. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "record/live.h"
#include "tools/cmd.h"
#include "tools/machine_host.h"
#include "tools/machine_opts.h"
#include "tools/run_end.h"
#include "tools/stop.h"

enum { OPT_DIGEST_EVERY = OPT_COMMAND, OPT_STATS, OPT_JSON };

static const struct option options[] = {
	MACHINE_OPTIONS,
	{ "digest-every", required_argument, NULL, OPT_DIGEST_EVERY },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ 0 },
};

struct run {
	struct machine_opts opts;
	uint64_t digest_every;
	bool stats, json, help;
	FILE *report; /* digests and statistics: standard output, or standard error when the console is there */
	struct machine_host host;
	struct machine *machine;
	struct live_sink sink;
	struct live *live;
};

static void print_help(void)
{
	puts("usage: twinstep run --kernel FILE [OPTION...]\n\nRuns a machine.\n");
	machine_opts_help(stdout);
	puts("Run:\n"
	     "  --digest-every N        print count and state digest every N instructions\n"
	     "  --stats                 print instructions, speed and exits by kind at the end\n"
	     "  --json                  the same as lines of JSON\n"
	     "  --help                  this text\n"
	     "Exit status: what the guest writes to port 0xf4; 0 halt or power-off; 119 reset; 120 triple fault;\n"
	     "121 stuck; 122 engine failure; 123 divergence; 2 nothing was run; 128+N ended by signal N.");
}

static int take_option(struct run *r, int opt, const char *arg, struct err *err)
{
	int ret = machine_opts_take(&r->opts, opt, arg, err);

	if (ret)
		return ret < 0 ? ret : 0;
	if (opt == OPT_DIGEST_EVERY && (!parse_number(arg, &r->digest_every) || !r->digest_every))
		return err_set(err, EINVAL, "--digest-every %s: must be a number of instructions", arg);
	r->stats |= opt == OPT_STATS;
	r->json |= opt == OPT_JSON;
	r->help |= opt == OPT_HELP;
	return 0;
}

/* 0, or EXIT_USAGE after having said why. */
static int parse(struct run *r, int argc, char **argv)
{
	struct err err = ERR_INIT;
	int opt;

	machine_opts_defaults(&r->opts);
	while ((opt = options_next(argc, argv, options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (take_option(r, opt, optarg, &err))
			goto bad;
	}
	if (r->help)
		return 0;
	if (optind < argc) {
		log_error("unexpected argument '%s'; `twinstep run --help` tells more", argv[optind]);
		return EXIT_USAGE;
	}
	if (machine_opts_check(&r->opts, &err))
		goto bad;
	r->report = strcmp(r->opts.console, "stdio") ? stdout : stderr;
	return 0;
bad:
	log_error("%s", err.text);
	return EXIT_USAGE;
}

static bool print_digest(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest)
{
	struct run *r = ctx;
	unsigned long long count = sp->at.count, d = digest;

	if (!sp->n || sp->input[sp->n - 1].kind != INPUT_DIGEST)
		return true;
	if (r->json)
		fprintf(r->report, "{\"event\":\"digest\",\"count\":%llu,\"digest\":\"%016llx\"}\n", count, d);
	else
		fprintf(r->report, "digest %llu %016llx\n", count, d);
	fflush(r->report);
	return true;
}

static void stop_run(void *ctx)
{
	struct run *r = ctx;

	if (r->live)
		live_stop(r->live);
}

/* Everything up to the point where the guest may run. */
static int prepare(struct run *r, struct err *err)
{
	struct live_config c = { .digest_count = r->digest_every, .next_seq = 1 };
	struct output_sink sink = live_sink_ops(&r->sink);
	int ret = machine_host_open(&r->host, &r->opts, err);

	if (ret)
		return ret;
	r->machine = machine_host_create(&r->host, &sink, err);
	if (!r->machine)
		return -err->code;
	machine_host_drop_images(&r->host);
	ret = machine_host_open_consoles(&r->host, &r->opts, stop_run, r, err);
	if (ret)
		return ret;
	machine_host_live(&r->host, &c);
	c.hooks.ctx = r;
	c.hooks.applied = print_digest;
	r->live = live_create(&c, r->machine, err);
	if (!r->live)
		return -err->code;
	live_sink_attach(&r->sink, r->live);
	if (stop_signal()) /* it came before there was anything to stop */
		live_stop(r->live);
	return 0;
}

static int execute(struct run *r)
{
	struct err err = ERR_INIT;
	struct run_summary s = { .host_ns = monotonic_ns() };
	struct engine *e = machine_engine(r->machine);
	struct live_stats ls;

	s.end = machine_run(r->machine, live_source(r->live), &err);
	s.host_ns = monotonic_ns() - s.host_ns;
	s.status = run_end_status(r->machine, s.end, stop_signal());
	s.count = e->ops->count(e);
	s.virtual_ns = machine_now(r->machine);
	live_get_stats(r->live, &ls);
	s.idle_ns = ls.idle_ns;
	run_end_report(r->machine, s.end, &err);
	if (r->json)
		run_summary_json(r->report, r->machine, &s);
	else if (r->stats)
		run_summary_print(r->report, r->machine, &s);
	return s.status;
}

static void finish(struct run *r)
{
	stop_restore();
	machine_host_stop_input(&r->host);
	live_destroy(r->live);
	machine_destroy(r->machine);
	machine_host_close(&r->host);
	machine_opts_free(&r->opts);
}

static int run(int argc, char **argv)
{
	static struct run r;
	struct err err = ERR_INIT;
	int status = parse(&r, argc, argv);

	if (status || r.help) {
		if (!status)
			print_help();
		machine_opts_free(&r.opts);
		return status;
	}
	stop_on_signals(stop_run, &r);
	if (prepare(&r, &err)) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else {
		status = execute(&r);
	}
	finish(&r);
	return status;
}

const struct command cmd_run = { "run", "run a machine", run };
