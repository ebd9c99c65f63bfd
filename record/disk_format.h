/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recognises files that are not raw disk images by their content. */
#ifndef RECORD_DISK_FORMAT_H
#define RECORD_DISK_FORMAT_H

#include "hypervisor/devices/disk.h"

/*
 * Returns the name of the format of a disk's image, with its article ("a qcow2 image", "an xz
 * archive"); NULL: it appears to be a raw image. A guest could write such a signature to its raw
 * disk, so the operator must be able to insist that an image is raw.
 */
const char *disk_format_find(struct disk_backend *disk);

#endif
