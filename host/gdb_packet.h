/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets of GDB's remote protocol (GDB manual, appendix E): $DATA#CHECKSUM, one byte of escape,
 * and single bytes between packets. Any bytes are safe.
 */
#ifndef HOST_GDB_PACKET_H
#define HOST_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define GDB_PACKET_MAX 16384

enum gdb_event {
	GDB_MORE,   /* nothing whole yet */
	GDB_PACKET, /* data[0..len) is one, with a zero behind it */
	GDB_BAD,    /* one with a wrong checksum, or too long */
	GDB_BREAK,  /* the byte 3 between packets: stop running */
	GDB_NAK,    /* '-': send the last one again */
};

struct gdb_packet {
	enum { GDB_IDLE, GDB_DATA, GDB_ESCAPE, GDB_SUM1, GDB_SUM2 } state;
	uint8_t sum, want;
	bool overlong;
	size_t len;
	char data[GDB_PACKET_MAX + 1];
};

/* Takes a byte that has arrived. */
enum gdb_event gdb_packet_feed(struct gdb_packet *p, uint8_t byte);
/* Appends a packet with this content. */
void gdb_packet_put(struct buf *out, const void *data, size_t len);

void gdb_hex_put(struct buf *out, const void *data, size_t len);
/* A hexadecimal number and what follows it; false: there is none, or it is longer than 64 bits. */
bool gdb_number(const char **text, uint64_t *n);

#endif
