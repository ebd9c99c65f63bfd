// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_rng.h"
#include "tests/fuzz/virtio_fuzz.h"

static struct virtio_rng fuzz_rng;

static uint64_t fuzz_random(void *ctx)
{
	return 0x0123456789abcdef;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig r;
	const struct fuzz_device f = { .ops = &virtio_rng_ops, .dev = &fuzz_rng };

	rig_init(&r);
	virtio_rng_init(&fuzz_rng, &r.mem, fuzz_random, NULL);
	rig_attach(&r, &fuzz_rng.virtio);
	fuzz_run(&r, &f, data, size);
	rig_fini(&r);
	return 0;
}
