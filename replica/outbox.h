/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Outputs of the guest, and when they may leave.
 *
 * Output commit. An output that the guest makes after record n leaves when record n+1 is
 * acknowledged: its landmark lies behind the output, so the backup passes the point of the output
 * before it can go live. An output asks for that record.
 *
 * Lease. The backup goes live only when it has not heard of us for the timeout. Each
 * acknowledgement echoes the newest time stamp that the backup had received; until the timeout
 * after that stamp, less a margin, and no longer, outputs may leave. So a primary that was stopped
 * and wakes up emits nothing on the strength of acknowledgements that wait in its socket.
 *
 * Two locks. `lock` guards the fields and is held for moments: the vCPU thread takes it at every
 * output. `sending` is the right to hand outputs that waited to the host, one thread at a time and
 * in order; the host's calls are made with that one alone, and the vCPU thread does not take it
 * while the guest runs.
 */
#ifndef REPLICA_OUTBOX_H
#define REPLICA_OUTBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/sync.h"

enum outbox_mode {
	OUTBOX_OPEN,	/* they leave at once, after those that still wait */
	OUTBOX_LEASED,	/* ... when their record is acknowledged, while the lease holds */
	OUTBOX_STOPPED, /* they wait */
	OUTBOX_COPIES,	/* another replica lets them out: kept until it has */
	OUTBOX_CLOSED,	/* they are dropped */
};

/* An output that waits for its record. */
struct held_output {
	struct held_output *next;
	uint64_t needs; /* number of the record that must be acknowledged */
	struct output out;
	size_t cap;
	uint8_t data[];
};

/* Outputs in the order in which the guest made them. */
struct held_list {
	struct held_output *first, *last;
	uint64_t n, bytes;
};

void held_add(struct held_list *l, uint64_t needs, const struct output *out);
/* Takes the oldest output that needs no record beyond `seq`; free() it. NULL: none. */
struct held_output *held_take(struct held_list *l, uint64_t seq);
/* Drops the outputs that need no record beyond `seq`. */
void held_drop(struct held_list *l, uint64_t seq);

/* Hands an output to the host before the deadline (CLOCK_BOOTTIME): 0, or -ETIME: it is too late.
 */
typedef int outbox_send(void *ctx, const struct output *out, uint64_t deadline_ns);

struct outbox {
	pthread_mutex_t sending; /* before any other lock */
	outbox_send *send;	 /* with `sending` */
	void *ctx;

	pthread_mutex_t lock; /* after any other lock; the rest is its */
	enum outbox_mode mode;
	bool draining; /* OPEN: some still wait, later ones go behind them */
	struct held_list held;
	uint64_t acked;	       /* record */
	uint64_t lease_ns;     /* until then outputs may leave (CLOCK_BOOTTIME); 0: never yet */
	uint64_t released_seq; /* outputs that need records up to here have left */
	uint64_t released;
};

void outbox_init(struct outbox *o, outbox_send *send, void *ctx);
void outbox_fini(struct outbox *o);
/* Sets the mode. It changes together with the state of the replica (failover.c). */
void outbox_set_mode(struct outbox *o, enum outbox_mode mode);
/* vCPU thread. True: it waits, or is dropped. False: the caller may hand it to the host now. */
bool outbox_add(struct outbox *o, uint64_t needs, const struct output *out);

/* The right to send; one thread has it. */
void outbox_begin(struct outbox *o);
void outbox_end(struct outbox *o);
/*
 * The time until which frames may leave (CLOCK_BOOTTIME); 0: none may, UINT64_MAX: no end. With the
 * right to send.
 */
uint64_t outbox_sends_until(struct outbox *o);
/* Lets go of all that may leave. With the right to send. */
void outbox_release(struct outbox *o);
/* Lets go likewise; takes the right itself. */
void outbox_drain(struct outbox *o);

/*
 * Begins to go by leases, before LEASED: outputs made up to now leave directly, and no lease is
 * there. With the right to send.
 */
void outbox_start_leases(struct outbox *o, uint64_t made);
/*
 * COPIES, before LEASED: the other replica has let out what outbox_forget() was told, and has
 * records up to seq; no lease is there.
 */
void outbox_take_over(struct outbox *o, uint64_t seq);
/*
 * The backup has records up to seq, and had heard this stamp (0: an impossible one), after which it
 * bears silence for that long before it goes live.
 */
void outbox_acknowledged(struct outbox *o, uint64_t seq, uint64_t stamp_ns, uint64_t silence_ns);
uint64_t outbox_released_seq(struct outbox *o);
/* COPIES: the other replica has let out what needs records up to seq. */
void outbox_forget(struct outbox *o, uint64_t seq);
/* The record that the newest output waits for; 0: none waits. */
uint64_t outbox_newest_need(struct outbox *o);
/* The guest has said more than shall wait, for a backup or for a slow arbiter. */
bool outbox_is_full(struct outbox *o, uint64_t made);
void outbox_count(struct outbox *o, uint64_t *held, uint64_t *released);
/*
 * True: there was a lease, and it has run out: nothing leaves, though the backup is not given up
 * yet.
 */
bool outbox_lease_is_over(struct outbox *o);

#endif
