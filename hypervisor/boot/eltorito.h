/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option ROM by which firmware boots a CD's image that is on a disk. */
#ifndef BOOT_ELTORITO_H
#define BOOT_ELTORITO_H

#include "base/buf.h"

/* Appends the ROM, a multiple of 512 bytes with its checksums; out->bad: no memory. */
void eltorito_put_rom(struct buf *out);

#endif
