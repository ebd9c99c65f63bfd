/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the network where the guest's MAC is now (announce.c). */
#ifndef REPLICA_ANNOUNCE_H
#define REPLICA_ANNOUNCE_H

#include <stdatomic.h>
#include <stdint.h>

#include "hypervisor/machine.h"

struct replica;

struct announce {
	/* what the guest sends has told the vCPU thread; network order, 0 unknown */
	atomic_uint_fast32_t guest_ip[MACHINE_NICS];
	/* the acceptor; the vCPU thread before there is one */
	unsigned left;
	uint64_t next_ns;
};

void announce_learn(struct replica *r, const struct output *out);
void announce_start(struct replica *r);
/* Sends what is due; milliseconds until the next one, or -1. */
int announce_step(struct replica *r);

#endif
