/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns a recording into a machine that can be moved to any of its moments: forward by running,
 * backward by restoring the nearest earlier checkpoint and running from there. Checkpoints are
 * taken on the way and kept in memory. As in any replay, the machine is checked against the record
 * all the time.
 */
#ifndef RECORD_TIMELINE_H
#define RECORD_TIMELINE_H

#include "base/err.h"
#include "hypervisor/machine.h"
#include "record/deviate.h"
#include "record/logstream.h"
#include "record/replay.h"

struct timeline;

struct timeline_config {
	struct machine *m; /* in the state that the stream goes on from */
	struct logstream *stream;
	uint64_t memory_max; /* bytes that checkpoints may take; 0: 1 GiB */
	uint64_t spacing;    /* instructions between two of them, at first; 0: 2 million */
	/* Like those of checkpoint.h; NULL: the machine has no disks. */
	int (*disk_export)(void *ctx, unsigned i, struct buf *out, struct err *err);
	int (*disk_import)(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err);
	void *disk_ctx;
	/* Asked now and then while the machine runs; true ends the move where it is. May be NULL.
	 */
	bool (*asked)(void *ctx);
	void *asked_ctx;
};

enum timeline_stop {
	TIMELINE_THERE,	     /* the moment was reached, the step made */
	TIMELINE_BREAKPOINT, /* at a breakpoint */
	TIMELINE_WATCH,	     /* behind a watched access; moving backward: in front of it */
	TIMELINE_BEGIN,	     /* as far back as the recording goes */
	TIMELINE_END,	     /* as far forward */
	TIMELINE_ASKED,	     /* config.asked() said so */
	TIMELINE_FAILED,     /* the log is damaged or the machine differs: see err */
};

struct timeline_where {
	struct moment at;
	size_t watch; /* TIMELINE_WATCH: which, and the address that was accessed */
	uint64_t address;
};

/* Breakpoints and watches of the moves that follow. */
struct timeline_probe {
	uint64_t breakpoint[PROBE_BREAKPOINTS];
	size_t nbreakpoints;
	struct engine_watch watch[PROBE_WATCHES];
	size_t nwatches;
};

struct timeline_stats {
	uint64_t checkpoints, bytes; /* kept now */
	uint64_t spacing, restores;
};

/*
 * Opens a timeline and takes its first checkpoint. NULL and err on failure; -ENOTSUP: the engine
 * has no probe.
 */
struct timeline *timeline_open(const struct timeline_config *c, struct err *err);
void timeline_close(struct timeline *t);

void timeline_where(const struct timeline *t, struct timeline_where *w);
/* The probe's numbers must be within their limits. */
void timeline_set_probe(struct timeline *t, const struct timeline_probe *p);
/* Sets a function that is called with every sync point when its inputs enter; NULL: none. */
void timeline_on_inputs(struct timeline *t, void (*fn)(void *ctx, const struct sync_point *sp),
			void *ctx);
void timeline_get_stats(const struct timeline *t, struct timeline_stats *s);
/* Returns the record that enters next, for display; NULL: not known, or none. */
const struct codec_record *timeline_next_record(const struct timeline *t);

/*
 * Moves to a moment, in either direction, ignoring breakpoints. Returns TIMELINE_THERE, or why the
 * move stopped earlier.
 */
enum timeline_stop timeline_seek(struct timeline *t, const struct moment *to, struct err *err);
/* Runs forward to (count, 0), ignoring breakpoints, along every instruction on the way. */
enum timeline_stop timeline_run_to(struct timeline *t, uint64_t count, struct err *err);
/*
 * Forward: runs until something stops the machine, or to the next boundary (step). The other two do
 * the same backward.
 */
enum timeline_stop timeline_forward(struct timeline *t, struct err *err);
enum timeline_stop timeline_step(struct timeline *t, struct err *err);
enum timeline_stop timeline_back(struct timeline *t, struct err *err);
enum timeline_stop timeline_step_back(struct timeline *t, struct err *err);

/* Request to timeline_deviate(). */
struct deviation {
	const struct fault *fault; /* in order of their counts; the first is now or later */
	size_t nfaults;
	uint64_t bound; /* a count at which the run ends at the latest */
	bool refused;	/* set by the call: such faults are impossible */
};

/*
 * Lets the machine leave the record by faults. Inputs still enter at their counts, or as soon as
 * the machine waits for them, even if everything else differs. Runs until one of these: the machine
 * ends by itself; the inputs are used up and it waits (MACHINE_ENDED); the bound; or its timers
 * have fired for DEVIATE_WAIT_NS without waking it (MACHINE_SPINNING). MACHINE_FAILED and err: the
 * record could not be followed. Only a seek leads back to the record.
 */
enum machine_end timeline_deviate(struct timeline *t, struct deviation *d, struct err *err);
/* The machine's end, at TIMELINE_END. */
enum machine_end timeline_end(const struct timeline *t);

#endif
