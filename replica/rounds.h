/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's memory goes ahead to a joining backup while the guest runs.
 *
 * A set has the pages that the backup lacks. The sender sweeps over it, again and again, and takes
 * pages out as it sends them; every so often the vCPU thread adds what was written since. When what
 * is left can be copied within the pause that the guest may have, the backup joins at the sync
 * point that is due there, and those pages are copied while the guest stands still. They are sent
 * when it runs again, so the link's speed does not count in the pause.
 *
 * A guest that writes pages faster than they can be sent gets a share of the time only. That is no
 * input and in no record: for the guest its host is slow.
 *
 * The set belongs to one thread at a time, as the phase says:
 *
 *   BEGIN -> FILL -> SEND <-> ASKED -> READY -> LAST
 *   vCPU    sender  sender    vCPU     vCPU     vCPU
 */
#ifndef REPLICA_ROUNDS_H
#define REPLICA_ROUNDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "hypervisor/memory.h"
#include "replica/have.h"

#define ROUNDS_PAGES_MAX 65536u /* 256 MiB */

struct rounds;

struct rounds_progress {
	uint64_t total;	     /* pages that were in use at the start */
	uint64_t sent;	     /* pages sent or found to be zero, again and again if need be */
	uint64_t kept;	     /* pages that the backup had already, and that were not sent */
	uint64_t left;	     /* pages that the backup lacks */
	uint64_t page_rate;  /* pages sent a second */
	uint64_t dirty_rate; /* pages that the guest writes a second, at its present share */
	unsigned share;	     /* of the time in which the guest may run: per mille */
	unsigned looks;	     /* how often written pages were collected */
};

/* max_pause_ms: for how long the guest may stand still at the end. NULL: out of memory. */
struct rounds *rounds_new(struct memory *mem, unsigned max_pause_ms);
/*
 * Before any thread uses it: the list of what the backup has already, which is complete when the
 * sender asks for the first page, and lives as long.
 */
void rounds_backup_has(struct rounds *r, struct have *have);
/* No thread uses it any more; the memory need not be there either. */
void rounds_free(struct rounds *r);

/* ---- the sender's thread ---- */

/*
 * Appends at most max pages to a list (record/pages.h). Returns how many pages it has looked at; 0:
 * there is nothing to send now, the vCPU thread has to come by (rounds_waits_for_vcpu()) or the
 * backup to join.
 */
unsigned rounds_next(struct rounds *r, struct buf *out, unsigned max, uint64_t now_ns);
/*
 * A run of min to max pages that the sweep comes to, none of them zero, for who can send them
 * where they stand: how many, and *first; 0: there is none here, or none to send now.
 */
unsigned rounds_next_run(struct rounds *r, unsigned min, unsigned max, uint64_t *first,
			 uint64_t now_ns);
/* A page of that run was not sent as it stands now. */
void rounds_put_back(struct rounds *r, uint64_t page);
/* Notes how long it took to send so many pages. */
void rounds_sent(struct rounds *r, unsigned pages, uint64_t ns);
bool rounds_waits_for_vcpu(const struct rounds *r);

/* ---- the vCPU's thread, between two runs ---- */

/* Does the work that the sender waits for. True: the backup can join at this very sync point. */
bool rounds_look(struct rounds *r, uint64_t now_ns);
/* Allows twice as many pages as until now to be left for the end, up to ROUNDS_PAGES_MAX. */
void rounds_allow_more(struct rounds *r);
/* Makes the rest final, at the sync point of the join. Its pages: rounds_last(), 0 at the end. */
void rounds_finish(struct rounds *r);
unsigned rounds_last(struct rounds *r, struct buf *out, unsigned max);

/* ---- any thread ---- */

/* Share of the time in which the guest may run, per mille: 1 to 1000. */
unsigned rounds_share(const struct rounds *r);
void rounds_get_progress(const struct rounds *r, struct rounds_progress *p);

#endif
