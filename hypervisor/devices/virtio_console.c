// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_console.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

/* A named port is number 0: its queues are those of a console. */
enum { QUEUE_RX, QUEUE_TX, QUEUES, QUEUE_CONTROL_RX = QUEUES, QUEUE_CONTROL_TX, PORT_QUEUES };

#define F_SIZE	    (1ull << 0)
#define F_MULTIPORT (1ull << 1)
#define F_EMERG	    (1ull << 2)
#define CONFIG_SIZE 12u /* cols, rows, max_nr_ports, emerg_wr (5.3.4) */
#define EMERG_AT    8u

/*
 * Control messages (5.3.6.2):
 *
 *   0        4           6           8
 *   | port   | event     | value     | a name, behind PORT_NAME
 */
#define CONTROL_SIZE 8u

enum {
	CONTROL_DEVICE_READY = 0, /* of the driver: it wants to hear of ports */
	CONTROL_DEVICE_ADD = 1,	  /* of the device, and so are those without a word */
	CONTROL_PORT_READY = 3,	  /* of the driver */
	CONTROL_PORT_OPEN = 6,	  /* of both: somebody is, or is not, at that end */
	CONTROL_PORT_NAME = 7
};

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

/* ---- control messages ---- */

/* Writes the first message that waits into a buffer; returns its length. */
static size_t control_next(struct virtio_console *c, uint8_t *message)
{
	/* A name comes before somebody is there: the driver announces a port with its name. */
	static const uint8_t order[] = { CONTROL_DEVICE_ADD, CONTROL_PORT_NAME, CONTROL_PORT_OPEN };
	size_t len = CONTROL_SIZE;
	unsigned i = 0;

	while (i < sizeof(order) - 1 && !(c->pending & 1u << order[i]))
		i++;
	c->pending &= (uint8_t) ~(1u << order[i]);
	memset(message, 0, CONTROL_SIZE);
	message[4] = order[i];
	message[6] = 1;
	if (order[i] == CONTROL_PORT_NAME) {
		memcpy(message + len, c->name, strlen(c->name));
		len += strlen(c->name);
	}
	return len;
}

static void console_tell(struct virtio_console *c)
{
	struct virtio *v = &c->virtio;
	uint8_t message[CONTROL_SIZE + VIRTIO_CONSOLE_NAME_MAX];

	while (c->pending && virtq_pop(v, QUEUE_CONTROL_RX, &c->chain)) {
		size_t len = control_next(c, message);

		if (!virtq_write(v, &c->chain, 0, message, len))
			return;
		virtq_push(v, QUEUE_CONTROL_RX, c->chain.head, (uint32_t)len);
	}
	if (c->pending)
		virtq_listen(v, QUEUE_CONTROL_RX);
	virtq_signal(v, QUEUE_CONTROL_RX);
}

/* What the driver says of another port than 0, and what it need not say, is of no interest. */
static void console_told(struct virtio_console *c, const uint8_t *message)
{
	unsigned port = message[0] | message[1] | message[2] | message[3];
	unsigned event = message[4] | (unsigned)message[5] << 8;
	bool value = message[6] | message[7];

	if (event == CONTROL_DEVICE_READY && value)
		c->pending |= 1u << CONTROL_DEVICE_ADD;
	else if (event == CONTROL_PORT_READY && !port && value)
		c->pending |= 1u << CONTROL_PORT_NAME | 1u << CONTROL_PORT_OPEN;
	else if (event == CONTROL_PORT_OPEN && !port)
		c->open = value;
	if (!c->open)
		c->head = c->count = 0; /* it was for who has closed it */
}

static void console_listen_to_control(struct virtio_console *c)
{
	struct virtio *v = &c->virtio;
	uint8_t message[CONTROL_SIZE];

	for (unsigned n = 0; n < v->limit && virtq_pop(v, QUEUE_CONTROL_TX, &c->chain); n++) {
		if (c->chain.read_len >= CONTROL_SIZE) {
			if (!virtq_read(v, &c->chain, 0, message, CONTROL_SIZE))
				return;
			console_told(c, message);
		}
		virtq_push(v, QUEUE_CONTROL_TX, c->chain.head, 0);
	}
	virtq_listen(v, QUEUE_CONTROL_TX);
	virtq_signal(v, QUEUE_CONTROL_TX);
	console_tell(c);
}

static void console_output(struct virtio_console *c)
{
	struct virtio *v = &c->virtio;

	for (unsigned n = 0; n < v->limit && virtq_pop(v, QUEUE_TX, &c->chain); n++) {
		if (!console_emit(c))
			return;
		virtq_push(v, QUEUE_TX, c->chain.head, 0);
	}
	virtq_listen(v, QUEUE_TX);
	virtq_signal(v, QUEUE_TX);
}

static void console_notify(struct virtio *v, unsigned queue)
{
	static void (*const notified[PORT_QUEUES])(struct virtio_console * c) = {
		[QUEUE_RX] = console_fill,
		[QUEUE_TX] = console_output,
		[QUEUE_CONTROL_RX] = console_tell,
		[QUEUE_CONTROL_TX] = console_listen_to_control,
	};

	notified[queue](console_of(v));
}

/* Nobody has it open, and nothing is to be told, until the driver says so again. */
static void port_close(struct virtio *v)
{
	struct virtio_console *c = console_of(v);

	c->open = false;
	c->pending = 0;
	c->head = c->count = 0;
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

static const struct virtio_class port_class = {
	.name = "virtio-serial",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,
	.nqueues = PORT_QUEUES,
	.config_size = CONFIG_SIZE,
	.config_get = console_config_get,
	.config_put = console_config_put,
	.notify = console_notify,
	.reset = port_close,
};

static void console_init(struct virtio_console *c, const char *name,
			 const struct virtio_console_effects *fx)
{
	memset(c, 0, sizeof(*c));
	c->fx = *fx;
	c->name = name;
	c->cols = 80;
	c->rows = 25;
}

void virtio_console_init(struct virtio_console *c, struct memory *mem,
			 const struct virtio_console_effects *fx)
{
	console_init(c, NULL, fx);
	virtio_init(&c->virtio, &console_class, mem, F_SIZE | F_EMERG);
}

void virtio_console_init_port(struct virtio_console *c, struct memory *mem, const char *name,
			      const struct virtio_console_effects *fx)
{
	must(strlen(name) <= VIRTIO_CONSOLE_NAME_MAX);
	console_init(c, name, fx);
	virtio_init(&c->virtio, &port_class, mem, F_MULTIPORT);
}

size_t virtio_console_room(const struct virtio_console *c)
{
	return c->name && !c->open ? 0 : VIRTIO_CONSOLE_INPUT - c->count;
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
	port_close(&c->virtio);
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
	if (!c->name)
		return;
	buf_put_u8(out, c->open);
	buf_put_u8(out, c->pending);
}

static bool port_restore(struct virtio_console *c, struct rd *in)
{
	uint8_t open = rd_u8(in), known = 1u << CONTROL_DEVICE_ADD | 1u << CONTROL_PORT_NAME |
					  1u << CONTROL_PORT_OPEN;

	c->open = open;
	c->pending = rd_u8(in);
	return open <= 1 && !(c->pending & ~known) && (c->open || !c->count);
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
	if (c->name && !port_restore(c, in))
		goto bad;
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
