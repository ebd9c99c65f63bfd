/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that a joining backup has of this very guest already, from a join that was cut: a keyed
 * hash of each goes to the live side, which does not send again what is equal.
 *
 * An equal hash stands for an equal page, and nothing compares them later: the digest of a join has
 * only what was written lately. The guest chooses what is in its pages, so the hash has to hold
 * against it: SHA-256 of a random key of this connection, which no guest sees, and the page, cut to
 * 128 bits. Pages that are made to collide do so by chance only, 2^-128 for each pair. The key is
 * the joining side's; whoever has it holds the pair's key, too, and deceives itself alone.
 */
#ifndef REPLICA_HAVE_H
#define REPLICA_HAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/memory.h"

#define HAVE_KEY	 32
#define HAVE_HASH	 16
#define HAVE_FRAME_PAGES 16384u /* 64 MiB of memory, at most 432 KiB of list */

/* Loads what hashing needs from files, for a process that will have none. 0 or -ENOMEM. */
int have_prepare(struct err *err);

/* ---- the joining side ---- */

/* Sends a message; takes its bytes. 0 or -errno. */
typedef int have_send(void *ctx, struct buf *message);
/*
 * Lists all pages of mem that are not zero, in messages, of which there is at least one: nothing
 * writes to the memory meanwhile. *pages: how many there were. 0, or -errno and err.
 */
int have_tell(const struct memory *mem, have_send *send, void *ctx, uint64_t *pages,
	      struct err *err);

/* ---- the live side: one thread takes the list, then one other uses it ---- */

struct have;

/* pages: of the guest's memory. NULL: out of memory. */
struct have *have_new(uint64_t pages);
void have_free(struct have *h); /* NULL allowed */
/* Takes a message. 0, or -EBADMSG, -ENOMEM and err. */
int have_take(struct have *h, const uint8_t *data, size_t len, struct err *err);
/* Any thread: the whole list is here. */
bool have_is_complete(const struct have *h);
/* Number of pages on the list. */
uint64_t have_count(const struct have *h);
/* First page of the list from `page` on; the number of pages: none. */
uint64_t have_next(const struct have *h, uint64_t page);
/* The page is on the list, and was not asked about. */
bool have_claims(const struct have *h, uint64_t page);
/* True: the backup has the page, and it is this one. Only once; never after have_forget(). */
bool have_equal(struct have *h, uint64_t page, const void *data);
/* The backup is sent something else for the page. */
void have_forget(struct have *h, uint64_t page);

#endif
