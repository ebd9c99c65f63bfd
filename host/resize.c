// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/resize.h"

#include <errno.h>
#include <string.h>

#include "base/host_clock.h"
#include "record/disk_file.h"

#define WAIT_MS 5000 /* for the machine's next sync point; a backup that is behind holds it up */

static int check_size(unsigned disk, uint64_t had, uint64_t bytes, struct err *err)
{
	if (bytes % DISK_SECTOR || bytes / DISK_SECTOR > DISK_SECTORS_MAX)
		return err_set(
			err, EINVAL,
			"%llu bytes are no size of a disk: a multiple of 512, at most 64 TiB",
			(unsigned long long)bytes);
	if (bytes < had)
		return err_set(err, EINVAL,
			       "disk %u has %llu bytes, and a disk in use does not shrink to %llu",
			       disk, (unsigned long long)had, (unsigned long long)bytes);
	return 0;
}

static int grow_error(unsigned disk, uint64_t bytes, int error, struct err *err)
{
	const char *why = strerror(error);

	if (error == EOPNOTSUPP)
		why = "an NBD server's export has the size that it had when the machine began";
	else if (error == ENXIO)
		why = "the block device ends before that, and has to be made longer first";
	return err_set(err, error, "disk %u cannot grow to %llu bytes: %s", disk,
		       (unsigned long long)bytes, why);
}

int resize_begin(struct resize *r, const json_t *args, struct disk_backend *const *disks,
		 unsigned ndisks, struct err *err)
{
	json_int_t disk = json_integer_value(json_object_get(args, "disk"));
	json_int_t given = json_integer_value(json_object_get(args, "bytes"));
	uint64_t had, bytes;
	int error;

	if (!json_is_integer(json_object_get(args, "disk")) || disk < 0 || given <= 0)
		return err_set(err, EINVAL, "'disk' must be a disk's number, 'bytes' its size");
	if (disk >= (json_int_t)ndisks)
		return err_set(err, ENODEV, "there is no disk %lld: the machine has %u",
			       (long long)disk, ndisks);
	if (disks[disk]->readonly)
		return err_set(err, EROFS, "disk %lld is read-only, and does not grow",
			       (long long)disk);
	had = disk_sectors(disks[disk]) * DISK_SECTOR;
	bytes = (uint64_t)given + (json_is_true(json_object_get(args, "more")) ? had : 0);
	r->disk = (unsigned)disk;
	r->sectors = bytes / DISK_SECTOR;
	if (check_size(r->disk, had, bytes, err) < 0)
		return -err->code;
	error = disk_grow_image(disks[disk], r->sectors);
	return error ? grow_error(r->disk, bytes, error, err) : 0;
}

int resize_end(const struct resize *r, struct disk_backend *const *disks, json_t *reply,
	       struct err *err)
{
	for (unsigned ms = 0; disk_sectors(disks[r->disk]) < r->sectors; ms += 10) {
		if (ms >= WAIT_MS)
			return err_set(err, ETIMEDOUT,
				       "the machine has not taken the new size of disk %u yet: ask "
				       "again",
				       r->disk);
		host_sleep_ns(10000000);
	}
	json_object_set_new(reply, "bytes",
			    json_integer((json_int_t)(disk_sectors(disks[r->disk]) * DISK_SECTOR)));
	return 0;
}
