// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/neighbor.h"

#include <string.h>

#define ETH_ALEN       6u
#define ETH_HEADER     14u
#define VLAN_TAG       4u
#define FRAME_MIN      60u
#define ETHERTYPE_IP   0x0800u
#define ETHERTYPE_ARP  0x0806u
#define ETHERTYPE_RARP 0x8035u
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_IPV6 0x86ddu

/* RFC 826, after the Ethernet header: types and lengths, operation, then two pairs of addresses. */
#define ARP_LEN	       28u
#define ARP_OPERATION  6u
#define ARP_SENDER_MAC 8u
#define ARP_SENDER     14u
#define ARP_TARGET_MAC 18u
#define ARP_TARGET     24u
#define ARP_REQUEST    1u
#define ARP_REPLY      2u
#define RARP_REQUEST   3u

/* RFC 4861, section 4.4: an IPv6 header, the message, an option of eight bytes. */
#define IPV6_HEADER	40u
#define IPV6_NEXT	6u
#define IPV6_HOPS	7u
#define IPV6_SOURCE	8u
#define IPV6_TO		24u
#define ICMPV6		58u
#define ADVERT_TYPE	136u
#define ADVERT_LEN	24u
#define ADVERT_FLAGS	4u
#define ADVERT_TARGET	8u
#define ADVERT_ROUTER	0x80u
#define ADVERT_OVERRIDE 0x20u
#define OPTION_LEN	8u
#define OPTION_TARGET	2u

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

bool neighbor_same(const struct neighbor *a, const struct neighbor *b)
{
	return a->ipv6 == b->ipv6 && a->vlan == b->vlan &&
	       !memcmp(a->addr, b->addr, sizeof(a->addr));
}

/* ---- what the guest says ---- */

static bool learn_arp(const uint8_t *arp, size_t len, const uint8_t mac[6], struct neighbor *n)
{
	static const uint8_t ethernet_ip[6] = { 0, 1, 8, 0, ETH_ALEN, 4 };
	unsigned operation;

	if (len < ARP_LEN || memcmp(arp, ethernet_ip, sizeof(ethernet_ip)) ||
	    memcmp(arp + ARP_SENDER_MAC, mac, ETH_ALEN))
		return false;
	operation = be16(arp + ARP_OPERATION);
	if (operation != ARP_REPLY &&
	    (operation != ARP_REQUEST || memcmp(arp + ARP_SENDER, arp + ARP_TARGET, 4)))
		return false;
	memcpy(n->addr, arp + ARP_SENDER, 4);
	return n->addr[0] && n->addr[0] < 224;
}

/* The address of the link in the options of an advertisement, if it is there, is mac. */
static bool option_agrees(const uint8_t *option, size_t len, const uint8_t mac[6])
{
	while (len >= OPTION_LEN) {
		size_t size = option[1] * 8u;

		if (!size || size > len)
			return false;
		if (option[0] == OPTION_TARGET)
			return !memcmp(option + 2, mac, ETH_ALEN);
		option += size;
		len -= size;
	}
	return true;
}

static bool learn_advert(const uint8_t *ip, size_t len, const uint8_t mac[6], struct neighbor *n)
{
	const uint8_t *icmp = ip + IPV6_HEADER;
	size_t payload;

	if (len < IPV6_HEADER + ADVERT_LEN || ip[0] >> 4 != 6 || ip[IPV6_NEXT] != ICMPV6 ||
	    ip[IPV6_HOPS] != 255)
		return false;
	payload = be16(ip + 4);
	if (payload < ADVERT_LEN || payload > len - IPV6_HEADER || icmp[0] != ADVERT_TYPE ||
	    icmp[1] || !(icmp[ADVERT_FLAGS] & ADVERT_OVERRIDE))
		return false;
	if (!option_agrees(icmp + ADVERT_LEN, payload - ADVERT_LEN, mac))
		return false;
	n->ipv6 = true;
	n->router = icmp[ADVERT_FLAGS] & ADVERT_ROUTER;
	memcpy(n->addr, icmp + ADVERT_TARGET, sizeof(n->addr));
	return n->addr[0] && n->addr[0] != 0xff;
}

bool neighbor_learn(const uint8_t *frame, size_t len, const uint8_t mac[6], struct neighbor *n)
{
	size_t at = ETH_HEADER;

	*n = (struct neighbor){ .vlan = NEIGHBOR_NO_VLAN };
	if (len < ETH_HEADER + VLAN_TAG || memcmp(frame + ETH_ALEN, mac, ETH_ALEN))
		return false;
	if (be16(frame + 12) == ETHERTYPE_VLAN) {
		n->vlan = (uint16_t)be16(frame + 14);
		at += VLAN_TAG;
	}
	if (be16(frame + at - 2) == ETHERTYPE_ARP)
		return learn_arp(frame + at, len - at, mac, n);
	if (be16(frame + at - 2) == ETHERTYPE_IPV6)
		return learn_advert(frame + at, len - at, mac, n);
	return false;
}

/* ---- what the neighbours are told ---- */

/* Length of the header. */
static size_t put_ethernet(uint8_t *frame, const uint8_t to[6], const uint8_t mac[6], uint16_t vlan,
			   unsigned type)
{
	size_t at = 2 * ETH_ALEN;

	memset(frame, 0, NEIGHBOR_FRAME_MAX);
	memcpy(frame, to, ETH_ALEN);
	memcpy(frame + ETH_ALEN, mac, ETH_ALEN);
	if (vlan != NEIGHBOR_NO_VLAN) {
		put_be16(frame + at, ETHERTYPE_VLAN);
		put_be16(frame + at + 2, vlan);
		at += VLAN_TAG;
	}
	put_be16(frame + at, type);
	return at + 2;
}

static size_t put_arp(uint8_t *frame, const uint8_t mac[6], uint16_t vlan, unsigned operation,
		      const uint8_t *addr)
{
	static const uint8_t broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	bool rarp = operation == RARP_REQUEST;
	size_t at =
		put_ethernet(frame, broadcast, mac, vlan, rarp ? ETHERTYPE_RARP : ETHERTYPE_ARP);
	uint8_t *arp = frame + at;

	put_be16(arp, 1);
	put_be16(arp + 2, ETHERTYPE_IP);
	arp[4] = ETH_ALEN;
	arp[5] = 4;
	put_be16(arp + ARP_OPERATION, operation);
	memcpy(arp + ARP_SENDER_MAC, mac, ETH_ALEN);
	if (rarp)
		memcpy(arp + ARP_TARGET_MAC, mac, ETH_ALEN);
	if (addr) {
		memcpy(arp + ARP_SENDER, addr, 4);
		memcpy(arp + ARP_TARGET, addr, 4);
	}
	at += ARP_LEN;
	return at < FRAME_MIN ? FRAME_MIN : at;
}

/* RFC 4443, section 2.3, with the pseudo-header of RFC 8200, section 8.1. */
static uint16_t icmpv6_checksum(const uint8_t *ip, size_t payload)
{
	uint32_t sum = (uint32_t)payload + ICMPV6;

	for (size_t i = IPV6_SOURCE; i < IPV6_HEADER + payload; i += 2)
		sum += be16(ip + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t put_advert(uint8_t *frame, const uint8_t mac[6], const struct neighbor *n)
{
	static const uint8_t all_nodes[16] = { 0xff, 0x02, [15] = 1 };
	static const uint8_t all_nodes_mac[ETH_ALEN] = { 0x33, 0x33, 0, 0, 0, 1 };
	size_t at = put_ethernet(frame, all_nodes_mac, mac, n->vlan, ETHERTYPE_IPV6);
	uint8_t *ip = frame + at, *icmp = ip + IPV6_HEADER;

	ip[0] = 6 << 4;
	put_be16(ip + 4, ADVERT_LEN + OPTION_LEN);
	ip[IPV6_NEXT] = ICMPV6;
	ip[IPV6_HOPS] = 255;
	memcpy(ip + IPV6_SOURCE, n->addr, sizeof(n->addr));
	memcpy(ip + IPV6_TO, all_nodes, sizeof(all_nodes));
	icmp[0] = ADVERT_TYPE;
	icmp[ADVERT_FLAGS] = (uint8_t)(ADVERT_OVERRIDE | (n->router ? ADVERT_ROUTER : 0));
	memcpy(icmp + ADVERT_TARGET, n->addr, sizeof(n->addr));
	icmp[ADVERT_LEN] = OPTION_TARGET;
	icmp[ADVERT_LEN + 1] = OPTION_LEN / 8;
	memcpy(icmp + ADVERT_LEN + 2, mac, ETH_ALEN);
	put_be16(icmp + 2, icmpv6_checksum(ip, ADVERT_LEN + OPTION_LEN));
	return at + IPV6_HEADER + ADVERT_LEN + OPTION_LEN;
}

size_t neighbor_announce(const struct neighbor *n, const uint8_t mac[6],
			 uint8_t frame[NEIGHBOR_FRAME_MAX])
{
	return n->ipv6 ? put_advert(frame, mac, n)
		       : put_arp(frame, mac, n->vlan, ARP_REQUEST, n->addr);
}

size_t neighbor_announce_mac(const uint8_t mac[6], uint16_t vlan, uint8_t frame[NEIGHBOR_FRAME_MAX])
{
	return put_arp(frame, mac, vlan, RARP_REQUEST, NULL);
}
