// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_balloon.h"

#include <errno.h>
#include <string.h>

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUES };

/* Feature bits (5.5.3) */
#define F_MUST_TELL_HOST (1ull << 0)
#define F_DEFLATE_ON_OOM (1ull << 2)

#define CONFIG_SIZE 8u /* num_pages, actual (5.5.4) */
#define ACTUAL_AT   4u

static struct virtio_balloon *balloon_of(struct virtio *v)
{
	return (struct virtio_balloon *)v;
}

static void balloon_config_get(struct virtio *v, uint8_t *config)
{
	const struct virtio_balloon *b = balloon_of(v);

	for (unsigned i = 0; i < 4; i++) {
		config[i] = (uint8_t)(b->target >> (8 * i));
		config[ACTUAL_AT + i] = (uint8_t)(b->actual >> (8 * i));
	}
}

static void balloon_config_put(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	if (offset == ACTUAL_AT && size == 4)
		balloon_of(v)->actual = value;
}

/* A page number that is not RAM is counted and otherwise ignored. */
static void balloon_page(struct virtio_balloon *b, unsigned queue, uint32_t pfn)
{
	uint64_t gpa = (uint64_t)pfn << PAGE_SHIFT;

	if (!memory_at(b->virtio.mem, gpa, PAGE_SIZE)) {
		b->bad++;
	} else if (queue == QUEUE_INFLATE) {
		b->inflated++;
		memory_zero(b->virtio.mem, gpa, PAGE_SIZE);
		if (b->fx.inflated)
			b->fx.inflated(b->fx.ctx, gpa, PAGE_SIZE);
	} else {
		b->deflated++;
		if (b->fx.deflated)
			b->fx.deflated(b->fx.ctx, gpa, PAGE_SIZE);
	}
}

static void balloon_notify(struct virtio *v, unsigned queue)
{
	struct virtio_balloon *b = balloon_of(v);
	uint32_t pfn[VIRTIO_BALLOON_PFNS_MAX];

	for (unsigned n = 0; n < v->limit && virtq_pop(v, queue, &b->chain); n++) {
		uint64_t len = b->chain.read_len < sizeof(pfn) ? b->chain.read_len : sizeof(pfn);

		if (!virtq_read(v, &b->chain, 0, pfn, len))
			return;
		for (uint64_t i = 0; i < len / sizeof(pfn[0]); i++)
			balloon_page(b, queue, pfn[i]);
		virtq_push(v, queue, b->chain.head, 0);
	}
	virtq_listen(v, queue);
	virtq_signal(v, queue);
}

static void balloon_class_reset(struct virtio *v)
{
	balloon_of(v)->actual = 0;
}

static const struct virtio_class balloon_class = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.pci_class = 0x00ff00,
	.nqueues = QUEUES,
	.config_size = CONFIG_SIZE,
	.config_get = balloon_config_get,
	.config_put = balloon_config_put,
	.notify = balloon_notify,
	.reset = balloon_class_reset,
};

void virtio_balloon_init(struct virtio_balloon *b, struct memory *mem,
			 const struct virtio_balloon_effects *fx)
{
	memset(b, 0, sizeof(*b));
	if (fx)
		b->fx = *fx;
	virtio_init(&b->virtio, &balloon_class, mem, F_MUST_TELL_HOST | F_DEFLATE_ON_OOM);
}

void virtio_balloon_set_target(struct virtio_balloon *b, uint32_t pages)
{
	if (b->target == pages)
		return;
	b->target = pages;
	virtio_config_changed(&b->virtio);
}

static void balloon_reset(void *dev)
{
	struct virtio_balloon *b = dev;

	b->target = 0;
	virtio_reset(&b->virtio);
}

static void balloon_save(const void *dev, struct buf *out)
{
	const struct virtio_balloon *b = dev;

	virtio_save(&b->virtio, out);
	buf_put_u32(out, b->target);
	buf_put_u32(out, b->actual);
}

static int balloon_restore(void *dev, struct rd *in)
{
	struct virtio_balloon *b = dev;

	if (virtio_restore(&b->virtio, in))
		goto bad;
	b->target = rd_u32(in);
	b->actual = rd_u32(in);
	if (!in->bad)
		return 0;
bad:
	balloon_reset(b);
	return -EINVAL;
}

const struct device_ops virtio_balloon_ops = {
	.name = "virtio-balloon",
	.reset = balloon_reset,
	.save = balloon_save,
	.restore = balloon_restore,
};
