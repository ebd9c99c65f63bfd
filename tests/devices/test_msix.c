// SPDX-License-Identifier: GPL-2.0-or-later
/* MSI-X of virtio devices: PCI 3.0, 6.8; virtio 1.2, 4.1.5.1. */
#include "hypervisor/devices/virtio_rng.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct virtio_rng rng;

static unsigned nsent;
static uint64_t sent_to;
static uint32_t sent;

#define TABLE	    (RIG_BAR + VIRTIO_PCI_BAR_SIZE)
#define NO_VECTOR   0xffffu
#define CTRL_ON	    0x8000u
#define CTRL_MASKED 0x4000u

static void on_message(void *ctx, uint64_t address, uint32_t data)
{
	nsent++;
	sent_to = address;
	sent = data;
}

static const struct msix_target target = { .write = on_message };

static uint64_t no_random(void *ctx)
{
	return 0x5a;
}

static unsigned cap(void)
{
	unsigned at = rig_config_read(&rig, RIG_SLOT, PCI_CAPABILITIES, 1);

	while (at && rig_config_read(&rig, RIG_SLOT, at, 1) != 0x11)
		at = rig_config_read(&rig, RIG_SLOT, at + 1, 1);
	return at;
}

static void control(uint16_t v)
{
	rig_config_write(&rig, RIG_SLOT, cap() + 2, 2, v);
}

static uint32_t table_get(unsigned offset)
{
	return (uint32_t)bus_read(&rig.bus, BUS_MMIO, TABLE + offset, 4);
}

static void table_put(unsigned offset, uint32_t v)
{
	bus_write(&rig.bus, BUS_MMIO, TABLE + offset, 4, v);
}

static void setup(void)
{
	rig_init(&rig);
	rig.messages = &target;
	virtio_rng_init(&rng, &rig.mem, no_random, NULL);
	rig_attach(&rig, &rng.virtio);
	nsent = 0;
}

static void teardown(void)
{
	rig_fini(&rig);
}

/* Vector 1 for the queue: as Linux does it, first switched on with all vectors masked. */
static void use_vector(void)
{
	control(CTRL_ON | CTRL_MASKED);
	table_put(16, 0xfee01000);
	table_put(20, 0);
	table_put(24, 0x4041);
	table_put(28, 0);
	control(CTRL_ON);
	ck_assert(rig_start(&rig, 0));
	rig_write(&rig, 22, 2, 0);
	rig_write(&rig, 26, 2, 1);
}

static void request(void)
{
	struct rig_part part = { rig_alloc(&rig, 16), 16, true };

	rig_add(&rig, 0, &part, 1);
	rig_kick(&rig, 0);
}

START_TEST(capability)
{
	ck_assert_uint_ne(cap(), 0);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, cap() + 2, 2), 1); /* two vectors */
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, cap() + 4, 4), 1);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, cap() + 8, 4), MSIX_PBA | 1);
	control(0xffff);
	ck_assert_uint_eq(rig_config_read(&rig, RIG_SLOT, cap() + 2, 2), 0xc001);
	ck_assert_uint_eq(table_get(12), 1); /* masked after reset */
	ck_assert_uint_eq(table_get(28), 1);
	table_put(0, 0xffffffff);
	table_put(12, 0xfffffffe);
	ck_assert_uint_eq(table_get(0), 0xfffffffc);
	ck_assert_uint_eq(table_get(12), 0);
	table_put(32, 0xffffffff); /* behind the table */
	ck_assert_uint_eq(table_get(32), 0);
	bus_write(&rig.bus, BUS_MMIO, TABLE, 2, 0); /* no access that there is */
	ck_assert_uint_eq(table_get(0), 0xfffffffc);
	bus_write(&rig.bus, BUS_MMIO, TABLE, 8, 0x1fee00000);
	ck_assert_uint_eq(table_get(4), 1);
	ck_assert_uint_eq(bus_read(&rig.bus, BUS_MMIO, TABLE, 8), 0x1fee00000);
}
END_TEST

START_TEST(none_without_a_target)
{
	struct virtio_pci plain;
	struct virtio_rng other;

	virtio_rng_init(&other, &rig.mem, no_random, NULL);
	ck_assert(virtio_pci_init(&plain, &other.virtio, &rig.pci, RIG_SLOT + 1, NULL));
	for (unsigned at = plain.pci.config[PCI_CAPABILITIES]; at; at = plain.pci.config[at + 1])
		ck_assert_uint_ne(plain.pci.config[at], 0x11);
	ck_assert_uint_eq(pci_config_get(plain.pci.config, PCI_BAR0 + 4, 4), 0);
}
END_TEST

START_TEST(a_queue_sends_its_vector)
{
	use_vector();
	ck_assert_uint_eq(rig_read(&rig, 26, 2), 1);
	request();
	ck_assert_uint_eq(nsent, 1);
	ck_assert_uint_eq(sent_to, 0xfee01000);
	ck_assert_uint_eq(sent, 0x4041);
	ck_assert(!rig_level(&rig));
	ck_assert_uint_eq(rig_isr(&rig), 0);
}
END_TEST

START_TEST(vectors_that_are_none)
{
	use_vector();
	rig_write(&rig, 26, 2, 2);
	ck_assert_uint_eq(rig_read(&rig, 26, 2), NO_VECTOR);
	rig_write(&rig, 16, 2, 7);
	ck_assert_uint_eq(rig_read(&rig, 16, 2), NO_VECTOR);
	rig_write(&rig, 16, 2, 0);
	ck_assert_uint_eq(rig_read(&rig, 16, 2), 0);
	request();
	ck_assert_uint_eq(nsent, 0);
	ck_assert(!rig_level(&rig));
	rig_write(&rig, 20, 1, 0); /* a reset of the device takes them away */
	ck_assert_uint_eq(rig_read(&rig, 16, 2), NO_VECTOR);
}
END_TEST

START_TEST(masked_vectors_are_pending)
{
	use_vector();
	table_put(28, 1);
	request();
	request();
	ck_assert_uint_eq(nsent, 0);
	ck_assert_uint_eq(table_get(MSIX_PBA), 2);
	table_put(28, 0);
	ck_assert_uint_eq(nsent, 1);
	ck_assert_uint_eq(table_get(MSIX_PBA), 0);
	control(CTRL_ON | CTRL_MASKED);
	request();
	ck_assert_uint_eq(nsent, 1);
	control(CTRL_ON);
	ck_assert_uint_eq(nsent, 2);
}
END_TEST

START_TEST(the_line_is_silent_while_it_is_on)
{
	ck_assert(rig_start(&rig, 0));
	request();
	ck_assert(rig_level(&rig));
	control(CTRL_ON);
	ck_assert(!rig_level(&rig));
	control(0);
	ck_assert(rig_level(&rig));
	ck_assert_uint_eq(rig_isr(&rig), 1);
	ck_assert(!rig_level(&rig));
	ck_assert_uint_eq(nsent, 0);
}
END_TEST

START_TEST(states_travel)
{
	struct buf image = BUF_INIT, again = BUF_INIT, table = BUF_INIT;

	use_vector();
	table_put(28, 1);
	request();
	virtio_pci_msix_save(&rig.transport, &image);
	/* Vectors of three queues and of the configuration: so are states of earlier programs. */
	msix_save(&rig.transport.msix, &table);
	ck_assert_uint_eq(image.len, table.len + 4 * 2);
	buf_free(&table);
	virtio_pci_msix_reset(&rig.transport);
	ck_assert_uint_eq(table_get(MSIX_PBA), 0);
	ck_assert_uint_eq(rig_read(&rig, 26, 2), NO_VECTOR);
	for (size_t n = 0; n <= image.len; n++) {
		struct rd in = RD_INIT(image.data, n);

		ck_assert_int_eq(virtio_pci_msix_restore(&rig.transport, &in),
				 n < image.len ? -22 : 0);
	}
	virtio_pci_msix_save(&rig.transport, &again);
	ck_assert(image.len == again.len && !memcmp(image.data, again.data, image.len));
	table_put(28, 0);
	ck_assert_uint_eq(nsent, 1);
	image.data[0] = 4; /* a third vector pending */
	struct rd in = RD_INIT(image.data, image.len);
	ck_assert_int_eq(virtio_pci_msix_restore(&rig.transport, &in), -22);
	buf_free(&image);
	buf_free(&again);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, capability);
	tcase_add_test(tc, none_without_a_target);
	tcase_add_test(tc, a_queue_sends_its_vector);
	tcase_add_test(tc, vectors_that_are_none);
	tcase_add_test(tc, masked_vectors_are_pending);
	tcase_add_test(tc, the_line_is_silent_while_it_is_on);
	tcase_add_test(tc, states_travel);
}

UNIT_MAIN("msix", add_tests)
