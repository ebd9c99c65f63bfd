/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The live side of a join, from the handshake until the backup has the state. joining.c has the
 * list of its phases: what goes ahead while the guest runs, and what is left for the sync point,
 * where the guest stands still.
 */
#ifndef REPLICA_JOINING_H
#define REPLICA_JOINING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "replica/session.h"

struct joining;

/* NULL: out of memory. */
struct joining *joining_new(struct session *s);
void joining_free(struct joining *j);

/* ---- the receiver's thread ---- */

/* A message about disks. 0, or -errno and a sentence for both sides. */
int joining_take_disk(struct joining *j, const struct wire_frame *f, struct err *err);
/* Pages that the backup has already. 0, or -errno and err: the backup is lost. */
int joining_take_have(struct joining *j, const struct wire_frame *f, struct err *err);
/* The backup has the state: what came before it is in step. Waits for storage. 0 or -errno. */
int joining_complete(struct joining *j, struct err *err);

/* ---- the sender's thread ---- */

enum joining_step {
	JOINING_MORE,	/* something was sent, or is to be sent at once */
	JOINING_WAITS,	/* for the backup, or for the bound of the rate */
	JOINING_LITTLE, /* so little is left that it can wait for the sync point */
};

/* Sends some more, through the session's queue. enum joining_step, or -errno and err. */
int joining_step(struct joining *j, struct err *err);

/* ---- the vCPU's thread ---- */

/*
 * Between two runs of the guest, as often as it comes by: finds what was written. due: it would be
 * the time to join. True: so little is left that this is the time.
 */
bool joining_look(struct joining *j, bool due);
/* Sends all that is left, at the sync point of record seq. 0 or -errno. */
int joining_finish(struct joining *j, uint64_t seq, struct err *err);

/* ---- any thread ---- */

struct joining_progress {
	uint64_t sent, left; /* bytes of disks */
	double rate;	     /* bytes a second */
	/* of memory, likewise in bytes: in use at the start, sent (also twice), left, a second */
	uint64_t memory, memory_sent, memory_left, memory_rate;
	uint64_t memory_kept;	/* not sent: the backup had it from a join that was cut */
	uint64_t memory_placed; /* of those sent, straight into the backup's memory */
	uint64_t
		dirty_rate; /* bytes of pages a second that the guest writes at its present share */
	unsigned share;	    /* of the time in which it may run, per mille */
	uint64_t last, pause_ns; /* bytes of the last round; for how long the guest stood still */
};

void joining_get_progress(struct joining *j, struct joining_progress *p);
/* The guest writes faster than can be sent: it has to be slowed down. */
bool joining_falls_behind(struct joining *j);
/* Share of the time in which the guest may run, per mille, so that memory can be sent. */
unsigned joining_share(struct joining *j);

#endif
