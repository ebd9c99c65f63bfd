// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_net.h"
#include "tests/fuzz/virtio_fuzz.h"

static struct virtio_net fuzz_net;

static void fuzz_net_tx(void *ctx, const uint8_t *frame, size_t len)
{
	must(len >= 14 && len <= VIRTIO_NET_FRAME_MAX);
}

static void fuzz_net_input(struct rig *r, struct rd *in)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
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
	return 0;
}
