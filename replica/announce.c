// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tells the switches and neighbours where the guest's MAC is now: a RARP request (RFC 903, as live
 * migration does it; it needs no IP address) and, where the guest's IPv4 address was seen in what
 * it sent, a gratuitous ARP (RFC 5227).
 */
#include <arpa/inet.h>
#include <string.h>

#include "replica/replica_private.h"

#define ETH_HEADER     14
#define ARP_LEN	       28
#define FRAME_LEN      60
#define ETHERTYPE_IP   0x0800
#define ETHERTYPE_ARP  0x0806
#define ETHERTYPE_RARP 0x8035

/* Milliseconds after going live. */
static const unsigned announce_at[] = { 0, 50, 150, 350, 750 };
#define ANNOUNCEMENTS (sizeof(announce_at) / sizeof(announce_at[0]))

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void announce_learn(struct replica *r, const struct output *out)
{
	const uint8_t *f = out->data;
	uint32_t ip = 0;

	if (out->kind != OUTPUT_NET_TX || out->port >= MACHINE_NICS || out->len < ETH_HEADER + 20)
		return;
	if (be16(f + 12) == ETHERTYPE_IP)
		memcpy(&ip, f + ETH_HEADER + 12, 4);
	else if (be16(f + 12) == ETHERTYPE_ARP && out->len >= ETH_HEADER + ARP_LEN)
		memcpy(&ip, f + ETH_HEADER + 14, 4);
	if (ip)
		atomic_store(&r->announce.guest_ip[out->port], ip);
}

/* op: 1 ARP request (gratuitous: sender and target address are the same), 3 RARP request. */
static void announce_frame(uint8_t frame[FRAME_LEN], const uint8_t mac[6], unsigned type,
			   unsigned op, uint32_t ip)
{
	uint8_t *arp = frame + ETH_HEADER;

	memset(frame, 0, FRAME_LEN);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	put_be16(frame + 12, type);
	put_be16(arp, 1);
	put_be16(arp + 2, ETHERTYPE_IP);
	arp[4] = 6;
	arp[5] = 4;
	put_be16(arp + 6, op);
	memcpy(arp + 8, mac, 6);
	memcpy(arp + 14, &ip, 4);
	if (op == 3)
		memcpy(arp + 18, mac, 6);
	memcpy(arp + 24, &ip, 4);
}

/* With the right to send: as long as it is ours, who was alone stays alone. */
static void announce_send(struct replica *r, struct nic *nic, const uint8_t frame[FRAME_LEN])
{
	outbox_begin(&r->outbox);
	nic_send_before(nic, frame, FRAME_LEN, outbox_sends_until(&r->outbox));
	outbox_end(&r->outbox);
}

static void announce_nic(struct replica *r, unsigned port)
{
	struct nic *nic = r->cfg.live.nic[port];
	const uint8_t *mac = machine_get_config(r->m)->mac[port];
	uint8_t frame[FRAME_LEN];
	uint32_t ip;

	if (!nic)
		return;
	announce_frame(frame, mac, ETHERTYPE_RARP, 3, 0);
	announce_send(r, nic, frame);
	ip = (uint32_t)atomic_load(&r->announce.guest_ip[port]);
	if (!ip)
		return;
	announce_frame(frame, mac, ETHERTYPE_ARP, 1, ip);
	announce_send(r, nic, frame);
}

void announce_start(struct replica *r)
{
	r->announce.left = ANNOUNCEMENTS;
	r->announce.next_ns = replica_mono_ns();
	announce_step(r);
}

int announce_step(struct replica *r)
{
	uint64_t now = replica_mono_ns();
	unsigned done;

	if (!r->announce.left)
		return -1;
	if (now < r->announce.next_ns)
		return (int)((r->announce.next_ns - now) / NS_PER_MS) + 1;
	for (unsigned i = 0; i < machine_get_config(r->m)->nnics; i++)
		announce_nic(r, i);
	done = (unsigned)ANNOUNCEMENTS - --r->announce.left;
	if (!r->announce.left)
		return -1;
	r->announce.next_ns = now + (announce_at[done] - announce_at[done - 1]) * NS_PER_MS;
	return (int)(announce_at[done] - announce_at[done - 1]);
}
