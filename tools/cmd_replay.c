// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep replay`: runs a recorded machine again and verifies it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "record/disk_file.h"
#include "record/logstream.h"
#include "record/replay.h"
#include "tools/cmd.h"
#include "tools/log_header.h"
#include "tools/run_end.h"
#include "tools/stop.h"

enum { OPT_UNTIL = OPT_COMMAND, OPT_CHECKPOINT, OPT_SPEED, OPT_STATS, OPT_JSON, OPT_QUIET };

static const struct option options[] = {
	MACHINE_OPTIONS,
	{ "until", required_argument, NULL, OPT_UNTIL },
	{ "from-checkpoint", required_argument, NULL, OPT_CHECKPOINT },
	{ "speed", required_argument, NULL, OPT_SPEED },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ 0 },
};

struct replayer {
	struct machine_opts where; /* as given */
	struct machine_opts opts;  /* as recorded, with what was given in its place */
	const char *path;
	uint64_t until, checkpoint;
	bool has_until, has_checkpoint, stats, json, quiet, help;
	double speed; /* times real time; 0: as fast as it goes */

	struct log_reader *reader;
	struct logstream stream;
	struct machine_host host;
	struct machine *machine;
	struct replay replay;
	bool replay_ready;
	struct record_stream inner;
	volatile bool stop;
	uint64_t started_ns, started_virtual, progress_ns;
};

static void print_help(void)
{
	puts("usage: twinstep replay [OPTION...] LOG\n\nRuns a recorded machine again, and checks every digest on the "
	     "way.\n\n"
	     "  --until COUNT           stop after COUNT instructions and show the registers\n"
	     "  --from-checkpoint N     start from checkpoint N of the log (`twinstep log` lists them), or `last`\n"
	     "  --speed X               X times real time (0: as fast as possible, the default)\n"
	     "  --quiet                 no progress line\n"
	     "  --stats, --json         as for `twinstep run`\n"
	     "  --console, --virtio-console, --debug-console SPEC   where the guest's output goes\n"
	     "  --kernel, --initrd, --restore, --disk FILE          files that have moved since the recording\n"
	     "  --engine NAME           engine to replay on\n"
	     "  --help                  this text\n"
	     "Exit status: 0 all digests agree; 123 a difference, named; 2 the log or a file is not good; else as "
	     "recorded.");
}

static int take_option(struct replayer *r, int opt, const char *arg, struct err *err)
{
	char *end;
	int ret = machine_opts_take(&r->where, opt, arg, err);

	if (ret)
		return ret < 0 ? ret : 0;
	if (opt == OPT_UNTIL && !(r->has_until = parse_number(arg, &r->until)))
		return err_set(err, EINVAL, "--until %s: must be a number of instructions", arg);
	if (opt == OPT_CHECKPOINT) {
		r->has_checkpoint = true;
		if (!strcmp(arg, "last"))
			r->checkpoint = UINT64_MAX;
		else if (!parse_number(arg, &r->checkpoint))
			return err_set(err, EINVAL, "--from-checkpoint %s: must be a number or `last`", arg);
	}
	if (opt == OPT_SPEED) {
		r->speed = strtod(arg, &end);
		if (*end || end == arg || !(r->speed >= 0 && r->speed <= 1e6))
			return err_set(err, EINVAL, "--speed %s: must be a number from 0", arg);
	}
	r->stats |= opt == OPT_STATS;
	r->json |= opt == OPT_JSON;
	r->quiet |= opt == OPT_QUIET;
	r->help |= opt == OPT_HELP;
	return 0;
}

static int parse(struct replayer *r, int argc, char **argv)
{
	struct err err = ERR_INIT;
	int opt;

	machine_opts_defaults(&r->where);
	while ((opt = options_next(argc, argv, options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (take_option(r, opt, optarg, &err)) {
			log_error("%s", err.text);
			return EXIT_USAGE;
		}
	}
	if (r->help)
		return 0;
	if (optind + 1 != argc) {
		log_error("%s; `twinstep replay --help` tells more",
			  optind < argc ? "more than one log given" : "no log given");
		return EXIT_USAGE;
	}
	r->path = argv[optind];
	return 0;
}

/* ---- pace and progress ---- */

static void progress(struct replayer *r)
{
	uint64_t size = log_reader_size(r->reader), count;
	struct engine *e = machine_engine(r->machine);

	if (r->quiet || !isatty(STDERR_FILENO))
		return;
	count = e->ops->count(e);
	fprintf(stderr, "\rtwinstep: replay %3u %%  %.1f s  %" PRIu64 " M instructions ",
		size ? (unsigned)(r->stream.bytes * 100 / size) : 0, (double)machine_now(r->machine) / 1e9,
		count / 1000000);
}

static void keep_pace(struct replayer *r)
{
	uint64_t virtual = machine_now(r->machine) - r->started_virtual, host = monotonic_ns() - r->started_ns;
	double due = r->speed > 0 ? (double)virtual / r->speed : 0;

	if (due > (double)host) {
		uint64_t ns = (uint64_t)(due - (double)host);
		struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

		nanosleep(&ts, NULL);
	}
}

static void record_applied(void *ctx, struct machine *m, const struct codec_record *rec)
{
	struct replayer *r = ctx;
	uint64_t now = monotonic_ns();

	keep_pace(r);
	if (now - r->progress_ns > 200000000) {
		r->progress_ns = now;
		progress(r);
	}
}

static int stream_next(void *ctx, const struct codec_record **rec, struct err *err)
{
	struct replayer *r = ctx;

	if (r->stop)
		return err_set(err, EINTR, "stopped");
	return r->inner.next(r->inner.ctx, rec, err);
}

static const struct replay_end *stream_end(void *ctx)
{
	struct replayer *r = ctx;

	return r->inner.end(r->inner.ctx);
}

/* Outputs of a replay go to the consoles only; its network is the log's. */
static void replay_emit(void *ctx, const struct output *out)
{
	struct replayer *r = ctx;
	struct console *c = NULL;
	struct live_console *lc;

	if (out->kind == OUTPUT_CONSOLE && out->port < MACHINE_CONSOLES)
		c = r->host.console[out->port];
	if (out->kind == OUTPUT_DEBUG)
		c = r->host.debug ? r->host.debug : r->host.console[0];
	lc = c ? console_live(c) : NULL;
	if (lc)
		lc->write(lc->ctx, out->data, out->len);
}

static void stop_replay(void *ctx)
{
	struct replayer *r = ctx;

	r->stop = true;
	if (r->machine)
		machine_kick(r->machine);
}

/* ---- the whole ---- */

static int import_disk(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err)
{
	struct replayer *r = ctx;
	struct rd in = RD_INIT(data, len);

	if (i >= MACHINE_DISKS || !r->host.disk[i])
		return err_set(err, EBADMSG, "the log has changes of disk %u, which the machine has not", i);
	if (!len)
		return 0;
	return disk_overlay_import(r->host.disk[i], &in, err);
}

static int seek(struct replayer *r, struct err *err)
{
	const struct log_mark *mark;
	size_t n;
	int ret;

	if (!r->has_checkpoint)
		return 0;
	ret = log_reader_marks(r->reader, &mark, &n, err);
	if (ret < 0)
		return ret;
	if (!n)
		return err_set(err, ENOENT, "log '%s' has no checkpoints", r->path);
	if (r->checkpoint == UINT64_MAX)
		r->checkpoint = n - 1;
	return logstream_restore(&r->stream, r->machine, (size_t)r->checkpoint, import_disk, r, err);
}

static int make_machine(struct replayer *r, struct err *err)
{
	const struct log_header *lh = log_reader_header(r->reader);
	struct output_sink sink = { .ctx = r, .emit = replay_emit };
	int ret = log_header_options(lh, &r->where, &r->opts, err);

	if (ret == 0)
		ret = log_header_check(lh, &r->opts, err);
	if (ret == 0)
		ret = machine_host_open(&r->host, &r->opts, err);
	if (ret < 0)
		return ret;
	r->host.config.rtc_epoch = lh->config.rtc_epoch;
	if (machine_config_digest(&r->host.config) != machine_config_digest(&lh->config))
		return err_set(err, EINVAL, "log '%s' is of a machine with another configuration", r->path);
	r->machine = machine_host_create(&r->host, &sink, err);
	machine_host_drop_images(&r->host);
	if (!r->machine)
		return -err->code;
	if (machine_digest(r->machine) != lh->start_digest)
		return err_set(err, EINVAL, "the start state is another one than recorded in '%s'", r->path);
	return 0;
}

static int prepare(struct replayer *r, struct err *err)
{
	struct record_stream records = { .ctx = r, .next = stream_next, .end = stream_end, .applied = record_applied };
	int ret;

	r->reader = log_reader_open(r->path, err);
	if (!r->reader)
		return -err->code;
	logstream_init(&r->stream, r->reader);
	r->inner = logstream_records(&r->stream);
	ret = make_machine(r, err);
	if (ret == 0)
		ret = seek(r, err);
	if (ret == 0)
		ret = machine_host_open_consoles(&r->host, &r->opts, NULL, NULL, err);
	if (ret < 0)
		return ret;
	replay_init(&r->replay, r->machine, &records);
	r->replay_ready = true;
	if (r->has_until)
		r->replay.stop_count = r->until;
	return 0;
}

static void print_summary(struct replayer *r, enum machine_end end, int status)
{
	FILE *f = strcmp(r->opts.console, "stdio") ? stdout : stderr;
	struct engine *e = machine_engine(r->machine);
	struct run_summary s = { .end = end,
				 .status = status,
				 .count = e->ops->count(e),
				 .virtual_ns = machine_now(r->machine),
				 .host_ns = monotonic_ns() - r->started_ns };
	char text[4096];

	if (r->json)
		run_summary_json(f, r->machine, &s);
	else if (r->stats)
		run_summary_print(f, r->machine, &s);
	if (r->has_until) {
		machine_describe_cpu(r->machine, text, sizeof(text));
		fputs(text, f);
	}
}

/* 0 when everything agreed and the log is whole. */
static int verdict(struct replayer *r, enum machine_end end, struct err *err)
{
	const char *cut = log_reader_cut(r->reader);
	int ret = replay_verdict(&r->replay, end, err);

	if (!r->quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (ret == -EILSEQ) {
		log_error("%s", err->text);
		return EXIT_DIVERGED;
	}
	if (ret < 0) {
		log_error("%s", err->text);
		return EXIT_USAGE;
	}
	if (cut)
		log_warn("%s; everything before it was replayed", cut);
	log_info("replayed %" PRIu64 " records, %" PRIu64 " digests agree", r->replay.records, r->replay.digests);
	return end == MACHINE_EXIT ? (int)machine_exit_code(r->machine) : 0;
}

static int execute(struct replayer *r)
{
	struct err err = ERR_INIT;
	enum machine_end end;
	int status;

	r->started_ns = monotonic_ns();
	r->started_virtual = machine_now(r->machine);
	end = machine_run(r->machine, replay_source(&r->replay), &err);
	status = verdict(r, end, &err);
	print_summary(r, end, status);
	return status;
}

static void finish(struct replayer *r)
{
	stop_restore();
	machine_host_stop_input(&r->host);
	if (r->replay_ready)
		replay_fini(&r->replay);
	machine_destroy(r->machine);
	machine_host_close(&r->host);
	log_reader_close(r->reader);
	machine_opts_free(&r->where);
	machine_opts_free(&r->opts);
}

static int run(int argc, char **argv)
{
	static struct replayer r;
	struct err err = ERR_INIT;
	int status = parse(&r, argc, argv);

	if (status || r.help) {
		if (!status)
			print_help();
		machine_opts_free(&r.where);
		return status;
	}
	stop_on_signals(stop_replay, &r);
	if (prepare(&r, &err)) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	} else {
		status = execute(&r);
	}
	finish(&r);
	return status;
}

const struct command cmd_replay = { "replay", "run a recording again and verify it", run };
