/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holds the guest's outputs until they may leave.
 *
 * Output commit. An output that the guest makes after record n may leave when record n+1 is
 * acknowledged. The landmark of record n+1 lies after the output, so a backup that has the record
 * repeats the output's point before it can go live. Each output therefore asks for the next record.
 *
 * Lease. The backup goes live only when it has not heard from the live side for the timeout. Each
 * acknowledgement echoes the newest time stamp that the backup had received. Outputs may leave
 * until that stamp plus the timeout, less a margin, and no longer. So a primary that was stopped
 * and wakes up later lets nothing out because of old acknowledgements in its socket.
 *
 * Two locks. `lock` guards the fields and is held for moments only, because the vCPU thread takes
 * it at every output. `sending` is the right to hand waiting outputs to the host, in order, by one
 * thread at a time. Calls into the host are made with only `sending` held, and the vCPU thread does
 * not take it while the guest runs.
 */
#ifndef REPLICA_OUTBOX_H
#define REPLICA_OUTBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/sync.h"

enum outbox_mode {
	OUTBOX_OPEN,	/* outputs leave at once, after older ones that still wait */
	OUTBOX_LEASED,	/* outputs leave when their record is acknowledged, while the lease holds */
	OUTBOX_STOPPED, /* all outputs wait */
	/* this is a backup: outputs are copies, kept until the live side has let out its own */
	OUTBOX_COPIES,
	OUTBOX_CLOSED, /* outputs are dropped */
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

/*
 * Hands an output to the host. 0; -ETIME: the deadline (CLOCK_BOOTTIME) has passed and the output
 * was not sent.
 */
typedef int outbox_send(void *ctx, const struct output *out, uint64_t deadline_ns);

struct outbox {
	pthread_mutex_t sending; /* taken before any other lock */
	outbox_send *send;	 /* called with `sending` held */
	void *ctx;

	pthread_mutex_t lock; /* taken after any other lock; guards the fields below */
	enum outbox_mode mode;
	bool draining; /* mode OPEN: older outputs still wait, so new ones queue after them */
	struct held_list held;
	uint64_t acked;	       /* last record that is acknowledged */
	uint64_t lease_ns;     /* until then outputs may leave (CLOCK_BOOTTIME); 0: never yet */
	uint64_t released_seq; /* outputs that need records up to here have left */
	/* number of outputs that have left */
	uint64_t released;
};

void outbox_init(struct outbox *o, outbox_send *send, void *ctx);
void outbox_fini(struct outbox *o);
/* Sets the mode. It changes together with the state of the replica (failover.c). */
void outbox_set_mode(struct outbox *o, enum outbox_mode mode);
/*
 * vCPU thread: takes an output. True: it waits or was dropped. False: the caller may hand it to the
 * host at once.
 */
bool outbox_add(struct outbox *o, uint64_t needs, const struct output *out);

/* Takes and releases the right to send (`sending`); one thread at a time has it. */
void outbox_begin(struct outbox *o);
void outbox_end(struct outbox *o);
/*
 * Returns the time until which outputs may leave (CLOCK_BOOTTIME); 0: none may leave; UINT64_MAX:
 * no limit. Called with the right to send.
 */
uint64_t outbox_sends_until(struct outbox *o);
/* Hands the host every output that may leave now. Called with the right to send. */
void outbox_release(struct outbox *o);
/* As outbox_release(), but takes the right to send itself. */
void outbox_drain(struct outbox *o);

/*
 * Prepares for mode LEASED: outputs that need records up to `made` have left, and there is no lease
 * yet. Called with the right to send.
 */
void outbox_start_leases(struct outbox *o, uint64_t made);
/*
 * Prepares a backup (mode COPIES) for mode LEASED: the other replica, which has let out what
 * outbox_forget() was told, has records up to seq, and there is no lease yet.
 */
void outbox_take_over(struct outbox *o, uint64_t seq);
/*
 * Notes an acknowledgement: the backup has records up to seq and had received the stamp stamp_ns,
 * after which it bears silence for silence_ns before it goes live. stamp_ns 0: the stamp is not a
 * possible one, and the lease is not extended.
 */
void outbox_acknowledged(struct outbox *o, uint64_t seq, uint64_t stamp_ns, uint64_t silence_ns);
/* Returns the number up to which outputs that need these records have left. */
uint64_t outbox_released_seq(struct outbox *o);
/*
 * Mode COPIES: drops copies of outputs that the other replica has let out, those that need records
 * up to seq.
 */
void outbox_forget(struct outbox *o, uint64_t seq);
/* Returns the record that the newest waiting output needs; 0: none waits. */
uint64_t outbox_newest_need(struct outbox *o);
/*
 * True: so many outputs wait for the backup or the arbiter that the guest has to wait, too. made:
 * the last record made.
 */
bool outbox_is_full(struct outbox *o, uint64_t made);
/* Returns the number of outputs that wait and that have left. */
void outbox_count(struct outbox *o, uint64_t *held, uint64_t *released);
/* True: the lease has run out. Nothing leaves, although the backup is not given up yet. */
bool outbox_lease_is_over(struct outbox *o);

#endif
