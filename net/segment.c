// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/segment.h"

#include <string.h>

#define ETH_LEN	    14
#define ETHERTYPE_4 0x0800
#define ETHERTYPE_6 0x86dd
#define IP4_LEN	    20
#define IP6_LEN	    40
#define PROTO_TCP   6
#define PROTO_UDP   17
#define TCP_LEN	    20
#define TCP_CHECK   16
#define TCP_FLAGS   13
#define TCP_FIN_PSH 0x09
#define TCP_CWR	    0x80
#define UDP_CHECK   6

static unsigned get_be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

static void put_be32(uint8_t *p, uint32_t v)
{
	put_be16(p, v >> 16);
	put_be16(p + 2, v & 0xffff);
}

/* The one's complement sum of big-endian words (RFC 1071), not inverted. */
static uint32_t sum_bytes(const uint8_t *p, size_t n, uint32_t sum)
{
	for (; n > 1; p += 2, n -= 2)
		sum += get_be16(p);
	if (n)
		sum += (uint32_t)*p << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* An IP packet inside a frame. */
struct packet {
	size_t l3, l4, l4_len;
	size_t addresses, addresses_len; /* source and destination, next to each other */
	uint8_t proto;
	bool v6;
};

/* False when the frame is not a whole, unfragmented IP packet (IPv6: without extension headers). */
static bool parse(const uint8_t *f, size_t len, struct packet *p)
{
	const uint8_t *ip = f + ETH_LEN;
	size_t left = len - ETH_LEN, hlen = IP6_LEN, total;

	if (len < ETH_LEN + IP4_LEN)
		return false;
	if (get_be16(f + 12) == ETHERTYPE_4) {
		hlen = (size_t)(ip[0] & 15) * 4;
		total = get_be16(ip + 2);
		if (!total && len > SEGMENT_FRAME)
			total = left; /* joined beyond what the field holds */
		if (ip[0] >> 4 != 4 || hlen < IP4_LEN || total < hlen || total > left ||
		    get_be16(ip + 6) & 0x3fff)
			return false;
		*p = (struct packet){ .addresses = ETH_LEN + 12,
				      .addresses_len = 8,
				      .proto = ip[9] };
	} else if (get_be16(f + 12) == ETHERTYPE_6 && left >= IP6_LEN) {
		total = get_be16(ip + 4) + (size_t)IP6_LEN;
		if (total > left)
			return false;
		*p = (struct packet){
			.addresses = ETH_LEN + 8, .addresses_len = 32, .proto = ip[6], .v6 = true
		};
	} else {
		return false;
	}
	p->l3 = ETH_LEN;
	p->l4 = ETH_LEN + hlen;
	p->l4_len = total - hlen;
	return true;
}

static uint16_t pseudo_sum(const uint8_t *f, const struct packet *p)
{
	return fold(sum_bytes(f + p->addresses, p->addresses_len,
			      (uint32_t)p->proto + (uint32_t)p->l4_len));
}

void segment_finish_checksum(uint8_t *frame, size_t len)
{
	struct packet p;
	size_t at;
	uint16_t check;

	if (!parse(frame, len, &p) || (p.proto != PROTO_TCP && p.proto != PROTO_UDP))
		return;
	at = p.proto == PROTO_TCP ? TCP_CHECK : UDP_CHECK;
	if (p.l4_len < at + 2 || get_be16(frame + p.l4 + at) != pseudo_sum(frame, &p))
		return;
	check = (uint16_t)~fold(sum_bytes(frame + p.l4, p.l4_len, 0));
	if (!check && p.proto == PROTO_UDP)
		check = 0xffff; /* 0 would mean: no checksum */
	put_be16(frame + p.l4 + at, check);
}

bool segments_start(struct segments *s, const uint8_t *frame, size_t len)
{
	struct packet p;
	size_t tcp_len;

	s->len = 0;
	if (len > SEGMENT_MAX || !parse(frame, len, &p) || p.proto != PROTO_TCP ||
	    p.l4_len < TCP_LEN)
		return false;
	tcp_len = (size_t)(frame[p.l4 + 12] >> 4) * 4;
	if (tcp_len < TCP_LEN || tcp_len >= p.l4_len)
		return false;
	s->len = p.l4 + p.l4_len;
	s->headers = s->next = p.l4 + tcp_len;
	s->l3 = p.l3;
	s->l4 = p.l4;
	s->number = 0;
	memcpy(s->frame, frame, s->len);
	return true;
}

/*
 * Lengths, identification, sequence number, flags and checksums of the frame that carries payload
 * [at, at + n).
 */
static void fix_headers(const struct segments *s, uint8_t *out, size_t at, size_t n)
{
	struct packet p = {
		.l3 = s->l3, .l4 = s->l4, .l4_len = s->headers - s->l4 + n, .proto = PROTO_TCP
	};
	uint8_t *ip = out + s->l3, *tcp = out + s->l4;

	p.v6 = get_be16(out + 12) == ETHERTYPE_6;
	p.addresses = s->l3 + (p.v6 ? 8 : 12);
	p.addresses_len = p.v6 ? 32 : 8;
	if (p.v6) {
		put_be16(ip + 4, (unsigned)p.l4_len);
	} else {
		put_be16(ip + 2, (unsigned)(s->l4 - s->l3 + p.l4_len));
		put_be16(ip + 4, get_be16(ip + 4) + s->number);
		put_be16(ip + 10, 0);
		put_be16(ip + 10, (uint16_t)~fold(sum_bytes(ip, s->l4 - s->l3, 0)));
	}
	put_be32(tcp + 4, get_be32(tcp + 4) + (uint32_t)(at - s->headers));
	if (at + n < s->len)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_FIN_PSH; /* the last one carries these */
	if (s->number)
		tcp[TCP_FLAGS] &=
			(uint8_t)~TCP_CWR; /* ... and the first one this (RFC 3168, 6.1.2) */
	put_be16(tcp + TCP_CHECK, 0);
	put_be16(tcp + TCP_CHECK, (uint16_t)~fold(sum_bytes(tcp, p.l4_len, pseudo_sum(out, &p))));
}

size_t segments_next(struct segments *s, uint8_t *out)
{
	size_t n = s->len - s->next, at = s->next;

	if (!s->len || at >= s->len)
		return 0;
	if (n > SEGMENT_FRAME - s->headers)
		n = SEGMENT_FRAME - s->headers;
	memcpy(out, s->frame, s->headers);
	memcpy(out + s->headers, s->frame + at, n);
	fix_headers(s, out, at, n);
	s->next += n;
	s->number++;
	if (s->next == s->len)
		s->len = 0;
	return s->headers + n;
}
