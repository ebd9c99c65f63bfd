/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A recording as a machine that can be moved to any moment of it: forward by running, backward by
 * the nearest checkpoint before and running from there. Checkpoints are made on the way and kept
 * in memory. What the machine does is verified against the record all the while, as in any replay.
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
	TIMELINE_BREAKPOINT, /* at one */
	TIMELINE_WATCH,	     /* behind a watched access; moving backward: in front of it */
	TIMELINE_BEGIN,	     /* as far back as the recording goes */
	TIMELINE_END,	     /* as far on */
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

/* -ENOTSUP where the engine has no probe. Takes the first checkpoint. NULL and err on failure. */
struct timeline *timeline_open(const struct timeline_config *c, struct err *err);
void timeline_close(struct timeline *t);

void timeline_where(const struct timeline *t, struct timeline_where *w);
/* The probe's numbers must be within their limits. */
void timeline_set_probe(struct timeline *t, const struct timeline_probe *p);
/* Told of what enters the machine, each time that it does; NULL: nobody is. */
void timeline_on_inputs(struct timeline *t, void (*fn)(void *ctx, const struct sync_point *sp),
			void *ctx);
void timeline_get_stats(const struct timeline *t, struct timeline_stats *s);
/* The record that enters next, if that is known, for showing it; NULL: none. */
const struct codec_record *timeline_next_record(const struct timeline *t);

/* Moves to a moment, either way, past breakpoints; the result is THERE, or the reason to stop. */
enum timeline_stop timeline_seek(struct timeline *t, const struct moment *to, struct err *err);
/* Runs forward to (count, 0), past breakpoints and along every instruction on the way. */
enum timeline_stop timeline_run_to(struct timeline *t, uint64_t count, struct err *err);
/* Run until something stops the machine, or to the next boundary; the same two backward. */
enum timeline_stop timeline_forward(struct timeline *t, struct err *err);
enum timeline_stop timeline_step(struct timeline *t, struct err *err);
enum timeline_stop timeline_back(struct timeline *t, struct err *err);
enum timeline_stop timeline_step_back(struct timeline *t, struct err *err);

/* Request to timeline_deviate(). */
struct deviation {
	const struct fault *fault; /* by count; the first is done now or later */
	size_t nfaults;
	uint64_t bound; /* a count at which the run ends at the latest */
	bool refused;	/* set: there can be no such faults */
};

/*
 * The machine leaves the record by a fault: inputs still enter at their counts, or when it waits
 * for them, whatever else differs. Runs until it ends by itself, the inputs are used up and it
 * waits (MACHINE_ENDED), or to the bound, or until its timers have fired for DEVIATE_WAIT_NS and
 * none of them has woken it (MACHINE_SPINNING). MACHINE_FAILED and err: the record could not be
 * followed. Only a seek leads back.
 */
enum machine_end timeline_deviate(struct timeline *t, struct deviation *d, struct err *err);
/* The machine's end, at TIMELINE_END. */
enum machine_end timeline_end(const struct timeline *t);

#endif
