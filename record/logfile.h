/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log file (docs/log-format.md): a header that says which machine was recorded, then frames.
 * Frames are numbered and their checksums are chained: each covers the one before, so a frame that
 * is missing, doubled, swapped or changed shows at once. A log that was cut short is readable up to
 * its last whole frame.
 */
#ifndef RECORD_LOGFILE_H
#define RECORD_LOGFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/boot/image.h"
#include "hypervisor/machine.h"
#include "hypervisor/traits.h"

#define LOG_VERSION	 5	     /* written */
#define LOG_VERSION_3	 3	     /* does not name the traits of the processor that executed */
#define LOG_VERSION_OLD	 2	     /* the oldest that is read: one initrd, and not its text */
#define LOG_FRAME_MAX	 (16u << 20) /* bytes of a frame's payload, raw */
#define LOG_HEADER_MAX	 (1u << 20)
#define LOG_FRAME_HEADER 48

enum log_frame_kind {
	LOG_RECORDS = 1, /* one batch of records */
	LOG_STATE,	 /* a checkpoint begins: landmark, machine state; the pages follow */
	LOG_PAGES,	 /* pages of the checkpoint */
	LOG_DISK,	 /* changes of a disk since the start, for the checkpoint */
	LOG_INDEX,	 /* where the checkpoints are */
	LOG_END,	 /* why and where the recording ended */
	LOG_KIND_END_
};

#define LOG_DIGEST_NONE 0

/* A file that replay needs: where it was, and what it held. */
struct log_file_ref {
	char *path;	 /* as given; NULL: none */
	uint64_t digest; /* XXH3 of the content */
};

struct log_module {
	struct log_file_ref file;
	char *text; /* the string that a multiboot guest sees; in old logs the path as well */
};

struct log_header {
	uint32_t version; /* of the layout that it was read from; 0: it was made here */
	struct machine_config config;
	char engine[16], counter[16];
	uint64_t cpuid_digest;
	struct traits traits; /* of what executed; old logs know none of a processor */
	char *append;	      /* kernel command line */
	struct log_file_ref kernel;
	struct log_module initrd[BOOT_MODULES];
	unsigned ninitrd;
	struct log_file_ref snapshot; /* or the state that the recording started from */
	struct log_file_ref disk[MACHINE_DISKS];
	uint8_t *carried[CARRIED]; /* of the sizes that config has, owned; NULL: none */
	uint64_t start_digest;	   /* machine_digest() of the start state */
	uint64_t start_count; /* instructions retired there: 0, unless it came from a snapshot */
	/* the clock at the start, for times of records before the first anchor */
	uint64_t anchor_ns, anchor_count, rate;
	uint64_t epoch_ns;
	uint64_t wall_ns; /* host's wall clock at the start, for people and pcap files; replay does
			     not use it */
};

void log_header_free(struct log_header *h);
void log_header_save(const struct log_header *h, struct buf *out);
/* version: of the log's format, LOG_VERSION_OLD to LOG_VERSION. */
int log_header_restore(struct log_header *h, uint32_t version, struct rd *in, struct err *err);

struct log_frame {
	enum log_frame_kind kind;
	uint64_t seq;	    /* number of the frame, from 1 */
	uint64_t count;	    /* instructions at its first record */
	uint64_t offset;    /* in the file */
	uint64_t stored;    /* bytes in the file, with the header */
	const uint8_t *raw; /* payload, decompressed; valid until the next read */
	size_t raw_len;
};

/* ---- writing ---- */

struct log_writer;

/*
 * Creates the file. It must not exist; with force, a regular file that no process has locked is
 * replaced. The file stays locked (flock) while it is written. NULL and err on failure.
 */
struct log_writer *log_writer_open(const char *path, const struct log_header *h, bool force,
				   struct err *err);
/*
 * log_writer_open() in two steps: the first one makes the name, outside a jail; the second one does
 * the rest, inside, and empties an existing file (force). The first returns a descriptor above 2,
 * with *created true where the file is new, or -errno. The writer owns the descriptor.
 */
int log_file_create(const char *path, bool force, bool *created, struct err *err);
struct log_writer *log_writer_open_fd(int fd, const char *path, const struct log_header *h,
				      struct err *err);
/*
 * Appends one frame; count: instructions at its start. A short write leaves the file as it was
 * before the frame.
 */
int log_writer_frame(struct log_writer *w, enum log_frame_kind kind, uint64_t count,
		     const void *raw, size_t len, struct err *err);
/* Remembers that the next frame starts a checkpoint, for the index. */
void log_writer_mark(struct log_writer *w, uint64_t record, uint64_t count, uint64_t ns);
/*
 * Writes the index, unless the recording broke off (not whole), and closes with fsync; err when
 * anything did not reach the disk.
 */
int log_writer_close(struct log_writer *w, bool whole, struct err *err);
uint64_t log_writer_bytes(const struct log_writer *w);

/* ---- reading ---- */

struct log_mark {
	uint64_t record, count, ns;  /* last record applied before the checkpoint, and where */
	uint64_t offset, chain, seq; /* of its LOG_STATE frame: to read on from there */
};

struct log_reader;

struct log_reader *log_reader_open(const char *path, struct err *err);
/* log_reader_open() in two steps: only the second one reads the file's content. 0 or -errno. */
struct log_reader *log_reader_open_file(const char *path, struct err *err);
int log_reader_begin(struct log_reader *r, struct err *err);
void log_reader_close(struct log_reader *r);
const struct log_header *log_reader_header(const struct log_reader *r);
/*
 * Reads the next frame. 1 and *f; 0: the log ends here (after LOG_END, or where the file was cut
 * short: see log_reader_cut()); -errno and err: the frame is damaged.
 */
int log_reader_next(struct log_reader *r, struct log_frame *f, struct err *err);
/*
 * After log_reader_next() returned 0: a sentence if the log has no proper end ("ends inside frame 7
 * at offset 4711 ..."), else NULL.
 */
const char *log_reader_cut(const struct log_reader *r);
/*
 * Checkpoints in the file, in order: from the index, or by reading through the file when it was cut
 * short.
 */
int log_reader_marks(struct log_reader *r, const struct log_mark **marks, size_t *n,
		     struct err *err);
/* Goes to a mark: its frame is read next. */
int log_reader_seek(struct log_reader *r, const struct log_mark *mark, struct err *err);
/* Fills in where the next frame is (offset, chain, seq): for log_reader_seek(). */
void log_reader_here(const struct log_reader *r, struct log_mark *mark);
uint64_t log_reader_size(const struct log_reader *r);

/* XXH3 of a file's content. */
int log_file_digest(const char *path, uint64_t *digest, struct err *err);

#endif
