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

/* ---- a named port ---- */

#define MULTIPORT (1ull << 1)

/* Queues: 0 and 1 to and from the port, 2 and 3 of control messages. */
static void start_port(uint64_t features)
{
	struct virtio_console_effects fx = { .tx = tx };

	nout = 0;
	rig_init(&rig);
	virtio_console_init_port(&con, &rig.mem, "a.port", &fx);
	rig_attach(&rig, &con.virtio);
	ck_assert(rig_start(&rig, features));
}

static void say(uint32_t port, uint16_t event, uint16_t value, uint32_t len)
{
	const struct {
		uint32_t port;
		uint16_t event, value;
	} message = { port, event, value };
	struct rig_part part = { RIG_HEAP, len, false };

	memory_write(&rig.mem, RIG_HEAP, &message, sizeof(message));
	rig_add(&rig, 3, &part, 1);
	rig_kick(&rig, 3);
	ck_assert(rig_used(&rig, 3, NULL, NULL));
}

static void give_room(unsigned queue, unsigned buffers)
{
	for (unsigned i = 0; i < buffers; i++) {
		struct rig_part part = { rig_alloc(&rig, 64), 64, true };

		rig_add(&rig, queue, &part, 1);
	}
	rig_kick(&rig, queue);
}

/* The next control message of the device; its event, or -1: none. */
static int told(const char **name)
{
	static char text[65];
	uint32_t id, len;
	uint64_t at;
	const uint8_t *m;

	if (!rig_used(&rig, 2, &id, &len))
		return -1;
	must(memory_read(&rig.mem, RIG_DESC(2) + 16ull * id, &at, sizeof(at)));
	m = memory_at(&rig.mem, at, 64);
	ck_assert_uint_ge(len, 8);
	ck_assert_uint_eq(m[0] | m[1] | m[2] | m[3] | m[5] | m[7], 0);
	ck_assert_uint_eq(m[6], 1);
	memcpy(text, m + 8, len - 8);
	text[len - 8] = 0;
	if (name)
		*name = text;
	return m[4];
}

/* As Linux' driver does it (virtio 1.2, 5.3.5 and 5.3.6.2). */
START_TEST(port_is_announced)
{
	const char *name = NULL;

	start_port(MULTIPORT | VIRTIO_F_EVENT_IDX);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 4, 4), 1);
	give_room(2, 1);
	ck_assert_int_eq(told(NULL), -1);
	say(0xffffffff, 0, 1, 8);
	ck_assert_int_eq(told(NULL), 1);
	/* Two messages, and no buffer yet: they wait, and the device wants to hear of one. */
	say(0, 3, 1, 8);
	ck_assert_int_eq(told(NULL), -1);
	ck_assert_uint_eq(rig_avail_event(&rig, 2), 1);
	give_room(2, 1);
	ck_assert_int_eq(told(&name), 7);
	ck_assert_str_eq(name, "a.port");
	give_room(2, 2);
	ck_assert_int_eq(told(NULL), 6);
	ck_assert_int_eq(told(NULL), -1);
	/* A port that the device has not, a message cut short, and a driver that cannot. */
	say(1, 3, 1, 8);
	say(0x100, 3, 1, 8);
	say(0, 3, 1, 7);
	say(0, 3, 0, 8);
	say(0, 0, 0, 8);
	say(0, 99, 1, 8);
	ck_assert_int_eq(told(NULL), -1);
}
END_TEST

START_TEST(port_takes_input_while_it_is_open)
{
	uint32_t len;

	start_port(MULTIPORT);
	virtio_console_input(&con, (const uint8_t *)"early", 5);
	ck_assert_uint_eq(virtio_console_room(&con), 0);
	ck_assert_uint_eq(con.dropped, 5);
	say(1, 6, 1, 8);
	ck_assert_uint_eq(virtio_console_room(&con), 0);
	say(0, 6, 1, 8);
	ck_assert_uint_eq(virtio_console_room(&con), VIRTIO_CONSOLE_INPUT);
	virtio_console_input(&con, (const uint8_t *)"hello", 5);
	give_room(0, 1);
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 5);
	/* What waits for a program is not for the next one. */
	virtio_console_input(&con, (const uint8_t *)"unread", 6);
	say(0, 6, 0, 8);
	ck_assert_uint_eq(virtio_console_room(&con), 0);
	say(0, 6, 1, 8);
	give_room(0, 1);
	ck_assert(!rig_used(&rig, 0, NULL, NULL));
	/* A driver that starts anew has nothing open. */
	rig_write(&rig, 20, 1, 0);
	ck_assert(!con.open);
}
END_TEST

START_TEST(port_output)
{
	struct rig_part part = { RIG_HEAP + 0x1000, 5, false };

	start_port(MULTIPORT);
	memory_write(&rig.mem, RIG_HEAP + 0x1000, "reply", 5);
	rig_add(&rig, 1, &part, 1);
	rig_kick(&rig, 1);
	ck_assert_uint_eq(nout, 5);
	ck_assert_mem_eq(out, "reply", 5);
}
END_TEST

START_TEST(port_save_restore)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd in;

	start_port(MULTIPORT);
	say(0, 3, 1, 8); /* name and opening wait */
	say(0, 6, 1, 8);
	virtio_console_input(&con, (const uint8_t *)"hello", 5);
	virtio_console_ops.save(&con, &a);
	virtio_console_ops.reset(&con);
	ck_assert(!con.open && !con.pending);
	for (size_t n = 0; n < a.len; n++) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_lt(virtio_console_ops.restore(&con, &in), 0);
	}
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(virtio_console_ops.restore(&con, &in), 0);
	virtio_console_ops.save(&con, &b);
	ck_assert(a.len == b.len && !memcmp(a.data, b.data, a.len));
	give_room(2, 2);
	ck_assert_int_eq(told(NULL), 7);
	ck_assert_int_eq(told(NULL), 6);
	/* Messages that there are not; input for nobody. */
	a.data[a.len - 1] = 1;
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_lt(virtio_console_ops.restore(&con, &in), 0);
	a.data[a.len - 1] = 0;
	a.data[a.len - 2] = 0;
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_lt(virtio_console_ops.restore(&con, &in), 0);
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
	tcase_add_test(tc, port_is_announced);
	tcase_add_test(tc, port_takes_input_while_it_is_open);
	tcase_add_test(tc, port_output);
	tcase_add_test(tc, port_save_restore);
}

UNIT_MAIN("virtio-console", add_tests)
