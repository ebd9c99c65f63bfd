/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two replicas change places (handover.c). */
#ifndef REPLICA_HANDOVER_H
#define REPLICA_HANDOVER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "hypervisor/machine.h"
#include "replica/session.h"
#include "replica/wire.h"

struct replica;

enum handover_outcome { HANDOVER_OPEN, HANDOVER_LIVE, HANDOVER_OFF };

struct handover {
	/* the live side */
	/* when a change of places was asked for; 0: none is wanted. It happens at a sync point */
	atomic_uint_fast64_t wanted_ns;
	uint64_t seq; /* vCPU thread: the record at which the guest stands still */
	/* of this side's last handover: its begin, and how long it took */
	atomic_uint_fast64_t begun_ns, took_ns;
	atomic_uint_fast64_t given; /* number of handovers that this side has made */

	/* the side that takes over; guarded by follower.lock */
	bool asked;
	enum handover_outcome outcome; /* what the receiver's thread is to do next */
};

/*
 * Receiver's threads: of a session that begins with a backup, and of one that begins with a
 * primary. When the two replicas change places, the same thread goes on in the other role.
 */
void *handover_link_receiver(void *session);
void *handover_follower_receiver(void *session);

/* ---- the live side ---- */

/*
 * vCPU thread, right after record seq: if a change of places is wanted and possible, gives the
 * guest to the backup and waits for the outcome. True: this side follows from here on, and the run
 * of the machine has to end.
 */
bool handover_give(struct replica *r, uint64_t seq);
/*
 * vCPU thread, between two runs of the guest. True: the guest is to be given away, but the backup
 * is too far behind, so the guest would stand still until the backup has caught up. The caller
 * slows the guest down until this is false.
 */
bool handover_waits(struct replica *r);
/*
 * Receiver: takes the backup's message that it has taken over. 0, and s->follows is set; or
 * -EBADMSG and err.
 */
int handover_given(struct session *s, const struct wire_frame *f, struct err *err);
/* Receiver. True: the guest has stood still for the handover longer than it may. */
bool handover_takes_too_long(struct replica *r);
/*
 * vCPU thread, after the run that handover_give() ended: frees what only a live replica needs. 0,
 * or -errno and err.
 */
int handover_step_down(struct replica *r, struct err *err);

/* ---- the side that takes over ---- */

/*
 * Receiver: takes the frame that ends the stream of records and asks this side to take over. 0, or
 * -EBADMSG and err.
 */
int handover_asked(struct session *s, const struct wire_frame *f, struct err *err);
/* True: this side has been asked to take over. */
bool handover_is_asked(struct replica *r);
/*
 * Receiver: sends acknowledgements until it is decided whether this side goes live. True: it is
 * live.
 */
bool handover_wait(struct session *s);
/*
 * vCPU thread, when every record is applied: takes the next generation. 1: it is ours, and the
 * other side is counted on; 0: another replica has it, which an event has reported; -ECANCELED:
 * this replica was told to stop.
 */
int handover_take(struct replica *r);
/*
 * vCPU thread, when the live machine runs here: lets the other side follow. 0, or -errno and err.
 */
int handover_begin(struct replica *r, struct err *err);

#endif
