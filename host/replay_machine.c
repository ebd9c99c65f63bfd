// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/replay_machine.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "record/disk_file.h"

static int check_machine(const struct replay_machine *r, struct err *err)
{
	const struct log_header *lh = log_reader_header(r->reader);
	const struct engine_ops *ops = machine_engine(r->up.machine)->ops;

	if (strcmp(ops->counter, lh->counter))
		return err_set(
			err, EINVAL,
			"log '%s' counts %s, which engine %s does not: choose another --engine",
			r->path, lh->counter, ops->name);
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

int replay_machine_open(struct replay_machine *r, struct err *err)
{
	r->reader = log_reader_open(r->path, err);
	if (!r->reader)
		return -err->code;
	logstream_init(&r->stream, r->reader);
	return open_files(r, err);
}

int replay_machine_created(struct replay_machine *r, struct err *err)
{
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

int replay_machine_live(struct replay_machine *r, const struct bringup_role *role, void *ctx,
			int (*run)(void *ctx))
{
	r->up = (struct bringup){ .role = role, .ctx = ctx, .given = r->given, .opts = &r->opts };
	return bringup_run(&r->up, run, ctx);
}

void replay_machine_close(struct replay_machine *r)
{
	log_reader_close(r->reader);
	machine_opts_free(&r->opts);
}
