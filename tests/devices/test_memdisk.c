// SPDX-License-Identifier: GPL-2.0-or-later
/* A disk whose content is part of the machine's state. */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "hypervisor/devices/memdisk.h"
#include "tests/unit.h"

#define SECTORS 6u
#define BYTES	(SECTORS * DISK_SECTOR)

static struct memdisk disk;
static uint8_t content[BYTES];

static void setup(void)
{
	for (size_t i = 0; i < BYTES; i++)
		content[i] = (uint8_t)(i * 13 + i / 251);
	ck_assert_int_eq(memdisk_init(&disk, SECTORS), 0);
	ck_assert_int_eq(memdisk_load(&disk, content, BYTES), 0);
}

static void teardown(void)
{
	memdisk_fini(&disk);
}

START_TEST(sizes)
{
	struct memdisk d;

	ck_assert_int_eq(memdisk_init(&d, 0), -EINVAL);
	ck_assert_int_eq(memdisk_init(&d, MEMDISK_SECTORS_MAX + 1), -EINVAL);
	ck_assert_int_eq(memdisk_init(&d, MEMDISK_SECTORS_MAX), 0);
	memdisk_fini(&d);
	ck_assert_int_eq(memdisk_load(&disk, content, BYTES - 1), -EINVAL);
	ck_assert(disk.backend.readonly);
	ck_assert_uint_eq(disk.backend.sectors, SECTORS);
}
END_TEST

START_TEST(reads)
{
	struct disk_backend *b = &disk.backend;
	uint8_t got[BYTES];
	uint64_t hash;

	b->ops->start(b, 1, DISK_READ, 2, 3, got);
	ck_assert_int_eq(b->ops->finish(b, 1), 0);
	ck_assert_mem_eq(got, content + 2 * DISK_SECTOR, 3 * DISK_SECTOR);
	b->ops->start(b, 2, DISK_READ, SECTORS - 1, 1, got);
	ck_assert_mem_eq(got, content + BYTES - DISK_SECTOR, DISK_SECTOR);
	b->ops->start(b, 3, DISK_FLUSH, 0, 0, NULL);
	ck_assert_int_eq(b->ops->finish(b, 3), 0);
	ck_assert_int_eq(b->ops->digest(b, &hash), 0);
	ck_assert_uint_eq(hash, XXH3_64bits(content, BYTES));
}
END_TEST

START_TEST(state)
{
	struct buf saved = BUF_INIT;
	struct memdisk other;
	struct rd in, cut;

	ck_assert_int_eq(memdisk_init(&other, SECTORS), 0);
	memdisk_ops.reset(&disk); /* a medium stays */
	memdisk_ops.save(&disk, &saved);
	in = (struct rd)RD_INIT(saved.data, saved.len);
	ck_assert_int_eq(memdisk_ops.restore(&other, &in), 0);
	ck_assert_uint_eq(rd_left(&in), 0);
	ck_assert_mem_eq(other.data, content, BYTES);
	cut = (struct rd)RD_INIT(saved.data, saved.len - 1);
	ck_assert_int_eq(memdisk_ops.restore(&other, &cut), -EINVAL);
	memdisk_fini(&other);
	ck_assert_int_eq(memdisk_init(&other, SECTORS + 1), 0); /* another size */
	in = (struct rd)RD_INIT(saved.data, saved.len);
	ck_assert_int_eq(memdisk_ops.restore(&other, &in), -EINVAL);
	memdisk_fini(&other);
	buf_free(&saved);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, reads);
	tcase_add_test(tc, state);
}

UNIT_MAIN("memdisk", add_tests)
