// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_console.h"

#include <errno.h>
#include <string.h>

enum { QUEUE_RX, QUEUE_TX, QUEUES };

#define F_SIZE	    (1ull << 0)
#define F_EMERG	    (1ull << 2)
#define CONFIG_SIZE 12u /* cols, rows, max_nr_ports, emerg_wr (5.3.4) */
#define EMERG_AT    8u

static struct virtio_console *console_of(struct virtio *v)
{
	return (struct virtio_console *)v;
}

static void console_config_get(struct virtio *v, uint8_t *config)
{
	const struct virtio_console *c = console_of(v);

	memset(config, 0, CONFIG_SIZE);
	config[0] = (uint8_t)c->cols;
	config[1] = (uint8_t)(c->cols >> 8);
	config[2] = (uint8_t)c->rows;
	config[3] = (uint8_t)(c->rows >> 8);
	config[4] = 1;
}

/* Emergency write (5.3.4): output before, or without, any set-up. */
static void console_config_put(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	struct virtio_console *c = console_of(v);
	uint8_t byte = (uint8_t)value;

	if (offset == EMERG_AT)
		c->fx.tx(c->fx.ctx, &byte, 1);
}

/* Moves waiting input into the driver's buffers. */
static void console_fill(struct virtio_console *c)
{
	struct virtio *v = &c->virtio;

	for (unsigned n = 0; n < v->limit && c->count && virtq_pop(v, QUEUE_RX, &c->chain); n++) {
		uint64_t len = c->count < c->chain.write_len ? c->count : c->chain.write_len;

		for (uint64_t i = 0; i < len; i++)
			c->data[i] = c->input[(c->head + i) % VIRTIO_CONSOLE_INPUT];
		if (!virtq_write(v, &c->chain, 0, c->data, len))
			return;
		c->head = (uint16_t)((c->head + len) % VIRTIO_CONSOLE_INPUT);
		c->count = (uint16_t)(c->count - len);
		virtq_push(v, QUEUE_RX, c->chain.head, (uint32_t)len);
	}
	/* While nothing waits, new buffers are of no interest. */
	if (c->count)
		virtq_listen(v, QUEUE_RX);
	virtq_signal(v, QUEUE_RX);
}

static bool console_emit(struct virtio_console *c)
{
	uint64_t len = c->chain.read_len < VIRTIO_CONSOLE_TX_MAX ? c->chain.read_len
								 : VIRTIO_CONSOLE_TX_MAX;

	for (uint64_t done = 0; done < len;) {
		size_t part = len - done < sizeof(c->data) ? (size_t)(len - done) : sizeof(c->data);

		if (!virtq_read(&c->virtio, &c->chain, done, c->data, part))
			return false;
		c->fx.tx(c->fx.ctx, c->data, part);
		done += part;
	}
	return true;
}

static void console_notify(struct virtio *v, unsigned queue)
{
	struct virtio_console *c = console_of(v);

	if (queue == QUEUE_RX) {
		console_fill(c);
		return;
	}
	for (unsigned n = 0; n < v->limit && virtq_pop(v, QUEUE_TX, &c->chain); n++) {
		if (!console_emit(c))
			return;
		virtq_push(v, QUEUE_TX, c->chain.head, 0);
	}
	virtq_listen(v, QUEUE_TX);
	virtq_signal(v, QUEUE_TX);
}

static const struct virtio_class console_class = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,
	.nqueues = QUEUES,
	.config_size = CONFIG_SIZE,
	.config_get = console_config_get,
	.config_put = console_config_put,
	.notify = console_notify,
};

void virtio_console_init(struct virtio_console *c, struct memory *mem,
			 const struct virtio_console_effects *fx)
{
	memset(c, 0, sizeof(*c));
	c->fx = *fx;
	c->cols = 80;
	c->rows = 25;
	virtio_init(&c->virtio, &console_class, mem, F_SIZE | F_EMERG);
}

size_t virtio_console_room(const struct virtio_console *c)
{
	return VIRTIO_CONSOLE_INPUT - c->count;
}

void virtio_console_input(struct virtio_console *c, const uint8_t *data, size_t len)
{
	size_t room = virtio_console_room(c);

	if (len > room) {
		c->dropped += len - room;
		len = room;
	}
	for (size_t i = 0; i < len; i++)
		c->input[(c->head + c->count + i) % VIRTIO_CONSOLE_INPUT] = data[i];
	c->count = (uint16_t)(c->count + len);
	console_fill(c);
}

static void console_reset(void *dev)
{
	struct virtio_console *c = dev;

	c->cols = 80;
	c->rows = 25;
	c->head = c->count = 0;
	virtio_reset(&c->virtio);
}

static void console_save(const void *dev, struct buf *out)
{
	const struct virtio_console *c = dev;

	virtio_save(&c->virtio, out);
	buf_put_u16(out, c->cols);
	buf_put_u16(out, c->rows);
	buf_put_u16(out, c->count);
	for (unsigned i = 0; i < c->count; i++)
		buf_put_u8(out, c->input[(c->head + i) % VIRTIO_CONSOLE_INPUT]);
}

static int console_restore(void *dev, struct rd *in)
{
	struct virtio_console *c = dev;

	if (virtio_restore(&c->virtio, in))
		goto bad;
	c->cols = rd_u16(in);
	c->rows = rd_u16(in);
	c->head = 0;
	c->count = rd_u16(in);
	if (c->count > VIRTIO_CONSOLE_INPUT)
		goto bad;
	rd_get(in, c->input, c->count);
	if (!in->bad)
		return 0;
bad:
	console_reset(c);
	return -EINVAL;
}

const struct device_ops virtio_console_ops = {
	.name = "virtio-console",
	.reset = console_reset,
	.save = console_save,
	.restore = console_restore,
};
