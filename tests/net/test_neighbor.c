// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/neighbor.h"

#include <string.h>

#include "tests/unit.h"

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
static const uint8_t other[6] = { 0x52, 0x54, 0, 0, 0, 2 };

/* tcpdump of a Linux guest's answer to "who has 10.77.0.2", without the padding. */
static const uint8_t arp_reply[42] = {
	0x52, 0x54, 0, 0, 0, 9, 0x52, 0x54, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0,  6,  4, 0,
	2,    0x52, 0, 0, 0, 1, 10,   77,   0, 2, 0, 0, 0, 0, 0, 0, 9, 10, 77, 0, 1,
};

struct frame {
	uint8_t data[128];
	size_t len;
};

static struct frame arp(unsigned operation, const uint8_t sender[4], const uint8_t target[4])
{
	struct frame f = { .len = 42 };

	memcpy(f.data, arp_reply, sizeof(arp_reply));
	memcpy(f.data + 22, mac, 6);
	f.data[21] = (uint8_t)operation;
	memcpy(f.data + 28, sender, 4);
	memcpy(f.data + 38, target, 4);
	return f;
}

static struct frame advert(uint8_t flags)
{
	struct neighbor n = { .ipv6 = true,
			      .vlan = NEIGHBOR_NO_VLAN,
			      .addr = { 0xfd, [7] = 7, [15] = 2 } };
	struct frame f;

	f.len = neighbor_announce(&n, mac, f.data);
	f.data[14 + 40 + 4] = flags;
	return f;
}

static struct frame in_vlan(const struct frame *f, unsigned vlan)
{
	struct frame t = *f;

	memmove(t.data + 16, f->data + 12, f->len - 12);
	memcpy(t.data + 12, (uint8_t[]){ 0x81, 0, (uint8_t)(vlan >> 8), (uint8_t)vlan }, 4);
	t.len += 4;
	return t;
}

static bool learns(const struct frame *f, const uint8_t of[6])
{
	struct neighbor n;

	return neighbor_learn(f->data, f->len, of, &n);
}

static const uint8_t own[4] = { 10, 77, 0, 2 }, their[4] = { 10, 77, 0, 1 }, none[4];

START_TEST(answers_are_learnt)
{
	struct frame reply = arp(2, own, their), gratuitous = arp(1, own, own);
	struct neighbor n;

	ck_assert(neighbor_learn(reply.data, reply.len, mac, &n));
	ck_assert(!n.ipv6 && n.vlan == NEIGHBOR_NO_VLAN);
	ck_assert_mem_eq(n.addr, own, 4);
	ck_assert(learns(&gratuitous, mac));
	reply = advert(0x60);
	ck_assert(neighbor_learn(reply.data, reply.len, mac, &n));
	ck_assert(n.ipv6 && !n.router && n.addr[15] == 2);
	reply = advert(0xa0);
	ck_assert(neighbor_learn(reply.data, reply.len, mac, &n) && n.router);
	reply = in_vlan(&gratuitous, 0x2005);
	ck_assert(neighbor_learn(reply.data, reply.len, mac, &n));
	ck_assert_uint_eq(n.vlan, 0x2005);
}
END_TEST

/* A real server behind a load balancer asks, routes and sends with addresses that are not its. */
START_TEST(addresses_of_others_are_not_learnt)
{
	struct frame f = arp(1, own, their), ip = { .len = 60 };

	ck_assert(!learns(&f, mac));
	f = arp(1, none, own); /* a probe: nobody's yet */
	ck_assert(!learns(&f, mac));
	f = arp(2, own, their);
	ck_assert(!learns(&f, other));
	memcpy(f.data + 6, other, 6); /* for somebody else, in the frame's header */
	ck_assert(!learns(&f, mac) && !learns(&f, other));
	f = arp(2, own, their);
	memcpy(f.data + 22, other, 6); /* and in the message */
	ck_assert(!learns(&f, mac));
	f = arp(2, (uint8_t[]){ 224, 0, 0, 18 }, their);
	ck_assert(!learns(&f, mac));
	memcpy(ip.data + 6, mac, 6);
	memcpy(ip.data + 12, (uint8_t[]){ 8, 0, 0x45 }, 3);
	memcpy(ip.data + 26, own, 4);
	ck_assert(!learns(&ip, mac));
	f = advert(0x40); /* anycast, or a proxy */
	ck_assert(!learns(&f, mac));
	f = advert(0x60);
	memcpy(f.data + 80, other, 6); /* the link address that it gives */
	ck_assert(!learns(&f, mac));
	f = advert(0x60);
	f.data[14 + 7] = 64; /* it came through a router */
	ck_assert(!learns(&f, mac));
}
END_TEST

START_TEST(cut_frames_are_not_learnt)
{
	struct frame reply = arp(2, own, their), adv = advert(0x60);

	for (size_t len = 0; len < 42; len++) {
		reply.len = len;
		ck_assert(!learns(&reply, mac));
	}
	for (size_t len = 0; len < 86; len++) {
		adv.len = len;
		ck_assert(!learns(&adv, mac));
	}
	adv = advert(0x60);
	adv.data[79] = 0; /* an option without a length */
	ck_assert(!learns(&adv, mac));
	adv.data[79] = 2; /* or with one that is too long */
	ck_assert(!learns(&adv, mac));
}
END_TEST

START_TEST(announcements_have_the_form_of_the_standards)
{
	struct neighbor n = { .vlan = NEIGHBOR_NO_VLAN, .addr = { 10, 77, 0, 2 } };
	uint8_t f[NEIGHBOR_FRAME_MAX];
	uint32_t sum = 58 + 32;

	ck_assert_uint_eq(neighbor_announce(&n, mac, f), 60);
	ck_assert_mem_eq(f, "\xff\xff\xff\xff\xff\xff\x52\x54\0\0\0\1\x08\x06\0\1\x08\0\6\4\0\1",
			 22);
	ck_assert_mem_eq(f + 22, "\x52\x54\0\0\0\1\x0a\x4d\0\2\0\0\0\0\0\0\x0a\x4d\0\2", 20);
	n.vlan = 5;
	ck_assert_uint_eq(neighbor_announce(&n, mac, f), 60);
	ck_assert_mem_eq(f + 12, "\x81\0\0\5\x08\x06", 6);
	ck_assert_uint_eq(neighbor_announce_mac(mac, NEIGHBOR_NO_VLAN, f), 60);
	ck_assert_mem_eq(f + 12, "\x80\x35\0\1\x08\0\6\4\0\3\x52\x54\0\0\0\1", 16);
	ck_assert_mem_eq(f + 32, mac, 6);
	n = (struct neighbor){ .ipv6 = true, .vlan = NEIGHBOR_NO_VLAN, .addr = { 0xfd, [15] = 2 } };
	ck_assert_uint_eq(neighbor_announce(&n, mac, f), 86);
	ck_assert_mem_eq(f, "\x33\x33\0\0\0\1\x52\x54\0\0\0\1\x86\xdd", 14);
	for (size_t i = 22; i < 86; i += 2)
		sum += (uint32_t)f[i] << 8 | f[i + 1];
	ck_assert_uint_eq((sum & 0xffff) + (sum >> 16), 0xffff);
	ck_assert_mem_eq(f + 14 + 24, "\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x88\0", 18);
	ck_assert_mem_eq(f + 78, "\2\1\x52\x54\0\0\0\1", 8);
}
END_TEST

/* What is announced is learnt again as what it was. */
START_TEST(announcements_say_what_was_learnt)
{
	for (unsigned i = 0; i < 4; i++) {
		struct neighbor in = { .ipv6 = i & 1,
				       .vlan = i & 2 ? 17 : NEIGHBOR_NO_VLAN,
				       .addr = { 10, 1, 2, 3 } },
				out;
		uint8_t f[NEIGHBOR_FRAME_MAX];
		size_t len = neighbor_announce(&in, mac, f);

		ck_assert(neighbor_learn(f, len, mac, &out));
		ck_assert(neighbor_same(&in, &out));
		in.addr[3]++;
		ck_assert(!neighbor_same(&in, &out));
	}
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, answers_are_learnt);
	tcase_add_test(tc, addresses_of_others_are_not_learnt);
	tcase_add_test(tc, cut_frames_are_not_learnt);
	tcase_add_test(tc, announcements_have_the_form_of_the_standards);
	tcase_add_test(tc, announcements_say_what_was_learnt);
}

UNIT_MAIN("neighbor", add)
