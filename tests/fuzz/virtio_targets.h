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

static inline void fuzz_balloon_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct fuzz_device f = { .ops = &virtio_balloon_ops, .dev = &fuzz_balloon, .input = fuzz_balloon_input };

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

static inline void fuzz_blk_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct fuzz_device f = { .ops = &virtio_blk_ops, .dev = &fuzz_blk, .input = fuzz_blk_input };

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
	else
		virtio_console_resize(&fuzz_console, rd_u16(in), rd_u16(in));
	must(virtio_console_room(&fuzz_console) <= VIRTIO_CONSOLE_INPUT);
}

static inline void fuzz_console_run(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct virtio_console_effects fx = { .tx = fuzz_console_tx };
	const struct fuzz_device f = { .ops = &virtio_console_ops, .dev = &fuzz_console, .input = fuzz_console_input };

	rig_init(&r);
	virtio_console_init(&fuzz_console, &r.mem, &fx);
	rig_attach(&r, &fuzz_console.virtio);
	fuzz_run(&r, &f, data, size);
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

static inline void fuzz_net_run(const uint8_t *data, size_t size)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
	static struct rig r;
	const struct virtio_net_effects fx = { .tx = fuzz_net_tx };
	const struct fuzz_device f = { .ops = &virtio_net_ops, .dev = &fuzz_net, .input = fuzz_net_input };

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
