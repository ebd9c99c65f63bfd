// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_net.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

#define F_MRG	   (1ull << 15)
#define F_CTRL	   (1ull << 17 | 1ull << 18 | 1ull << 20 | 1ull << 23)
#define F_ANNOUNCE (1ull << 16 | 1ull << 17 | 1ull << 21)

static struct rig rig;
static struct virtio_net net;
static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static uint8_t sent[70000];
static size_t sent_len, nsent;

static void tx(void *ctx, const uint8_t *frame, size_t len)
{
	memcpy(sent, frame, len);
	sent_len = len;
	nsent++;
}

static void start(uint64_t features)
{
	struct virtio_net_effects fx = { .tx = tx };

	nsent = 0;
	rig_init(&rig);
	virtio_net_init(&net, &rig.mem, mac, &fx);
	rig_attach(&rig, &net.virtio);
	ck_assert(rig_start(&rig, features));
}

static void fill(uint8_t *frame, size_t len, const uint8_t *to)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7);
	memcpy(frame, to, 6);
}

static uint64_t offer_rx(uint32_t len)
{
	struct rig_part part = { .gpa = rig_alloc(&rig, len), .len = len, .write = true };

	rig_add(&rig, 0, &part, 1);
	return part.gpa;
}

START_TEST(transmit)
{
	struct rig_part part[3];
	uint8_t frame[1514];

	start(0);
	fill(frame, sizeof(frame), mac);
	part[0] = (struct rig_part){ rig_alloc(&rig, 12), 12, false };
	part[1] = (struct rig_part){ rig_alloc(&rig, 100), 100, false };
	part[2] = (struct rig_part){ rig_alloc(&rig, 1414), 1414, false };
	memory_write(&rig.mem, part[1].gpa, frame, 100);
	memory_write(&rig.mem, part[2].gpa, frame + 100, 1414);
	rig_add(&rig, 1, part, 3);
	rig_kick(&rig, 1);
	ck_assert_uint_eq(nsent, 1);
	ck_assert_uint_eq(sent_len, 1514);
	ck_assert_mem_eq(sent, frame, 1514);
	ck_assert(rig_used(&rig, 1, NULL, NULL));
	ck_assert(rig_level(&rig));
	/* Too short, header only, or longer than any frame: taken and dropped. */
	rig_add(&rig, 1, part, 1);
	part[0].len = 25;
	rig_add(&rig, 1, part, 1);
	part[0] = (struct rig_part){ RIG_HEAP, 12 + 65536, false };
	rig_add(&rig, 1, part, 1);
	rig_kick(&rig, 1);
	ck_assert_uint_eq(nsent, 1);
	ck_assert_uint_eq(net.tx_dropped, 3);
	for (int i = 0; i < 3; i++)
		ck_assert(rig_used(&rig, 1, NULL, NULL));
	part[0].len--;
	rig_add(&rig, 1, part, 1);
	rig_kick(&rig, 1);
	ck_assert_uint_eq(nsent, 2);
	ck_assert_uint_eq(sent_len, 65535);
}
END_TEST

START_TEST(receive)
{
	uint8_t frame[200], got[212], hdr[12] = { [10] = 1 };
	uint32_t len;
	uint64_t at;

	start(0);
	fill(frame, sizeof(frame), mac);
	ck_assert(!virtio_net_receive(&net, frame, sizeof(frame)));
	ck_assert_uint_eq(net.rx_dropped, 1);
	at = offer_rx(1526);
	ck_assert(virtio_net_receive(&net, frame, sizeof(frame)));
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 212);
	ck_assert(memory_read(&rig.mem, at, got, sizeof(got)));
	ck_assert_mem_eq(got, hdr, 12);
	ck_assert_mem_eq(got + 12, frame, 200);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_QUEUE);
	/* Without mergeable buffers a small one is no use, and stays available. */
	offer_rx(100);
	ck_assert(!virtio_net_receive(&net, frame, sizeof(frame)));
	ck_assert(virtio_net_receive(&net, frame, 60));
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 72);
}
END_TEST

START_TEST(receive_merged)
{
	uint8_t frame[250], got[262];
	uint64_t at[3];
	uint32_t len;

	start(F_MRG);
	fill(frame, sizeof(frame), mac);
	at[0] = offer_rx(100);
	at[1] = offer_rx(100);
	/* 262 bytes do not fit into two of them: dropped, both stay. */
	ck_assert(!virtio_net_receive(&net, frame, sizeof(frame)));
	ck_assert(!rig_used(&rig, 0, NULL, NULL));
	at[2] = offer_rx(100);
	ck_assert(virtio_net_receive(&net, frame, sizeof(frame)));
	for (unsigned i = 0; i < 3; i++) {
		uint32_t part = i < 2 ? 100 : 62;

		ck_assert(rig_used(&rig, 0, NULL, &len));
		ck_assert_uint_eq(len, part);
		ck_assert(memory_read(&rig.mem, at[i], got + 100 * i, part));
	}
	ck_assert_uint_eq(got[10] | got[11] << 8, 3);
	ck_assert_mem_eq(got + 12, frame, 250);
	ck_assert_uint_eq(rig.edges, 1);
}
END_TEST

START_TEST(header_in_pieces)
{
	struct rig_part part[13];
	uint8_t frame[100] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, n;
	uint64_t at;

	start(F_MRG);
	at = rig_alloc(&rig, 64);
	for (unsigned i = 0; i < 12; i++)
		part[i] = (struct rig_part){ at + 2 * i, 1, true };
	rig_add(&rig, 0, part, 12);
	offer_rx(100);
	ck_assert(virtio_net_receive(&net, frame, sizeof(frame)));
	ck_assert(memory_read(&rig.mem, at + 20, &n, 1));
	ck_assert_uint_eq(n, 2);
	ck_assert(memory_read(&rig.mem, at + 22, &n, 1));
	ck_assert_uint_eq(n, 0);
	/* A first buffer without room for the header breaks the device. */
	start(F_MRG);
	offer_rx(11);
	ck_assert(!virtio_net_receive(&net, frame, sizeof(frame)));
	ck_assert(rig_status(&rig) & VIRTIO_STATUS_NEEDS_RESET);
}
END_TEST

static uint8_t control(uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	uint8_t head[2] = { class, cmd }, ack;
	struct rig_part part[3] = { { RIG_HEAP, 2, false },
				    { RIG_HEAP + 16, len, false },
				    { RIG_HEAP + 0x8000, 1, true } };

	memory_write(&rig.mem, RIG_HEAP, head, 2);
	memory_write(&rig.mem, RIG_HEAP + 16, data, len);
	memory_write(&rig.mem, RIG_HEAP + 0x8000, "\xff", 1);
	rig_add(&rig, 2, part, 3);
	rig_kick(&rig, 2);
	ck_assert(rig_used(&rig, 2, NULL, NULL));
	memory_read(&rig.mem, RIG_HEAP + 0x8000, &ack, 1);
	return ack;
}

static bool wants(const char *to)
{
	uint8_t frame[60] = { 0 };

	memcpy(frame, to, 6);
	return virtio_net_wants(&net, frame, sizeof(frame));
}

START_TEST(filter)
{
	uint8_t table[4 + 6 + 4 + 6] = { 1, 0, 0, 0, 2, 0, 0,	 0, 0, 9,
					 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1 };
	uint8_t large[4 + 33 * 6 + 4] = { 33 };

	start(F_CTRL);
	ck_assert(wants("\x02\0\0\0\0\x08"));
	ck_assert_uint_eq(control(0, 0, "\0", 1), 0);
	ck_assert(!wants("\x02\0\0\0\0\x08"));
	ck_assert(wants("\x52\x54\0\1\2\3"));
	ck_assert(wants("\xff\xff\xff\xff\xff\xff"));
	ck_assert(!wants("\1\0\x5e\0\0\1"));
	ck_assert_uint_eq(control(1, 0, table, sizeof(table)), 0);
	ck_assert(wants("\1\0\x5e\0\0\1"));
	ck_assert(!wants("\1\0\x5e\0\0\2"));
	ck_assert(wants("\2\0\0\0\0\x09"));
	ck_assert_uint_eq(control(0, 1, "\1", 1), 0);
	ck_assert(wants("\1\0\x5e\0\0\2"));
	ck_assert_uint_eq(control(0, 5, "\1", 1), 0);
	ck_assert(!wants("\xff\xff\xff\xff\xff\xff"));
	ck_assert_uint_eq(control(1, 1, "\2\2\2\2\2\2", 6), 0);
	ck_assert(wants("\2\2\2\2\2\2"));
	ck_assert(!wants("\x52\x54\0\1\2\3"));
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 4), 0x02020202);
	/* More addresses than the filter holds: let all in. */
	ck_assert_uint_eq(control(1, 0, large, sizeof(large)), 0);
	ck_assert(wants("\2\0\0\0\0\x77"));
	/* Wrong lengths, classes and commands are refused. */
	large[0] = 34;
	ck_assert_uint_eq(control(1, 0, large, sizeof(large)), 1);
	ck_assert_uint_eq(control(1, 0, "\xff\xff\xff\xff", 4), 1);
	ck_assert_uint_eq(control(1, 1, "\2", 1), 1);
	ck_assert_uint_eq(control(0, 6, "\0", 1), 1);
	ck_assert_uint_eq(control(2, 0, "\0", 1), 1);
	ck_assert_uint_eq(control(9, 0, "\0", 1), 1);
	ck_assert_uint_eq(control(3, 0, "", 0), 1);
	/* A reset forgets all of it. */
	rig_write(&rig, 20, 1, 0);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 4), 0x01005452);
}
END_TEST

START_TEST(link_and_announce)
{
	uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, generation;

	start(F_ANNOUNCE);
	generation = (uint8_t)rig_read(&rig, 21, 1);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 6, 2), 1);
	virtio_net_set_link(&net, false);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_CONFIG);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 6, 2), 0);
	ck_assert_uint_ne(rig_read(&rig, 21, 1), generation);
	offer_rx(200);
	ck_assert(!virtio_net_receive(&net, frame, sizeof(frame)));
	virtio_net_set_link(&net, true);
	ck_assert(virtio_net_receive(&net, frame, sizeof(frame)));
	rig_isr(&rig);
	ck_assert(virtio_net_announce(&net));
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_CONFIG);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 6, 2), 3);
	ck_assert_uint_eq(control(3, 0, "", 0), 0);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 6, 2), 1);
	start(0);
	ck_assert(!virtio_net_announce(&net));
}
END_TEST

START_TEST(save_restore)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	uint8_t table[4 + 6 + 4] = { 1, 0, 0, 0, 2, 0, 0, 0, 0, 9 };
	struct rd in;

	start(F_CTRL | F_ANNOUNCE | F_MRG);
	control(0, 0, "\0", 1);
	control(1, 0, table, sizeof(table));
	virtio_net_announce(&net);
	virtio_net_set_link(&net, false);
	virtio_net_ops.save(&net, &a);
	virtio_net_ops.reset(&net);
	ck_assert(net.link && net.promisc);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(virtio_net_ops.restore(&net, &in), 0);
	ck_assert_uint_eq(rd_left(&in), 0);
	virtio_net_ops.save(&net, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	ck_assert(!net.link && !net.promisc && net.announce);
	virtio_net_set_link(&net, true);
	ck_assert(wants("\2\0\0\0\0\x09") && !wants("\2\0\0\0\0\x0a"));
	for (size_t n = 0; n < a.len; n++) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_lt(virtio_net_ops.restore(&net, &in), 0);
		ck_assert_uint_eq(rig_status(&rig), 0);
	}
	buf_free(&a);
	buf_free(&b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, transmit);
	tcase_add_test(tc, receive);
	tcase_add_test(tc, receive_merged);
	tcase_add_test(tc, header_in_pieces);
	tcase_add_test(tc, filter);
	tcase_add_test(tc, link_and_announce);
	tcase_add_test(tc, save_restore);
}

UNIT_MAIN("virtio-net", add_tests)
