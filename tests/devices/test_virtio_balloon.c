// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_balloon.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct virtio_balloon balloon;
static uint64_t inflated, deflated;

static void on_inflated(void *ctx, uint64_t gpa, uint64_t len)
{
	inflated += gpa;
}

static void on_deflated(void *ctx, uint64_t gpa, uint64_t len)
{
	deflated += gpa;
}

static void start(void)
{
	struct virtio_balloon_effects fx = { .inflated = on_inflated, .deflated = on_deflated };

	inflated = deflated = 0;
	rig_init(&rig);
	virtio_balloon_init(&balloon, &rig.mem, &fx);
	rig_attach(&rig, &balloon.virtio);
	ck_assert(rig_start(&rig, 5));
}

static void give(unsigned queue, const uint32_t *pfn, unsigned n)
{
	struct rig_part part = { RIG_HEAP, 4 * n, false };

	memory_write(&rig.mem, RIG_HEAP, pfn, 4ull * n);
	rig_add(&rig, queue, &part, 1);
	rig_kick(&rig, queue);
	ck_assert(rig_used(&rig, queue, NULL, NULL));
}

START_TEST(inflate_and_deflate)
{
	uint32_t pfn[4] = { 0x80, 0x81, 0x100, 0xffffffff }; /* the last two are no RAM */

	start();
	memory_write(&rig.mem, 0x80ff0, "0123456789abcdef0123456789abcdef", 32);
	memset(rig.mem.dirty, 0, rig.mem.pages);
	give(0, pfn, 4);
	ck_assert_uint_eq(*(const uint64_t *)memory_at(&rig.mem, 0x80ff0, 8), 0);
	ck_assert_uint_eq(*(const uint64_t *)memory_at(&rig.mem, 0x81008, 8), 0);
	ck_assert(rig.mem.dirty[0x80] && rig.mem.dirty[0x81] && !rig.mem.dirty[0x82]);
	ck_assert_uint_eq(inflated, 0x80000 + 0x81000);
	ck_assert_uint_eq(balloon.bad, 2);
	give(1, pfn, 1);
	ck_assert_uint_eq(deflated, 0x80000);
	ck_assert_uint_eq(rig_status(&rig) & VIRTIO_STATUS_NEEDS_RESET, 0);
}
END_TEST

START_TEST(target)
{
	start();
	virtio_balloon_set_target(&balloon, 1234);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_CONFIG);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 4), 1234);
	rig_write(&rig, VIRTIO_PCI_CONFIG + 4, 4, 77);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 4, 4), 77);
	ck_assert_uint_eq(balloon.actual, 77);
	rig_write(&rig, VIRTIO_PCI_CONFIG, 4, 0);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 4), 1234);
}
END_TEST

START_TEST(save_restore)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd in;

	start();
	virtio_balloon_set_target(&balloon, 1234);
	rig_write(&rig, VIRTIO_PCI_CONFIG + 4, 4, 77);
	virtio_balloon_ops.save(&balloon, &a);
	virtio_balloon_ops.reset(&balloon);
	ck_assert_uint_eq(balloon.target | balloon.actual, 0);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(virtio_balloon_ops.restore(&balloon, &in), 0);
	virtio_balloon_ops.save(&balloon, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	for (size_t n = 0; n < a.len; n++) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_lt(virtio_balloon_ops.restore(&balloon, &in), 0);
	}
	buf_free(&a);
	buf_free(&b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, inflate_and_deflate);
	tcase_add_test(tc, target);
	tcase_add_test(tc, save_restore);
}

UNIT_MAIN("virtio-balloon", add_tests)
