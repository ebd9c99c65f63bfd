// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/log_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hypervisor/clock.h"
#include "hypervisor/cpuid.h"
#include "host/run_end.h"

/* ---- walking ---- */

int log_walk_open(struct log_walk *w, const char *path, struct err *err)
{
	w->reader = log_reader_open_file(path, err);
	return w->reader ? 0 : -err->code;
}

int log_walk_begin(struct log_walk *w, struct err *err)
{
	const struct log_header *h;
	int ret = log_reader_begin(w->reader, err);

	if (ret < 0)
		return ret;
	h = log_reader_header(w->reader);
	logstream_init(&w->stream, w->reader);
	w->clock =
		(struct log_clock){ .ns = h->anchor_ns, .count = h->anchor_count, .rate = h->rate };
	return 0;
}

int log_walk_next(struct log_walk *w, const struct codec_record **rec, struct err *err)
{
	int ret = logstream_next(&w->stream, rec, err);

	for (size_t i = 0; ret > 0 && i < (*rec)->sp.n; i++) {
		const struct input *in = &(*rec)->sp.input[i];

		if (in->kind == INPUT_ANCHOR)
			w->clock = (struct log_clock){ .ns = in->a,
						       .count = (*rec)->sp.at.count,
						       .rate = in->b };
	}
	return ret;
}

void log_walk_close(struct log_walk *w)
{
	log_reader_close(w->reader);
}

uint64_t log_clock_ns(const struct log_clock *c, uint64_t count)
{
	return c->ns +
	       (uint64_t)((unsigned __int128)(count - c->count) * c->rate >> CLOCK_RATE_SHIFT);
}

uint64_t log_start_ns(const struct log_header *h)
{
	const struct log_clock c = { .ns = h->anchor_ns,
				     .count = h->anchor_count,
				     .rate = h->rate };

	return log_clock_ns(&c, h->start_count);
}

/* ---- the header ---- */

/* A log may come from anywhere: nothing in it talks to the terminal. */
static void print_plain(FILE *f, const char *s)
{
	for (; *s; s++)
		fputc((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s, f);
}

static void print_ref(FILE *f, const char *what, const struct log_file_ref *ref)
{
	if (!ref->path)
		return;
	fprintf(f, "%-24s ", what);
	print_plain(f, ref->path);
	fprintf(f, " (%016" PRIx64 ")\n", ref->digest);
}

static const char *const carried_names[CARRIED] = {
	[CARRIED_CIDATA] = "disk of cloud-init",
	[CARRIED_NET_ROM] = "network ROM",
	[CARRIED_CD_ROM] = "CD-ROM's ROM",
};

/* Prints the processor that executed, and the traits by which it differs from the software CPU. */
static void print_traits(FILE *f, const struct traits *t, unsigned version)
{
	char differs[TRAITS_TEXT];
	struct traits soft;

	traits_of_soft(version, &soft);
	fprintf(f, "%-24s %s", "executed by",
		t->n ? t->host : "a processor of which nothing is known");
	if (traits_differ(t, &soft, differs, sizeof(differs)))
		fprintf(f, ", other than the software CPU in: %s", differs);
	fputc('\n', f);
}

static json_t *json_traits(const struct traits *t)
{
	json_t *o = json_pack("{s:s}", "host", t->host);

	for (uint32_t i = 0; i < t->n && i < TRAITS; i++)
		json_object_set_new(o, trait_name[i], json_sprintf("%08x", t->number[i]));
	return o;
}

void log_header_print(FILE *f, const struct log_header *h)
{
	time_t t = (time_t)(h->wall_ns / 1000000000);
	char when[40] = "?";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fprintf(f, "%-24s %s\n", "recorded", when);
	fprintf(f, "%-24s ", "engine");
	print_plain(f, h->engine);
	fputs(", counts ", f);
	print_plain(f, h->counter);
	fprintf(f, " instructions, CPUID model %016" PRIx64 "%s\n", h->cpuid_digest,
		cpuid_v1_revision(h->cpuid_digest) == CPUID_V1_REVISION ? "" : " (not this one)");
	print_traits(f, &h->traits, h->config.version);
	fprintf(f, "%-24s version %u, %" PRIu64 " MiB, %u NICs, %u disks%s%s\n", "machine",
		h->config.version, h->config.memory >> 20, h->config.nnics, h->config.ndisks,
		h->config.virtio_console ? ", virtio console" : "",
		h->config.agent ? ", guest agent" : "");
	print_ref(f, h->config.firmware ? "firmware" : "kernel", &h->kernel);
	for (unsigned i = 0; i < h->ninitrd; i++)
		print_ref(f, "initrd", &h->initrd[i].file);
	print_ref(f, "snapshot", &h->snapshot);
	for (unsigned i = 0; i < h->config.ndisks; i++)
		print_ref(f, "disk", &h->disk[i]);
	for (unsigned i = 0; i < CARRIED; i++) {
		if (h->carried[i])
			fprintf(f, "%-24s %u KiB, in the log\n", carried_names[i],
				h->config.carried_sectors[i] / 2);
	}
	if (h->append && *h->append) {
		fprintf(f, "%-24s ", "command line");
		print_plain(f, h->append);
		fputc('\n', f);
	}
	fprintf(f, "%-24s %016" PRIx64 "\n", "start state", h->start_digest);
}

static json_t *json_hex(uint64_t v)
{
	return json_sprintf("%016" PRIx64, v);
}

static json_t *json_u64(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static void json_ref(json_t *o, const char *key, const struct log_file_ref *ref)
{
	if (ref->path)
		json_object_set_new(o, key,
				    json_pack("{s:s?, s:o}", "path", ref->path, "digest",
					      json_hex(ref->digest)));
}

/* "initrd", then "initrd1" and so on, as with disks. */
static void json_modules(json_t *o, const struct log_header *h)
{
	for (unsigned i = 0; i < h->ninitrd; i++) {
		char key[24] = "initrd";

		if (i)
			snprintf(key, sizeof(key), "initrd%u", i);
		json_ref(o, key, &h->initrd[i].file);
		json_object_set_new(json_object_get(o, key), "text",
				    json_string(h->initrd[i].text));
	}
}

static void json_line(FILE *f, json_t *o)
{
	json_dumpf(o, f, JSON_COMPACT);
	fputc('\n', f);
	json_decref(o);
}

void log_header_json(FILE *f, const struct log_header *h)
{
	json_t *o = json_pack(
		"{s:s, s:s, s:s, s:i, s:o, s:i, s:i, s:b, s:b, s:o, s:o, s:o, s:o}", "event",
		"header", "engine", h->engine, "counter", h->counter, "machine",
		(int)h->config.version, "memory", json_u64(h->config.memory), "nics",
		(int)h->config.nnics, "disks", (int)h->config.ndisks, "virtio_console",
		(int)h->config.virtio_console, "guest_agent", (int)h->config.agent, "wall_ns",
		json_u64(h->wall_ns), "epoch_ns", json_u64(h->epoch_ns), "start_count",
		json_u64(h->start_count), "start_digest", json_hex(h->start_digest));

	json_object_set_new(o, "traits", json_traits(&h->traits));
	json_ref(o, h->config.firmware ? "firmware" : "kernel", &h->kernel);
	json_modules(o, h);
	json_ref(o, "snapshot", &h->snapshot);
	for (unsigned i = 0; i < h->config.ndisks; i++) {
		char key[16];

		snprintf(key, sizeof(key), "disk%u", i);
		json_ref(o, key, &h->disk[i]);
	}
	for (unsigned i = 0; i < CARRIED; i++) {
		if (h->carried[i])
			json_object_set_new(o, carried_names[i],
					    json_u64(h->config.carried_sectors[i] * 512ull));
	}
	json_object_set_new(o, "append", json_string(h->append ? h->append : ""));
	json_line(f, o);
}

/* ---- records ---- */

static json_t *json_bytes(const uint8_t *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * n + 1);
	json_t *s;

	if (!text)
		return json_null();
	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[data[i] >> 4];
		text[2 * i + 1] = digits[data[i] & 15];
	}
	s = json_stringn(text, 2 * n);
	free(text);
	return s;
}

static json_t *json_input(const struct codec_record *rec, const struct input *in)
{
	const struct input_form *form = input_form(in->kind);
	json_t *o = json_pack("{s:s}", "kind", form->name);

	switch (form->shape) {
	case INPUT_SHAPE_TIME:
		json_object_set_new(o, "ns", json_u64(in->a));
		json_object_set_new(o, "rate", json_u64(in->b));
		break;
	case INPUT_SHAPE_DATA:
		json_object_set_new(o, "port", json_integer(in->port));
		json_object_set_new(o, "data", json_bytes(in->data, in->len));
		break;
	case INPUT_SHAPE_PAIR:
		json_object_set_new(o, "port", json_integer(in->port));
		json_object_set_new(o, "a", json_u64(in->a));
		json_object_set_new(o, "b", json_u64(in->b));
		break;
	case INPUT_SHAPE_DIGEST:
		json_object_set_new(o, "digest", json_hex(rec->digest));
		break;
	case INPUT_SHAPE_NONE:
	case INPUT_SHAPE_COUNT_:
		break;
	}
	return o;
}

void log_record_json(FILE *f, const struct log_walk *w, const struct codec_record *rec)
{
	const struct landmark *at = &rec->sp.at;
	json_t *o = json_pack("{s:s, s:o, s:o, s:o}", "event", "record", "record",
			      json_u64(rec->sp.seq), "count", json_u64(at->count), "ns",
			      json_u64(log_clock_ns(&w->clock, at->count)));
	json_t *list = json_array();

	if (at->in_rep) {
		json_object_set_new(o, "rip", json_hex(at->rip));
		json_object_set_new(o, "rcx", json_u64(at->rcx));
	}
	for (size_t i = 0; i < rec->sp.n; i++)
		json_array_append_new(list, json_input(rec, &rec->sp.input[i]));
	json_object_set_new(o, "inputs", list);
	json_line(f, o);
}

void log_end_json(FILE *f, const struct replay_end *end)
{
	json_line(f, json_pack("{s:s, s:s, s:i, s:o, s:o, s:o}", "event", "end", "end",
			       run_end_name(end->end), "exit_code", (int)end->exit_code, "record",
			       json_u64(end->record), "count", json_u64(end->count), "digest",
			       json_hex(end->digest)));
}
