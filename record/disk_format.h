/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are no raw disk images, told by what stands in them. */
#ifndef RECORD_DISK_FORMAT_H
#define RECORD_DISK_FORMAT_H

#include "hypervisor/devices/disk.h"

/*
 * Name of the format of a disk's image, with its article ("a qcow2 image", "an xz
 * archive"), or NULL when it is nothing but the content of a disk, as far as anybody can see. A
 * guest could write such a beginning to its raw disk, so whoever opens it has to be able to insist.
 */
const char *disk_format_find(struct disk_backend *disk);

#endif
