// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_blk.h"
#include "tests/fuzz/virtio_fuzz.h"

static struct virtio_blk fuzz_blk;
static struct rig_disk fuzz_disk;

static void fuzz_blk_input(struct rig *r, struct rd *in)
{
	uint64_t number[4];
	size_t n = virtio_blk_due(&fuzz_blk, r->count + rd_u32(in), number, 4);

	for (size_t i = 0; i < n; i++) {
		int error = virtio_blk_wait(&fuzz_blk, number[i]);

		if (error)
			must(virtio_blk_set_error(&fuzz_blk, number[i], error) == 0);
	}
	virtio_blk_set_error(&fuzz_blk, rd_u8(in), (int)rd_u16(in));
	fuzz_disk.next_error = rd_u8(in) & 1 ? 5 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
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
	return 0;
}
