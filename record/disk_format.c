// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/disk_format.h"

#include <stddef.h>
#include <string.h>

#include "record/disk_file.h"

/* Bytes that a file of the format has at an offset; a negative offset counts from its end. */
struct mark {
	const char *name;
	int64_t offset;
	const char *bytes;
	size_t len;
};

#define MARK(name, offset, text)                     \
	{                                            \
		name, offset, text, sizeof(text) - 1 \
	}

/*
 * From the formats' specifications: docs/interop/qcow2 of QEMU, VMware's "Virtual Disk Format 5.0",
 * Microsoft's VHD and [MS-VHDX], VirtualBox's headers, Parallels' docs/interop/parallels, Apple's
 * trailer; RFC 1952, RFC 8878, the xz and bzip2 formats, the zip application note.
 */
static const struct mark marks[] = {
	MARK("a qcow2 image", 0, "QFI\xfb"),
	MARK("a QED image", 0, "QED\0"),
	MARK("a VMDK image", 0, "KDMV"),
	MARK("a VMDK image", 0, "COWD"),
	MARK("the description of a VMDK image", 0, "# Disk DescriptorFile"),
	MARK("a VHDX image", 0, "vhdxfile"),
	MARK("a VHD image", 0, "conectix"),
	MARK("a VHD image", -512, "conectix"),
	MARK("a VHD image", -511, "conectix"), /* of old Virtual PC */
	MARK("a VDI image", 0x40, "\x7f\x10\xda\xbe"),
	MARK("a Parallels image", 0, "WithoutFreeSpace"),
	MARK("a Parallels image", 0, "WithouFreSpacExt"),
	MARK("an Apple disk image", -512, "koly\0\0\0\4"),
	MARK("a gzip archive", 0, "\x1f\x8b\x08"),
	MARK("an xz archive", 0,
	     "\xfd"
	     "7zXZ\0"),
	MARK("a zstd archive", 0, "\x28\xb5\x2f\xfd"),
	MARK("a bzip2 archive", 0, "BZh"),
	MARK("a zip archive", 0, "PK\3\4"),
};

const char *disk_format_find(struct disk_backend *disk)
{
	int64_t size = (int64_t)(disk->sectors * DISK_SECTOR);
	char found[32];

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		const struct mark *m = &marks[i];
		int64_t at = m->offset < 0 ? size + m->offset : m->offset;

		if (at >= 0 && at + (int64_t)m->len <= size &&
		    !disk_raw_read(disk, found, m->len, (uint64_t)at) &&
		    !memcmp(found, m->bytes, m->len))
			return m->name;
	}
	return NULL;
}
