// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_rng.h"

#include <errno.h>
#include <string.h>

#define QUEUE 0u

static void rng_notify(struct virtio *v, unsigned queue)
{
	struct virtio_rng *r = (struct virtio_rng *)v;
	uint64_t data[VIRTIO_RNG_MAX / 8];

	for (unsigned n = 0; n < v->limit && virtq_pop(v, QUEUE, &r->chain); n++) {
		uint64_t len =
			r->chain.write_len < sizeof(data) ? r->chain.write_len : sizeof(data);

		for (uint64_t i = 0; i < (len + 7) / 8; i++)
			data[i] = r->random(r->ctx);
		if (!virtq_write(v, &r->chain, 0, data, len))
			return;
		virtq_push(v, QUEUE, r->chain.head, (uint32_t)len);
	}
	virtq_listen(v, QUEUE);
	virtq_signal(v, QUEUE);
}

static const struct virtio_class rng_class = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.pci_class = 0x00ff00,
	.nqueues = 1,
	.notify = rng_notify,
};

void virtio_rng_init(struct virtio_rng *r, struct memory *mem, uint64_t (*random)(void *ctx),
		     void *ctx)
{
	memset(r, 0, sizeof(*r));
	r->random = random;
	r->ctx = ctx;
	virtio_init(&r->virtio, &rng_class, mem, 0);
}

static void rng_reset(void *dev)
{
	virtio_reset(&((struct virtio_rng *)dev)->virtio);
}

static void rng_save(const void *dev, struct buf *out)
{
	virtio_save(&((const struct virtio_rng *)dev)->virtio, out);
}

static int rng_restore(void *dev, struct rd *in)
{
	return virtio_restore(&((struct virtio_rng *)dev)->virtio, in);
}

const struct device_ops virtio_rng_ops = {
	.name = "virtio-rng",
	.reset = rng_reset,
	.save = rng_save,
	.restore = rng_restore,
};
