/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole ranges of files: interrupted and short calls are gone on with. */
#ifndef BASE_FILE_IO_H
#define BASE_FILE_IO_H

#include <stdint.h>

/* len bytes at an offset: 0, or a positive errno; EIO where the file ends before. */
int file_read_at(int fd, void *data, uint64_t len, uint64_t offset);
/* ... EIO where nothing more is taken. */
int file_write_at(int fd, const void *data, uint64_t len, uint64_t offset);

#endif
