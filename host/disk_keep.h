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

/* Treatment of a disk that is new to pairs. */
enum disk_keep_new {
	DISK_KEEP_MAKE_ID, /* it gets metadata, and an id of its own */
	DISK_KEEP_MAKE,	   /* it gets metadata, and the other side's id in a join */
	DISK_KEEP_LEAVE,   /* it is none of a pair's */
};

/*
 * Before the jail closes: opens the metadata of a disk that is written. The content is looked into
 * later. 0 or -errno.
 */
int disk_keep_open(struct disk_keep *k, const struct disk_opt *o, const struct disk_backend *d,
		   enum disk_keep_new how, struct err *err);
void disk_keep_close(struct disk_keep *k);
/* In the jail: what the file says. It is the disk's from now on. NULL and err. */
struct disk_meta *disk_keep_load(struct disk_keep *k, struct disk_backend *d,
				 const atomic_uint_fast64_t *record, struct err *err);
/*
 * A machine outside of any pair writes this image of a pair's: it goes on alone, so a later join
 * knows whose content is newer. -ESTALE and err: it may be old already. force: it is what counts.
 */
int disk_keep_part(const struct disk_keep *k, struct disk_meta *m, bool force, struct err *err);
/*
 * Reads an image's metadata, without changing anything. 1; 0: there is none, or none is kept;
 * -errno and err.
 */
int disk_keep_peek(const struct disk_opt *o, struct disk_meta_identity *id, struct err *err);

#endif
