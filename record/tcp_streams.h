/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest says on its TCP connections, as their other ends read it: the payload by sequence
 * number. How it was cut into segments, what was sent once more, acknowledgements, windows, time
 * stamps and identifiers do not matter.
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
/* No memory was there for some of it. */
bool tcp_streams_bad(const struct tcp_streams *t);

/*
 * The next bytes of a stream. A connection has two: its payload, and 'S', 'F' and 'R' for its
 * beginning, end and reset. A stream's number follows from the NIC, the addresses and ports, and
 * how many connections had the same ones before; it has TCP_STREAM set, and is below UINT64_MAX.
 */
#define TCP_STREAM (1ull << 63)
typedef void tcp_streams_take(void *ctx, uint64_t stream, const uint8_t *data, size_t len);

/*
 * A frame that the guest sends on a NIC. False: it has no TCP segment that anybody would take, as
 * one with a wrong checksum, and is as it is.
 */
bool tcp_streams_add(struct tcp_streams *t, unsigned nic, const uint8_t *frame, size_t len,
		     tcp_streams_take *take, void *ctx);

#endif
