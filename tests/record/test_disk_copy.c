// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record/disk_copy.h"
#include "record/disk_file.h"
#include "tests/unit.h"

#define BLOCKS	100u
#define SECTORS (BLOCKS * DISK_COPY_BLOCK / DISK_SECTOR - 3) /* the last block is short */
#define BYTES	(SECTORS * (uint64_t)DISK_SECTOR)
#define AT	4096u /* in the file: what is before belongs to somebody else */

static struct err err;
static uint8_t *was, *now, *got;
static int fd;

static void setup(void)
{
	was = malloc(BYTES);
	now = malloc(BYTES);
	got = calloc(BLOCKS, DISK_COPY_BLOCK);
	fd = memfd_create("kept", MFD_CLOEXEC);
	ck_assert(was && now && got && fd >= 0);
	for (uint64_t i = 0; i < BYTES; i++)
		now[i] = (uint8_t)(i * 2654435761u >> 13);
}

static void teardown(void)
{
	free(was);
	free(now);
	free(got);
	close(fd);
}

static void request(struct disk_backend *d, enum disk_op op, uint64_t sector, uint32_t sectors,
		    void *data)
{
	static uint64_t id;

	d->ops->start(d, ++id, op, sector, sectors, data);
	ck_assert_int_eq(d->ops->finish(d, id), 0);
}

static struct disk_backend *filled_disk(void)
{
	struct disk_backend *d = disk_memory_open(SECTORS, &err);

	ck_assert_ptr_nonnull(d);
	request(d, DISK_WRITE, 0, SECTORS, now);
	return d;
}

/* Writes, or zeroes, some sectors somewhere. */
static void scribble(struct disk_backend *d, unsigned round)
{
	uint32_t sectors = 1 + round * 37 % 400;
	uint64_t sector = round * 7919ull % (SECTORS - sectors);
	uint8_t *p = now + sector * DISK_SECTOR;

	if (round % 3) {
		memset(p, (int)round, sectors * DISK_SECTOR);
		request(d, DISK_WRITE, sector, sectors, p);
	} else {
		memset(p, 0, sectors * DISK_SECTOR);
		request(d, DISK_ZERO, sector, sectors, NULL);
	}
}

/* What was there at the moment is read, whatever is written before, between and after. */
START_TEST(as_it_was)
{
	struct disk_backend *d = filled_disk(), *list[3] = { NULL, d, NULL };
	struct disk_copy *c = disk_copy_new(list, 3, fd, AT);
	unsigned round = 0;
	uint64_t at = 0;

	ck_assert_ptr_nonnull(c);
	ck_assert_uint_eq(disk_copy_blocks(c, 0), 0);
	ck_assert_uint_eq(disk_copy_blocks(c, 1), BLOCKS);
	ck_assert_uint_eq(disk_copy_room(list, 3), BLOCKS * DISK_COPY_BLOCK);
	for (; round < 10; round++)
		scribble(d, round);
	memcpy(was, now, BYTES);
	disk_copy_begin(c);
	while (at < BLOCKS) {
		int n;

		for (unsigned k = 0; k < 5; k++)
			scribble(d, ++round);
		n = disk_copy_read(c, 1, at, 1 + round % 9, got + at * DISK_COPY_BLOCK, &err);
		ck_assert_msg(n > 0, "%s", err.text);
		at += (unsigned)n;
	}
	ck_assert_uint_eq(at, BLOCKS);
	ck_assert(!memcmp(got, was, BYTES));
	ck_assert(memcmp(now, was, BYTES));
	ck_assert_int_le(lseek(fd, 0, SEEK_DATA), AT + (off_t)(BLOCKS * DISK_COPY_BLOCK));
	disk_copy_free(c);
	scribble(d, 5); /* nothing is told of it any more */
	request(d, DISK_READ, 0, SECTORS, got);
	ck_assert(!memcmp(got, now, BYTES));
	disk_close(d);
}
END_TEST

/* Nothing that somebody else has in the file is overwritten. */
START_TEST(keeps_behind_its_place)
{
	struct disk_backend *d = filled_disk(), *list[1] = { d };
	struct disk_copy *c = disk_copy_new(list, 1, fd, AT);
	uint8_t before[AT];

	memset(before, 7, sizeof(before));
	ck_assert_int_eq(pwrite(fd, before, sizeof(before), 0), sizeof(before));
	disk_copy_begin(c);
	request(d, DISK_ZERO, 0, SECTORS, NULL);
	ck_assert_int_eq(disk_copy_read(c, 0, 0, 3, got, &err), 3);
	ck_assert(!memcmp(got, now, 3 * DISK_COPY_BLOCK));
	ck_assert_int_eq(disk_copy_read(c, 0, BLOCKS - 1, 3, got, &err), 1);
	memset(got + DISK_COPY_BLOCK, 0, AT);
	ck_assert_int_eq(pread(fd, got + DISK_COPY_BLOCK, AT, 0), AT);
	ck_assert(!memcmp(got + DISK_COPY_BLOCK, before, AT));
	disk_copy_free(c);
	disk_close(d);
}
END_TEST

/* More than the pool takes: the writes go on, and the copy says that it is none. */
START_TEST(more_than_can_be_kept)
{
	const uint32_t blocks = 1100, step = DISK_COPY_BLOCK / DISK_SECTOR;
	struct disk_backend *d = disk_memory_open((uint64_t)blocks * step, &err), *list[1] = { d };
	struct disk_copy *c = disk_copy_new(list, 1, fd, AT);
	uint8_t sector[DISK_SECTOR] = { 1 };

	disk_copy_begin(c);
	for (uint64_t i = 0; i < blocks; i++)
		request(d, DISK_WRITE, i * step, 1, sector);
	ck_assert_int_eq(disk_copy_read(c, 0, 0, 1, got, &err), -ENOBUFS);
	ck_assert_ptr_nonnull(strstr(err.text, "faster than"));
	disk_copy_free(c);
	request(d, DISK_READ, (blocks - 1) * (uint64_t)step, 1, got);
	ck_assert_uint_eq(got[0], 1);
	disk_close(d);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, as_it_was);
	tcase_add_test(tc, keeps_behind_its_place);
	tcase_add_test(tc, more_than_can_be_kept);
}

UNIT_MAIN("disk_copy", add_tests)
