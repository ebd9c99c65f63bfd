// SPDX-License-Identifier: GPL-2.0-or-later
/* Negotiation and rings, seen through virtio-rng, the simplest device. */
#include "hypervisor/devices/virtio_rng.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct virtio_rng rng;
static uint64_t counter;

static uint64_t counting(void *ctx)
{
	return ++counter;
}

static void setup(void)
{
	counter = 0;
	rig_init(&rig);
	virtio_rng_init(&rng, &rig.mem, counting, NULL);
	rig_attach(&rig, &rng.virtio);
}

static void start(uint64_t features)
{
	setup();
	ck_assert(rig_start(&rig, features));
}

static bool needs_reset(void)
{
	return rig_status(&rig) & VIRTIO_STATUS_NEEDS_RESET;
}

/* Offers one writable buffer. */
static uint64_t offer(uint32_t len)
{
	struct rig_part part = { .gpa = rig_alloc(&rig, len), .len = len, .write = true };

	rig_add(&rig, 0, &part, 1);
	return part.gpa;
}

START_TEST(negotiation)
{
	setup();
	ck_assert_uint_eq(rig_offered(&rig),
			  VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
	ck_assert(!rig_negotiate(&rig, 0));
	ck_assert(!rig_negotiate(&rig, VIRTIO_F_VERSION_1 | 1));
	ck_assert(!rig_negotiate(&rig, VIRTIO_F_VERSION_1 | 1ull << 34));
	ck_assert(rig_negotiate(&rig, VIRTIO_F_VERSION_1));
	/* Features are fixed now. */
	rig_write(&rig, 8, 4, 0);
	rig_write(&rig, 12, 4, 1u << 29);
	ck_assert_uint_eq(rig_read(&rig, 12, 4), 0);
	/* Bits do not go away but by a reset. */
	rig_write(&rig, 20, 1, VIRTIO_STATUS_FAILED);
	ck_assert_uint_eq(rig_status(&rig), 0x8b);
	rig_write(&rig, 20, 1, 0);
	ck_assert_uint_eq(rig_status(&rig), 0);
	/* DRIVER_OK without FEATURES_OK is not accepted. */
	rig_write(&rig, 20, 1, 7);
	ck_assert_uint_eq(rig_status(&rig), 3);
}
END_TEST

START_TEST(common_registers)
{
	setup();
	ck_assert_uint_eq(rig_read(&rig, 16, 2), 0xffff);
	ck_assert_uint_eq(rig_read(&rig, 18, 2), 1);
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 256);
	ck_assert_uint_eq(rig_read(&rig, 26, 2), 0xffff);
	rig_write(&rig, 22, 2, 1);
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 0);
	rig_write(&rig, 22, 2, 65535);
	rig_put64(&rig, 32, 0x1000);
	rig_write(&rig, 28, 2, 1);
	ck_assert_uint_eq(rig_read(&rig, 28, 2), 0);
	rig_write(&rig, 22, 2, 0);
	/* Sizes that are no power of two or too large are dropped. */
	rig_write(&rig, 24, 2, 100);
	rig_write(&rig, 24, 2, 512);
	rig_write(&rig, 24, 2, 0);
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 256);
	rig_write(&rig, 24, 2, 32);
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 32);
	rig_put64(&rig, 40, 0x123456789abcdef0);
	ck_assert_uint_eq(rig_read(&rig, 40, 8), 0x123456789abcdef0);
	ck_assert_uint_eq(rig_read(&rig, 44, 4), 0x12345678);
	/* Misaligned rings cannot be enabled. */
	rig_put64(&rig, 32, 8);
	rig_write(&rig, 28, 2, 1);
	ck_assert_uint_eq(rig_read(&rig, 28, 2), 0);
	/* Nothing behind the registers. */
	ck_assert_uint_eq(rig_read(&rig, 0x100, 8), 0);
	rig_write(&rig, 0x3fff, 8, ~0ull);
}
END_TEST

START_TEST(one_buffer)
{
	uint64_t at, word[2];
	uint32_t id, len;

	start(0);
	at = offer(12);
	rig_kick(&rig, 0);
	ck_assert(rig_used(&rig, 0, &id, &len));
	ck_assert_uint_eq(id, 0);
	ck_assert_uint_eq(len, 12);
	ck_assert(memory_read(&rig.mem, at, word, sizeof(word)));
	ck_assert_uint_eq(word[0], 1);
	ck_assert_uint_eq(word[1], 0xeeeeeeee00000002);
	ck_assert(rig_level(&rig));
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_QUEUE);
	ck_assert(!rig_level(&rig));
	ck_assert_uint_eq(rig_isr(&rig), 0);
	ck_assert(!rig_used(&rig, 0, &id, &len));
}
END_TEST

START_TEST(kick_before_driver_ok)
{
	setup();
	ck_assert(rig_negotiate(&rig, VIRTIO_F_VERSION_1));
	rig_queue(&rig, 0);
	offer(8);
	rig_kick(&rig, 0);
	ck_assert(!rig_used(&rig, 0, NULL, NULL));
	rig_driver_ok(&rig);
	ck_assert(rig_used(&rig, 0, NULL, NULL));
	rig_kick(&rig, 1);
	rig_kick(&rig, 500);
	ck_assert(!needs_reset());
}
END_TEST

START_TEST(wraps_around)
{
	start(0);
	for (unsigned i = 0; i < 70000; i++) {
		struct rig_part part = { .gpa = RIG_HEAP, .len = 1, .write = true };
		uint32_t id;

		rig_add(&rig, 0, &part, 1);
		rig_kick(&rig, 0);
		ck_assert(rig_used(&rig, 0, &id, NULL));
		ck_assert_uint_eq(id, i % rig.size);
	}
	ck_assert(!needs_reset());
}
END_TEST

START_TEST(indirect)
{
	uint64_t table, at;
	uint32_t len;

	start(VIRTIO_F_INDIRECT_DESC);
	table = rig_alloc(&rig, 64);
	at = rig_alloc(&rig, 16);
	rig_desc_at(&rig, table, 0, at, 5, RIG_WRITE | RIG_NEXT, 3);
	rig_desc_at(&rig, table, 3, at + 5, 6, RIG_WRITE, 0);
	rig_desc(&rig, 0, 0, table, 64, RIG_INDIRECT, 0);
	rig_avail(&rig, 0, 0);
	/* Direct descriptors before an indirect one. */
	rig_desc(&rig, 0, 1, at, 1, RIG_WRITE | RIG_NEXT, 0);
	rig_avail(&rig, 0, 1);
	rig_kick(&rig, 0);
	ck_assert(!needs_reset());
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 11);
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 12);
}
END_TEST

/* Each case is one descriptor table that a driver must not make. */
START_TEST(broken_chains)
{
	static const struct {
		const char *why;
		uint64_t features;
		struct {
			uint64_t addr;
			uint32_t len;
			uint16_t flags, next;
		} d[3];
	} bad[] = {
		{ "loop",
		  0,
		  { { RIG_HEAP, 4, RIG_WRITE | RIG_NEXT, 1 },
		    { RIG_HEAP, 4, RIG_WRITE | RIG_NEXT, 0 } } },
		{ "loop of one", 0, { { RIG_HEAP, 4, RIG_WRITE | RIG_NEXT, 0 } } },
		{ "next out of range", 0, { { RIG_HEAP, 4, RIG_WRITE | RIG_NEXT, 16 } } },
		{ "readable after writable",
		  0,
		  { { RIG_HEAP, 4, RIG_WRITE | RIG_NEXT, 1 }, { RIG_HEAP, 4, 0, 0 } } },
		{ "not RAM", 0, { { 0xd0000000, 4, RIG_WRITE, 0 } } },
		{ "over the end of RAM", 0, { { RIG_MEMORY - 2, 4, RIG_WRITE, 0 } } },
		{ "address wraps", 0, { { UINT64_MAX - 1, 4, RIG_WRITE, 0 } } },
		{ "indirect not negotiated", 0, { { RIG_HEAP, 16, RIG_INDIRECT, 0 } } },
		{ "indirect and next",
		  VIRTIO_F_INDIRECT_DESC,
		  { { RIG_HEAP, 16, RIG_INDIRECT | RIG_NEXT, 1 } } },
		{ "indirect of odd size",
		  VIRTIO_F_INDIRECT_DESC,
		  { { RIG_HEAP, 24, RIG_INDIRECT, 0 } } },
		{ "indirect empty", VIRTIO_F_INDIRECT_DESC, { { RIG_HEAP, 0, RIG_INDIRECT, 0 } } },
		{ "indirect too long",
		  VIRTIO_F_INDIRECT_DESC,
		  { { RIG_HEAP, 257 * 16, RIG_INDIRECT, 0 } } },
		{ "indirect not RAM",
		  VIRTIO_F_INDIRECT_DESC,
		  { { 0xd0000000, 16, RIG_INDIRECT, 0 } } },
		{ "indirect nested",
		  VIRTIO_F_INDIRECT_DESC,
		  { { RIG_DESC(0) + 16, 32, RIG_INDIRECT, 0 },
		    { RIG_DESC(0) + 16, 32, RIG_INDIRECT, 0 } } },
		{ "more than 4 GiB",
		  0,
		  { { 0, 0xffffffff, RIG_WRITE | RIG_NEXT, 1 }, { 0, 16, RIG_WRITE, 0 } } },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(bad[i].features);
		for (unsigned d = 0; d < 3; d++)
			rig_desc(&rig, 0, d, bad[i].d[d].addr, bad[i].d[d].len, bad[i].d[d].flags,
				 bad[i].d[d].next);
		rig_avail(&rig, 0, 0);
		rig_kick(&rig, 0);
		ck_assert_msg(needs_reset(), "%s", bad[i].why);
		ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_CONFIG);
		ck_assert(!rig_used(&rig, 0, NULL, NULL));
		/* Dead until reset, then as new. */
		rig_kick(&rig, 0);
		ck_assert(rig_start(&rig, 0));
		offer(4);
		rig_kick(&rig, 0);
		ck_assert_msg(rig_used(&rig, 0, NULL, NULL), "%s", bad[i].why);
		rig_fini(&rig);
	}
}
END_TEST

START_TEST(broken_rings)
{
	/* Head out of range. */
	start(0);
	rig_avail(&rig, 0, 16);
	rig_kick(&rig, 0);
	ck_assert(needs_reset());
	/* More available than the ring holds. */
	start(0);
	rig_put16(&rig, RIG_AVAIL(0) + 2, 17);
	rig_kick(&rig, 0);
	ck_assert(needs_reset());
	/* Rings outside RAM. */
	setup();
	ck_assert(rig_negotiate(&rig, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX));
	rig_write(&rig, 22, 2, 0);
	rig_put64(&rig, 32, 0xd0000000);
	rig_put64(&rig, 40, 0xd0001000);
	rig_put64(&rig, 48, 0xd0002000);
	rig_write(&rig, 28, 2, 1);
	rig_driver_ok(&rig);
	ck_assert(needs_reset());
	/* A used ring over the available ring, so that giving a buffer back offers more: ends. */
	setup();
	ck_assert(rig_negotiate(&rig, VIRTIO_F_VERSION_1));
	rig_queue(&rig, 0);
	rig_write(&rig, 20, 1, 0);
	ck_assert(rig_negotiate(&rig, VIRTIO_F_VERSION_1));
	rig_write(&rig, 22, 2, 0);
	rig_write(&rig, 24, 2, 16);
	rig_put64(&rig, 32, RIG_DESC(0));
	rig_put64(&rig, 40, RIG_AVAIL(0));
	rig_put64(&rig, 48, RIG_AVAIL(0));
	rig_write(&rig, 28, 2, 1);
	rig_desc(&rig, 0, 0, RIG_AVAIL(0) + 2, 2, RIG_WRITE, 0);
	rig_put16(&rig, RIG_AVAIL(0) + 2, 1);
	rig_driver_ok(&rig);
	rig_kick(&rig, 0);
}
END_TEST

START_TEST(no_interrupt_flag)
{
	start(0);
	rig_put16(&rig, RIG_AVAIL(0), 1);
	offer(4);
	rig_kick(&rig, 0);
	ck_assert(rig_used(&rig, 0, NULL, NULL));
	ck_assert(!rig_level(&rig));
	rig_put16(&rig, RIG_AVAIL(0), 0);
	offer(4);
	rig_kick(&rig, 0);
	ck_assert(rig_level(&rig));
}
END_TEST

START_TEST(event_index)
{
	start(VIRTIO_F_EVENT_IDX);
	/* used_event 0: interrupt at the first buffer. The device asks to hear of the next one. */
	offer(4);
	rig_kick(&rig, 0);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_QUEUE);
	ck_assert_uint_eq(rig_avail_event(&rig, 0), 1);
	/* used_event stays behind: silence. */
	offer(4);
	rig_kick(&rig, 0);
	ck_assert_uint_eq(rig_isr(&rig), 0);
	/* Interrupt when used_idx passes 4, not before. */
	rig_used_event(&rig, 0, 3);
	offer(4);
	rig_kick(&rig, 0);
	ck_assert_uint_eq(rig_isr(&rig), 0);
	offer(4);
	offer(4);
	rig_kick(&rig, 0);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_QUEUE);
	ck_assert_uint_eq(rig_avail_event(&rig, 0), 5);
	/* NO_INTERRUPT means nothing now. */
	rig_put16(&rig, RIG_AVAIL(0), 1);
	rig_used_event(&rig, 0, 5);
	offer(4);
	rig_kick(&rig, 0);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_QUEUE);
}
END_TEST

START_TEST(save_restore)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd in;
	uint32_t len;

	start(VIRTIO_F_EVENT_IDX);
	offer(4);
	rig_kick(&rig, 0);
	offer(4);
	virtio_rng_ops.save(&rng, &a);
	rig_write(&rig, 20, 1, 0);
	ck_assert(!rig_level(&rig));
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(virtio_rng_ops.restore(&rng, &in), 0);
	ck_assert(rig_level(&rig));
	virtio_rng_ops.save(&rng, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	rig_kick(&rig, 0);
	ck_assert(rig_used(&rig, 0, NULL, &len) && rig_used(&rig, 0, NULL, &len));
	for (size_t n = 0; n < a.len; n++) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_lt(virtio_rng_ops.restore(&rng, &in), 0);
		ck_assert_uint_eq(rig_status(&rig), 0);
	}
	a.data[0] ^= 1; /* features offered */
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_lt(virtio_rng_ops.restore(&rng, &in), 0);
	buf_free(&a);
	buf_free(&b);
}
END_TEST

/* A chain of 300 buffers of one byte in an indirect table. */
static void offer_300(void)
{
	const unsigned n = 300;
	uint64_t table = rig_alloc(&rig, 16 * n), data = rig_alloc(&rig, n);

	for (unsigned i = 0; i < n; i++)
		rig_desc_at(&rig, table, i, data + i, 1, RIG_WRITE | (i + 1 < n ? RIG_NEXT : 0),
			    (uint16_t)(i + 1));
	rig_desc(&rig, 0, 0, table, 16 * n, RIG_INDIRECT, 0);
	rig_avail(&rig, 0, 0);
	rig_kick(&rig, 0);
}

/* 256, and what a machine version gives more. */
START_TEST(limits)
{
	struct buf image = BUF_INIT;
	uint32_t len;

	start(VIRTIO_F_INDIRECT_DESC);
	offer_300();
	ck_assert(needs_reset());

	setup();
	rig_fini(&rig);
	rig_init(&rig);
	virtio_rng_init(&rng, &rig.mem, counting, NULL);
	virtio_set_limit(&rng.virtio, 1024);
	rig_attach(&rig, &rng.virtio);
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 1024);
	rig_write(&rig, 24, 2, 2048);
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 1024);
	rig_write(&rig, 24, 2, 512);
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 512);
	virtio_rng_ops.save(&rng, &image);
	ck_assert(rig_start(&rig, VIRTIO_F_INDIRECT_DESC));
	offer_300();
	ck_assert(!needs_reset());
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 300);
	rig_write(&rig, 20, 1, 0); /* a reset gives the whole size back */
	ck_assert_uint_eq(rig_read(&rig, 24, 2), 1024);

	/* The state of a ring of 512 is none of a device that has 256. */
	struct rd in = RD_INIT(image.data, image.len);
	ck_assert_int_eq(virtio_rng_ops.restore(&rng, &in), 0);
	virtio_set_limit(&rng.virtio, 256);
	in = (struct rd)RD_INIT(image.data, image.len);
	ck_assert_int_eq(virtio_rng_ops.restore(&rng, &in), -22);
	buf_free(&image);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, negotiation);
	tcase_add_test(tc, common_registers);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, one_buffer);
	tcase_add_test(tc, kick_before_driver_ok);
	tcase_add_test(tc, wraps_around);
	tcase_add_test(tc, indirect);
	tcase_add_test(tc, broken_chains);
	tcase_add_test(tc, broken_rings);
	tcase_add_test(tc, no_interrupt_flag);
	tcase_add_test(tc, event_index);
	tcase_add_test(tc, save_restore);
}

UNIT_MAIN("virtio", add_tests)
