/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio devices under a byte script (virtio_fuzz.h), each with what is special to it. */
#ifndef TESTS_FUZZ_VIRTIO_TARGETS_H
#define TESTS_FUZZ_VIRTIO_TARGETS_H

#include "hypervisor/devices/virtio_balloon.h"
#include "hypervisor/devices/virtio_blk.h"
#include "hypervisor/devices/virtio_console.h"
#include "hypervisor/devices/virtio_net.h"
#include "hypervisor/devices/virtio_rng.h"
#include "tests/fuzz/virtio_fuzz.h"

/* ---- balloon ---- */

static struct virtio_balloon fuzz_balloon;

static inline void fuzz_balloon_input(struct rig *r, struct rd *in)
{
	virtio_balloon_set_target(&fuzz_balloon, rd_u32(in));
}

/* Page numbers to inflate or deflate by. */
static inline unsigned fuzz_balloon_request(struct rig *r, struct rd *in, unsigned *q,
					    struct rig_part part[4])
{
	uint32_t pfn[4] = { rd_u8(in), rd_u8(in), rd_u16(in), rd_u8(in) };
	uint8_t how = rd_u8(in);

	*q = how & 1;
	memory_write(&r->mem, RIG_HEAP + 0x1000, pfn, sizeof(pfn));
	part[0] = (struct rig_part){ RIG_HEAP + 0x1000, 4u * (1 + (how >> 1 & 3)), false };
	return 1;
}

static inline void fuzz_balloon_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct fuzz_device f = { .ops = &virtio_balloon_ops,
				       .dev = &fuzz_balloon,
				       .input = fuzz_balloon_input,
				       .request = fuzz_balloon_request };

	rig_init(&r);
	virtio_balloon_init(&fuzz_balloon, &r.mem, NULL);
	rig_attach(&r, &fuzz_balloon.virtio);
	fuzz_run(&r, &f, data, size);
	rig_fini(&r);
}

/* ---- blk ---- */

static struct virtio_blk fuzz_blk;
static struct rig_disk fuzz_disk;

static inline void fuzz_blk_input(struct rig *r, struct rd *in)
{
	uint64_t ns = r->count + rd_u32(in), number;

	for (unsigned n = 0; n < 4; n++) {
		int error = virtio_blk_next_error(&fuzz_blk, ns, &number);

		if (error)
			must(virtio_blk_set_error(&fuzz_blk, number, error) == 0);
	}
	virtio_blk_set_error(&fuzz_blk, rd_u8(in), (int)rd_u16(in));
	fuzz_disk.next_error = rd_u8(in) & 1 ? 5 : 0;
}

/* A header, data or a range, a status byte: as virtio 1.2, 5.2.6 has them. */
static inline unsigned fuzz_blk_request(struct rig *r, struct rd *in, unsigned *q,
					struct rig_part part[4])
{
	static const uint32_t types[] = { 0, 1, 4, 8, 11, 13, 0, 1 };
	uint8_t how = rd_u8(in), at = rd_u8(in), n = rd_u8(in);
	const uint32_t head[4] = { types[how & 7], 0, at, 0 }, range[4] = { at, 0, n, how >> 6 };
	bool out = head[0] == 1 || head[0] > 8;
	uint32_t len = (1 + (n & 15u)) * 512;

	memory_write(&r->mem, RIG_HEAP, head, sizeof(head));
	if (head[0] > 8)
		memory_write(&r->mem, RIG_HEAP + 0x1000, range, len = sizeof(range));
	part[0] = (struct rig_part){ RIG_HEAP, 16, false };
	part[1] = (struct rig_part){ RIG_HEAP + 0x1000, len, !out };
	part[2] = (struct rig_part){ RIG_HEAP + 0x8000, 1, true };
	if (head[0] == 4)
		part[1] = part[2];
	return head[0] == 4 ? 2 : 3;
}

static inline void fuzz_blk_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct fuzz_device f = { .ops = &virtio_blk_ops,
				       .dev = &fuzz_blk,
				       .input = fuzz_blk_input,
				       .request = fuzz_blk_request };

	rig_init(&r);
	rig_disk_init(&fuzz_disk, 256, size && (data[0] & 0x80));
	virtio_blk_init(&fuzz_blk, &r.mem, &r.clock, &fuzz_disk.backend, "fuzz");
	rig_attach(&r, &fuzz_blk.virtio);
	fuzz_run(&r, &f, data, size);
	virtio_blk_fini(&fuzz_blk);
	must(fuzz_blk.held == 0 && fuzz_blk.underway == 0);
	rig_disk_fini(&fuzz_disk);
	rig_fini(&r);
}

/* ---- console ---- */

static struct virtio_console fuzz_console;

static inline void fuzz_console_tx(void *ctx, const uint8_t *data, size_t len)
{
	must(len > 0 && len <= 4096);
}

static inline void fuzz_console_input(struct rig *r, struct rd *in)
{
	static const uint8_t text[65536];

	if (rd_u8(in) & 1)
		virtio_console_input(&fuzz_console, text, rd_u16(in) >> (rd_u8(in) & 15));
	else if (rd_u16(in) != rd_u16(in))
		virtio_config_changed(&fuzz_console.virtio);
	must(virtio_console_room(&fuzz_console) <= VIRTIO_CONSOLE_INPUT);
}

/* Room for input, or output. */
static inline unsigned fuzz_console_request(struct rig *r, struct rd *in, unsigned *q,
					    struct rig_part part[4])
{
	*q = rd_u8(in) & 1;
	part[0] = (struct rig_part){ RIG_HEAP, 1 + rd_u16(in) % 9000u, !*q };
	part[1] = (struct rig_part){ RIG_HEAP + 0x4000, rd_u8(in), !*q };
	return 2;
}

static inline void fuzz_console_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct virtio_console_effects fx = { .tx = fuzz_console_tx };
	const struct fuzz_device f = { .ops = &virtio_console_ops,
				       .dev = &fuzz_console,
				       .input = fuzz_console_input,
				       .request = fuzz_console_request };

	rig_init(&r);
	virtio_console_init(&fuzz_console, &r.mem, &fx);
	rig_attach(&r, &fuzz_console.virtio);
	fuzz_run(&r, &f, data, size);
	rig_fini(&r);
}

/* ---- a named port: the console's other form ---- */

/* Room for what the device says, output, or a control message. */
static inline unsigned fuzz_port_request(struct rig *r, struct rd *in, unsigned *q,
					 struct rig_part part[4])
{
	const uint8_t message[8] = { rd_u8(in) >> 7, 0, 0, 0, rd_u8(in) & 7, 0, rd_u8(in) & 1, 0 };

	*q = rd_u8(in) & 3;
	if (*q == 3)
		memory_write(&r->mem, RIG_HEAP, message, sizeof(message));
	part[0] = (struct rig_part){ RIG_HEAP, *q == 3 ? 8 : 1 + rd_u16(in) % 9000u, !(*q & 1) };
	part[1] = (struct rig_part){ RIG_HEAP + 0x4000, rd_u8(in), !(*q & 1) };
	return 2;
}

static inline void fuzz_port_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct virtio_console_effects fx = { .tx = fuzz_console_tx };
	const struct fuzz_device f = { .ops = &virtio_console_ops,
				       .dev = &fuzz_console,
				       .input = fuzz_console_input,
				       .request = fuzz_port_request };

	rig_init(&r);
	virtio_console_init_port(&fuzz_console, &r.mem, "org.qemu.guest_agent.0", &fx);
	rig_attach(&r, &fuzz_console.virtio);
	fuzz_run(&r, &f, data, size);
	must(fuzz_console.open || !fuzz_console.count);
	rig_fini(&r);
}

/* ---- net ---- */

static struct virtio_net fuzz_net;

static inline void fuzz_net_tx(void *ctx, const uint8_t *frame, size_t len)
{
	must(len >= 14 && len <= VIRTIO_NET_FRAME_MAX);
}

static inline void fuzz_net_input(struct rig *r, struct rd *in)
{
	static uint8_t frame[65536];
	uint8_t kind = rd_u8(in);

	if (kind == 0)
		virtio_net_set_link(&fuzz_net, rd_u8(in) & 1);
	else if (kind == 1)
		virtio_net_announce(&fuzz_net);
	else {
		rd_get(in, frame, 6);
		virtio_net_receive(&fuzz_net, frame, rd_u16(in) >> (rd_u8(in) & 15));
	}
}

/*
 * A buffer to receive into, a frame to send, or a command to the control queue (virtio 1.2, 5.1.6).
 */
static inline unsigned fuzz_net_request(struct rig *r, struct rd *in, unsigned *q,
					struct rig_part part[4])
{
	uint8_t kind = rd_u8(in), head[12] = { 0 }, command[2 + 8 + 12];

	*q = kind % 3;
	if (*q == 0) {
		part[0] = (struct rig_part){ RIG_HEAP + 0x4000, 12 + rd_u16(in) % 9100u, true };
		return 1;
	}
	if (*q == 1) {
		memory_write(&r->mem, RIG_HEAP, head, sizeof(head));
		part[0] = (struct rig_part){ RIG_HEAP, 12, false };
		part[1] = (struct rig_part){ RIG_HEAP + 0x1000, 14 + rd_u16(in) % 9100u, false };
		return 2;
	}
	memset(command, 0, sizeof(command));
	command[0] = rd_u8(in) % 5;
	command[1] = rd_u8(in) % 7;
	rd_get(in, command + 2, sizeof(command) - 2);
	if (kind & 0x40) { /* tables of one address each: le32 1, address */
		memcpy(command + 2, "\1\0\0\0", 4);
		memcpy(command + 12, "\1\0\0\0", 4);
	}
	memory_write(&r->mem, RIG_HEAP + 0x800, command, sizeof(command));
	part[0] = (struct rig_part){ RIG_HEAP + 0x800, 2, false };
	part[1] = (struct rig_part){ RIG_HEAP + 0x802,
				     kind & 0x40   ? 20
				     : kind & 0x80 ? 6
						   : 1 + (kind >> 4 & 3),
				     false };
	part[2] = (struct rig_part){ RIG_HEAP + 0x900, 1, true };
	return 3;
}

static inline void fuzz_net_run(const uint8_t *data, size_t size)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
	static struct rig r;
	const struct virtio_net_effects fx = { .tx = fuzz_net_tx };
	const struct fuzz_device f = { .ops = &virtio_net_ops,
				       .dev = &fuzz_net,
				       .input = fuzz_net_input,
				       .request = fuzz_net_request };

	rig_init(&r);
	virtio_net_init(&fuzz_net, &r.mem, mac, &fx);
	rig_attach(&r, &fuzz_net.virtio);
	fuzz_run(&r, &f, data, size);
	rig_fini(&r);
}

/* ---- rng ---- */

static struct virtio_rng fuzz_rng;

static inline uint64_t fuzz_random(void *ctx)
{
	return 0x0123456789abcdef;
}

static inline void fuzz_rng_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct fuzz_device f = { .ops = &virtio_rng_ops, .dev = &fuzz_rng };

	rig_init(&r);
	virtio_rng_init(&fuzz_rng, &r.mem, fuzz_random, NULL);
	rig_attach(&r, &fuzz_rng.virtio);
	fuzz_run(&r, &f, data, size);
	rig_fini(&r);
}

#endif
