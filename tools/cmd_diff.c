// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep diff`: where two logs part. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/cmd.h"
#include "host/log_jail.h"
#include "host/log_text.h"
#include "host/machine_opts.h"
#include "host/run_end.h"

enum { DIFF_SAME, DIFF_OTHER, DIFF_ERROR };

struct diff {
	const char *path[2];
	struct log_walk log[2];
	uint64_t digests; /* compared so far */
	char why[400];
};

static bool ref_differs(const struct log_file_ref *a, const struct log_file_ref *b)
{
	return !a->path != !b->path || (a->path && a->digest != b->digest);
}

static const char *diff_configs(const struct machine_config *a, const struct machine_config *b)
{
	if (machine_config_digest(a) == machine_config_digest(b))
		return NULL;
	if (a->memory != b->memory)
		return "the size of memory (--memory)";
	if (a->nnics != b->nnics)
		return "the number of NICs";
	if (a->ndisks != b->ndisks)
		return "the number of disks";
	if (a->carried_sectors[CARRIED_CIDATA] != b->carried_sectors[CARRIED_CIDATA])
		return "the size of cloud-init's disk (--cloud-init)";
	if (a->carried_sectors[CARRIED_NET_ROM] != b->carried_sectors[CARRIED_NET_ROM] ||
	    a->carried_sectors[CARRIED_CD_ROM] != b->carried_sectors[CARRIED_CD_ROM])
		return "what it boots from (--boot)";
	if (a->virtio_console != b->virtio_console)
		return "only one has a virtio console";
	if (a->agent != b->agent)
		return "only one has a line to a guest agent";
	if (a->rtc_epoch != b->rtc_epoch)
		return "the time of the guest's clock at the start (--rtc)";
	return "a MAC address, or a disk's size or write protection";
}

/* An old log has a path where a module's text should be. */
static bool modules_differ(const struct log_header *a, const struct log_header *b)
{
	bool texts = a->version > LOG_VERSION_OLD && b->version > LOG_VERSION_OLD;

	if (a->ninitrd != b->ninitrd)
		return true;
	for (unsigned i = 0; i < a->ninitrd; i++) {
		if (ref_differs(&a->initrd[i].file, &b->initrd[i].file) ||
		    (texts && strcmp(a->initrd[i].text, b->initrd[i].text)))
			return true;
	}
	return false;
}

/* Name of what differs in the headers, or NULL. */
static const char *diff_headers(const struct log_header *a, const struct log_header *b)
{
	const char *config = diff_configs(&a->config, &b->config);

	if (config)
		return config;
	if (strcmp(a->counter, b->counter))
		return "the unit of the engine's count";
	if (a->cpuid_digest != b->cpuid_digest)
		return "the CPUID model or the revision of the CPU";
	if (ref_differs(&a->kernel, &b->kernel))
		return "the kernel";
	if (modules_differ(a, b))
		return "the initrd, or a module and its text";
	if (strcmp(a->append ? a->append : "", b->append ? b->append : ""))
		return "the kernel's command line";
	if (ref_differs(&a->snapshot, &b->snapshot))
		return "the snapshot";
	for (unsigned i = 0; i < a->config.ndisks; i++) {
		if (ref_differs(&a->disk[i], &b->disk[i]))
			return "a disk image";
	}
	return a->start_digest != b->start_digest ? "the start state" : NULL;
}

static bool same_landmark(const struct codec_record *a, const struct codec_record *b)
{
	return a->sp.at.count == b->sp.at.count && a->sp.at.in_rep == b->sp.at.in_rep &&
	       a->rip_check == b->rip_check &&
	       (!a->sp.at.in_rep || (a->sp.at.rip == b->sp.at.rip && a->sp.at.rcx == b->sp.at.rcx));
}

static bool same_input(const struct input *a, const struct input *b)
{
	return a->kind == b->kind && a->port == b->port && a->a == b->a && a->b == b->b &&
	       a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

static bool inputs_differ(struct diff *d, const struct codec_record *a,
			  const struct codec_record *b)
{
	size_t n = a->sp.n < b->sp.n ? a->sp.n : b->sp.n;

	for (size_t i = 0; i < n; i++) {
		const struct input *x = &a->sp.input[i], *y = &b->sp.input[i];

		if (same_input(x, y))
			continue;
		if (x->kind != y->kind)
			snprintf(d->why, sizeof(d->why), "input %zu is %s, against %s", i,
				 input_form(x->kind)->name, input_form(y->kind)->name);
		else
			snprintf(d->why, sizeof(d->why), "input %zu (%s) has another content", i,
				 input_form(x->kind)->name);
		return true;
	}
	if (a->sp.n != b->sp.n)
		snprintf(d->why, sizeof(d->why), "%zu inputs, against %zu", a->sp.n, b->sp.n);
	return a->sp.n != b->sp.n;
}

static bool records_differ(struct diff *d, const struct codec_record *a,
			   const struct codec_record *b)
{
	if (a->sp.seq != b->sp.seq)
		snprintf(d->why, sizeof(d->why), "its number is %" PRIu64 ", against %" PRIu64,
			 a->sp.seq, b->sp.seq);
	else if (!same_landmark(a, b))
		snprintf(d->why, sizeof(d->why),
			 "it enters at count %" PRIu64 " (RIP check %04x), against %" PRIu64
			 " (%04x)",
			 a->sp.at.count, a->rip_check, b->sp.at.count, b->rip_check);
	else if (inputs_differ(d, a, b))
		return true;
	else if (a->has_digest && a->digest != b->digest)
		snprintf(d->why, sizeof(d->why),
			 "the digest of epoch %" PRIu64 " is %016" PRIx64 ", against %016" PRIx64,
			 d->digests + 1, a->digest, b->digest);
	else
		return false;
	return true;
}

/* The ends, when both logs came to theirs. */
static int diff_ends(struct diff *d, uint64_t records)
{
	const struct logstream *a = &d->log[0].stream, *b = &d->log[1].stream;

	if (a->has_end != b->has_end) {
		printf("'%s' has no end, '%s' has one; the %" PRIu64
		       " records of both are the same\n",
		       d->path[a->has_end], d->path[!a->has_end], records);
		return DIFF_OTHER;
	}
	if (a->has_end && (a->end.end != b->end.end || a->end.exit_code != b->end.exit_code ||
			   a->end.count != b->end.count || a->end.digest != b->end.digest)) {
		printf("the ends differ: %s (%u) at count %" PRIu64 " with digest %016" PRIx64
		       ", against %s (%u) at %" PRIu64 " with %016" PRIx64 "\n",
		       run_end_name(a->end.end), a->end.exit_code, a->end.count, a->end.digest,
		       run_end_name(b->end.end), b->end.exit_code, b->end.count, b->end.digest);
		return DIFF_OTHER;
	}
	printf("the same: %" PRIu64 " records, %" PRIu64 " digests\n", records, d->digests);
	return DIFF_SAME;
}

/* Takes the next record of each log: 1: both; 0: a log has ended; -1, and the error is logged. */
static int diff_next(struct diff *d, const struct codec_record *rec[2], uint64_t records)
{
	int ret[2];

	for (int i = 0; i < 2; i++) {
		struct err err = ERR_INIT;

		ret[i] = log_walk_next(&d->log[i], &rec[i], &err);
		if (ret[i] >= 0)
			continue;
		log_error("%s", err.text);
		return -1;
	}
	if (ret[0] == ret[1])
		return ret[0];
	printf("'%s' ends after %" PRIu64 " records, '%s' goes on; up to there they are the same\n",
	       d->path[ret[0] > 0], records, d->path[ret[1] > 0]);
	return 2;
}

static int diff_records(struct diff *d)
{
	const struct codec_record *rec[2];
	uint64_t records = 0;
	int ret = -1;

	while (!log_jail_stopped() && (ret = diff_next(d, rec, records)) == 1) {
		if (records_differ(d, rec[0], rec[1])) {
			printf("record %" PRIu64 ", %.6f s: %s\n", rec[0]->sp.seq,
			       (double)log_clock_ns(&d->log[0].clock, rec[0]->sp.at.count) / 1e9,
			       d->why);
			return DIFF_OTHER;
		}
		records++;
		d->digests += rec[0]->has_digest;
	}
	for (int i = 0; ret >= 0 && i < 2; i++) {
		if (log_reader_cut(d->log[i].reader))
			log_warn("%s", log_reader_cut(d->log[i].reader));
	}
	if (ret < 0)
		return DIFF_ERROR;
	return ret ? DIFF_OTHER : diff_ends(d, records);
}

static int diff_logs(struct diff *d)
{
	const char *what = diff_headers(log_reader_header(d->log[0].reader),
					log_reader_header(d->log[1].reader));

	if (what) {
		printf("the headers differ: %s\n", what);
		return DIFF_OTHER;
	}
	return diff_records(d);
}

/* The jail closes between opening and reading. */
static int diff_files(struct diff *d, enum jail_mode jail, struct err *err)
{
	int status = DIFF_ERROR;

	if (log_walk_open(&d->log[0], d->path[0], err) < 0)
		return status;
	if (log_walk_open(&d->log[1], d->path[1], err) == 0) {
		if (log_jail_enter(jail, err) == 0 && log_walk_begin(&d->log[0], err) == 0 &&
		    log_walk_begin(&d->log[1], err) == 0)
			status = diff_logs(d);
		log_walk_close(&d->log[1]);
	}
	log_walk_close(&d->log[0]);
	return status;
}

static int run(struct options *o)
{
	static struct diff d;
	struct err err = ERR_INIT;
	int status;

	d.path[0] = o->args[0];
	d.path[1] = o->args[1];
	log_jail_begin(o->machine.jail);
	status = diff_files(&d, o->machine.jail, &err);
	if (err.code)
		log_error("%s", err.text);
	return log_jail_end(status);
}

const struct command cmd_diff = {
	.id = COMMAND_DIFF,
	.name = "diff",
	.summary = "find where two recordings part",
	.usage = "[OPTION...] LOG1 LOG2",
	.text = "Finds the first record or epoch in which two logs differ.",
	.end = "Exit status: 0 they are the same; 1 they differ; 2 one cannot be read.",
	.min_args = 2,
	.max_args = 2,
	.run = run,
};
