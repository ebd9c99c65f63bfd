// SPDX-License-Identifier: GPL-2.0-or-later
/* An experiment as a recording: the machine follows its log, leaves it, and is recorded all along.
 */
#include <unistd.h>

#include "base/log.h"
#include "host/campaign.h"
#include "host/exit.h"
#include "host/replay_machine.h"
#include "record/disk_file.h"
#include "record/recorder.h"

struct retrace {
	struct replay_machine rm; /* first */
	const char *path;
	int fd;
	bool made, good; /* the file is ours; there is a whole recording in it */
	struct recorder *recorder;
	struct live_hooks tap;
	struct deviate deviate;
	const struct fault *faults;
	size_t nfaults;
	uint64_t bound;
	enum machine_end end;
	struct err err;
};

static int open_names(void *ctx, struct err *err)
{
	struct retrace *r = ctx;

	jail_will_remove(r->path);
	r->fd = log_file_create(r->path, false, &r->made, err);
	return r->fd < 0 ? r->fd : 0;
}

static void close_names(void *ctx)
{
	struct retrace *r = ctx;

	if (r->fd >= 0)
		close(r->fd);
	if (r->made && !r->good)
		jail_remove(r->path);
}

static void fill_jail(void *ctx, struct jail_config *c)
{
	c->file_size = UINT64_MAX;
}

static struct output_sink get_sink(void *ctx)
{
	return (struct output_sink){ 0 };
}

static int export_disk(void *ctx, unsigned i, struct buf *out, struct err *err)
{
	struct disk_backend *d = ((struct retrace *)ctx)->rm.up.host.disk[i];

	return d->readonly ? 0 : disk_overlay_export(d, out, err);
}

static int start(void *ctx, struct err *err)
{
	struct retrace *r = ctx;
	const struct record_stream records = replay_machine_records(&r->rm, NULL);
	struct recorder_config rc = { .path = r->path,
				      .fd = r->fd,
				      .header = log_reader_header(r->rm.reader),
				      .disk_export = export_disk,
				      .disk_ctx = r };

	r->recorder = recorder_open(&rc, r->rm.up.machine, err);
	r->fd = -1;
	if (!r->recorder)
		return -err->code;
	deviate_init(&r->deviate, r->rm.up.machine, &records, NULL, r->faults, r->nfaults,
		     r->bound);
	r->tap = recorder_hooks(r->recorder);
	r->deviate.tap = &r->tap;
	return recorder_start(r->recorder, err);
}

static void stop(void *ctx)
{
	struct retrace *r = ctx;
	struct err ignored = ERR_INIT;

	if (r->recorder)
		recorder_close(r->recorder, MACHINE_FAILED, &ignored);
	deviate_fini(&r->deviate);
	r->recorder = NULL;
}

static void *retrace(void *arg)
{
	struct retrace *r = arg;

	r->end = machine_run(r->rm.up.machine, &r->deviate.source, &r->err);
	if (r->deviate.error.code)
		r->err = r->deviate.error;
	return NULL;
}

static int execute(void *ctx)
{
	struct retrace *r = ctx;
	int status = bringup_run_vcpu(retrace, r), ret;

	ret = recorder_close(r->recorder, r->end, r->err.code ? NULL : &r->err);
	r->recorder = NULL;
	r->good = ret == 0 && !r->err.code && !status;
	if (r->err.code)
		log_error("%s", r->err.text);
	return r->good ? 0 : EXIT_ENGINE;
}

int campaign_record(const struct options *o, const char *path, const char *log,
		    const struct fault *faults, size_t nfaults, uint64_t bound)
{
	static const struct bringup_role role = { .names = open_names,
						  .unname = close_names,
						  .jail = fill_jail,
						  .sink = get_sink,
						  .start = start,
						  .stop = stop };
	static struct retrace r;

	r = (struct retrace){ .path = path,
			      .fd = -1,
			      .faults = faults,
			      .nfaults = nfaults,
			      .bound = bound,
			      .end = MACHINE_FAILED };
	r.rm.given = &o->machine;
	r.rm.path = log;
	return replay_machine_live(&r.rm, &role, execute);
}
