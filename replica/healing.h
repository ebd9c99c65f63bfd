/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repairs the pair's claim when a stranger has taken the next generation (healing.c); and finds the
 * generations at the arbiter later than this replica's own.
 */
#ifndef REPLICA_HEALING_H
#define REPLICA_HEALING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct replica;

/* Result of later_look() about a range of generations. */
struct later {
	/* the last generation that is taken */
	uint64_t last;
	bool left; /* this side or the other one took one of them and may go on without its peer */
	bool ours; /* the last one belongs to this replica or the other one */
	/* the last one belongs to this replica */
	bool mine;
};

/*
 * Asks the arbiter about all generations from `from` to the last one. 0, or -errno and err: the
 * arbiter cannot tell.
 */
int later_look(struct replica *r, uint64_t from, struct later *l, struct err *err);

/* Used by the acceptor's thread alone, except `healed`. */
struct healing {
	uint64_t due_ns, pause_ns; /* next look; how long it waits after the next healing */
	uint64_t told;		   /* the generation for which an event was last written */
	atomic_uint_fast64_t healed;
};

/* Acceptor's thread, called often: looks at the arbiter whenever that is due. */
void healing_step(struct replica *r);

#endif
