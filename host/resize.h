/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `twinstep resize`: a disk grows while its machine runs. Its image and metadata come first, then
 * the input by which the machine, its replays and its backup have a longer disk at one record.
 */
#ifndef HOST_RESIZE_H
#define HOST_RESIZE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hypervisor/devices/disk.h"

struct resize {
	unsigned disk;
	uint64_t sectors; /* that it is to have */
};

/*
 * Reads {"disk": N, "bytes": B, "more": whether B are added} and makes the image of one of ndisks
 * disks that long. -errno and err: nothing is asked of the machine.
 */
int resize_begin(struct resize *r, const json_t *args, struct disk_backend *const *disks,
		 unsigned ndisks, struct err *err);
/* Once the input was given to the machine: waits until it has entered. 0, or -ETIMEDOUT and err. */
int resize_end(const struct resize *r, struct disk_backend *const *disks, json_t *reply,
	       struct err *err);

#endif
