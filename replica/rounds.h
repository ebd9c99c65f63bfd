/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sends the guest's memory ahead to a joining backup, in rounds, while the guest runs.
 *
 * A set holds the pages that the backup lacks. The sender sweeps over the set, again and again, and
 * removes pages from it as it sends them. Now and then the vCPU thread adds the pages that the
 * guest has written since. When the pages that are left can be copied within the pause that the
 * guest is allowed, the backup joins at the next sync point, and those pages are copied while the
 * guest stands still. They are sent after the guest runs again, so the speed of the link does not
 * add to the pause.
 *
 * A guest that writes pages faster than they can be sent is let run for only a share of the time.
 * This is not an input and is in no record: the guest sees a slow host.
 *
 * The set belongs to one thread at a time, depending on the phase:
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
	uint64_t sent;	     /* pages sent or found to be zero; a page counts each time */
	uint64_t kept;	     /* pages that the backup had already, and that were not sent */
	uint64_t left;	     /* pages that the backup lacks */
	uint64_t page_rate;  /* pages sent a second */
	uint64_t dirty_rate; /* pages that the guest writes a second, at its present share */
	unsigned share;	     /* share of the time in which the guest may run, per mille */
	unsigned looks;	     /* how often written pages were collected */
};

/*
 * Makes the set of pages for a join; mem is the guest's memory. max_pause_ms: how long the guest
 * may stand still at the end. NULL: out of memory.
 */
struct rounds *rounds_new(struct memory *mem, unsigned max_pause_ms);
/*
 * Sets the list of pages that the backup already has, before any thread uses r. The list must be
 * complete when the sender asks for the first page, and must live as long as r.
 */
void rounds_backup_has(struct rounds *r, struct have *have);
/* Frees r, when no thread uses it. The guest's memory need not exist any more. */
void rounds_free(struct rounds *r);

/* ---- the sender's thread ---- */

/*
 * Appends at most max pages to a list (record/pages.h). Returns how many pages it has looked at; 0:
 * there is nothing to send until the vCPU thread has collected written pages
 * (rounds_waits_for_vcpu()) or the backup joins.
 */
unsigned rounds_next(struct rounds *r, struct buf *out, unsigned max, uint64_t now_ns);
/*
 * For transports that send pages straight from guest memory: returns the length of the next run of
 * min to max pages to send, none of them zero, and its *first page. 0: there is no such run here,
 * or nothing to send now.
 */
unsigned rounds_next_run(struct rounds *r, unsigned min, unsigned max, uint64_t *first,
			 uint64_t now_ns);
/* A page of that run changed while it was sent: it has to be sent again. */
void rounds_put_back(struct rounds *r, uint64_t page);
/* Notes that it took ns nanoseconds to send `pages` pages. */
void rounds_sent(struct rounds *r, unsigned pages, uint64_t ns);
/* True: the vCPU thread has to call rounds_look(). */
bool rounds_waits_for_vcpu(const struct rounds *r);

/* ---- the vCPU's thread, between two runs ---- */

/*
 * Collects written pages when the sender waits for that. True: the backup can join at this very
 * sync point.
 */
bool rounds_look(struct rounds *r, uint64_t now_ns);
/* Allows twice as many pages as until now to be left for the end, up to ROUNDS_PAGES_MAX. */
void rounds_allow_more(struct rounds *r);
/*
 * Fixes the set of pages that are left, at the sync point of the join. rounds_last() then returns
 * them.
 */
void rounds_finish(struct rounds *r);
/*
 * Appends at most max of these pages to a list, and returns how many it has looked at; 0: all are
 * done.
 */
unsigned rounds_last(struct rounds *r, struct buf *out, unsigned max);

/* ---- any thread ---- */

/* Share of the time in which the guest may run, per mille: 1 to 1000. */
unsigned rounds_share(const struct rounds *r);
void rounds_get_progress(const struct rounds *r, struct rounds_progress *p);

#endif
