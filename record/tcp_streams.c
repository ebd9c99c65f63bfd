// SPDX-License-Identifier: GPL-2.0-or-later
/* RFC 9293 (TCP), RFC 791 (IPv4), RFC 8200 (IPv6), RFC 1071 (checksums). */
#include "record/tcp_streams.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"

#define ETHERNET_LEN 14
#define PROTOCOL_TCP 6

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4 };

/* Both ends, from the sender's side; no bytes between the fields, as it is compared as a whole. */
struct ends {
	uint8_t address[2][16];
	uint8_t port[2][2];
	uint8_t nic, version;
	uint8_t nth[2]; /* of the connections that had these ends */
};

struct segment {
	struct ends ends;
	uint32_t seq;
	uint8_t flags;
	const uint8_t *data;
	size_t len;
};

/* Payload that arrived before the data that precedes it. */
struct early {
	struct early *next;
	uint32_t seq;
	size_t len;
	uint8_t data[];
};

struct connection {
	struct connection *next;
	struct ends ends;
	uint32_t next_seq, first_seq;
	uint32_t end; /* the sequence number of FIN */
	bool has_end, said_end, said_reset;
	struct early *early;
	unsigned nearly;
};

#define BUCKETS	  4096
#define EARLY_MAX 1024 /* of a connection: more of it counts as never sent */

struct tcp_streams {
	struct connection *bucket[BUCKETS]; /* by their ends, the youngest first */
	bool bad;
};

/* ---- frames ---- */

static unsigned get_u16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

static uint32_t sum_bytes(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

/* True: the sum is right: with the checksum included, it folds to all ones. */
static bool sum_is_good(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* The TCP segment of a whole IPv4 packet, which no option precedes that changes its meaning. */
static const uint8_t *ipv4_payload(const uint8_t *p, size_t n, struct ends *e, size_t *len)
{
	size_t head = n ? (p[0] & 15u) * 4u : 0, all;

	if (n < 20 || p[0] >> 4 != 4 || head < 20 || n < head || p[9] != PROTOCOL_TCP)
		return NULL;
	all = get_u16(p + 2);
	if (all < head || all > n || get_u16(p + 6) & 0x3fff || !sum_is_good(sum_bytes(0, p, head)))
		return NULL;
	memcpy(e->address[0], p + 12, 4);
	memcpy(e->address[1], p + 16, 4);
	e->version = 4;
	*len = all - head;
	return p + head;
}

static const uint8_t *ipv6_payload(const uint8_t *p, size_t n, struct ends *e, size_t *len)
{
	if (n < 40 || p[0] >> 4 != 6 || p[6] != PROTOCOL_TCP || get_u16(p + 4) > n - 40)
		return NULL;
	memcpy(e->address[0], p + 8, 16);
	memcpy(e->address[1], p + 24, 16);
	e->version = 6;
	*len = get_u16(p + 4);
	return p + 40;
}

static bool segment_of(const uint8_t *frame, size_t n, struct segment *s)
{
	const uint8_t *p = NULL;
	size_t len = 0, head;
	uint32_t sum;

	*s = (struct segment){ 0 };
	if (n < ETHERNET_LEN)
		return false;
	if (get_u16(frame + 12) == 0x0800)
		p = ipv4_payload(frame + ETHERNET_LEN, n - ETHERNET_LEN, &s->ends, &len);
	else if (get_u16(frame + 12) == 0x86dd)
		p = ipv6_payload(frame + ETHERNET_LEN, n - ETHERNET_LEN, &s->ends, &len);
	if (!p || len < 20 || len > 0xffff)
		return false;
	head = (p[12] >> 4) * 4u;
	sum = sum_bytes(PROTOCOL_TCP + (uint32_t)len, &s->ends.address[0][0],
			sizeof(s->ends.address));
	if (head < 20 || head > len || !sum_is_good(sum_bytes(sum, p, len)))
		return false;
	memcpy(s->ends.port, p, 4);
	s->seq = get_u32(p + 4);
	s->flags = p[13];
	s->data = p + head;
	s->len = len - head;
	return true;
}

/* ---- connections ---- */

static struct connection **bucket_of(struct tcp_streams *t, const struct ends *e)
{
	return &t->bucket[XXH3_64bits(e, offsetof(struct ends, nth)) % BUCKETS];
}

static struct connection *find(struct tcp_streams *t, const struct ends *e)
{
	struct connection *c = *bucket_of(t, e);

	while (c && memcmp(&c->ends, e, offsetof(struct ends, nth)))
		c = c->next;
	return c;
}

/* Adds a connection, which begins now or began before its first frame was seen. */
static struct connection *begin(struct tcp_streams *t, const struct segment *s,
				const struct connection *before)
{
	struct connection *c = calloc(1, sizeof(*c)), **bucket = bucket_of(t, &s->ends);
	unsigned nth = before ? get_u16(before->ends.nth) + 1 : 0;

	if (!c) {
		t->bad = true;
		return NULL;
	}
	c->ends = s->ends;
	c->ends.nth[0] = (uint8_t)(nth >> 8);
	c->ends.nth[1] = (uint8_t)nth;
	c->first_seq = s->seq;
	c->next_seq = s->seq + !!(s->flags & TCP_SYN);
	c->next = *bucket;
	*bucket = c;
	return c;
}

static uint64_t stream_of(const struct connection *c, bool payload)
{
	return TCP_STREAM | XXH3_64bits(&c->ends, sizeof(c->ends)) >> 3 << 1 | payload;
}

static void say(const struct connection *c, char what, tcp_streams_take *take, void *ctx)
{
	take(ctx, stream_of(c, false), (const uint8_t *)&what, 1);
}

/* Delivers the part of a segment that follows the data already taken, if the two adjoin. */
static bool deliver(struct connection *c, uint32_t seq, const uint8_t *data, size_t len,
		    tcp_streams_take *take, void *ctx)
{
	uint32_t old = c->next_seq - seq;

	if ((int32_t)old < 0)
		return false;
	if (old < len)
		take(ctx, stream_of(c, true), data + old, len - old);
	if (old < len)
		c->next_seq += (uint32_t)(len - old);
	return true;
}

static void keep_early(struct tcp_streams *t, struct connection *c, const struct segment *s)
{
	struct early *e = c->nearly < EARLY_MAX ? malloc(sizeof(*e) + s->len) : NULL;

	if (c->nearly == EARLY_MAX)
		return;
	if (!e) {
		t->bad = true;
		return;
	}
	*e = (struct early){ .next = c->early, .seq = s->seq, .len = s->len };
	memcpy(e->data, s->data, s->len);
	c->early = e;
	c->nearly++;
}

/* Early ones whose turn has come; each that is taken may be in front of another one. */
static void deliver_early(struct connection *c, tcp_streams_take *take, void *ctx)
{
	struct early **at = &c->early;

	while (*at) {
		struct early *e = *at;

		if (!deliver(c, e->seq, e->data, e->len, take, ctx)) {
			at = &e->next;
			continue;
		}
		*at = e->next;
		free(e);
		c->nearly--;
		at = &c->early;
	}
}

static void add_payload(struct tcp_streams *t, struct connection *c, struct segment *s,
			tcp_streams_take *take, void *ctx)
{
	if (s->flags & TCP_SYN)
		s->seq++;
	if (s->flags & TCP_FIN && !c->has_end) {
		c->has_end = true;
		c->end = s->seq + (uint32_t)s->len;
	}
	if (s->len && !deliver(c, s->seq, s->data, s->len, take, ctx))
		keep_early(t, c, s);
	deliver_early(c, take, ctx);
	if (c->has_end && !c->said_end && c->next_seq == c->end) {
		c->said_end = true;
		say(c, 'F', take, ctx);
	}
}

bool tcp_streams_add(struct tcp_streams *t, unsigned nic, const uint8_t *frame, size_t len,
		     tcp_streams_take *take, void *ctx)
{
	struct connection *c;
	struct segment s;

	if (!segment_of(frame, len, &s))
		return false;
	s.ends.nic = (uint8_t)nic;
	c = find(t, &s.ends);
	if (!c || (s.flags & TCP_SYN && s.seq != c->first_seq)) {
		c = begin(t, &s, c);
		if (c && s.flags & TCP_SYN)
			say(c, 'S', take, ctx);
	}
	if (c && s.flags & TCP_RST && !c->said_reset) {
		c->said_reset = true;
		say(c, 'R', take, ctx);
	} else if (c && !(s.flags & TCP_RST)) {
		add_payload(t, c, &s, take, ctx);
	}
	return true;
}

/* ---- all of them ---- */

struct tcp_streams *tcp_streams_new(void)
{
	return calloc(1, sizeof(struct tcp_streams));
}

bool tcp_streams_bad(const struct tcp_streams *t)
{
	return t->bad;
}

static void free_early(struct early *e)
{
	while (e) {
		struct early *next = e->next;

		free(e);
		e = next;
	}
}

void tcp_streams_free(struct tcp_streams *t)
{
	for (unsigned i = 0; t && i < BUCKETS; i++) {
		while (t->bucket[i]) {
			struct connection *c = t->bucket[i];

			t->bucket[i] = c->next;
			free_early(c->early);
			free(c);
		}
	}
	free(t);
}
