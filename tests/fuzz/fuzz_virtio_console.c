// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_console.h"
#include "tests/fuzz/virtio_fuzz.h"

static struct virtio_console fuzz_console;

static void fuzz_console_tx(void *ctx, const uint8_t *data, size_t len)
{
	must(len > 0 && len <= 4096);
}

static void fuzz_console_input(struct rig *r, struct rd *in)
{
	static const uint8_t text[65536];

	if (rd_u8(in) & 1)
		virtio_console_input(&fuzz_console, text, rd_u16(in) >> (rd_u8(in) & 15));
	else
		virtio_console_resize(&fuzz_console, rd_u16(in), rd_u16(in));
	must(virtio_console_room(&fuzz_console) <= VIRTIO_CONSOLE_INPUT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct virtio_console_effects fx = { .tx = fuzz_console_tx };
	const struct fuzz_device f = { .ops = &virtio_console_ops, .dev = &fuzz_console, .input = fuzz_console_input };

	rig_init(&r);
	virtio_console_init(&fuzz_console, &r.mem, &fx);
	rig_attach(&r, &fuzz_console.virtio);
	fuzz_run(&r, &f, data, size);
	rig_fini(&r);
	return 0;
}
