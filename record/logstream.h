/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads records from a log file, and restores machines from its checkpoints. */
#ifndef RECORD_LOGSTREAM_H
#define RECORD_LOGSTREAM_H

#include "record/codec.h"
#include "record/logfile.h"
#include "record/replay.h"

/* A place between two records of a log. */
struct logstream_place {
	struct log_mark batch; /* the frame of records that it is in, or the one behind it */
	uint64_t seq;	       /* of the last record before that frame */
	uint64_t records;      /* records of that frame before the place */
};

struct logstream {
	struct log_reader *reader;
	struct codec codec;
	struct rd batch;
	struct codec_record rec;
	bool has_end;
	struct replay_end end;
	uint64_t bytes;		      /* read so far: progress */
	struct logstream_place place; /* behind the record last read */
	/* Called for every frame that is passed, before its content is used. May be NULL. */
	void (*on_frame)(void *ctx, const struct log_frame *f);
	void *on_frame_ctx;
};

void logstream_init(struct logstream *s, struct log_reader *reader);
struct record_stream logstream_records(struct logstream *s);
/* Like record_stream.next, for reading records without a machine. */
int logstream_next(struct logstream *s, const struct codec_record **rec, struct err *err);

/* Goes to an earlier value of s->place, backward or forward. 0, or -errno and err. */
int logstream_go(struct logstream *s, const struct logstream_place *place, struct err *err);

/*
 * Puts the machine into the state of checkpoint `index` (0: the first): its pages are those of all
 * checkpoints up to it, over a zeroed memory. Disk changes go to disk_import (may be NULL when
 * there are no disks). The stream goes on behind it.
 */
int logstream_restore(struct logstream *s, struct machine *m, size_t index,
		      int (*disk_import)(void *ctx, unsigned disk, const uint8_t *data, size_t len,
					 struct err *err),
		      void *disk_ctx, struct err *err);

#endif
