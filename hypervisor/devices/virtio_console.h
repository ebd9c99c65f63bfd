/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-console (virtio 1.2, 5.3): one port. Input waits in a small ring buffer until the driver
 * has receive buffers.
 *
 * The port is a console, or it has a name: then it is a serial line to a program in the guest,
 * which finds it as /dev/virtio-ports/NAME. The device has control queues for it (MULTIPORT) and
 * takes input only while that program has the port open.
 */
#ifndef HYPERVISOR_DEVICES_VIRTIO_CONSOLE_H
#define HYPERVISOR_DEVICES_VIRTIO_CONSOLE_H

#include "hypervisor/devices/virtio.h"

#define VIRTIO_CONSOLE_INPUT  4096u	 /* bytes that wait for the driver */
#define VIRTIO_CONSOLE_TX_MAX (1u << 20) /* bytes taken from one chain */

#define VIRTIO_CONSOLE_NAME_MAX 56u

struct virtio_console_effects {
	void (*tx)(void *ctx, const uint8_t *data, size_t len);
	void *ctx;
};

struct virtio_console {
	struct virtio virtio; /* first */
	struct virtio_console_effects fx;
	const char *name; /* of the port; NULL: it is a console */
	uint16_t cols, rows;
	bool open;	 /* a named port: by the guest */
	uint8_t pending; /* a bit for each control message that waits for a buffer */
	uint8_t input[VIRTIO_CONSOLE_INPUT];
	uint16_t head, count; /* of the input ring */
	uint64_t dropped;     /* statistics */
	uint8_t data[4096];   /* working memory of one call */
	struct virtq_chain chain;
};

void virtio_console_init(struct virtio_console *c, struct memory *mem,
			 const struct virtio_console_effects *fx);
/* The same with a named port; the name is kept, and has at most VIRTIO_CONSOLE_NAME_MAX bytes. */
void virtio_console_init_port(struct virtio_console *c, struct memory *mem, const char *name,
			      const struct virtio_console_effects *fx);
/* Bytes that virtio_console_input() takes now without losing any; 0 while a named port is closed.
 */
size_t virtio_console_room(const struct virtio_console *c);
/* Bytes typed; what does not fit is dropped and counted. */
void virtio_console_input(struct virtio_console *c, const uint8_t *data, size_t len);

extern const struct device_ops virtio_console_ops;

#endif
