// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>

#include "hypervisor/devices/pci.h"
#include "hypervisor/devices/virtio_rng.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct virtio_rng rng[2];
static struct virtio_pci second;

static uint64_t no_random(void *ctx)
{
	return 0x5a;
}

static void setup(void)
{
	rig_init(&rig);
	virtio_rng_init(&rng[0], &rig.mem, no_random, NULL);
	rig_attach(&rig, &rng[0].virtio);
	virtio_rng_init(&rng[1], &rig.mem, no_random, NULL);
	ck_assert(
		virtio_pci_init(&second, &rng[1].virtio, &rig.pci, 8, NULL)); /* on the same link */
}

START_TEST(mechanism_1)
{
	setup();
	/* Linux' probe: a byte at 0xcfb does not touch the address, a dword at 0xcf8 reads back. */
	bus_write(&rig.bus, BUS_PORT, 0xcfb, 1, 1);
	bus_write(&rig.bus, BUS_PORT, 0xcf8, 4, 0x80000000);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_PORT, 0xcf8, 4), 0x80000000);
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_CLASS + 1, 2), 0x0600);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_VENDOR, 4), 0x10441af4);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_DEVICE, 1), 0x44);
	/* Nobody there: all ones. */
	ck_assert_uint_eq(rig_config_read(&rig, 31, PCI_VENDOR, 4), 0xffffffff);
	bus_write(&rig.bus, BUS_PORT, 0xcf8, 4, 0x80010000 | RIG_SLOT << 11);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_PORT, 0xcfc, 2), 0xffff);
	bus_write(&rig.bus, BUS_PORT, 0xcf8, 4, 0x80000100 | RIG_SLOT << 11);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_PORT, 0xcfc, 1), 0xff);
	bus_write(&rig.bus, BUS_PORT, 0xcf8, 4, RIG_SLOT << 11);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_PORT, 0xcfc, 4), 0xffffffff);
	/* An access that leaves the dword gets ones for what is beyond it. */
	rig_address(&rig, RIG_SLOT, 0);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_PORT, 0xcff, 4), 0xffffff10);
}
END_TEST

START_TEST(read_only_fields)
{
	setup();
	rig_config_write(&rig, RIG_SLOT, PCI_VENDOR, 4, 0xffffffff);
	rig_config_write(&rig, RIG_SLOT, PCI_STATUS, 2, 0xffff);
	rig_config_write(&rig, RIG_SLOT, PCI_INTERRUPT_PIN, 1, 0xff);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_VENDOR, 4), 0x10441af4);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_STATUS, 2), PCI_STATUS_CAPABILITIES);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_INTERRUPT_PIN, 1), 1);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_INTERRUPT_LINE, 1), 10);
	rig_config_write(&rig, RIG_SLOT, PCI_COMMAND, 2, 0xffff);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_COMMAND, 2),
			  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
				  PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
}
END_TEST

static bool decodes(uint64_t bar)
{
	/* num_queues of the rng */
	return bus_read(&rig.bus, BUS_MMIO, bar + 18, 2) == 1;
}

START_TEST(bar_size_and_move)
{
	setup();
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_BAR0, 4), RIG_BAR);
	ck_assert(decodes(RIG_BAR));
	rig_config_write(&rig, RIG_SLOT, PCI_COMMAND, 2, 0);
	ck_assert(!decodes(RIG_BAR));
	rig_config_write(&rig, RIG_SLOT, PCI_BAR0, 4, 0xffffffff);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_BAR0, 4), 0xffffc000);
	rig_config_write(&rig, RIG_SLOT, PCI_BAR0 + 4, 4, 0xffffffff);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, PCI_BAR0 + 4, 4), 0);
	rig_config_write(&rig, RIG_SLOT, PCI_BAR0, 4, 0xd0004000);
	ck_assert(!decodes(0xd0004000));
	rig_config_write(&rig, RIG_SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert(decodes(0xd0004000));
	/* Byte writes move it as well. */
	rig_config_write(&rig, RIG_SLOT, PCI_BAR0 + 3, 1, 0xd1);
	ck_assert(!decodes(0xd0004000));
	ck_assert(decodes(0xd1004000));
}
END_TEST

START_TEST(bar_overlap)
{
	const uint64_t other = PCI_MMIO_BASE + 8 * PCI_MMIO_STRIDE;

	setup();
	rig_write(&rig, 22, 2, 0x1234); /* tells the two apart */
	/* The lower slot wins whatever the order, and the other one comes back when it leaves. */
	rig_config_write(&rig, RIG_SLOT, PCI_BAR0, 4, (uint32_t)other);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_MMIO, other + 22, 2), 0x1234);
	ck_assert(!decodes(RIG_BAR));
	rig_config_write(&rig, RIG_SLOT, PCI_BAR0, 4, RIG_BAR);
	ck_assert(decodes(other));
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_MMIO, other + 22, 2), 0);
	rig_config_write(&rig, 8, PCI_BAR0, 4, RIG_BAR);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_MMIO, RIG_BAR + 22, 2), 0x1234);
	/* At the end of the address space, and at 0. */
	rig_config_write(&rig, 8, PCI_BAR0, 4, 0xffffc000);
	ck_assert(decodes(0xffffc000));
	rig_config_write(&rig, 8, PCI_BAR0, 4, 0);
	ck_assert(!decodes(0xffffc000));
}
END_TEST

START_TEST(shared_interrupt)
{
	setup();
	pci_device_set_intx(&rig.transport.pci, true);
	pci_device_set_intx(&second.pci, true);
	ck_assert(rig.level[0]);
	pci_device_set_intx(&rig.transport.pci, false);
	ck_assert(rig.level[0]);
	ck_assert_uint_eq(rig_config_read(&rig, 8, PCI_STATUS, 2),
			  PCI_STATUS_CAPABILITIES | PCI_STATUS_INTX);
	rig_config_write(&rig, 8, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	ck_assert(!rig.level[0]);
	ck_assert_uint_eq(rig_config_read(&rig, 8, PCI_STATUS, 2),
			  PCI_STATUS_CAPABILITIES | PCI_STATUS_INTX);
	rig_config_write(&rig, 8, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert(rig.level[0]);
	pci_device_set_intx(&second.pci, false);
	ck_assert(!rig.level[0]);
	ck_assert(!rig.level[1] && !rig.level[2] && !rig.level[3]);
}
END_TEST

/*
 * Follows the list as Linux' virtio_pci_modern does: every structure inside the BAR, none missing.
 */
START_TEST(virtio_capabilities)
{
	unsigned seen = 0, at, n = 0;

	setup();
	for (at = rig_config_read(&rig, RIG_SLOT, PCI_CAPABILITIES, 1); at;
	     at = rig_config_read(&rig, RIG_SLOT, at + 1, 1)) {
		unsigned type = rig_config_read(&rig, RIG_SLOT, at + 3, 1);
		uint32_t offset = rig_config_read(&rig, RIG_SLOT, at + 8, 4);
		uint32_t len = rig_config_read(&rig, RIG_SLOT, at + 12, 4);

		ck_assert_uint_lt(n++, 8);
		ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, at, 1), 0x09);
		ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, at + 4, 1), 0);
		ck_assert_uint_le(offset + len, VIRTIO_PCI_BAR_SIZE);
		seen |= 1u << type;
		if (type == 1) {
			ck_assert_uint_ge(len, 56);
		} else if (type == 2) {
			ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, at + 2, 1), 20);
			ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, at + 16, 4), 4);
		}
	}
	/* The rng has no device configuration. */
	ck_assert_uint_eq(seen, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5);
}
END_TEST

START_TEST(configuration_window)
{
	unsigned w;

	setup();
	w = rig.transport.window;
	/* device_status through the window */
	rig_config_write(&rig, RIG_SLOT, w + 8, 4, 20);
	rig_config_write(&rig, RIG_SLOT, w + 12, 4, 1);
	rig_config_write(&rig, RIG_SLOT, w + 16, 1, VIRTIO_STATUS_ACKNOWLEDGE);
	ck_assert_uint_eq(rig_status(&rig), VIRTIO_STATUS_ACKNOWLEDGE);
	rig_write(&rig, 20, 1, VIRTIO_STATUS_DRIVER);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, w + 16, 1), 3);
	/* Settings that a driver may not use do nothing. */
	rig_config_write(&rig, RIG_SLOT, w + 12, 4, 3);
	rig_config_write(&rig, RIG_SLOT, w + 16, 1, 0);
	ck_assert_uint_eq(rig_status(&rig), 3);
	rig_config_write(&rig, RIG_SLOT, w + 12, 4, 4);
	rig_config_write(&rig, RIG_SLOT, w + 8, 4, 0xfffffffc);
	rig_config_write(&rig, RIG_SLOT, w + 16, 4, 0);
	rig_config_write(&rig, RIG_SLOT, w + 8, 4, 20);
	rig_config_write(&rig, RIG_SLOT, w + 12, 4, 1);
	rig_config_write(&rig, RIG_SLOT, w + 4, 1, 1);
	rig_config_write(&rig, RIG_SLOT, w + 16, 1, 0);
	ck_assert_uint_eq(rig_status(&rig), 3);
}
END_TEST

START_TEST(save_restore)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd in;

	setup();
	rig_config_write(&rig, RIG_SLOT, PCI_BAR0, 4, 0xd0000000);
	rig_config_write(&rig, 8, PCI_COMMAND, 2, 0);
	pci_device_set_intx(&second.pci, true);
	rig_address(&rig, 3, 0x10);
	pci_ops.save(&rig.pci, &a);
	pci_ops.reset(&rig.pci);
	ck_assert(!rig.level[0]);
	ck_assert(decodes(RIG_BAR));
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(pci_ops.restore(&rig.pci, &in), 0);
	ck_assert_uint_eq(rd_left(&in), 0);
	ck_assert(rig.level[0]);
	ck_assert(decodes(0xd0000000));
	ck_assert(!decodes(RIG_BAR));
	pci_ops.save(&rig.pci, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	/* A read-only byte that differs, and every truncation, is refused. */
	b.data[4 + 2 + PCI_VENDOR]++;
	in = (struct rd)RD_INIT(b.data, b.len);
	ck_assert_int_lt(pci_ops.restore(&rig.pci, &in), 0);
	ck_assert(decodes(RIG_BAR));
	for (size_t n = 0; n < a.len; n += 7) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_lt(pci_ops.restore(&rig.pci, &in), 0);
	}
	buf_free(&a);
	buf_free(&b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, mechanism_1);
	tcase_add_test(tc, read_only_fields);
	tcase_add_test(tc, bar_size_and_move);
	tcase_add_test(tc, bar_overlap);
	tcase_add_test(tc, shared_interrupt);
	tcase_add_test(tc, virtio_capabilities);
	tcase_add_test(tc, configuration_window);
	tcase_add_test(tc, save_restore);
}

UNIT_MAIN("pci", add_tests)
