/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk of which cloud-init takes what a guest is to be, its NoCloud source: an ISO 9660 volume
 * `cidata` with the files user-data, meta-data and network-config. It is made in memory, and of its
 * files alone, so that the same files make the same bytes.
 */
#ifndef HOST_CLOUD_INIT_H
#define HOST_CLOUD_INIT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

#define CLOUD_INIT_MAX (512u << 10) /* bytes of all files together */

/* Paths, owned; NULL: none. */
struct cloud_init_opt {
	char *user_data;
	char *meta_data; /* NULL: an instance's name that is made of user-data */
	char *network_config;
};

/*
 * "USER-DATA[,META-DATA[,NETWORK-CONFIG]]", a comma of a name written twice, META-DATA may be
 * empty. 0, or -EINVAL and a sentence that begins with `name`.
 */
int cloud_init_parse(struct cloud_init_opt *o, const char *name, const char *arg, struct err *err);
void cloud_init_free(struct cloud_init_opt *o);

/*
 * Reads the files and appends the volume to *out, a multiple of 2048 bytes. 0 or -errno: -EINVAL
 * for what is no user-data, -EFBIG for files that are too large.
 */
int cloud_init_make(const struct cloud_init_opt *o, struct buf *out, struct err *err);

#endif
