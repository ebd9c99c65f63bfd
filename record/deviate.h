/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source of inputs of a machine that leaves its record: it follows a stream of records, at one
 * count something is done to it, and from then on inputs still enter at their counts, or when the
 * machine waits for them, whatever else differs. So what it does is a function of the record and
 * of the fault, and can be recorded itself.
 */
#ifndef RECORD_DEVIATE_H
#define RECORD_DEVIATE_H

#include "record/codec.h"
#include "record/fault.h"
#include "record/live.h"
#include "record/replay.h"

struct deviate {
	struct machine *m;
	struct record_stream stream;
	const struct codec_record *rec; /* next one to apply; NULL: it is fetched */
	bool at_end;			/* no more of them */
	uint64_t stop;			/* the run ends at this count */
	struct fault fault;
	/* Told of every sync point, which then keeps its digest; NULL: nobody, and none is made. */
	const struct live_hooks *tap;
	uint64_t seq; /* of the last sync point that the tap was told of */

	struct input input[SYNC_INPUTS_MAX + 4];
	bool off;	/* the fault was done: the record is left */
	bool waiting;	/* for what the fault is to be done to */
	uint64_t began; /* virtual ns of the fault */
	/* An input that comes later than it would, or on top; count UINT64_MAX: none. */
	struct input held;
	uint64_t held_count;
	struct buf held_data, packet; /* the latter: one that was changed */
	bool applying;		      /* it is being done */
	uint64_t want; /* digest of the record that is applied, on the record; 0: none */
	struct err error;
	struct input_source source;
};

/* The machine stands in front of the record `rec` (NULL: the next of the stream). */
void deviate_init(struct deviate *d, struct machine *m, const struct record_stream *stream,
		  const struct codec_record *rec, const struct fault *fault, uint64_t stop);
void deviate_fini(struct deviate *d);
/* After machine_run(): the fault cannot be, in a machine of this kind or in its state. */
bool deviate_refused(const struct deviate *d);

#endif
