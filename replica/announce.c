// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tells switches and neighbours where the guest's MAC is now. For each NIC it sends a RARP request,
 * as live migration does, and one frame for each address that the guest was seen to use
 * (net/neighbor.h). A guest that can is also asked to announce itself (live_config.moved), since it
 * knows addresses that were never seen; the frames sent here are for other guests, and for the time
 * until the guest has announced itself.
 */
#include <string.h>

#include "base/host_clock.h"
#include "replica/replica_private.h"

/* When announcements are sent, in milliseconds after going live. */
static const unsigned announce_at[] = { 0, 50, 150, 350, 750 };
#define ANNOUNCEMENTS (sizeof(announce_at) / sizeof(announce_at[0]))

void announce_init(struct announce *a)
{
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->telling, NULL);
}

void announce_fini(struct announce *a)
{
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->telling);
}

/* ---- what the guest has said ---- */

/*
 * Lock held. Takes the guest's present MAC. If it has changed, the addresses learned for the old
 * one are forgotten.
 */
static void take_mac(struct announce_nic *nic, const uint8_t mac[6])
{
	if (!memcmp(nic->mac, mac, sizeof(nic->mac)))
		return;
	memcpy(nic->mac, mac, sizeof(nic->mac));
	nic->n = nic->newest = 0;
}

/* Lock held. */
static void take_address(struct announce_nic *nic, const struct neighbor *n)
{
	for (unsigned i = 0; i < nic->n; i++) {
		if (neighbor_same(&nic->known[i], n))
			return;
	}
	nic->newest = nic->n < ANNOUNCE_ADDRESSES ? nic->n++ : (nic->newest + 1) % nic->n;
	nic->known[nic->newest] = *n;
}

/*
 * While another thread has the lock, the output is skipped: the guest will send its address again
 * some time.
 */
void announce_learn(struct replica *r, const struct output *out)
{
	struct announce_nic *nic;
	struct neighbor n;
	const uint8_t *mac;

	if (out->kind != OUTPUT_NET_TX || !r->m || out->port >= machine_get_config(r->m)->nnics)
		return;
	mac = machine_nic_mac(r->m, out->port);
	if (!neighbor_learn(out->data, out->len, mac, &n) ||
	    pthread_mutex_trylock(&r->announce.lock))
		return;
	nic = &r->announce.nic[out->port];
	take_mac(nic, mac);
	take_address(nic, &n);
	pthread_mutex_unlock(&r->announce.lock);
}

/* ---- what the network is told ---- */

/*
 * Sends an announcement with the right to send (outbox.h), so a replica that has lost its lease
 * sends none.
 */
static void announce_send(struct replica *r, struct nic *nic, const uint8_t *frame, size_t len)
{
	outbox_begin(&r->outbox);
	nic_send_before(nic, frame, len, outbox_sends_until(&r->outbox));
	outbox_end(&r->outbox);
}

static void announce_nic(struct replica *r, unsigned port)
{
	struct nic *nic = r->cfg.live.nic[port];
	uint8_t frame[NEIGHBOR_FRAME_MAX];
	struct announce_nic a;
	size_t len;

	if (!nic)
		return;
	pthread_mutex_lock(&r->announce.lock);
	a = r->announce.nic[port];
	pthread_mutex_unlock(&r->announce.lock);
	len = neighbor_announce_mac(a.mac, NEIGHBOR_NO_VLAN, frame);
	announce_send(r, nic, frame, len);
	for (unsigned i = 0; i < a.n; i++) {
		if (a.known[i].vlan != NEIGHBOR_NO_VLAN) {
			len = neighbor_announce_mac(a.mac, a.known[i].vlan, frame);
			announce_send(r, nic, frame, len);
		}
		len = neighbor_announce(&a.known[i], a.mac, frame);
		announce_send(r, nic, frame, len);
	}
}

void announce_start(struct replica *r)
{
	pthread_mutex_lock(&r->announce.lock);
	for (unsigned i = 0; i < machine_get_config(r->m)->nnics; i++)
		take_mac(&r->announce.nic[i], machine_nic_mac(r->m, i));
	pthread_mutex_unlock(&r->announce.lock);
	pthread_mutex_lock(&r->announce.telling);
	r->announce.left = ANNOUNCEMENTS;
	r->announce.next_ns = host_mono_ns();
	pthread_mutex_unlock(&r->announce.telling);
	announce_step(r);
}

/*
 * Sends the announcements that are due, and returns the time to the next ones, in ms; -1: there are
 * none. With `telling`.
 */
static int announce_due(struct replica *r)
{
	uint64_t now = host_mono_ns();
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

int announce_step(struct replica *r)
{
	int ms;

	pthread_mutex_lock(&r->announce.telling);
	ms = announce_due(r);
	pthread_mutex_unlock(&r->announce.telling);
	return ms;
}
