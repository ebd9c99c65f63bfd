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

struct record {
	struct guest_run g;
	int fd;	      /* of the log */
	bool created; /* it is new, or its old content is gone */
	bool ran;     /* there is something in the log */
	struct log_header header;
	struct recorder *recorder;
};

static int check(struct options *o, struct err *err)
{
	if (!o->output)
		return err_set(err, EINVAL, "no log given: use -o LOG");
	/* The guest's writes must not change the disks that a replay starts from. */
	for (unsigned i = 0; i < o->machine.ndisks; i++)
		o->machine.disk[i].overlay = !o->machine.disk[i].readonly;
	return machine_opts_check(&o->machine, err);
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
	const char *what = machine_opts_file(&r->g.o->machine, r->g.o->output);
	int ret;

	if (what)
		return err_set(err, EINVAL,
			       "cannot write the log to '%s': it is %s of this machine",
			       r->g.o->output, what);
	ret = log_header_files(&r->header, &r->g.o->machine, err);
	if (ret)
		return ret;
	jail_will_remove(r->g.o->output);
	r->fd = log_file_create(r->g.o->output, r->g.o->force, &r->created, err);
	return r->fd < 0 ? r->fd : 0;
}

static int open_recorder(void *ctx, struct err *err)
{
	struct record *r = ctx;
	struct recorder_config rc = { .path = r->g.o->output,
				      .fd = r->fd,
				      .header = &r->header,
				      .checkpoint_ns = r->g.o->checkpoint_s * 1000000000ull,
				      .disk_export = export_disk,
				      .disk_ctx = r,
				      .on_failure = guest_run_stop,
				      .failure_ctx = &r->g };
	struct live_hooks hooks;

	if (log_header_make(&r->header, &r->g.up.host, r->g.up.machine, r->g.live_config.epoch_ns,
			    err))
		return -err->code;
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
		jail_remove(r->g.o->output);
}

static void report(const struct record *r, const struct recorder_stats *s)
{
	if (r->g.o->json)
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

static int run(struct options *o)
{
	static const struct guest_run_role role = { .kind = "record",
						    .names = open_log,
						    .unname = drop_log,
						    .created = open_recorder,
						    .started = start_recorder,
						    .stopped = drop_recorder,
						    .writes_log = true };
	static struct record r = { .fd = -1 };
	struct err err = ERR_INIT;
	int status;

	if (check(o, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_USAGE;
	}
	r.g.role = &role;
	r.g.ctx = &r;
	r.g.o = o;
	r.g.live_config = (struct live_config){ .epoch_ns = o->epoch_ms * 1000000,
						.digest_count = o->digest_every,
						.next_seq = 1 };
	status = guest_run_live(&r.g, execute);
	log_header_free(&r.header);
	return status;
}

const struct command cmd_record = {
	.id = COMMAND_RECORD,
	.name = "record",
	.summary = "run a machine and record it for replay",
	.usage = "-o LOG --kernel FILE [OPTION...]",
	.text = "Runs a machine and records it.",
	.end = "Disks are not written to: a replay needs them as they were. Exit status as for "
	       "`twinstep run`.",
	.run = run,
};
