/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The metadata of disks that are kept in step with another replica's: the files (disk_meta.h). */
#ifndef HOST_DISK_KEEP_H
#define HOST_DISK_KEEP_H

#include <stdatomic.h>

#include "base/err.h"
#include "host/machine_opts.h"
#include "hypervisor/devices/disk.h"
#include "record/disk_meta.h"

struct disk_keep {
	char *path; /* NULL: the disk is not kept in step */
	int fd;
};

/*
 * Before the jail closes: opens the metadata of a disk that is written; of one that is new to pairs
 * it is made. new_id: a new disk gets an id of its own, rather than that of the other side's. The
 * content is looked into later. 0 or -errno.
 */
int disk_keep_open(struct disk_keep *k, const struct disk_opt *o, const struct disk_backend *d,
		   bool new_id, struct err *err);
void disk_keep_close(struct disk_keep *k);
/* In the jail: what the file says. It is the disk's from now on. NULL and err. */
struct disk_meta *disk_keep_load(struct disk_keep *k, struct disk_backend *d,
				 const atomic_uint_fast64_t *record, struct err *err);
/*
 * What an image's metadata says of it, without changing anything. 1; 0: there is none, or none is
 * kept; -errno and err.
 */
int disk_keep_peek(const struct disk_opt *o, struct disk_meta_identity *id, struct err *err);

#endif
