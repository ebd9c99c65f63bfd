/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extracts the data that a guest sends on its TCP connections, as the other ends read it: the
 * payload in order of sequence numbers. How it was cut into segments, retransmissions,
 * acknowledgements, windows, time stamps and identifiers do not matter.
 */
#ifndef RECORD_TCP_STREAMS_H
#define RECORD_TCP_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tcp_streams;

/* NULL: no memory. */
struct tcp_streams *tcp_streams_new(void);
void tcp_streams_free(struct tcp_streams *t);
/* True: memory ran out, so some data is missing. */
bool tcp_streams_bad(const struct tcp_streams *t);

/*
 * Called with the next bytes of a stream. A connection has two streams: its payload; and a stream
 * of the letters 'S', 'F' and 'R' for its beginning, end and reset. A stream's number depends on
 * the NIC, the addresses and ports, and how many connections had the same ones before; it has the
 * bit TCP_STREAM, and is less than UINT64_MAX.
 */
#define TCP_STREAM (1ull << 63)
typedef void tcp_streams_take(void *ctx, uint64_t stream, const uint8_t *data, size_t len);

/*
 * Takes a frame that the guest sends on a NIC. False: it has no TCP segment that a receiver would
 * accept (one with a wrong checksum, for example), so the frame has to be compared as a whole.
 */
bool tcp_streams_add(struct tcp_streams *t, unsigned nic, const uint8_t *frame, size_t len,
		     tcp_streams_take *take, void *ctx);

#endif
