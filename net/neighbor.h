/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Learns from a guest's frames the addresses that it answers for, and makes frames that tell its
 * neighbours where these are now.
 */
#ifndef NET_NEIGHBOR_H
#define NET_NEIGHBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEIGHBOR_FRAME_MAX 90 /* a neighbour advertisement in a VLAN */
#define NEIGHBOR_NO_VLAN   0xffff

struct neighbor {
	bool ipv6;
	bool router;	  /* IPv6: the guest announces itself as a router */
	uint16_t vlan;	  /* tag control information, or NEIGHBOR_NO_VLAN */
	uint8_t addr[16]; /* IPv4: four bytes, the rest is zero */
};

bool neighbor_same(const struct neighbor *a, const struct neighbor *b);
/*
 * Reads out of a frame the address that mac answers for; false: the frame announces none. An
 * announcement has mac as its sender throughout, and is an ARP reply or gratuitous ARP (RFC 826,
 * RFC 5227), or a neighbour advertisement that overrides caches (RFC 4861, section 4.4; an anycast
 * or proxy's one does not). A source address alone announces nothing: a router, or a server behind
 * a load balancer, sends with addresses of others.
 */
bool neighbor_learn(const uint8_t *frame, size_t len, const uint8_t mac[6], struct neighbor *n);
/*
 * Makes a gratuitous ARP request or an unsolicited neighbour advertisement. Returns its length in
 * bytes.
 */
size_t neighbor_announce(const struct neighbor *n, const uint8_t mac[6],
			 uint8_t frame[NEIGHBOR_FRAME_MAX]);
/*
 * Makes a RARP request (RFC 903), for switches: it needs no IP address. Returns its length in
 * bytes.
 */
size_t neighbor_announce_mac(const uint8_t mac[6], uint16_t vlan,
			     uint8_t frame[NEIGHBOR_FRAME_MAX]);

#endif
