/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The work that a sender leaves to its network card, for frames that were captured before any card
 * saw them: checksums that are still open are filled in, and TCP segments that were handed over
 * joined (TSO, GRO) are split.
 */
#ifndef NET_SEGMENT_H
#define NET_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_FRAME 1514  /* longest frame that is not taken apart: 1500 bytes of payload */
#define SEGMENT_MAX   65549 /* longest joined frame: IP's limit and the Ethernet header */

/*
 * Completes the TCP or UDP checksum of an IP packet when the field holds the sum of the
 * pseudo-header alone, as it does when a sender counts on hardware. Any other content is left
 * alone, right or wrong.
 */
void segment_finish_checksum(uint8_t *frame, size_t len);

/* A joined frame on its way to be cut up. */
struct segments {
	uint8_t frame[SEGMENT_MAX];
	size_t len;	/* of the frame; 0: nothing to do */
	size_t headers; /* Ethernet, IP and TCP */
	size_t l3, l4;	/* where the IP and TCP headers begin */
	size_t next;	/* offset of the payload that has not been handed out */
	unsigned number;
};

/*
 * Takes a copy of a frame longer than SEGMENT_FRAME; false when it is not a TCP packet that can be
 * cut.
 */
bool segments_start(struct segments *s, const uint8_t *frame, size_t len);
/*
 * Writes the next frame (at most SEGMENT_FRAME bytes) to out; its length, or 0 when there is none
 * left.
 */
size_t segments_next(struct segments *s, uint8_t *out);

#endif
