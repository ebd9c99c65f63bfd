/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times at which records were made that the backup has not applied yet: they show how far it is
 * behind.
 */
#ifndef REPLICA_STAMPS_H
#define REPLICA_STAMPS_H

#include <stdbool.h>
#include <stdint.h>

#define STAMPS 4096

struct stamp {
	uint64_t seq, ns;
};

/* A ring, oldest first. The owner locks. Zeroed: empty. */
struct stamps {
	struct stamp stamp[STAMPS];
	uint64_t first, n;
};

void stamps_clear(struct stamps *s);
/*
 * Adds a stamp. Where there are too many, the newest one stands for those that follow too: the lag
 * is never shown too small.
 */
void stamps_add(struct stamps *s, uint64_t seq, uint64_t now_ns);
void stamps_applied(struct stamps *s, uint64_t applied);
/* Age of the oldest one; 0: none. */
uint64_t stamps_lag_ns(const struct stamps *s, uint64_t now_ns);
bool stamps_full(const struct stamps *s);

#endif
