/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A generation that nobody of the pair has taken (healing.c), and what a replica finds at the
 * arbiter beyond its own.
 */
#ifndef REPLICA_HEALING_H
#define REPLICA_HEALING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct replica;

/* Generations from one on, up to the last that is taken. */
struct later {
	uint64_t last;
	bool left; /* this side or the other one took one of them and may go on without its peer */
	bool ours; /* the last one is this side's or the other one's */
	bool mine;
};

/* Looks at all of them. 0, or -errno and err: nobody can tell. */
int later_look(struct replica *r, uint64_t from, struct later *l, struct err *err);

/* The acceptor's thread alone, but for the count. */
struct healing {
	uint64_t due_ns, pause_ns; /* next look; how long it waits after the next healing */
	uint64_t told;		   /* a generation that was told of */
	atomic_uint_fast64_t healed;
};

/* The acceptor, again and again: looks at the arbiter when it is time to. */
void healing_step(struct replica *r);

#endif
