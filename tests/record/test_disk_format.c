// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/disk_format.h"

#include <string.h>

#include "record/disk_file.h"
#include "tests/unit.h"

#define SECTORS 128u

static struct disk_backend *disk;

static void fresh(uint64_t sectors)
{
	struct err err = ERR_INIT;

	disk = disk_memory_open(sectors, &err);
	ck_assert_ptr_nonnull(disk);
}

static void put(uint64_t offset, const char *bytes, size_t len)
{
	ck_assert_int_eq(disk_raw_write(disk, bytes, len, offset), 0);
}

/* By what the tools of each format write. */
START_TEST(other_formats_are_known)
{
	static const struct {
		const char *name;
		int64_t offset;
		const char *bytes;
		size_t len;
	} c[] = {
		{ "a qcow2 image", 0, "QFI\xfb\0\0\0\3", 8 },
		{ "a VMDK image", 0, "KDMV\1\0\0\0", 8 },
		{ "the description of a VMDK image", 0, "# Disk DescriptorFile\nversion=1", 31 },
		{ "a VDI image", 0x40, "\x7f\x10\xda\xbe\1\0\1\0", 8 },
		{ "a VHDX image", 0, "vhdxfile", 8 },
		{ "a VHD image", SECTORS * 512 - 512, "conectix", 8 },
		{ "an xz archive", 0, "\xfd\x37zXZ\0", 6 },
		{ "a gzip archive", 0, "\x1f\x8b\x08\0", 4 },
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		fresh(SECTORS);
		ck_assert_ptr_null(disk_format_find(disk));
		put((uint64_t)c[i].offset, c[i].bytes, c[i].len);
		ck_assert_ptr_nonnull(disk_format_find(disk));
		ck_assert_str_eq(disk_format_find(disk), c[i].name);
		put((uint64_t)c[i].offset, "\0", 1);
		ck_assert_ptr_null(disk_format_find(disk));
		disk->ops->close(disk);
	}
}
END_TEST

START_TEST(content_of_disks_is_none)
{
	fresh(1);
	ck_assert_ptr_null(disk_format_find(disk)); /* smaller than some marks' offsets */
	put(510, "\x55\xaa", 2);
	put(0, "\xeb\x63\x90", 3); /* GRUB's */
	ck_assert_ptr_null(disk_format_find(disk));
	put(0, "LUKS\xba\xbe", 6); /* the guest's own */
	ck_assert_ptr_null(disk_format_find(disk));
	disk->ops->close(disk);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, other_formats_are_known);
	tcase_add_test(tc, content_of_disks_is_none);
}

UNIT_MAIN("disk_format", add)
