/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernels that are compressed as a whole, such as Xen's xen.gz or a vmlinux.xz. */
#ifndef HOST_UNPACK_H
#define HOST_UNPACK_H

#include "base/err.h"
#include "hypervisor/boot/image.h"

/*
 * Replaces an image that is compressed (gzip, bzip2, xz, lzma, zstd, LZ4) by what is in it, of at
 * most max bytes; its old data is freed, the new one is malloc()ed. Several streams of a format,
 * one behind the other, are one file; zeros may follow, or the length as Linux' build appends it.
 * Others stay as they are, but for formats that are recognised and not read: -EINVAL, and a line
 * that says how to unpack them. The bytes come from outside: to be called in a jail.
 */
int image_unpack(struct boot_image *image, size_t max, struct err *err);

#endif
