/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Remembers when records were made that the backup has not applied yet, to show how far it is
 * behind.
 */
#ifndef REPLICA_STAMPS_H
#define REPLICA_STAMPS_H

#include <stdbool.h>
#include <stdint.h>

#define STAMPS 4096

struct stamp {
	/* number of the record; when it was made */
	uint64_t seq, ns;
};

/* A ring, oldest stamp first. The owner does the locking. All zeros: empty. */
struct stamps {
	struct stamp stamp[STAMPS];
	uint64_t first, n;
};

void stamps_clear(struct stamps *s);
/*
 * Adds a stamp. When the ring is full, the newest stamp also stands for all later records, with its
 * own time; the lag is then shown too large rather than too small.
 */
void stamps_add(struct stamps *s, uint64_t seq, uint64_t now_ns);
/* Removes the stamps of records up to `applied`. */
void stamps_applied(struct stamps *s, uint64_t applied);
/* Age, in ns, of the oldest stamp; 0: there is none. */
uint64_t stamps_lag_ns(const struct stamps *s, uint64_t now_ns);
bool stamps_full(const struct stamps *s);

#endif
