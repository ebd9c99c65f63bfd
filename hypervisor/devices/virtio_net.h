/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net: one receive, one transmit and one control queue; MAC filter, link status,
 * announcement. No offloads: every frame crosses the border complete, so a record holds what was on
 * the wire.
 */
#ifndef HYPERVISOR_DEVICES_VIRTIO_NET_H
#define HYPERVISOR_DEVICES_VIRTIO_NET_H

#include "hypervisor/devices/virtio.h"

#define VIRTIO_NET_FRAME_MAX 65535u /* bytes, without the virtio header */
#define VIRTIO_NET_MACS	     32	    /* entries of the filter, unicast and multicast each */

struct virtio_net_effects {
	/* A frame leaves; called from the driver's notification. */
	void (*tx)(void *ctx, const uint8_t *frame, size_t len);
	void *ctx;
};

struct virtio_net_filter {
	uint8_t mac[VIRTIO_NET_MACS][6];
	uint8_t n;
	bool all; /* more entries than fit: let everything of this kind in */
};

struct virtio_net {
	struct virtio virtio; /* first */
	struct virtio_net_effects fx;
	uint8_t mac[6];		/* from the configuration */
	uint8_t present_mac[6]; /* may be changed by the driver */
	bool link;
	bool announce;
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	struct virtio_net_filter unicast, multicast;
	uint64_t tx_frames, tx_bytes, tx_dropped, rx_frames, rx_bytes, rx_dropped,
		rx_filtered; /* statistics */
	/* Working memory of one call. */
	uint8_t frame[VIRTIO_NET_FRAME_MAX + 13]; /* header and frame */
	struct virtq_chain chain;
};

void virtio_net_init(struct virtio_net *n, struct memory *mem, const uint8_t mac[6],
		     const struct virtio_net_effects *fx);
/*
 * A frame arrives from the wire. False: dropped (link down, driver not ready, filtered, too long,
 * no buffers); this depends on the machine's state only.
 */
bool virtio_net_receive(struct virtio_net *n, const uint8_t *frame, size_t len);
/*
 * True: the frame would pass link state and filter now. A live source need not record one that
 * would not.
 */
bool virtio_net_wants(const struct virtio_net *n, const uint8_t *frame, size_t len);
void virtio_net_set_link(struct virtio_net *n, bool up);
/*
 * Asks the guest to announce itself (gratuitous ARP); false when the driver did not accept that
 * feature.
 */
bool virtio_net_announce(struct virtio_net *n);

extern const struct device_ops virtio_net_ops;

#endif
