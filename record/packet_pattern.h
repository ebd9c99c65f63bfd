/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pattern for a packet: a sequence of adjacent bytes, some of which may be anything. */
#ifndef RECORD_PACKET_PATTERN_H
#define RECORD_PACKET_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_PATTERN_MAX 256 /* bytes */

struct packet_pattern {
	uint8_t byte[PACKET_PATTERN_MAX];
	bool any[PACKET_PATTERN_MAX]; /* whatever is there */
	size_t n;
	uint64_t at;  /* offset in the frame; UINT64_MAX: anywhere */
	uint64_t nic; /* UINT64_MAX: each */
};

/*
 * "08 00 ?? 'GET /'": bytes as two hexadecimal digits, ?? for any, text as it is between single
 * quotation marks; blanks outside of them mean nothing. At any place, on each NIC. False: it is no
 * pattern, of nothing, or of too much.
 */
bool packet_pattern_parse(struct packet_pattern *p, const char *text);
/* True: a frame that arrives on a NIC matches. */
bool packet_pattern_matches(const struct packet_pattern *p, unsigned nic, const uint8_t *data,
			    size_t len);

#endif
