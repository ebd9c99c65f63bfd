// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "hypervisor/devices/virtio_blk.h"
#include "tests/devices/virtio_rig.h"
#include "tests/unit.h"

#define SECTORS 2048u
#define ALL	(~0ull >> 32 & ~(1ull << 28 | 1ull << 29))
#define STATUS	0x8000u /* of the request area: status byte; data at 16 */

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };

static struct rig rig;
static struct rig_disk disk;
static struct virtio_blk blk;

static void start_disk_with(uint64_t features, bool readonly)
{
	rig_init(&rig);
	rig_disk_init(&disk, SECTORS, readonly);
	virtio_blk_init(&blk, &rig.mem, &rig.clock, &disk.backend, "serial-0");
	rig_attach(&rig, &blk.virtio);
	ck_assert(rig_start(&rig, features));
}

static void start_disk(bool readonly)
{
	start_disk_with(ALL, readonly);
}

static void stop(void)
{
	virtio_blk_fini(&blk);
	rig_disk_fini(&disk);
	rig_fini(&rig);
}

/* Areas of 64 KiB, one for each request in a test: header, data from 16, status. */
static uint64_t area(unsigned n)
{
	return RIG_HEAP + n * 0x10000u;
}

static void offer(unsigned n, uint32_t type, uint64_t sector, uint32_t len, bool to_guest)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} hdr = { type, 0, sector };
	struct rig_part part[3] = { { area(n), 16, false },
				    { area(n) + 16, len, to_guest },
				    { area(n) + STATUS, 1, true } };

	memory_write(&rig.mem, area(n), &hdr, sizeof(hdr));
	memory_write(&rig.mem, area(n) + STATUS, "\xee", 1);
	if (!len)
		part[1] = part[2];
	rig_add(&rig, 0, part, len ? 3 : 2);
	rig_kick(&rig, 0);
}

static unsigned status(unsigned n)
{
	return *(const uint8_t *)memory_at(&rig.mem, area(n) + STATUS, 1);
}

static unsigned do_request(uint32_t type, uint64_t sector, uint32_t len, bool to_guest)
{
	offer(0, type, sector, len, to_guest);
	rig_run(&rig, 10000000);
	return status(0);
}

START_TEST(configuration)
{
	start_disk(false);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 8), SECTORS);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 12, 4), 254);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 20, 4), 512);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 32, 1), 1);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 36, 4), VIRTIO_BLK_ZERO_MAX);
	ck_assert(!(rig_offered(&rig) & 1ull << 5));
	stop();
	start_disk(true);
	ck_assert(rig_offered(&rig) & 1ull << 5);
	ck_assert(!(rig_offered(&rig) & 1ull << 13));
	stop();
}
END_TEST

/* Configuration change (4.1.4.5.1, 4.1.4.3: the generation counts changes). */
START_TEST(growth)
{
	unsigned generation;

	start_disk(false);
	generation = blk.virtio.generation;
	ck_assert_uint_eq(do_request(T_OUT, SECTORS, 512, false), 1);
	rig_isr(&rig);
	ck_assert_int_eq(virtio_blk_grow(&blk, SECTORS), 0);
	ck_assert_int_eq(virtio_blk_grow(&blk, SECTORS - 8), 0);
	ck_assert_int_eq(virtio_blk_grow(&blk, DISK_SECTORS_MAX + 1), -EINVAL);
	ck_assert_uint_eq(rig_isr(&rig), 0);
	ck_assert_int_eq(virtio_blk_grow(&blk, 2 * SECTORS), 0);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_CONFIG);
	ck_assert_uint_ne(blk.virtio.generation, generation);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 8), 2 * SECTORS);
	memory_write(&rig.mem, area(0) + 16, "beyond", 6);
	ck_assert_uint_eq(do_request(T_OUT, 2 * SECTORS - 1, 512, false), 0);
	ck_assert_mem_eq(disk.data + (2 * SECTORS - 1) * 512, "beyond", 6);
	ck_assert_uint_eq(do_request(T_OUT, 2 * SECTORS, 512, false), 1);
	stop();
}
END_TEST

/* A host that cannot is that host's fault; the guest sees nothing. */
START_TEST(growth_that_the_host_refuses)
{
	start_disk(false);
	disk.next_error = ENOSPC;
	ck_assert_int_eq(virtio_blk_grow(&blk, 2 * SECTORS), 0);
	ck_assert_int_eq(blk.host_fault, ENOSPC);
	ck_assert_uint_eq(rig_isr(&rig), 0);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG, 8), SECTORS);
	disk.next_error = 0;
	stop();
	start_disk(true);
	ck_assert_int_eq(virtio_blk_grow(&blk, 2 * SECTORS), -EINVAL);
	stop();
}
END_TEST

START_TEST(write_then_read)
{
	uint64_t before;
	uint32_t len;

	start_disk(false);
	memory_write(&rig.mem, area(0) + 16, "0123456789abcdef", 16);
	before = blk.written;
	offer(0, T_OUT, 5, 1024, false);
	/* The data is taken at the notification. */
	memory_zero(&rig.mem, area(0) + 16, 1024);
	ck_assert_uint_ne(blk.written, before);
	ck_assert_uint_eq(status(0), 0xee);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), VIRTIO_BLK_LATENCY + 1024);
	rig_run(&rig, VIRTIO_BLK_LATENCY + 1023);
	ck_assert(!rig_used(&rig, 0, NULL, NULL));
	rig_run(&rig, 1);
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 1);
	ck_assert_uint_eq(status(0), 0);
	ck_assert_mem_eq(disk.data + 5 * 512, "0123456789abcdef", 16);
	ck_assert_uint_eq(rig_isr(&rig), VIRTIO_ISR_QUEUE);
	before = blk.written;
	offer(1, T_IN, 5, 512, true);
	ck_assert_uint_eq(*(const uint8_t *)memory_at(&rig.mem, area(1) + 16, 1), 0);
	rig_run(&rig, 10000000);
	ck_assert(rig_used(&rig, 0, NULL, &len));
	ck_assert_uint_eq(len, 513);
	ck_assert_uint_eq(status(1), 0);
	ck_assert_mem_eq(memory_at(&rig.mem, area(1) + 16, 16), "0123456789abcdef", 16);
	ck_assert_uint_eq(blk.written, before);
	stop();
}
END_TEST

START_TEST(refusals)
{
	start_disk(false);
	ck_assert_uint_eq(do_request(T_IN, SECTORS, 512, true), 1);
	ck_assert_uint_eq(do_request(T_IN, SECTORS - 1, 1024, true), 1);
	ck_assert_uint_eq(do_request(T_OUT, UINT64_MAX, 512, false), 1);
	ck_assert_uint_eq(do_request(T_IN, 0, 100, true), 1);
	ck_assert_uint_eq(do_request(T_IN, 0, 0, true), 1);
	ck_assert_uint_eq(do_request(7, 0, 512, true), 2);
	ck_assert_uint_eq(do_request(0xffffffff, 0, 512, true), 2);
	ck_assert_uint_eq(do_request(T_IN, SECTORS - 1, 512, true), 0);
	ck_assert_uint_eq(do_request(T_FLUSH, 0, 0, false), 0);
	ck_assert_uint_eq(disk.flushes, 1);
	ck_assert_uint_eq(do_request(T_GET_ID, 0, 20, true), 0);
	ck_assert_mem_eq(memory_at(&rig.mem, area(0) + 16, 20), "serial-0\0\0\0\0\0\0\0\0\0\0\0\0",
			 20);
	ck_assert_uint_eq(do_request(T_GET_ID, 0, 19, true), 1);
	stop();
	start_disk(true);
	ck_assert_uint_eq(do_request(T_OUT, 0, 512, false), 1);
	ck_assert_uint_eq(do_request(T_DISCARD, 0, 16, false), 2);
	stop();
	/* No header, no status byte: nothing to answer with. */
	start_disk(false);
	rig_add(&rig, 0, (struct rig_part[]){ { RIG_HEAP, 16, false } }, 1);
	rig_kick(&rig, 0);
	ck_assert(rig_status(&rig) & VIRTIO_STATUS_NEEDS_RESET);
	stop();
}
END_TEST

/* What reaches the medium with a write, by what the driver can do about it (5.2.6.2). */
START_TEST(writes_are_cached_only_for_a_driver_that_can_flush)
{
	const uint64_t flush = 1ull << 9, wce = 1ull << 11, zeroes = 1ull << 14;
	const struct {
		uint64_t features;
		bool set, writeback; /* the driver writes the cache's mode */
		unsigned flushes;
	} c[] = {
		{ zeroes, false, false, 2 },
		{ flush | zeroes, false, false, 0 },
		{ flush | wce | zeroes, false, false, 0 },
		{ flush | wce | zeroes, true, false, 2 },
		{ flush | wce | zeroes, true, true, 0 },
		{ wce | zeroes, true, false, 2 },
		{ flush | zeroes, true, false, 0 }, /* not its to write */
	};
	const uint32_t range[4] = { 8, 0, 8, 0 };

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		start_disk_with(c[i].features, false);
		if (c[i].set)
			rig_write(&rig, VIRTIO_PCI_CONFIG + 32, 1, c[i].writeback);
		ck_assert_uint_eq(do_request(T_OUT, 5, 512, false), 0);
		memory_write(&rig.mem, area(0) + 16, range, sizeof(range));
		ck_assert_uint_eq(do_request(T_WRITE_ZEROES, 0, 16, false), 0);
		ck_assert_uint_eq(disk.flushes, c[i].flushes);
		stop();
	}
}
END_TEST

static unsigned do_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} range = { sector, sectors, flags };

	memory_write(&rig.mem, area(0) + 16, &range, sizeof(range));
	return do_request(type, 0, 16, false);
}

START_TEST(discard)
{
	uint64_t before;

	start_disk(false);
	memset(disk.data, 7, 512 * 20);
	before = blk.written;
	ck_assert_uint_eq(do_range(T_DISCARD, 2, 3, 0), 0);
	ck_assert_uint_ne(blk.written, before);
	ck_assert_uint_eq(disk.data[1023], 7);
	ck_assert_uint_eq(disk.data[1024], 0);
	ck_assert_uint_eq(disk.data[5 * 512 - 1], 0);
	ck_assert_uint_eq(disk.data[5 * 512], 7);
	ck_assert_uint_eq(do_range(T_WRITE_ZEROES, 0, 1, 1), 0);
	ck_assert_uint_eq(disk.data[0], 0);
	ck_assert_uint_eq(do_range(T_DISCARD, 0, 1, 1), 2);
	ck_assert_uint_eq(do_range(T_WRITE_ZEROES, 0, 1, 2), 2);
	ck_assert_uint_eq(do_range(T_WRITE_ZEROES, SECTORS, 1, 0), 1);
	ck_assert_uint_eq(do_range(T_WRITE_ZEROES, 0, VIRTIO_BLK_ZERO_MAX + 1, 0), 1);
	stop();
}
END_TEST

START_TEST(host_errors)
{
	uint64_t n = 0;

	start_disk(false);
	disk.next_error = EIO;
	offer(0, T_IN, 0, 512, true);
	offer(1, T_IN, 0, 512, true);
	ck_assert_int_eq(virtio_blk_next_error(&blk, 1000, &n), 0);
	ck_assert_int_eq(virtio_blk_next_error(&blk, VIRTIO_BLK_LATENCY + 512, &n), EIO);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(virtio_blk_next_error(&blk, 1000000, &n),
			 0); /* it has been told; the second one did well */
	ck_assert_int_eq(virtio_blk_set_error(&blk, 1, EIO), 0);
	ck_assert_int_eq(virtio_blk_set_error(&blk, 99, EIO), -ENOENT);
	ck_assert_int_eq(virtio_blk_set_error(&blk, 2, 0), -EINVAL);
	rig_run(&rig, 10000000);
	ck_assert_uint_eq(status(0), 1);
	ck_assert_uint_eq(status(1), 0);
	ck_assert_int_eq(blk.host_fault, 0);
	/* A read that a later write made the device wait for is told of as well. */
	disk.next_error = EIO;
	offer(0, T_IN, 0, 512, true);
	offer(1, T_OUT, 0, 512, false);
	ck_assert_int_eq(virtio_blk_next_error(&blk, 100000000, &n), EIO);
	ck_assert_int_eq(virtio_blk_set_error(&blk, n, EIO), 0);
	rig_run(&rig, 10000000);
	ck_assert_uint_eq(status(0), 1);
	ck_assert_uint_eq(status(1), 0);
	ck_assert_int_eq(blk.host_fault, 0);
	/* An error that was announced but did not happen here: the guest sees the announced one. */
	offer(0, T_IN, 0, 512, true);
	ck_assert_int_eq(virtio_blk_set_error(&blk, 5, EIO), 0);
	rig_run(&rig, 10000000);
	ck_assert_uint_eq(status(0), 1);
	ck_assert_int_eq(blk.host_fault, 0);
	/* An error that nobody announced: the guest sees success, the machine has to stop. */
	disk.next_error = ENOSPC;
	offer(0, T_OUT, 0, 512, false);
	rig_run(&rig, 10000000);
	ck_assert_uint_eq(status(0), 0);
	ck_assert_int_eq(blk.host_fault, ENOSPC);
	stop();
}
END_TEST

START_TEST(write_through)
{
	start_disk(false);
	do_request(T_OUT, 0, 512, false);
	ck_assert_uint_eq(disk.flushes, 0);
	rig_write(&rig, VIRTIO_PCI_CONFIG + 32, 1, 0);
	ck_assert_uint_eq(rig_read(&rig, VIRTIO_PCI_CONFIG + 32, 1), 0);
	do_request(T_OUT, 0, 512, false);
	ck_assert_uint_eq(disk.flushes, 1);
	stop();
}
END_TEST

/*
 * Many large requests: those beyond the buffer limit wait in the ring and are all served in the
 * end.
 */
START_TEST(bounded_buffers)
{
	struct rig_part part[8];
	uint64_t most = 0;
	unsigned used = 0;

	start_disk(false);
	rig.size = 256;
	ck_assert(rig_start(&rig, ALL));
	memory_zero(&rig.mem, area(0), 16);
	part[0] = (struct rig_part){ area(0), 16, false };
	for (unsigned i = 1; i < 7; i++)
		part[i] = (struct rig_part){ area(1), 0x20000, true };
	part[7] = (struct rig_part){ area(0) + STATUS, 1, true };
	for (unsigned i = 0; i < 32; i++)
		rig_add(&rig, 0, part, 8);
	rig_kick(&rig, 0);
	ck_assert_uint_lt(blk.underway, 32);
	for (unsigned i = 0; i < 100 && used < 32; i++) {
		most = blk.held > most ? blk.held : most;
		rig_run(&rig, 1000000);
		while (rig_used(&rig, 0, NULL, NULL))
			used++;
	}
	ck_assert_uint_eq(used, 32);
	ck_assert_uint_le(most, VIRTIO_BLK_HELD_MAX + VIRTIO_BLK_BYTES_MAX);
	ck_assert_uint_eq(blk.held, 0);
	stop();
}
END_TEST

START_TEST(reset_under_way)
{
	start_disk(false);
	offer(0, T_IN, 0, 512, true);
	offer(1, T_OUT, 0, 512, false);
	rig_write(&rig, 20, 1, 0);
	ck_assert_uint_eq(disk.n, 0);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
	rig_run(&rig, 10000000);
	ck_assert_uint_eq(status(0), 0xee);
	ck_assert(rig_start(&rig, ALL));
	ck_assert_uint_eq(do_request(T_IN, 0, 512, true), 0);
	stop();
}
END_TEST

/* A checkpoint between notification and completion: the restored machine answers at the same time
 * with the same bytes, although a later write has changed the sectors of a read. */
START_TEST(save_restore)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd in;

	start_disk(false);
	memset(disk.data, 'o', 512 * 20);
	memory_zero(&rig.mem, area(3) + 16, 512);
	offer(0, T_IN, 0, 512, true);
	offer(1, T_IN, 10, 512, true);
	offer(2, T_GET_ID, 0, 20, true);
	offer(3, T_OUT, 0, 512, false);
	offer(4, 77, 0, 512, true);
	ck_assert_int_eq(virtio_blk_set_error(&blk, 2, EIO), 0);
	virtio_blk_ops.save(&blk, &a);
	virtio_blk_ops.reset(&blk);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(virtio_blk_ops.restore(&blk, &in), 0);
	ck_assert_uint_eq(rd_left(&in), 0);
	virtio_blk_ops.save(&blk, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), VIRTIO_BLK_LATENCY + 512);
	rig_run(&rig, 10000000);
	ck_assert_uint_eq(status(0), 0);
	ck_assert_uint_eq(status(1), 1);
	ck_assert_uint_eq(status(2), 0);
	ck_assert_uint_eq(status(3), 0);
	ck_assert_uint_eq(status(4), 2);
	ck_assert_uint_eq(*(const uint8_t *)memory_at(&rig.mem, area(0) + 16, 1), 'o');
	ck_assert_uint_eq(disk.data[0], 0);
	for (unsigned i = 0; i < 5; i++)
		ck_assert(rig_used(&rig, 0, NULL, NULL));
	for (size_t n = 0; n < a.len; n++) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_lt(virtio_blk_ops.restore(&blk, &in), 0);
		ck_assert_uint_eq(rig_status(&rig), 0);
	}
	for (size_t n = 0; n < a.len * 8; n++) {
		a.data[n / 8] ^= (uint8_t)(1u << n % 8);
		in = (struct rd)RD_INIT(a.data, a.len);
		if (!virtio_blk_ops.restore(&blk, &in))
			rig_run(&rig, 1000);
		a.data[n / 8] ^= (uint8_t)(1u << n % 8);
	}
	buf_free(&a);
	buf_free(&b);
	stop();
}
END_TEST

/* Two sectors, full of a letter, at sector 4. */
static unsigned write_two(char letter)
{
	uint8_t data[1024];

	memset(data, letter, sizeof(data));
	memory_write(&rig.mem, area(0) + 16, data, sizeof(data));
	return do_request(T_OUT, 4, sizeof(data), false);
}

/* First letters of sectors 4 to 7. */
static void expect_sectors(const char *letters)
{
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(disk.data[(4 + i) * 512], letters[i] == '.' ? 0 : letters[i]);
}

START_TEST(writes_that_go_wrong)
{
	struct buf state = BUF_INIT;
	struct rd in;

	start_disk(false);
	ck_assert_uint_eq(write_two('a'), 0);
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOIL_LOST), 0);
	/* It is part of the state. */
	virtio_blk_ops.save(&blk, &state);
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOIL_NONE), 0);
	in = (struct rd)RD_INIT(state.data, state.len);
	ck_assert_int_eq(virtio_blk_ops.restore(&blk, &in), 0);
	ck_assert_uint_eq(write_two('b'), 0);
	expect_sectors("aa..");
	ck_assert_uint_eq(write_two('c'), 0);
	expect_sectors("cc..");
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOIL_TORN), 0);
	ck_assert_uint_eq(write_two('d'), 0);
	expect_sectors("dc..");
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOIL_ASTRAY), 0);
	ck_assert_uint_eq(write_two('e'), 0);
	expect_sectors("dcee");
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOIL_FULL), 0);
	ck_assert_uint_eq(write_two('f'), 1);
	ck_assert_uint_eq(write_two('f'), 1);
	expect_sectors("dcee");
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOIL_NONE), 0);
	ck_assert_uint_eq(write_two('g'), 0);
	expect_sectors("ggee");
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOILS), -EINVAL);
	ck_assert_int_eq(blk.host_fault, 0);
	buf_free(&state);
	stop();
}
END_TEST

START_TEST(content_rots_and_answers_are_late)
{
	uint64_t hash;

	start_disk(false);
	ck_assert_uint_eq(write_two('a'), 0);
	hash = blk.written;
	ck_assert_int_eq(virtio_blk_rot(&blk, (5 * 512 + 3) * 8 + 1), 0);
	ck_assert_int_eq(disk.data[5 * 512 + 3], 'a' ^ 2);
	ck_assert_int_eq(disk.data[5 * 512 + 2], 'a');
	ck_assert_uint_ne(blk.written, hash);
	ck_assert_int_eq(virtio_blk_rot(&blk, (uint64_t)SECTORS * 512 * 8), -EINVAL);
	ck_assert_int_eq(virtio_blk_delay(&blk, 1000000000), 0);
	offer(0, T_IN, 0, 512, true);
	rig_run(&rig, 1000000000);
	ck_assert_uint_eq(status(0), 0xee);
	rig_run(&rig, VIRTIO_BLK_LATENCY + 512);
	ck_assert_uint_eq(status(0), 0);
	ck_assert_int_eq(virtio_blk_delay(&blk, 4000000000000ull), -EINVAL);
	stop();
	start_disk(true);
	ck_assert_int_eq(virtio_blk_rot(&blk, 0), -EINVAL);
	ck_assert_int_eq(virtio_blk_spoil(&blk, DISK_SPOIL_LOST), -EINVAL);
	stop();
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, configuration);
	tcase_add_test(tc, writes_are_cached_only_for_a_driver_that_can_flush);
	tcase_add_test(tc, growth);
	tcase_add_test(tc, growth_that_the_host_refuses);
	tcase_add_test(tc, write_then_read);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, discard);
	tcase_add_test(tc, host_errors);
	tcase_add_test(tc, write_through);
	tcase_add_test(tc, bounded_buffers);
	tcase_add_test(tc, reset_under_way);
	tcase_add_test(tc, save_restore);
	tcase_add_test(tc, writes_that_go_wrong);
	tcase_add_test(tc, content_rots_and_answers_are_late);
}

UNIT_MAIN("virtio-blk", add_tests)
