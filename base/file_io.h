/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole files, and whole ranges of them: interrupted and short calls are gone on with. */
#ifndef BASE_FILE_IO_H
#define BASE_FILE_IO_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* len bytes at an offset: 0, or a positive errno; EIO where the file ends before. */
int file_read_at(int fd, void *data, uint64_t len, uint64_t offset);
/* ... EIO where nothing more is taken. */
int file_write_at(int fd, const void *data, uint64_t len, uint64_t offset);
/* len bytes read as zeros from now on, and may be given back to the host: 0 or a positive errno. */
int file_zero_at(int fd, uint64_t len, uint64_t offset);
/*
 * A regular file that was just opened, to its end; `path` in messages. 0, with *data to be freed,
 * where a 0 follows *len bytes; or -errno and err: -EINVAL for what is no regular file, -EFBIG for
 * more than max bytes.
 */
int file_read_whole(int fd, const char *path, uint64_t max, char **data, size_t *len,
		    struct err *err);
/*
 * What a small file of the kernel's (/proc, /sys) says, as a string of at most size - 1 bytes: its
 * length, 0 where the file cannot be read.
 */
size_t file_read_text(const char *path, char *text, size_t size);
/* ... its first line, without the end of the line. */
void file_read_line(const char *path, char *line, size_t size);

#endif
