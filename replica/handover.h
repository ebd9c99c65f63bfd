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
	atomic_uint_fast64_t wanted_ns; /* since then, at the next sync point; 0: not */
	uint64_t seq; /* vCPU thread: the record at which the guest stands still */
	atomic_uint_fast64_t begun_ns, took_ns; /* the last one that this side gave away */
	atomic_uint_fast64_t given;		/* how many */

	/* the side that takes over; with follower.lock */
	bool asked;
	enum handover_outcome outcome; /* what its receiver is to do */
};

/* The receiver's thread of a session with a backup, or with a primary; they may change places. */
void *handover_link_receiver(void *session);
void *handover_follower_receiver(void *session);

/* ---- the live side ---- */

/*
 * vCPU thread, right after record seq: gives the guest to the backup where that is wanted and can
 * be done, and waits for what comes of it. True: this side follows from here on, and the run of the
 * machine is to end.
 */
bool handover_give(struct replica *r, uint64_t seq);
/*
 * vCPU thread, between two runs of the guest: it is to be given away, and the backup is too far
 * behind: the guest would stand still until that has caught up. It is slowed down until then.
 */
bool handover_waits(struct replica *r);
/* Receiver: it has taken over. 0 and s->follows, or -EBADMSG. */
int handover_given(struct session *s, const struct wire_frame *f, struct err *err);
/* Receiver: for how long the guest may stand still for it has gone by. */
bool handover_takes_too_long(struct replica *r);
/* vCPU thread, after the run that ended so: what a live replica needs goes. 0 or -errno. */
int handover_step_down(struct replica *r, struct err *err);

/* ---- the side that takes over ---- */

/* Receiver: the stream of records ends with this frame. 0 or -EBADMSG. */
int handover_asked(struct session *s, const struct wire_frame *f, struct err *err);
bool handover_is_asked(struct replica *r);
/* Receiver: acknowledges until this side is live (true), or not going to be. */
bool handover_wait(struct session *s);
/*
 * vCPU thread, with every record applied: 1: the next generation is ours, the other side is counted
 * on; 0: another replica's, and said so; -ECANCELED: told to stop.
 */
int handover_take(struct replica *r);
/* vCPU thread: the live machine is there; the other side may follow. 0 or -errno. */
int handover_begin(struct replica *r, struct err *err);

#endif
