// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep log`: what is in a log. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/guest_conf.h"
#include "host/guest_log.h"
#include "host/log_jail.h"
#include "host/log_pcap.h"
#include "host/log_text.h"
#include "host/machine_opts.h"
#include "host/replay_machine.h"
#include "host/run_end.h"
#include "host/stop.h"

/* ---- summary ---- */

static const char *const frame_names[LOG_KIND_END_] = {
	[LOG_RECORDS] = "records",
	[LOG_STATE] = "checkpoint states",
	[LOG_PAGES] = "checkpoint pages",
	[LOG_DISK] = "checkpoint disks",
	[LOG_INDEX] = "index",
	[LOG_END] = "end",
};

struct checkpoint_line {
	uint64_t record, count, ns, bytes;
	bool whole;
};

struct summary {
	uint64_t frames[LOG_KIND_END_], stored[LOG_KIND_END_], raw[LOG_KIND_END_];
	uint64_t inputs[INPUT_KIND_END_], bytes[INPUT_KIND_END_];
	uint64_t records, plain; /* all; without any input: timers alone */
	uint64_t last_count;
	struct checkpoint_line *checkpoint;
	size_t ncheckpoints;
};

static void summary_checkpoint(struct summary *s, const struct log_frame *f)
{
	struct rd in = RD_INIT(f->raw, f->raw_len);
	struct checkpoint_line *p = realloc(s->checkpoint, (s->ncheckpoints + 1) * sizeof(*p));

	if (!p)
		return;
	s->checkpoint = p;
	p += s->ncheckpoints++;
	p->record = rd_varint(&in);
	p->count = rd_varint(&in);
	p->ns = rd_varint(&in);
	p->bytes = 0;
	p->whole = false;
}

static void summary_frame(void *ctx, const struct log_frame *f)
{
	struct summary *s = ctx;

	/* A checkpoint is whole, for the reader as well, when a frame follows the last of its own.
	 */
	if (s->ncheckpoints && f->kind != LOG_PAGES && f->kind != LOG_DISK)
		s->checkpoint[s->ncheckpoints - 1].whole = true;
	s->frames[f->kind]++;
	s->stored[f->kind] += f->stored;
	s->raw[f->kind] += f->raw_len;
	if (f->kind == LOG_STATE)
		summary_checkpoint(s, f);
	if (f->kind >= LOG_STATE && f->kind <= LOG_DISK && s->ncheckpoints)
		s->checkpoint[s->ncheckpoints - 1].bytes += f->stored;
}

static void summary_record(struct summary *s, const struct codec_record *rec)
{
	s->records++;
	s->plain += rec->sp.n == 0;
	s->last_count = rec->sp.at.count;
	for (size_t i = 0; i < rec->sp.n; i++) {
		const struct input *in = &rec->sp.input[i];

		s->inputs[in->kind]++;
		s->bytes[in->kind] += in->kind == INPUT_DIGEST ? rec->detail_len + 8 : in->len;
	}
}

static void print_kinds(const struct summary *s)
{
	printf("%-24s %" PRIu64 " (%" PRIu64 " for timers alone)\n", "records", s->records,
	       s->plain);
	for (unsigned i = 1; i < INPUT_KIND_END_; i++) {
		if (s->inputs[i])
			printf("  %-22s %" PRIu64 ", %" PRIu64 " bytes\n", input_form(i)->plural,
			       s->inputs[i], s->bytes[i]);
	}
	printf("%-24s\n", "frames");
	for (unsigned i = 1; i < LOG_KIND_END_; i++) {
		if (s->frames[i])
			printf("  %-22s %" PRIu64 ", %" PRIu64 " bytes (%" PRIu64
			       " before compression)\n",
			       frame_names[i], s->frames[i], s->stored[i], s->raw[i]);
	}
	for (size_t i = 0; i < s->ncheckpoints; i++)
		printf("checkpoint %-13zu record %" PRIu64 ", count %" PRIu64 ", %.3f s, %" PRIu64
		       " bytes%s\n",
		       i, s->checkpoint[i].record, s->checkpoint[i].count,
		       (double)s->checkpoint[i].ns / 1e9, s->checkpoint[i].bytes,
		       s->checkpoint[i].whole ? "" : " (cut short)");
}

static void print_summary(const struct summary *s, const struct log_walk *w,
			  const struct replay_end *end)
{
	const struct log_header *h = log_reader_header(w->reader);
	uint64_t last = end ? end->count : s->last_count;
	double seconds = (double)(log_clock_ns(&w->clock, last) - log_start_ns(h)) / 1e9;

	log_header_print(stdout, h);
	printf("%-24s %.3f s of guest time, %" PRIu64 " instructions\n", "duration", seconds,
	       last - h->start_count);
	printf("%-24s %" PRIu64 " bytes\n", "size", log_reader_size(w->reader));
	if (seconds > 0)
		printf("%-24s %.0f bytes a second of records\n", "rate",
		       (double)s->stored[LOG_RECORDS] / seconds);
	print_kinds(s);
	if (end)
		printf("%-24s %s at count %" PRIu64 "\n", "end", run_end_name(end->end),
		       end->count);
}

static int show(const struct options *o, struct log_walk *w)
{
	struct summary s = { 0 };
	const struct codec_record *rec;
	const struct replay_end *end;
	struct err err = ERR_INIT;
	int ret = 1;

	w->stream.on_frame = summary_frame;
	w->stream.on_frame_ctx = &s;
	if (o->json)
		log_header_json(stdout, log_reader_header(w->reader));
	while (!log_jail_stopped() && (ret = log_walk_next(w, &rec, &err)) > 0) {
		summary_record(&s, rec);
		if (o->json)
			log_record_json(stdout, w, rec);
	}
	end = ret == 0 && w->stream.has_end ? &w->stream.end : NULL;
	if (!o->json)
		print_summary(&s, w, end);
	else if (end)
		log_end_json(stdout, end);
	free(s.checkpoint);
	if (ret < 0)
		log_error("%s", err.text);
	else if (log_reader_cut(w->reader))
		log_warn("%s", log_reader_cut(w->reader));
	return ret < 0 ? EXIT_USAGE : 0;
}

/* The jail closes between opening and reading. */
static int show_file(const struct options *o)
{
	struct err err = ERR_INIT;
	struct log_walk w;
	int status = EXIT_USAGE;

	log_jail_begin(o->machine.jail);
	if (log_walk_open(&w, o->args[0], &err) == 0) {
		if (log_jail_enter(o->machine.jail, &err) == 0 && log_walk_begin(&w, &err) == 0)
			status = show(o, &w);
		log_walk_close(&w);
	}
	if (err.code)
		log_error("%s", err.text);
	return log_jail_end(status);
}

/* A plain name that is no file here is a guest's. */
static bool is_guest(const char *name)
{
	return guest_name_is_good(name) && access(name, F_OK) < 0;
}

static void nothing(void *ctx)
{
}

static bool is_over(void *ctx)
{
	return stop_signal() != 0;
}

static int show_guest(const struct options *o)
{
	struct err err = ERR_INIT;

	if (o->follow)
		stop_on_signals(nothing, NULL);
	if ((o->follow ? guest_log_watch(stdout, o->args[0], o->json, is_over, NULL, &err)
		       : guest_log_print(stdout, o->args[0], o->json, &err)) == 0)
		return 0;
	log_error("%s, and no recording '%s' either", err.text, o->args[0]);
	return EXIT_USAGE;
}

static int run(struct options *o)
{
	if (!o->pcap && is_guest(o->args[0]))
		return show_guest(o);
	return o->pcap ? log_pcap_write(o->args[0], &o->machine, o->pcap) : show_file(o);
}

const struct command cmd_log = {
	.id = COMMAND_LOG,
	.name = "log",
	.summary = "show what is in a recording, or what happened to a guest",
	.usage = "[OPTION...] LOG|NAME",
	.text = "Shows what is in a log: summary, records by kind, checkpoints. With the NAME of a "
		"guest of `twinstep up`: what has happened to it on this host, and with --follow "
		"what happens from now on.",
	.end = "Exit status: 0; 2 the log is damaged (what is before the damage is shown); with "
	       "--pcap also 123 divergence.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
