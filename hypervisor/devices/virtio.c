// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u

/* struct virtq_desc (2.7.5) */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
_Static_assert(sizeof(struct desc) == 16, "descriptor layout");

void virtio_init(struct virtio *v, const struct virtio_class *class, struct memory *mem,
		 uint64_t features)
{
	must(class->nqueues <= VIRTIO_QUEUES_MAX && class->config_size <= VIRTIO_CONFIG_MAX);
	*v = (struct virtio){ .class = class, .mem = mem, .limit = VIRTQ_SIZE };
	v->offered = features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
	for (unsigned i = 0; i < class->nqueues; i++)
		v->queue[i].size = (uint16_t)v->limit;
}

void virtio_set_limit(struct virtio *v, unsigned limit)
{
	must(limit && limit <= VIRTQ_SIZE_MAX && (limit & (limit - 1)) == 0);
	v->limit = limit;
	for (unsigned i = 0; i < v->class->nqueues; i++)
		v->queue[i].size = (uint16_t)limit;
}

/* An interrupt of a queue or of the configuration, by message or by the line. */
static void virtio_raise(struct virtio *v, unsigned queue)
{
	v->interrupts++;
	if (v->msi && v->msi(v->msi_ctx, queue))
		return;
	v->isr |= queue == VIRTIO_MSI_CONFIG ? VIRTIO_ISR_CONFIG : VIRTIO_ISR_QUEUE;
	irq_set(&v->irq, true);
}

uint8_t virtio_isr_take(struct virtio *v)
{
	uint8_t isr = v->isr;

	v->isr = 0;
	irq_set(&v->irq, false);
	return isr;
}

void virtio_reset(struct virtio *v)
{
	if (v->class->reset)
		v->class->reset(v);
	memset(v->queue, 0, sizeof(v->queue));
	for (unsigned i = 0; i < v->class->nqueues; i++)
		v->queue[i].size = (uint16_t)v->limit;
	v->accepted = 0;
	v->status = 0;
	v->generation = 0;
	v->device_feature_select = v->driver_feature_select = 0;
	v->queue_select = 0;
	virtio_isr_take(v);
}

bool virtio_live(const struct virtio *v)
{
	return (v->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) ==
	       VIRTIO_STATUS_DRIVER_OK;
}

bool virtio_has(const struct virtio *v, uint64_t feature)
{
	return (v->accepted & feature) == feature;
}

void virtio_config_changed(struct virtio *v)
{
	v->generation++;
	if (v->status & VIRTIO_STATUS_DRIVER_OK)
		virtio_raise(v, VIRTIO_MSI_CONFIG);
}

void virtio_break(struct virtio *v)
{
	if (v->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	v->broken++;
	v->status |= VIRTIO_STATUS_NEEDS_RESET;
	virtio_config_changed(v);
}

void virtio_notify(struct virtio *v, unsigned queue)
{
	if (queue >= v->class->nqueues || !virtio_live(v) || !v->queue[queue].enabled)
		return;
	v->notifications++;
	v->class->notify(v, queue);
}

/* Negotiation as in 3.1.1; a driver cannot take a status bit back other than by a reset. */
void virtio_set_status(struct virtio *v, uint8_t status)
{
	const uint8_t driver_bits = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				    VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK |
				    VIRTIO_STATUS_FAILED;
	uint8_t rising = (uint8_t)(status & driver_bits & ~v->status);

	if (status == 0) {
		virtio_reset(v);
		return;
	}
	if ((rising & VIRTIO_STATUS_FEATURES_OK) &&
	    ((v->accepted & ~v->offered) || !virtio_has(v, VIRTIO_F_VERSION_1)))
		rising &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if (!((v->status | rising) & VIRTIO_STATUS_FEATURES_OK))
		rising &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	v->status |= rising;
	if (!(rising & VIRTIO_STATUS_DRIVER_OK))
		return;
	for (unsigned i = 0; i < v->class->nqueues; i++)
		virtio_notify(v, i);
}

bool virtq_enable(struct virtio *v, unsigned queue)
{
	struct virtq *q;

	if (queue >= v->class->nqueues)
		return false;
	q = &v->queue[queue];
	if (q->enabled)
		return false;
	/* Alignments of 2.7. */
	if ((q->desc & 15) || (q->avail & 1) || (q->used & 3))
		return false;
	q->enabled = true;
	q->last_avail = q->used_idx = q->signalled = 0;
	return true;
}

static bool virtq_size_ok(const struct virtio *v, uint16_t size)
{
	return size >= 1 && size <= v->limit && (size & (size - 1)) == 0;
}

void virtio_save(const struct virtio *v, struct buf *out)
{
	buf_put_u64(out, v->offered);
	buf_put_u64(out, v->accepted);
	buf_put_u8(out, v->status);
	buf_put_u8(out, v->isr);
	buf_put_u8(out, v->generation);
	buf_put_u32(out, v->device_feature_select);
	buf_put_u32(out, v->driver_feature_select);
	buf_put_u16(out, v->queue_select);
	for (unsigned i = 0; i < v->class->nqueues; i++) {
		const struct virtq *q = &v->queue[i];

		buf_put_u16(out, q->size);
		buf_put_u8(out, q->enabled);
		buf_put_u64(out, q->desc);
		buf_put_u64(out, q->avail);
		buf_put_u64(out, q->used);
		buf_put_u16(out, q->last_avail);
		buf_put_u16(out, q->used_idx);
		buf_put_u16(out, q->signalled);
	}
}

static bool virtq_restore(const struct virtio *v, struct virtq *q, struct rd *in)
{
	uint8_t enabled;

	q->size = rd_u16(in);
	enabled = rd_u8(in);
	q->desc = rd_u64(in);
	q->avail = rd_u64(in);
	q->used = rd_u64(in);
	q->last_avail = rd_u16(in);
	q->used_idx = rd_u16(in);
	q->signalled = rd_u16(in);
	q->enabled = enabled;
	return !in->bad && virtq_size_ok(v, q->size) && enabled <= 1;
}

int virtio_restore(struct virtio *v, struct rd *in)
{
	uint64_t offered = rd_u64(in);
	bool ok;

	v->accepted = rd_u64(in);
	v->status = rd_u8(in);
	v->isr = rd_u8(in);
	v->generation = rd_u8(in);
	v->device_feature_select = rd_u32(in);
	v->driver_feature_select = rd_u32(in);
	v->queue_select = rd_u16(in);
	ok = offered == v->offered;
	for (unsigned i = 0; i < v->class->nqueues; i++)
		ok = virtq_restore(v, &v->queue[i], in) && ok;
	if ((v->status & VIRTIO_STATUS_FEATURES_OK) && (v->accepted & ~v->offered))
		ok = false;
	if (!ok || in->bad || (v->isr & ~(VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG))) {
		virtio_reset(v);
		return -EINVAL;
	}
	irq_set(&v->irq, v->isr != 0);
	return 0;
}

/* --- rings --- */

static bool ring_get16(struct virtio *v, uint64_t gpa, uint16_t *value)
{
	if (memory_read(v->mem, gpa, value, sizeof(*value)))
		return true;
	virtio_break(v);
	return false;
}

static bool ring_put(struct virtio *v, uint64_t gpa, const void *data, size_t len)
{
	if (memory_write(v->mem, gpa, data, len))
		return true;
	virtio_break(v);
	return false;
}

static uint64_t avail_entry(const struct virtq *q, unsigned i)
{
	return q->avail + 4 + 2ull * i;
}

/* used_event lies behind the available ring, avail_event behind the used ring (2.7.6, 2.7.8). */
static uint64_t used_event(const struct virtq *q)
{
	return avail_entry(q, q->size);
}

static uint64_t avail_event(const struct virtq *q)
{
	return q->used + 4 + 8ull * q->size;
}

/* A table of descriptors: the ring's, or an indirect one. */
struct table {
	uint64_t at;
	unsigned n;
};

static bool chain_add(struct virtq_chain *c, const struct desc *d, unsigned limit)
{
	unsigned n = c->nread + c->nwrite;

	if (n == limit)
		return false;
	c->seg[n] = (struct virtq_seg){ .gpa = d->addr, .len = d->len };
	if (d->flags & DESC_WRITE) {
		c->nwrite++;
		c->write_len += d->len;
	} else {
		/* Readable parts come first (2.7.4.2). */
		if (c->nwrite)
			return false;
		c->nread++;
		c->read_len += d->len;
	}
	return c->read_len + c->write_len <= 1ull << 32;
}

/*
 * Table of an indirect descriptor (2.7.5.3): the last of its chain, not nested, at most as long as
 * a queue.
 */
static bool table_enter(struct table *t, const struct desc *d, bool nested, unsigned limit)
{
	if (nested || (d->flags & DESC_NEXT) || d->len == 0 || d->len % sizeof(*d) ||
	    d->len / sizeof(*d) > limit)
		return false;
	*t = (struct table){ .at = d->addr, .n = (unsigned)(d->len / sizeof(*d)) };
	return true;
}

/*
 * Walks a chain. Ends because each table is left after at most n steps and an indirect one is
 * entered once.
 */
static bool chain_walk(struct virtio *v, const struct virtq *q, struct virtq_chain *c)
{
	struct table t = { .at = q->desc, .n = q->size };
	bool nested = false;
	unsigned i = c->head, steps = 0;

	for (;;) {
		struct desc d;

		if (i >= t.n || steps++ >= t.n ||
		    !memory_read(v->mem, t.at + 16ull * i, &d, sizeof(d)))
			return false;
		if (d.flags & DESC_INDIRECT) {
			if (!virtio_has(v, VIRTIO_F_INDIRECT_DESC) ||
			    !table_enter(&t, &d, nested, v->limit))
				return false;
			nested = true;
			i = steps = 0;
			continue;
		}
		if (!chain_add(c, &d, v->limit))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
		i = d.next;
	}
}

bool virtq_pop(struct virtio *v, unsigned queue, struct virtq_chain *c)
{
	struct virtq *q = &v->queue[queue];
	uint16_t idx, taken = (uint16_t)(q->last_avail - q->used_idx);

	if (!virtio_live(v) || !q->enabled || !ring_get16(v, q->avail + 2, &idx) ||
	    idx == q->last_avail)
		return false;
	/* More buffers than descriptors, or one that is not given back yet offered again. */
	if ((uint16_t)(idx - q->last_avail) > q->size || taken >= q->size) {
		virtio_break(v);
		return false;
	}
	if (!ring_get16(v, avail_entry(q, q->last_avail % q->size), &c->head))
		return false;
	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	if (!chain_walk(v, q, c)) {
		virtio_break(v);
		return false;
	}
	q->last_avail++;
	return true;
}

void virtq_unpop(struct virtio *v, unsigned queue, unsigned n)
{
	v->queue[queue].last_avail = (uint16_t)(v->queue[queue].last_avail - n);
}

void virtq_push(struct virtio *v, unsigned queue, uint16_t head, uint32_t written)
{
	struct virtq *q = &v->queue[queue];
	uint32_t elem[2] = { head, written };
	uint16_t idx = (uint16_t)(q->used_idx + 1);

	if (!virtio_live(v) ||
	    !ring_put(v, q->used + 4 + 8ull * (q->used_idx % q->size), elem, sizeof(elem)) ||
	    !ring_put(v, q->used + 2, &idx, sizeof(idx)))
		return;
	q->used_idx = idx;
}

void virtq_signal(struct virtio *v, unsigned queue)
{
	struct virtq *q = &v->queue[queue];
	uint16_t old = q->signalled, now = q->used_idx, word;

	if (!virtio_live(v) || old == now)
		return;
	q->signalled = now;
	if (virtio_has(v, VIRTIO_F_EVENT_IDX)) {
		/* Did used_idx step over the driver's event index (2.7.10)? */
		if (ring_get16(v, used_event(q), &word) &&
		    (uint16_t)(now - word - 1) < (uint16_t)(now - old))
			virtio_raise(v, queue);
	} else if (ring_get16(v, q->avail, &word) && !(word & AVAIL_NO_INTERRUPT)) {
		virtio_raise(v, queue);
	}
}

void virtq_listen(struct virtio *v, unsigned queue)
{
	struct virtq *q = &v->queue[queue];

	if (virtio_live(v) && q->enabled && virtio_has(v, VIRTIO_F_EVENT_IDX))
		ring_put(v, avail_event(q), &q->last_avail, sizeof(q->last_avail));
}

/* --- chain contents --- */

/* Visits the part [offset, offset + len) of n segments, one contiguous piece after the other. */
static bool segs_copy(struct virtio *v, const struct virtq_seg *seg, unsigned n, uint64_t offset,
		      uint8_t *out, const uint8_t *in, uint64_t len)
{
	for (unsigned i = 0; i < n && len; i++) {
		uint64_t part;

		if (offset >= seg[i].len) {
			offset -= seg[i].len;
			continue;
		}
		part = seg[i].len - offset < len ? seg[i].len - offset : len;
		if (!(out ? memory_read(v->mem, seg[i].gpa + offset, out, part)
			  : memory_write(v->mem, seg[i].gpa + offset, in, part)))
			break;
		if (out)
			out += part;
		else
			in += part;
		len -= part;
		offset = 0;
	}
	if (len)
		virtio_break(v);
	return len == 0;
}

bool virtq_read(struct virtio *v, const struct virtq_chain *c, uint64_t offset, void *data,
		uint64_t len)
{
	return segs_copy(v, c->seg, c->nread, offset, data, NULL, len);
}

bool virtq_write(struct virtio *v, const struct virtq_chain *c, uint64_t offset, const void *data,
		 uint64_t len)
{
	return segs_copy(v, c->seg + c->nread, c->nwrite, offset, NULL, data, len);
}
