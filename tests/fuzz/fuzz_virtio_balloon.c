// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_balloon.h"
#include "tests/fuzz/virtio_fuzz.h"

static struct virtio_balloon fuzz_balloon;

static void fuzz_balloon_input(struct rig *r, struct rd *in)
{
	virtio_balloon_set_target(&fuzz_balloon, rd_u32(in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct fuzz_device f = { .ops = &virtio_balloon_ops, .dev = &fuzz_balloon, .input = fuzz_balloon_input };

	rig_init(&r);
	virtio_balloon_init(&fuzz_balloon, &r.mem, NULL);
	rig_attach(&r, &fuzz_balloon.virtio);
	fuzz_run(&r, &f, data, size);
	rig_fini(&r);
	return 0;
}
