// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/replay_machine.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "record/disk_file.h"

/* A refusal now, in place of a replay that would go another way somewhere. */
static int check_traits(const struct replay_machine *r, const struct engine_ops *ops,
			struct err *err)
{
	const struct log_header *lh = log_reader_header(r->reader);
	char differs[TRAITS_TEXT];
	struct traits here;

	if (lh->version > LOG_VERSION_3 && !traits_known(&lh->traits) && !r->opts.mixed)
		return err_set(err, EINVAL,
			       "log '%s' does not say what executed its guest: --mixed replays it "
			       "all the same",
			       r->path);
	traits_of(ops, lh->config.version, &here);
	if (r->opts.mixed || !traits_differ(&lh->traits, &here, differs, sizeof(differs)))
		return 0;
	return err_set(
		err, EINVAL,
		"log '%s' was recorded on %s, which gives guests other results than engine "
		"%s here (%s): %s; choose another --engine, or --mixed to replay it all the same",
		r->path, lh->traits.host, ops->name, here.host, differs);
}

static int check_machine(const struct replay_machine *r, struct err *err)
{
	const struct log_header *lh = log_reader_header(r->reader);
	const struct engine_ops *ops = machine_engine(r->up.machine)->ops;

	if (strcmp(ops->counter, lh->counter))
		return err_set(
			err, EINVAL,
			"log '%s' counts %s, which engine %s does not: choose another --engine",
			r->path, lh->counter, ops->name);
	if (check_traits(r, ops, err) < 0)
		return -err->code;
	if (machine_digest(r->up.machine) == lh->start_digest)
		return 0;
	if (lh->version == LOG_VERSION_OLD && lh->ninitrd)
		return err_set(err, EINVAL,
			       "the start state is another one than recorded in '%s': it has log "
			       "version %d, which does not keep a multiboot module's text; record "
			       "it again",
			       r->path, LOG_VERSION_OLD);
	return err_set(err, EINVAL, "the start state is another one than recorded in '%s'",
		       r->path);
}

static int open_files(struct replay_machine *r, struct err *err)
{
	const struct log_header *lh = log_reader_header(r->reader);
	int ret = log_header_options(lh, r->given, &r->opts, err);

	if (ret == 0)
		ret = log_header_check(lh, &r->opts, err);
	if (ret == 0)
		ret = machine_opts_check(&r->opts, err);
	if (ret == 0)
		ret = machine_host_open(&r->up.host, &r->opts, err);
	if (ret == 0)
		r->up.host.config.rtc_epoch = lh->config.rtc_epoch;
	return ret;
}

static int open_log(void *ctx, struct err *err)
{
	struct replay_machine *r = ctx;

	r->reader = log_reader_open(r->path, err);
	if (!r->reader)
		return -err->code;
	logstream_init(&r->stream, r->reader);
	return open_files(r, err);
}

static int check_created(void *ctx, struct err *err)
{
	struct replay_machine *r = ctx;
	const struct machine_config *recorded = &log_reader_header(r->reader)->config;

	if (machine_config_digest(&r->up.host.config) != machine_config_digest(recorded))
		return err_set(err, EINVAL, "log '%s' is of a machine with another configuration",
			       r->path);
	return check_machine(r, err);
}

static int import_disk(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err)
{
	struct replay_machine *r = ctx;
	struct rd in = RD_INIT(data, len);

	return disk_overlay_import(r->up.host.disk[i], &in, err);
}

/* For the timeline's checkpoints, which may be of a disk whose power is about to fail. */
static int export_all(void *ctx, unsigned i, struct buf *out, struct err *err)
{
	struct replay_machine *r = ctx;
	int ret = disk_overlay_export(r->up.host.disk[i], out, err);

	if (ret == 0)
		disk_export_cache(r->up.host.disk[i], out);
	return ret;
}

static int import_all(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err)
{
	struct replay_machine *r = ctx;
	struct rd in = RD_INIT(data, len);
	int ret = disk_overlay_load(r->up.host.disk[i], &in, err);

	return ret == 0 ? disk_import_cache(r->up.host.disk[i], &in, err) : ret;
}

int replay_machine_seek(struct replay_machine *r, uint64_t checkpoint, struct err *err)
{
	const struct log_mark *mark;
	size_t n;
	int ret = log_reader_marks(r->reader, &mark, &n, err);

	if (ret < 0)
		return ret;
	if (!n)
		return err_set(err, ENOENT, "the log has no whole checkpoint");
	return logstream_restore(&r->stream, r->up.machine,
				 checkpoint == UINT64_MAX ? n - 1 : (size_t)checkpoint, import_disk,
				 r, err);
}

static int next_record(void *ctx, const struct codec_record **rec, struct err *err)
{
	struct replay_machine *r = ctx;

	return logstream_next(&r->stream, rec, err);
}

static const struct replay_end *end_of_records(void *ctx)
{
	struct replay_machine *r = ctx;

	return r->stream.has_end ? &r->stream.end : NULL;
}

struct record_stream replay_machine_records(struct replay_machine *r,
					    void (*applied)(void *r, struct machine *m,
							    const struct codec_record *rec))
{
	return (struct record_stream){
		.ctx = r, .next = next_record, .end = end_of_records, .applied = applied
	};
}

struct timeline *replay_machine_timeline(struct replay_machine *r, bool (*asked)(void *r),
					 struct err *err)
{
	struct timeline_config c = { .m = r->up.machine,
				     .stream = &r->stream,
				     .disk_export = export_all,
				     .disk_import = import_all,
				     .disk_ctx = r,
				     .asked = asked,
				     .asked_ctx = r };

	return timeline_open(&c, err);
}

int replay_machine_live(struct replay_machine *r, const struct bringup_role *role,
			int (*run)(void *r))
{
	int status;

	r->role = *role;
	r->role.open = open_log;
	r->role.created = check_created;
	r->up = (struct bringup){ .role = &r->role, .ctx = r, .given = r->given, .opts = &r->opts };
	status = bringup_run(&r->up, run, r);
	log_reader_close(r->reader);
	machine_opts_free(&r->opts);
	return status;
}
