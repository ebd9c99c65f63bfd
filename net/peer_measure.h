/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measures delay and throughput of the connection to another host, over any transport, for people
 * who set up a pair.
 */
#ifndef NET_PEER_MEASURE_H
#define NET_PEER_MEASURE_H

#include <stdint.h>

#include "net/peer.h"

#define PEER_MEASURE_RECORD 64u /* bytes of a round trip, each way */

struct peer_measure {
	char path[16]; /* transport in use ("tcp", "rdma"); `why` says why a better one is not */
	char why[160];
	unsigned trips;
	double median_us, p99_us, longest_us; /* of a round trip */
	double stream_mbyte;		      /* a second, in frames of 64 KiB */
	double placed_mbyte; /* a second, from memory into memory; 0: not possible */
};

/*
 * Runs the answering side until the other side ends. 0; -EBADMSG and err: the other side sent an
 * invalid request; another -errno and err.
 */
int peer_measure_answer(struct peer *p, struct err *err);
/*
 * Runs the asking side: `trips` round trips, and `ms` milliseconds for each throughput. 0, or
 * -errno and err.
 */
int peer_measure_ask(struct peer *p, unsigned trips, unsigned ms, struct peer_measure *m,
		     struct err *err);

#endif
