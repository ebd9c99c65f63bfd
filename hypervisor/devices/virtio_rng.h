/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng: fills buffers from the machine's generator at the notification. */
#ifndef HYPERVISOR_DEVICES_VIRTIO_RNG_H
#define HYPERVISOR_DEVICES_VIRTIO_RNG_H

#include "hypervisor/devices/virtio.h"

#define VIRTIO_RNG_MAX 4096u /* bytes for one buffer; the driver sees how many it got */

struct virtio_rng {
	struct virtio virtio; /* first */
	uint64_t (*random)(void *ctx);
	void *ctx;
	struct virtq_chain chain; /* working memory of one call */
};

void virtio_rng_init(struct virtio_rng *r, struct memory *mem, uint64_t (*random)(void *ctx),
		     void *ctx);

extern const struct device_ops virtio_rng_ops;

#endif
