/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The live side of a join, from the handshake until the backup has the state. joining.c lists the
 * phases: the part that is sent ahead while the guest runs, and the rest that is left for the sync
 * point, where the guest stands still.
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

/* Takes a message about disks. 0, or -errno and err, whose text is for both sides. */
int joining_take_disk(struct joining *j, const struct wire_frame *f, struct err *err);
/* Takes a list of pages that the backup already has. 0; -errno and err: the backup is lost. */
int joining_take_have(struct joining *j, const struct wire_frame *f, struct err *err);
/*
 * The backup has the state: notes that its disks are in step. Waits for storage. 0, or -errno and
 * err.
 */
int joining_complete(struct joining *j, struct err *err);

/* ---- the sender's thread ---- */

enum joining_step {
	JOINING_MORE,	/* something was sent, or is to be sent at once */
	JOINING_WAITS,	/* waits for the backup, or for the limit of --sync-rate */
	JOINING_LITTLE, /* so little is left that the rest can wait for the sync point */
};

/*
 * Sends a little more through the session's queue. Returns an enum joining_step, or -errno and err.
 */
int joining_step(struct joining *j, struct err *err);

/* ---- the vCPU's thread ---- */

/*
 * Called between two runs of the guest: collects the pages that were written. due: the sender has
 * asked for the sync point of the join. True: so little is left that the backup can join now.
 */
bool joining_look(struct joining *j, bool due);
/* Sends all that is left, at the sync point of record seq. 0, or -errno and err. */
int joining_finish(struct joining *j, uint64_t seq, struct err *err);

/* ---- any thread ---- */

struct joining_progress {
	uint64_t sent, left; /* bytes of disks */
	double rate;	     /* bytes a second */
	/*
	 * bytes of memory: in use at the start, sent (a page may count twice), left, sent per
	 * second
	 */
	uint64_t memory, memory_sent, memory_left, memory_rate;
	/* bytes not sent, because the backup had them from a join that was cut */
	uint64_t memory_kept;
	/* bytes of those sent that were written straight into the backup's memory */
	uint64_t memory_placed;
	/* bytes per second of pages that the guest writes at its present share */
	uint64_t dirty_rate;
	unsigned share;		 /* share of the time in which the guest may run, per mille */
	uint64_t last, pause_ns; /* bytes sent in the last round; how long the guest stood still */
};

void joining_get_progress(struct joining *j, struct joining_progress *p);
/* True: the guest writes to its disks faster than they can be sent, and has to be slowed down. */
bool joining_falls_behind(struct joining *j);
/* Share of the time in which the guest may run, per mille, so that memory can be sent. */
unsigned joining_share(struct joining *j);

#endif
