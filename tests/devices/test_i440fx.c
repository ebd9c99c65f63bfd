// SPDX-License-Identifier: GPL-2.0-or-later
/* The bridges of machine version 2, against the registers of the 440FX and PIIX3 datasheets. */
#include "hypervisor/devices/i440fx.h"

#include "hypervisor/devices/virtio_rng.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct i440fx bridges;
static struct virtio_rng rng;
static unsigned reroutes;

static void on_reroute(void *ctx)
{
	reroutes++;
}

static uint64_t no_random(void *ctx)
{
	return 0;
}

static void setup(void)
{
	rig_init(&rig);
	virtio_rng_init(&rng, &rig.mem, no_random, NULL);
	rig_attach(&rig, &rng.virtio);
	reroutes = 0;
	ck_assert(i440fx_init(&bridges, &rig.pci, on_reroute, NULL));
}

START_TEST(bridges_are_known)
{
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_VENDOR, 4), 0x12378086);
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_SUBSYSTEM_VENDOR, 4), 0x11001af4);
	ck_assert_uint_eq(rig_config_read(&rig, 1, PCI_VENDOR, 4), 0x70008086);
	ck_assert_uint_eq(rig_config_read(&rig, 1, PCI_CLASS + 1, 2), 0x0601);
	ck_assert_uint_eq(rig_config_read(&rig, 1, PCI_INTERRUPT_PIN, 1), 0);
	/* PAM: halves of two bits; the reserved one stays zero, SMRAM stays closed. */
	ck_assert_uint_eq(rig_config_read(&rig, 0, 0x59, 1), 0x30);
	rig_config_write(&rig, 0, 0x59, 1, 0xff);
	rig_config_write(&rig, 0, 0x5a, 1, 0x11);
	rig_config_write(&rig, 0, 0x72, 1, 0x4a);
	ck_assert_uint_eq(rig_config_read(&rig, 0, 0x59, 1), 0x30);
	ck_assert_uint_eq(rig_config_read(&rig, 0, 0x5a, 1), 0x11);
	ck_assert_uint_eq(rig_config_read(&rig, 0, 0x72, 1), 0x02);
}
END_TEST

START_TEST(links_are_routed)
{
	for (unsigned link = 0; link < PCI_LINKS; link++)
		ck_assert_uint_eq(i440fx_route(&bridges, link), pci_link_irq[link]);
	rig_config_write(&rig, 1, 0x60, 4, 0x800b0a03);
	ck_assert_uint_eq(reroutes, 1);
	/* PIRQA is the link of slot 1. */
	ck_assert_uint_eq(i440fx_route(&bridges, 1), 3);
	ck_assert_uint_eq(i440fx_route(&bridges, 2), 10);
	ck_assert_uint_eq(i440fx_route(&bridges, 3), 11);
	ck_assert_uint_eq(i440fx_route(&bridges, 0), I440FX_NO_IRQ);
	/* Inputs that the data sheet reserves are none. */
	for (unsigned v = 0; v < 16; v++) {
		bool reserved = v < 3 || v == 8 || v == 13;

		rig_config_write(&rig, 1, 0x63, 1, v);
		ck_assert_uint_eq(i440fx_route(&bridges, 0), reserved ? I440FX_NO_IRQ : v);
	}
	rig_config_write(&rig, 1, 0x64, 1, 0xff);
	ck_assert_uint_eq(reroutes, 17);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, bridges_are_known);
	tcase_add_test(tc, links_are_routed);
}

UNIT_MAIN("i440fx", add_tests)
