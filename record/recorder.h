/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The recorder: hooks into a live source and writes every sync point to a log, with digests and
 * checkpoints. The vCPU thread only encodes; compressing and writing are a thread's of its own.
 * When the disk is slow the guest waits rather than a record being lost; when the disk is full the
 * recording ends with an error.
 */
#ifndef RECORD_RECORDER_H
#define RECORD_RECORDER_H

#include "base/err.h"
#include "record/live.h"
#include "record/logfile.h"

struct recorder;

struct recorder_config {
	const char *path;
	int fd; /* from log_file_create(), the recorder's from then on; 0: path is created */
	const struct log_header *header;
	bool force;		/* overwrite */
	uint64_t checkpoint_ns; /* a checkpoint every so much virtual time; 0: none */
	size_t in_flight_max;	/* bytes not written yet from which on the guest waits; 0: 64 MiB */
	/*
	 * Appends the changes of disk i since the start, as a blob that disk_import of the replayer
	 * understands; nothing for a disk that cannot change. NULL: no disks. 0 or -errno.
	 */
	int (*disk_export)(void *ctx, unsigned i, struct buf *out, struct err *err);
	void *disk_ctx;
	/*
	 * The log cannot go on (disk full): nothing more is recorded and the machine should end;
	 * recorder_close() says why. Called once, from any thread. May be NULL.
	 */
	void (*on_failure)(void *ctx);
	void *failure_ctx;
};

/* Opens a recording of a machine that is in its start state. NULL and err on failure. */
struct recorder *recorder_open(const struct recorder_config *config, struct machine *m,
			       struct err *err);
/* Starts to write, before the machine runs. 0 or -errno. */
int recorder_start(struct recorder *r, struct err *err);
/* For live_config.hooks. */
struct live_hooks recorder_hooks(struct recorder *r);
/*
 * Ends the log: the rest of the records, how the machine ended, its last digest, the index. Frees
 * the recorder. 0, or the first error that the writer met.
 */
int recorder_close(struct recorder *r, enum machine_end end, struct err *err);

struct recorder_stats {
	uint64_t records, frames, bytes, checkpoints;
	uint64_t waited_ns; /* how long the guest waited for the disk */
};
/* Gets the statistics. Any thread may call this while the recorder exists. */
void recorder_get_stats(const struct recorder *r, struct recorder_stats *s);

#endif
