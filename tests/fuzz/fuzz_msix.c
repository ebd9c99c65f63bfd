// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: MSI-X of a virtio device: table, pending bits, message control, vectors of queues,
// requests, saved states; build with -fsanitize=fuzzer
//
// No message leaves while MSI-X is off or all vectors are masked; the line is silent while it is
// on.
#include "hypervisor/devices/virtio_rng.h"
#include "tests/devices/virtio_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig r;
static struct virtio_rng rng;

static void on_message(void *ctx, uint64_t address, uint32_t data)
{
	const struct msix *x = &r.transport.msix;

	must(msix_enabled(x) && !(r.transport.pci.config[x->cap + 3] & 0x40) && !(address & 3));
}

static uint64_t no_random(void *ctx)
{
	return 0x5a;
}

static void request(struct rd *in)
{
	struct rig_part part = { RIG_HEAP, rd_u8(in), true };

	rig_add(&r, 0, &part, 1);
	rig_kick(&r, 0);
}

static void state(struct rd *in)
{
	struct buf image = BUF_INIT;
	unsigned n = rd_u8(in) & 7;
	struct rd rd;

	virtio_pci_msix_save(&r.transport, &image);
	while (n--)
		image.data[rd_u8(in) % image.len] = rd_u8(in);
	rd = (struct rd)RD_INIT(image.data, image.len);
	virtio_pci_msix_restore(&r.transport, &rd);
	buf_free(&image);
}

static void step(struct rd *in)
{
	const uint64_t table = RIG_BAR + VIRTIO_PCI_BAR_SIZE;
	uint8_t op = rd_u8(in);
	unsigned size = 1u << (op >> 6);

	switch (op & 7) {
	case 0:
	case 1:
		bus_write(&r.bus, BUS_MMIO, table + (rd_u8(in) & 0x3c), 4, rd_u32(in));
		break;
	case 2:
		bus_write(&r.bus, BUS_MMIO, table + (rd_u16(in) & 0xfff), size, rd_u32(in));
		bus_read(&r.bus, BUS_MMIO, table + (rd_u16(in) & 0xfff), size);
		break;
	case 3:
		rig_config_write(&r, RIG_SLOT, r.transport.msix.cap + 3, 1, rd_u8(in));
		break;
	case 4:
		rig_config_write(&r, RIG_SLOT, rd_u8(in) & 0xfc, 4, rd_u32(in));
		break;
	case 5:
		rig_write(&r, op & 8 ? 16 : 26, 2, rd_u8(in));
		break;
	case 6:
		request(in);
		break;
	default:
		state(in);
	}
	must(!msix_enabled(&r.transport.msix) || !r.transport.pci.intx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct msix_target target = { .write = on_message };
	struct rd in = RD_INIT(data, size);

	rig_init(&r);
	r.messages = &target;
	virtio_rng_init(&rng, &r.mem, no_random, NULL);
	rig_attach(&r, &rng.virtio);
	rig_start(&r, 0);
	while (rd_left(&in))
		step(&in);
	rig_fini(&r);
	return 0;
}
