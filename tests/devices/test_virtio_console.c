// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_console.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

static struct rig rig;
static struct virtio_console con;
static uint8_t out[2u << 20];
static size_t nout;

static void tx(void *ctx, const uint8_t *data, size_t len)
{
	memcpy(out + nout, data, len);
	nout += len;
}

static void start(uint64_t features)
{
	struct virtio_console_effects fx = { .tx = tx };

	nout = 0;
	rig_init(&rig);
	virtio_console_init(&con, &rig.mem, &fx);
	rig_attach(&rig, &con.virtio);
	ck_assert(rig_start(&rig, features));
}

START_TEST(output)
{
	struct rig_part part = { RIG_HEAP, 10000, false };

	start(0);
	for (unsigned i = 0; i < 10000; i++)
		memory_write(&rig.mem, RIG_HEAP + i, (uint8_t[]){ (uint8_t)(i / 3) }, 1);
	rig_add(&rig, 1, &part, 1);
	rig_kick(&rig, 1);
	ck_assert(rig_used(&rig, 1, NULL, NULL));
	ck_assert_uint_eq(nout, 10000);
	ck_assert_mem_eq(out, memory_at(&rig.mem, RIG_HEAP, 10000), 10000);
	/* Emergency write */
	rig_write(&rig, VIRTIO_PCI_CONFIG + 8, 4, 'x');
	ck_assert_uint_eq(nout, 10001);
	ck_assert_uint_eq(out[10000], 'x');
}
END_TEST

START_TEST(input)
{
	struct rig_part part = { RIG_HEAP, 4, true };
	uint32_t len;

	start(VIRTIO_F_EVENT_IDX);
	ck_assert_uint_eq(virtio_console_room(&con), 4096);
	virtio_console_input(&con, (const uint8_t *)"hello", 5);
	ck_assert_uint_eq(virtio_console_room(&con), 4091);
	rig_add(&rig, 0, &part, 1);
	rig_kick(&rig, 0);
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 4);
	ck_assert_mem_eq(memory_at(&rig.mem, RIG_HEAP, 4), "hell", 4);
	/* One byte waits, so the device wants to hear of the next buffer. */
	ck_assert_uint_eq(rig_avail_event(&rig, 0), 1);
	rig_add(&rig, 0, &part, 1);
	rig_kick(&rig, 0);
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 1);
	ck_assert_uint_eq(virtio_console_room(&con), 4096);
	/* A waiting buffer is filled at once. */
	rig_add(&rig, 0, &part, 1);
	virtio_console_input(&con, (const uint8_t *)"abc", 3);
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 3);
}
END_TEST

START_TEST(input_is_bounded)
{
	static const uint8_t many[5000] = { 1, 2, 3 };

	start(0);
	virtio_console_input(&con, many, 4000);
	virtio_console_input(&con, many, 1000);
	ck_assert_uint_eq(virtio_console_room(&con), 0);
	ck_assert_uint_eq(con.dropped, 904);
}
END_TEST

START_TEST(size)
{
	start(1);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 4), 25 << 16 | 80);
}
END_TEST

START_TEST(save_restore)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd in;
	uint8_t text[3000];

	start(0);
	/* The ring has wrapped: what is stored must not depend on where it stands. */
	memset(text, 'z', sizeof(text));
	virtio_console_input(&con, text, sizeof(text));
	for (unsigned i = 0; i < 3; i++) {
		struct rig_part part = { RIG_HEAP, 1000, true };

		rig_add(&rig, 0, &part, 1);
	}
	rig_kick(&rig, 0);
	ck_assert_uint_eq(virtio_console_room(&con), 4096);
	virtio_console_input(&con, text, 2000);
	virtio_console_ops.save(&con, &a);
	virtio_console_ops.reset(&con);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(virtio_console_ops.restore(&con, &in), 0);
	virtio_console_ops.save(&con, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	for (size_t n = 0; n < a.len; n += 11) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_lt(virtio_console_ops.restore(&con, &in), 0);
	}
	buf_free(&a);
	buf_free(&b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, output);
	tcase_add_test(tc, input);
	tcase_add_test(tc, input_is_bounded);
	tcase_add_test(tc, size);
	tcase_add_test(tc, save_restore);
}

UNIT_MAIN("virtio-console", add_tests)
