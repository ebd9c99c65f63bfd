/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading through a log without a machine, and its content as text and JSON. */
#ifndef HOST_LOG_TEXT_H
#define HOST_LOG_TEXT_H

#include <stdio.h>

#include "record/logstream.h"

/* Virtual time as the records' anchors say. */
struct log_clock {
	uint64_t ns, count, rate;
};

struct log_walk {
	struct log_reader *reader;
	struct logstream stream;
	struct log_clock clock; /* after the last record */
};

/* Opens the file, and does not look at what is in it. 0, or -errno: nothing is open then. */
int log_walk_open(struct log_walk *w, const char *path, struct err *err);
/* Reads the header. 0 or -errno. */
int log_walk_begin(struct log_walk *w, struct err *err);
/* Next record: as logstream_next(). */
int log_walk_next(struct log_walk *w, const struct codec_record **rec, struct err *err);
void log_walk_close(struct log_walk *w);

uint64_t log_clock_ns(const struct log_clock *c, uint64_t count);
/* Virtual time of the start state. */
uint64_t log_start_ns(const struct log_header *h);

void log_header_print(FILE *f, const struct log_header *h);
void log_header_json(FILE *f, const struct log_header *h);
/* Prints a record as a line; the clock of w already has the record's anchor. */
void log_record_json(FILE *f, const struct log_walk *w, const struct codec_record *rec);
void log_end_json(FILE *f, const struct replay_end *end);

#endif
