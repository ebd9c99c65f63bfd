// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep record`: runs a machine and keeps everything that replay needs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "record/disk_file.h"
#include "record/hooks.h"
#include "record/recorder.h"
#include "tools/cmd.h"
#include "host/guest_run.h"
#include "host/log_header.h"

enum { OPT_FORCE = OPT_COMMAND, OPT_EPOCH, OPT_CHECKPOINT };

static const struct option options[] = {
	MACHINE_OPTIONS,
	GUEST_RUN_OPTIONS,
	{ "output", required_argument, NULL, 'o' },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "epoch", required_argument, NULL, OPT_EPOCH },
	{ "checkpoint", required_argument, NULL, OPT_CHECKPOINT },
	{ 0 },
};

struct record {
	struct guest_run g;
	const char *path;
	int fd;	      /* of the log */
	bool created; /* it is new, or its old content is gone */
	bool ran;     /* there is something in the log */
	bool force, help;
	uint64_t epoch_ms, checkpoint_s;
	struct log_header header;
	struct recorder *recorder;
};

static void print_help(void)
{
	puts("usage: twinstep record -o LOG --kernel FILE [OPTION...]\n\nRuns a machine and "
	     "records it.\n");
	machine_opts_help(stdout);
	puts("Record:\n"
	     "  -o, --output LOG        where the log goes; the file must not exist\n"
	     "  --force                 ... or is replaced\n"
	     "  --epoch MS              a state digest every MS of guest time (500)\n"
	     "  --checkpoint S          a checkpoint every S seconds of guest time; 0: none (60)");
	guest_run_help(stdout);
	puts("  --help                  this text\n"
	     "Disks are not written to: a replay needs them as they were. Exit status as for "
	     "`twinstep run`.");
}

static int take_option(struct record *r, int opt, const char *arg, struct err *err)
{
	int ret = guest_run_take(&r->g, opt, arg, err);

	if (ret)
		return ret < 0 ? ret : 0;
	if (opt == 'o')
		r->path = arg;
	if (opt == OPT_EPOCH &&
	    (!parse_number(arg, &r->epoch_ms) || !r->epoch_ms || r->epoch_ms > 3600000))
		return err_set(err, EINVAL, "--epoch %s: must be a number of milliseconds", arg);
	if (opt == OPT_CHECKPOINT &&
	    (!parse_number(arg, &r->checkpoint_s) || r->checkpoint_s > 86400))
		return err_set(err, EINVAL, "--checkpoint %s: must be a number of seconds", arg);
	r->force |= opt == OPT_FORCE;
	r->help |= opt == OPT_HELP;
	return 0;
}

static int check(struct record *r, struct err *err)
{
	if (!r->path)
		return err_set(err, EINVAL, "no log given: use -o LOG");
	/* What the guest writes must not change what a replay starts from. */
	for (unsigned i = 0; i < r->g.opts.ndisks; i++)
		r->g.opts.disk[i].overlay = !r->g.opts.disk[i].readonly;
	return machine_opts_check(&r->g.opts, err);
}

static int parse(struct record *r, int argc, char **argv)
{
	struct err err = ERR_INIT;
	int opt;

	machine_opts_defaults(&r->g.opts);
	r->epoch_ms = 500;
	r->checkpoint_s = 60;
	while ((opt = options_next_short(argc, argv, "o:", options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (take_option(r, opt, optarg, &err))
			goto bad;
	}
	if (r->help)
		return 0;
	if (optind < argc) {
		log_error("unexpected argument '%s'; `twinstep record --help` tells more",
			  argv[optind]);
		return EXIT_USAGE;
	}
	if (check(r, &err))
		goto bad;
	guest_run_choose_report(&r->g);
	return 0;
bad:
	log_error("%s", err.text);
	return EXIT_USAGE;
}

static int export_disk(void *ctx, unsigned i, struct buf *out, struct err *err)
{
	struct record *r = ctx;

	return r->g.up.host.disk[i]->readonly ? 0
					      : disk_overlay_export(r->g.up.host.disk[i], out, err);
}

/* ---- the steps of its own ---- */

static int open_log(void *ctx, struct err *err)
{
	struct record *r = ctx;
	const char *what = machine_opts_file(&r->g.opts, r->path);
	int ret;

	if (what)
		return err_set(err, EINVAL,
			       "cannot write the log to '%s': it is %s of this machine", r->path,
			       what);
	ret = log_header_files(&r->header, &r->g.opts, err);
	if (ret)
		return ret;
	jail_will_remove(r->path);
	r->fd = log_file_create(r->path, r->force, &r->created, err);
	return r->fd < 0 ? r->fd : 0;
}

static int open_recorder(void *ctx, struct err *err)
{
	struct record *r = ctx;
	struct recorder_config rc = { .path = r->path,
				      .fd = r->fd,
				      .header = &r->header,
				      .checkpoint_ns = r->checkpoint_s * 1000000000ull,
				      .disk_export = export_disk,
				      .disk_ctx = r,
				      .on_failure = guest_run_stop,
				      .failure_ctx = &r->g };
	struct live_hooks hooks;

	log_header_make(&r->header, &r->g.up.host, r->g.up.machine, r->g.live_config.epoch_ns);
	r->recorder = recorder_open(&rc, r->g.up.machine, err);
	r->fd = -1;
	r->created = true; /* what was in it is gone */
	if (!r->recorder)
		return -err->code;
	hooks = recorder_hooks(r->recorder);
	live_hooks_chain_add(&r->g.hooks, &hooks);
	return 0;
}

static int start_recorder(void *ctx, struct err *err)
{
	struct record *r = ctx;

	return recorder_start(r->recorder, err);
}

/* A run that never began: what was recorded of it is nothing. */
static void drop_recorder(void *ctx)
{
	struct record *r = ctx;
	struct err err = ERR_INIT;

	if (r->recorder)
		recorder_close(r->recorder, MACHINE_FAILED, &err);
	r->recorder = NULL;
}

static void drop_log(void *ctx)
{
	struct record *r = ctx;

	if (r->fd >= 0)
		close(r->fd);
	if (r->created && !r->ran)
		jail_remove(r->path);
}

static void report(const struct record *r, const struct recorder_stats *s)
{
	if (r->g.json)
		fprintf(r->g.report,
			"{\"event\":\"log\",\"records\":%llu,\"frames\":%llu,\"bytes\":%llu,"
			"\"checkpoints\":%llu,\"waited_ns\":%llu}\n",
			(unsigned long long)s->records, (unsigned long long)s->frames,
			(unsigned long long)s->bytes, (unsigned long long)s->checkpoints,
			(unsigned long long)s->waited_ns);
	else
		log_info("recorded %llu records, %llu checkpoints", (unsigned long long)s->records,
			 (unsigned long long)s->checkpoints);
}

static int finish(struct record *r, int status)
{
	struct recorder_stats s;
	struct err err = ERR_INIT;
	int ret;

	live_destroy(r->g.live);
	r->g.live = NULL;
	recorder_get_stats(r->recorder, &s);
	ret = recorder_close(r->recorder, r->g.end, &err);
	r->recorder = NULL;
	if (ret < 0) {
		log_error("%s", err.text);
		return EXIT_ENGINE;
	}
	report(r, &s);
	return status;
}

static int execute(void *ctx)
{
	struct record *r = ctx;

	r->ran = true;
	return finish(r, guest_run_execute(&r->g));
}

static int run(int argc, char **argv)
{
	static const struct guest_run_role role = { .kind = "record",
						    .names = open_log,
						    .unname = drop_log,
						    .created = open_recorder,
						    .started = start_recorder,
						    .stopped = drop_recorder,
						    .writes_log = true };
	static struct record r;
	int status = parse(&r, argc, argv);

	if (!status && r.help) {
		print_help();
	} else if (!status) {
		r.fd = -1;
		r.g.role = &role;
		r.g.ctx = &r;
		r.g.live_config =
			(struct live_config){ .epoch_ns = r.epoch_ms * 1000000ull, .next_seq = 1 };
		status = guest_run_live(&r.g, execute);
	}
	machine_opts_free(&r.g.opts);
	log_header_free(&r.header);
	return status;
}

const struct command cmd_record = { "record", "run a machine and record it for replay", run };
