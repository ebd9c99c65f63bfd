/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The detail of a digest: a few bytes about its parts, stored beside the digest, so that a later
 * difference can be named.
 *
 * A detail lists a 32-bit hash of each part (CPU, clock, every device, memory) that changed since
 * the last detail. It also has the number of each page that was written in the epoch, with one byte
 * of hash; when there are more than DETAIL_GROUPS pages, it has one byte for each group of
 * neighbours in the list instead.
 */
#ifndef RECORD_DETAIL_H
#define RECORD_DETAIL_H

#include "base/buf.h"
#include "hypervisor/machine.h"

#define DETAIL_GROUPS 256
#define DETAIL_PARTS  32

struct detail {
	struct digest_part last[DETAIL_PARTS];
	size_t nlast;
	/* Pages of the present epoch, collected while the digest is computed. */
	struct buf pages; /* u64 page number, u64 hash each */
	void (*also)(void *ctx, uint64_t offset, const void *page, uint64_t hash);
	void *also_ctx;
};

/* Starts collecting the machine's dirty pages. also: called for each page as well; may be NULL. */
void detail_init(struct detail *d, struct machine *m,
		 void (*also)(void *ctx, uint64_t offset, const void *page, uint64_t hash),
		 void *also_ctx);
void detail_fini(struct detail *d);

/* After machine_digest(): appends the detail of this epoch to out and starts the next one. */
void detail_make(struct detail *d, struct machine *m, struct buf *out);
/*
 * Names what differs, as a phrase ("cpu, memory page 0x1000"), after machine_digest() gave another
 * value than recorded. The other side's detail may be any bytes.
 */
void detail_compare(struct detail *d, struct machine *m, const uint8_t *detail, size_t len,
		    char *text, size_t n);
/* To be called after a digest that agreed with the record: starts the next epoch. */
void detail_agreed(struct detail *d, struct machine *m);

#endif
