/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The input source of a machine that leaves its record. It follows a stream of records, and at
 * given counts it does faults to the machine. After the first fault, recorded inputs still enter at
 * their counts, or as soon as the machine waits for them, even if everything else differs. So the
 * run depends only on the record and the faults, and can be recorded itself.
 */
#ifndef RECORD_DEVIATE_H
#define RECORD_DEVIATE_H

#include "record/codec.h"
#include "record/fault.h"
#include "record/live.h"
#include "record/replay.h"

#define DEVIATE_FAULTS 64

/* After the record's end: how long timers may fire without any of them waking the machine. */
#define DEVIATE_WAIT_NS	   60000000000ull /* virtual time */
#define DEVIATE_WAIT_STEPS 1000000u	  /* sync points */

/* A fault, and what has become of it. */
struct deviate_fault {
	struct fault f;
	bool waiting;	/* its target (such as a packet or a request) is still awaited */
	uint64_t bits;	/* of a fault that stays: the bits before it */
	uint64_t began; /* virtual ns at which it was done */
	/* An input that the fault delays, or adds; count UINT64_MAX: none. */
	struct input held;
	uint64_t held_count;
	struct buf held_data, packet; /* the latter: one that was changed */
};

struct deviate {
	struct machine *m;
	struct record_stream stream;
	const struct codec_record *rec; /* next one to apply; NULL: it is fetched */
	bool at_end;			/* the stream has ended */
	uint64_t stop;			/* the run ends at this count */
	/* By count; those before `next` are done, and with the first of them the record is left. */
	struct deviate_fault fault[DEVIATE_FAULTS];
	size_t nfaults, next;
	/* Count of the record's last packets, and how many came at it. */
	uint64_t rx_count;
	unsigned rx_number;
	/*
	 * Hooks called for every sync point, which then keeps its digest; NULL: there are none, and
	 * no digest is made.
	 */
	const struct live_hooks *tap;
	uint64_t seq; /* of the last sync point that the tap was told of */
	/* Behind the record's end: since when timers fire at one count, and at how many sync
	 * points.
	 */
	uint64_t wait_count, wait_ns, wait_steps;
	bool hangs; /* timers fired for too long, and the run has ended */

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
 * The machine stands before the record `rec` (NULL: the next of the stream). faults: 1 to
 * DEVIATE_FAULTS, in order of their counts. stop: the run ends at this count.
 */
void deviate_init(struct deviate *d, struct machine *m, const struct record_stream *stream,
		  const struct codec_record *rec, const struct fault *faults, size_t nfaults,
		  uint64_t stop);
void deviate_fini(struct deviate *d);
/*
 * After machine_run(). True: one of the faults is impossible in a machine of this kind or in this
 * state.
 */
bool deviate_refused(const struct deviate *d);

#endif
