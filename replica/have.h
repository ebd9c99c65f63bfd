/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that a joining backup already has of this guest, from a join that was cut. The backup sends
 * a keyed hash of each, and the live side does not send pages again whose hash is equal.
 *
 * An equal hash stands for an equal page, and nothing compares the pages later: the digest of a
 * join covers only pages written lately. The guest chooses the content of its pages, so the hash
 * must resist a guest that tries to make two of them collide: it is SHA-256 over a random key of
 * this connection, which no guest sees, and the page, cut to 128 bits. So two pages collide only by
 * chance, 2^-128 for each pair. The joining side chooses the key. It also holds the pair's key; if
 * it cheats, only its own memory is wrong.
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

/*
 * Loads the files that hashing needs, before the jail takes the files away. 0, or -ENOMEM and err.
 */
int have_prepare(struct err *err);

/* ---- the joining side ---- */

/* Sends a message and takes over its bytes. 0 or -errno. */
typedef int have_send(void *ctx, struct buf *message);
/*
 * Sends a list of all pages of mem that are not zero, in one or more messages. Nothing may write to
 * the memory meanwhile. *pages: number of pages listed. 0, or -errno and err.
 */
int have_tell(const struct memory *mem, have_send *send, void *ctx, uint64_t *pages,
	      struct err *err);

/* ---- the live side: one thread takes the list, then one other uses it ---- */

struct have;

/* Makes an empty list. pages: size of the guest's memory, in pages. NULL: out of memory. */
struct have *have_new(uint64_t pages);
void have_free(struct have *h); /* NULL allowed */
/* Takes a message. 0, or -EBADMSG, -ENOMEM and err. */
int have_take(struct have *h, const uint8_t *data, size_t len, struct err *err);
/* Any thread. True: the whole list has arrived. */
bool have_is_complete(const struct have *h);
/* Number of pages on the list. */
uint64_t have_count(const struct have *h);
/* First page of the list at or after `page`; the size of memory in pages when there is none. */
uint64_t have_next(const struct have *h, uint64_t page);
/* True: the page is on the list, and have_equal() or have_forget() has not been called for it. */
bool have_claims(const struct have *h, uint64_t page);
/*
 * True: the backup has the page, with this content. Every later call for the page is false, as is
 * every call after have_forget().
 */
bool have_equal(struct have *h, uint64_t page, const void *data);
/* The backup is about to be sent the page: what the list says of it no longer holds. */
void have_forget(struct have *h, uint64_t page);

#endif
