/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of a guest on this host, as their metadata has them. */
#ifndef HOST_GUEST_DISKS_H
#define HOST_GUEST_DISKS_H

#include <jansson.h>

/*
 * Describes the disks that the configuration file at `path` names for this host: an array of
 * objects with path, state ("in step", ...; "not kept": the disk has no metadata, or needs none),
 * bytes, and the generation in which the disk was written last; with error instead where the
 * metadata cannot be read. Nothing is changed. NULL: there is no such file, or it is wrong.
 */
json_t *guest_disks(const char *path);

#endif
