/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the network where the guest's MAC is now (announce.c). */
#ifndef REPLICA_ANNOUNCE_H
#define REPLICA_ANNOUNCE_H

#include <pthread.h>
#include <stdint.h>

#include "hypervisor/machine.h"
#include "net/neighbor.h"

#define ANNOUNCE_ADDRESSES 8 /* of a NIC; of more, the newest */

struct replica;

struct announce_nic {
	uint8_t mac[6]; /* the guest's at present; the addresses are its */
	unsigned n, newest;
	struct neighbor known[ANNOUNCE_ADDRESSES];
};

struct announce {
	/* written by the vCPU thread, which never waits for this lock; read by the acceptor */
	pthread_mutex_t lock;
	struct announce_nic nic[MACHINE_NICS];
	/*
	 * Held while announcements are made, by the acceptor, and by the vCPU thread when it goes
	 * live; before outbox.sending.
	 */
	pthread_mutex_t telling;
	unsigned left;
	uint64_t next_ns;
};

void announce_init(struct announce *a);
void announce_fini(struct announce *a);
/* vCPU thread: what an output of the guest says of its addresses. */
void announce_learn(struct replica *r, const struct output *out);
/* vCPU thread, when it goes live. */
void announce_start(struct replica *r);
/* Sends what is due; milliseconds until the next one, or -1. */
int announce_step(struct replica *r);

#endif
