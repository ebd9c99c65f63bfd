// SPDX-License-Identifier: GPL-2.0-or-later
/* What a PC BIOS finds: its ROM and the shadow of it, and the configuration device. */
#include <errno.h>

#include "hypervisor/devices/fw_cfg.h"
#include "hypervisor/devices/rom.h"
#include "tests/devices/rig.h"
#include "tests/unit.h"

static struct bus bus;
static struct memory mem;
static struct fw_cfg cfg;
static struct rom rom;
static uint8_t image[ROM_SIZE_MAX + ROM_SIZE_UNIT];

static void setup(void)
{
	struct err err = ERR_INIT;

	bus_init(&bus);
	ck_assert_int_eq(memory_init(&mem, 4 << 20, &err), 0);
	fw_cfg_init(&cfg, &bus, &mem);
	rom_init(&rom, &bus, &mem);
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i * 7 + i / 256);
}

static void teardown(void)
{
	fw_cfg_fini(&cfg);
	rom_fini(&rom);
	memory_fini(&mem);
}

/* ---- configuration device ---- */

static void choose(uint16_t key)
{
	bus_write(&bus, BUS_PORT, 0x510, 2, key);
}

static uint64_t next(unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | bus_read(&bus, BUS_PORT, 0x511, 1);
	return v;
}

START_TEST(items)
{
	choose(FW_CFG_SIGNATURE);
	ck_assert_uint_eq(next(4), 0x51454d55); /* QEMU */
	ck_assert_uint_eq(next(4), 0);
	choose(FW_CFG_ID);
	ck_assert_uint_eq(bus_read(&bus, BUS_PORT, 0x511, 4), 3);
	choose(0x1234);
	ck_assert_uint_eq(next(8), 0);
	ck_assert_uint_eq(bus_read(&bus, BUS_PORT, 0x514, 4), 0x554d4551);
	ck_assert_uint_eq(bus_read(&bus, BUS_PORT, 0x518, 4), 0x47464320);
}
END_TEST

START_TEST(files)
{
	ck_assert(fw_cfg_add_file(&cfg, "etc/a", "abc", 3));
	ck_assert(fw_cfg_add_number(&cfg, "etc/b", 0x1234, 2));
	choose(FW_CFG_DIRECTORY);
	ck_assert_uint_eq(next(4), 2);
	ck_assert_uint_eq(next(4), 3); /* size */
	ck_assert_uint_eq(next(4), (uint64_t)FW_CFG_FILE_FIRST << 16);
	ck_assert_uint_eq(next(6), 0x6574632f6100); /* etc/a */
	next(50);
	ck_assert_uint_eq(next(4), 2);
	choose(FW_CFG_FILE_FIRST + 1);
	ck_assert_uint_eq(next(4), 0x34120000);
	choose(FW_CFG_FILE_FIRST);
	ck_assert_uint_eq(next(4), 0x61626300);
	ck_assert(!fw_cfg_add_file(
		&cfg, "a-name-that-has-far-more-than-the-55-bytes-that-there-are-room-for", "", 0));
	for (unsigned i = 2; i < FW_CFG_FILES; i++)
		ck_assert(fw_cfg_add_number(&cfg, "etc/more", i, 1));
	ck_assert(!fw_cfg_add_number(&cfg, "etc/more", 0, 1));
}
END_TEST

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

/* Starts a transfer whose structure is at `at`; returns its control word behind it. */
static uint32_t transfer(uint64_t at, uint32_t control, uint32_t n, uint64_t gpa)
{
	uint8_t request[16];

	put_be(request, control, 4);
	put_be(request + 4, n, 4);
	put_be(request + 8, gpa, 8);
	memory_write(&mem, at, request, sizeof(request));
	bus_write(&bus, BUS_PORT, 0x514, 4, __builtin_bswap32((uint32_t)(at >> 32)));
	bus_write(&bus, BUS_PORT, 0x518, 4, __builtin_bswap32((uint32_t)at));
	return memory_read(&mem, at, request, 4) ? __builtin_bswap32(*(uint32_t *)request) : 0xbad;
}

START_TEST(dma)
{
	const uint32_t select = (uint32_t)FW_CFG_FILE_FIRST << 16 | 8;
	char got[8];

	ck_assert(fw_cfg_add_file(&cfg, "etc/a", "abcdef", 6));
	memset(mem.base + 0x2000, 0xff, 8);
	ck_assert_uint_eq(transfer(0x1000, select | 2, 4, 0x2000), 0);
	ck_assert_uint_eq(transfer(0x1000, 2, 4, 0x2004), 0); /* goes on; zeros behind the end */
	ck_assert(memory_read(&mem, 0x2000, got, 8));
	ck_assert_mem_eq(got, "abcdef\0\0", 8);
	ck_assert_uint_eq(transfer(0x1000, select | 4, 2, 0), 0); /* skip */
	ck_assert_uint_eq(next(1), 'c');
	/* Errors: a write, memory that is none, too much, a structure nowhere. */
	ck_assert_uint_eq(transfer(0x1000, select | 0x10, 4, 0x2000), 1);
	ck_assert_uint_eq(transfer(0x1000, select | 2, 4, (4 << 20) - 2), 1);
	ck_assert_uint_eq(transfer(0x1000, select | 2, 0xffffffff, 0), 1);
	ck_assert_uint_eq(transfer(0xffffffffffffull, select | 2, 4, 0x2000), 0xbad);
	ck_assert_uint_eq(transfer((4 << 20) - 8, select | 2, 4, 0x2000), 0); /* nothing there */
}
END_TEST

START_TEST(configuration_state)
{
	ck_assert(fw_cfg_add_file(&cfg, "etc/a", "abcdef", 6));
	choose(FW_CFG_FILE_FIRST);
	next(2);
	bus_write(&bus, BUS_PORT, 0x514, 4, 0x12345678);
	ck_assert(rig_round_trip(&fw_cfg_ops, &cfg));
	ck_assert(rig_refuses_short(&fw_cfg_ops, &cfg));
	choose(FW_CFG_FILE_FIRST);
	next(2);
	ck_assert(rig_round_trip(&fw_cfg_ops, &cfg));
	ck_assert_uint_eq(next(1), 'c');
}
END_TEST

/* ---- ROM ---- */

START_TEST(rom_and_shadow)
{
	const size_t n = 2 * ROM_SHADOW;
	uint8_t byte = 0;

	ck_assert_uint_eq(bus_read(&bus, BUS_MMIO, 0xfffffff0, 4), 0xffffffff);
	ck_assert_int_eq(rom_load(&rom, image, n), 0);
	ck_assert_uint_eq(bus_read(&bus, BUS_MMIO, 0xfffffff0, 1), image[n - 16]);
	ck_assert_uint_eq(bus_read(&bus, BUS_MMIO, ROM_END - n, 8), *(uint64_t *)image);
	bus_write(&bus, BUS_MMIO, 0xfffffff0, 1, (uint8_t)~image[n - 16]);
	ck_assert_uint_eq(bus_read(&bus, BUS_MMIO, 0xfffffff0, 1), image[n - 16]);
	ck_assert_mem_eq(memory_at(&mem, 0xc0000, ROM_SHADOW), image + n - ROM_SHADOW, ROM_SHADOW);
	/* The shadow is RAM until the next reset. */
	ck_assert(memory_write(&mem, 0xffff0, &byte, 1));
	rom_ops.reset(&rom);
	ck_assert(memory_read(&mem, 0xffff0, &byte, 1));
	ck_assert_uint_eq(byte, image[n - 16]);
}
END_TEST

START_TEST(rom_sizes)
{
	static const size_t bad[] = { 0, 1, ROM_SIZE_UNIT - 1, ROM_SIZE_UNIT + 1,
				      ROM_SIZE_MAX + ROM_SIZE_UNIT };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(rom_load(&rom, image, bad[i]), -EINVAL);
	ck_assert_int_eq(rom_load(&rom, image, ROM_SIZE_UNIT), 0);
	ck_assert_mem_eq(memory_at(&mem, 0xf0000, ROM_SIZE_UNIT), image, ROM_SIZE_UNIT);
	ck_assert_int_eq(rom_load(&rom, image, ROM_SIZE_MAX), 0);
	ck_assert_uint_eq(bus_read(&bus, BUS_MMIO, 0xfff00000, 1), image[0]);
}
END_TEST

/* Neither a load nor a restore takes addresses that another device has. */
START_TEST(rom_addresses_taken)
{
	struct buf saved = BUF_INIT;
	struct rom other;
	struct rd in;

	ck_assert_int_eq(rom_load(&rom, image, ROM_SIZE_UNIT), 0);
	rom_ops.save(&rom, &saved);
	rom_init(&other, &bus, &mem);
	ck_assert_int_eq(rom_load(&other, image + 1, 2 * ROM_SIZE_UNIT), -EBUSY);
	ck_assert_ptr_null(other.image);
	in = (struct rd)RD_INIT(saved.data, saved.len);
	ck_assert_int_eq(rom_ops.restore(&other, &in), -EINVAL);
	ck_assert_ptr_null(other.image);
	ck_assert_uint_eq(bus_read(&bus, BUS_MMIO, ROM_END - ROM_SIZE_UNIT, 1), image[0]);
	buf_free(&saved);
	rom_fini(&other);
}
END_TEST

START_TEST(rom_state)
{
	struct buf saved = BUF_INIT, again = BUF_INIT;
	struct rd in;

	ck_assert_int_eq(rom_load(&rom, image, ROM_SIZE_UNIT), 0);
	rom_ops.save(&rom, &saved);
	ck_assert_int_eq(rom_load(&rom, image, 2 * ROM_SIZE_UNIT), 0);
	in = (struct rd)RD_INIT(saved.data, saved.len);
	ck_assert_int_eq(rom_ops.restore(&rom, &in), 0);
	rom_ops.save(&rom, &again);
	ck_assert(saved.len == again.len && !memcmp(saved.data, again.data, saved.len));
	in = (struct rd)RD_INIT(saved.data, saved.len - 1);
	ck_assert_int_eq(rom_ops.restore(&rom, &in), -EINVAL);
	buf_free(&saved);
	buf_free(&again);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, items);
	tcase_add_test(tc, files);
	tcase_add_test(tc, dma);
	tcase_add_test(tc, configuration_state);
	tcase_add_test(tc, rom_and_shadow);
	tcase_add_test(tc, rom_sizes);
	tcase_add_test(tc, rom_addresses_taken);
	tcase_add_test(tc, rom_state);
}

UNIT_MAIN("firmware", add_tests)
