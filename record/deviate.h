/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source of inputs of a machine that leaves its record: it follows a stream of records, at some
 * counts something is done to it, and from the first of them on inputs still enter at their counts,
 * or when the machine waits for them, whatever else differs. So what it does is a function of the
 * record and of the faults, and can be recorded itself.
 */
#ifndef RECORD_DEVIATE_H
#define RECORD_DEVIATE_H

#include "record/codec.h"
#include "record/fault.h"
#include "record/live.h"
#include "record/replay.h"

#define DEVIATE_FAULTS 64

/* Behind the record's end: so long a machine waits while timers fire and none of them wakes it. */
#define DEVIATE_WAIT_NS	   60000000000ull /* virtual time */
#define DEVIATE_WAIT_STEPS 1000000u	  /* sync points */

/* A fault, and what has become of it. */
struct deviate_fault {
	struct fault f;
	bool waiting;	/* for what it is to be done to */
	uint64_t bits;	/* of one that stays: what they were before it */
	uint64_t began; /* virtual ns at which it was done */
	/* An input that comes later than it would, or on top; count UINT64_MAX: none. */
	struct input held;
	uint64_t held_count;
	struct buf held_data, packet; /* the latter: one that was changed */
};

struct deviate {
	struct machine *m;
	struct record_stream stream;
	const struct codec_record *rec; /* next one to apply; NULL: it is fetched */
	bool at_end;			/* no more of them */
	uint64_t stop;			/* the run ends at this count */
	/* By count; those before `next` are done, and with the first of them the record is left. */
	struct deviate_fault fault[DEVIATE_FAULTS];
	size_t nfaults, next;
	/* So many packets of the record have come at this count of it. */
	uint64_t rx_count;
	unsigned rx_number;
	/* Told of every sync point, which then keeps its digest; NULL: nobody, and none is made. */
	const struct live_hooks *tap;
	uint64_t seq; /* of the last sync point that the tap was told of */
	/* Behind the record's end: since when timers fire at one count, and at how many sync
	 * points.
	 */
	uint64_t wait_count, wait_ns, wait_steps;
	bool hangs; /* it did so for too long, and the run has ended */

	/* Each fault adds two inputs to a sync point at most. */
	struct input input[SYNC_INPUTS_MAX + 2 * DEVIATE_FAULTS + 2];
	bool applying; /* a fault is being done */
	struct deviate_fault
		*losing; /* tries to lose an interrupt at this sync point; NULL: none */
	uint64_t lost;	 /* interrupts that were, before it */
	uint64_t want;	 /* digest of the record that is applied, on the record; 0: none */
	struct err error;
	struct input_source source;
};

/*
 * The machine stands in front of the record `rec` (NULL: the next of the stream). faults: 1 to
 * DEVIATE_FAULTS of them, by count.
 */
void deviate_init(struct deviate *d, struct machine *m, const struct record_stream *stream,
		  const struct codec_record *rec, const struct fault *faults, size_t nfaults,
		  uint64_t stop);
void deviate_fini(struct deviate *d);
/* After machine_run(): a fault cannot be, in a machine of this kind or in its state. */
bool deviate_refused(const struct deviate *d);

#endif
