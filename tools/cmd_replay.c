// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep replay`: runs a recorded machine again and verifies it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "record/replay.h"
#include "tools/cmd.h"
#include "host/profile.h"
#include "host/replay_gdb.h"
#include "host/replay_machine.h"
#include "host/run_end.h"
#include "host/stop.h"

#define NAP_NS 50000000

struct replayer {
	struct replay_machine rm; /* the first member, as replay_machine.h wants it */
	const struct options *o;
	FILE *report; /* result and statistics */
	struct console_out out;
	struct replay replay;
	atomic_bool ready;	 /* replay is there */
	struct profile *profile; /* NULL: none */
	uint64_t started_ns, started_virtual, started_count, progress_ns;
};

/* ---- pace and progress ---- */

static void progress(struct replayer *r)
{
	uint64_t size = log_reader_size(r->rm.reader), count;
	struct engine *e = machine_engine(r->rm.up.machine);

	if (r->o->quiet || !isatty(STDERR_FILENO))
		return;
	count = e->ops->count(e);
	fprintf(stderr, "\rtwinstep: replay %3u %%  %.1f s  %" PRIu64 " M instructions ",
		size ? (unsigned)(r->rm.stream.bytes * 100 / size) : 0,
		(double)machine_now(r->rm.up.machine) / 1e9, count / 1000000);
}

static void keep_pace(struct replayer *r)
{
	uint64_t virtual = machine_now(r->rm.up.machine) - r->started_virtual,
		 host = host_mono_ns() - r->started_ns;
	double due = r->o->speed > 0 ? (double)virtual / r->o->speed : 0;

	/* In pieces, so that a signal ends it soon whichever thread it goes to. */
	while (due > (double)host && !stop_signal()) {
		uint64_t ns = (uint64_t)(due - (double)host);

		host_sleep_ns(ns < NAP_NS ? ns : NAP_NS);
		host = host_mono_ns() - r->started_ns;
	}
}

static void record_applied(void *ctx, struct machine *m, const struct codec_record *rec)
{
	struct replayer *r = ctx;
	uint64_t now = host_mono_ns();

	keep_pace(r);
	if (now - r->progress_ns > 200000000) {
		r->progress_ns = now;
		progress(r);
	}
}

/* Outputs of a replay go to the consoles only; its network is the log's. */
static void replay_emit(void *ctx, const struct output *out)
{
	struct replayer *r = ctx;

	console_out_write(&r->out, out);
}

static void stop_replay(void *ctx)
{
	struct replayer *r = ctx;

	if (atomic_load(&r->ready))
		replay_stop(&r->replay);
}

/* ---- the whole ---- */

static uint64_t count_now(const struct replayer *r)
{
	struct engine *e = machine_engine(r->rm.up.machine);

	return e->ops->count(e);
}

static int check_until(const struct replayer *r, struct err *err)
{
	if (r->o->until.n >= count_now(r))
		return 0;
	return err_set(
		err, EINVAL, "--until %" PRIu64 " is before %s, at count %" PRIu64, r->o->until.n,
		r->o->from_checkpoint.given ? "the checkpoint" : "the start of the recording",
		count_now(r));
}

static int open_profile(void *ctx, struct err *err)
{
	struct replayer *r = ctx;
	const struct options *o = r->o;

	return o->profile || o->symbols
		       ? profile_open(&r->profile, o->profile, o->symbols, o->profile_every, err)
		       : 0;
}

static void close_profile(void *ctx)
{
	struct replayer *r = ctx;

	profile_close(r->profile);
}

static struct output_sink get_sink(void *ctx)
{
	struct replayer *r = ctx;

	machine_host_console_out(&r->rm.up.host, &r->out);
	return (struct output_sink){ .ctx = ctx, .emit = replay_emit };
}

static int start(void *ctx, struct err *err)
{
	struct replayer *r = ctx;
	struct record_stream records = replay_machine_records(&r->rm, record_applied);
	int ret = r->o->from_checkpoint.given
			  ? replay_machine_seek(&r->rm, r->o->from_checkpoint.n, err)
			  : 0;

	if (ret == 0 && r->o->until.given)
		ret = check_until(r, err);
	if (ret == 0)
		ret = profile_start(r->profile, machine_engine(r->rm.up.machine), err);
	if (ret < 0)
		return ret;
	replay_init(&r->replay, r->rm.up.machine, &records);
	if (r->o->until.given)
		r->replay.stop_count = r->o->until.n;
	atomic_store(&r->ready, true);
	return 0;
}

static void stop(void *ctx)
{
	struct replayer *r = ctx;

	if (atomic_exchange(&r->ready, false))
		replay_fini(&r->replay);
}

static void print_summary(struct replayer *r, enum machine_end end, int status)
{
	FILE *f = r->report;
	struct run_summary s = { .end = end,
				 .status = status,
				 .count = count_now(r),
				 .start = r->started_count,
				 .virtual_ns = machine_now(r->rm.up.machine),
				 .host_ns = host_mono_ns() - r->started_ns };
	char text[4096];

	if (r->o->json)
		run_summary_json(f, r->rm.up.machine, &s);
	else if (r->o->stats)
		run_summary_print(f, r->rm.up.machine, &s);
	if (r->o->until.given) {
		machine_describe_cpu(r->rm.up.machine, text, sizeof(text));
		fputs(text, f);
	}
}

static void report_agreement(struct replayer *r, enum machine_end end, const char *cut)
{
	FILE *f = r->report;
	uint64_t count = count_now(r);
	bool whole = !cut && !stop_signal() &&
		     !(r->o->until.given && end == MACHINE_ENDED && count >= r->o->until.n);

	if (cut)
		log_warn("%s; everything before it was replayed", cut);
	if (stop_signal())
		log_info("stopped at count %" PRIu64 "; everything before it agrees", count);
	else if (r->o->until.given && count < r->o->until.n)
		log_warn("--until %" PRIu64
			 " was not reached: the recording ends at count %" PRIu64,
			 r->o->until.n, count);
	if (r->o->json)
		fprintf(f,
			"{\"event\":\"replay\",\"records\":%" PRIu64 ",\"digests\":%" PRIu64
			",\"count\":%" PRIu64 ",\"whole\":%s}\n",
			r->replay.records, r->replay.digests, count, whole ? "true" : "false");
	else
		log_info("replayed %" PRIu64 " records, %" PRIu64 " digests agree",
			 r->replay.records, r->replay.digests);
}

/* Exit status: 0, or as recorded, when everything agreed. */
static int verdict(struct replayer *r, enum machine_end end, struct err *err)
{
	int ret = replay_verdict(&r->replay, end, err);

	if (!r->o->quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (ret < 0) {
		log_error("%s", err->text);
		return ret == -EILSEQ ? EXIT_DIVERGED : EXIT_USAGE;
	}
	report_agreement(r, end, log_reader_cut(r->rm.reader));
	if (stop_signal())
		return 128 + stop_signal();
	return end == MACHINE_EXIT ? (int)machine_exit_code(r->rm.up.machine) : 0;
}

struct replaying {
	struct replayer *r;
	enum machine_end end;
	struct err err;
};

static void *replay_run(void *arg)
{
	struct replaying *p = arg;

	p->end = machine_run(p->r->rm.up.machine, replay_source(&p->r->replay), &p->err);
	return NULL;
}

static int execute(void *ctx)
{
	struct replayer *r = ctx;
	struct replaying p = { .r = r, .err = ERR_INIT };
	int status;

	if (stop_signal())
		replay_stop(&r->replay);
	r->started_ns = host_mono_ns();
	r->started_virtual = machine_now(r->rm.up.machine);
	r->started_count = count_now(r);
	status = bringup_run_vcpu(replay_run, &p);
	if (status)
		return status;
	status = verdict(r, p.end, &p.err);
	if (r->profile && profile_write(r->profile, &p.err) < 0)
		log_error("%s", p.err.text);
	print_summary(r, p.end, status);
	return status;
}

static int run(struct options *o)
{
	static const struct bringup_role role = { .names = open_profile,
						  .unname = close_profile,
						  .sink = get_sink,
						  .start = start,
						  .stop = stop,
						  .quit = stop_replay,
						  .consoles = true };
	static struct replayer r;

	if (o->gdb && o->until.given) {
		log_error("--until says where a replay ends by itself: with --gdb, `monitor seek` "
			  "goes there");
		return EXIT_USAGE;
	}
	if (o->gdb)
		return replay_gdb_run(o);
	r.o = o;
	r.report = run_end_stream(o->machine.console);
	r.rm.given = &o->machine;
	r.rm.path = o->args[0];
	return replay_machine_live(&r.rm, &role, execute);
}

const struct command cmd_replay = {
	.id = COMMAND_REPLAY,
	.name = "replay",
	.summary = "run a recording again and verify it",
	.usage = "[OPTION...] LOG",
	.text = "Runs a recorded machine again, and checks every digest on the way.",
	.end = "Exit status: 0 all digests agree; 123 a difference, named; 2 the log or a file is "
	       "not good; else as recorded.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
