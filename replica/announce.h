/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the network where the guest's MAC is now (announce.c). */
#ifndef REPLICA_ANNOUNCE_H
#define REPLICA_ANNOUNCE_H

#include <pthread.h>
#include <stdint.h>

#include "hypervisor/machine.h"
#include "net/neighbor.h"

/* addresses remembered for each NIC; a further one replaces the oldest */
#define ANNOUNCE_ADDRESSES 8

struct replica;

struct announce_nic {
	uint8_t mac[6]; /* MAC that the guest uses now, which the addresses below belong to */
	unsigned n, newest;
	struct neighbor known[ANNOUNCE_ADDRESSES];
};

struct announce {
	/*
	 * Guards `nic`, which the vCPU thread writes and the thread that announces copies. While
	 * the guest runs, the vCPU thread only tries the lock and never waits for it.
	 */
	pthread_mutex_t lock;
	struct announce_nic nic[MACHINE_NICS];
	/*
	 * Held while announcements are sent: by the acceptor's thread, and by the vCPU thread when
	 * this replica goes live. Guards the fields below. Taken before outbox.sending.
	 */
	pthread_mutex_t telling;
	/* announcements still to be sent, and when the next one is due (CLOCK_MONOTONIC) */
	unsigned left;
	uint64_t next_ns;
};

void announce_init(struct announce *a);
void announce_fini(struct announce *a);
/* vCPU thread: learns the guest's addresses from one of its outputs. Other outputs are ignored. */
void announce_learn(struct replica *r, const struct output *out);
/* vCPU thread, when this replica goes live: sends the first announcements. */
void announce_start(struct replica *r);
/*
 * Sends the announcements that are due. Returns the milliseconds until the next one; -1: there are
 * no more.
 */
int announce_step(struct replica *r);

#endif
