/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measures the way to another host, over any transport of peers: delay and throughput, for people
 * who set a pair up.
 */
#ifndef NET_PEER_MEASURE_H
#define NET_PEER_MEASURE_H

#include <stdint.h>

#include "net/peer.h"

#define PEER_MEASURE_RECORD 64u /* bytes of a round trip, each way */

struct peer_measure {
	char path[16]; /* how the bytes went ("tcp", "rdma"), and in why why not better */
	char why[160];
	unsigned trips;
	double median_us, p99_us, longest_us; /* of a round trip */
	double stream_mbyte;		      /* a second, in frames of 64 KiB */
	double placed_mbyte; /* a second, from memory into memory; 0: not possible */
};

/*
 * The side that answers: until the other one ends (0), or does what it may not (-EBADMSG and err);
 * another -errno and err.
 */
int peer_measure_answer(struct peer *p, struct err *err);
/* The side that asks: so many round trips, and so many ms for each throughput. 0, or -errno, err.
 */
int peer_measure_ask(struct peer *p, unsigned trips, unsigned ms, struct peer_measure *m,
		     struct err *err);

#endif
