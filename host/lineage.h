/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * By which names the replicas of one guest on this host have been known to the arbiter, from the
 * first to the one that runs: a file, a line of 32 hexadecimal digits each. Whoever has it open
 * holds its lock, so a name in it that is not one's own is that of a process which has ended; when
 * the last generation is one of theirs, none is live.
 */
#ifndef HOST_LINEAGE_H
#define HOST_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "replica/arbiter.h"

struct lineage {
	uint8_t (*id)[ARBITER_ID_LEN];
	size_t n;
};

/*
 * Reads what is there, takes the lock and adds `id` on stable storage; the descriptor that is
 * returned holds the lock, until the process ends. -EBUSY: another one has it; -errno and err.
 */
int lineage_enter(struct lineage *l, const char *path, const uint8_t id[ARBITER_ID_LEN],
		  struct err *err);
/* Reads a lineage without changing it; a file that is not there has no names. 0 or -errno. */
int lineage_read(struct lineage *l, const char *path, struct err *err);
bool lineage_has(const struct lineage *l, const uint8_t id[ARBITER_ID_LEN]);
void lineage_free(struct lineage *l);

#endif
