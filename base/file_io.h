/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing whole files and whole ranges of them: a call that was interrupted or did less
 * is followed by another one.
 */
#ifndef BASE_FILE_IO_H
#define BASE_FILE_IO_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Reads len bytes at an offset: 0, or a positive errno; EIO where the file ends before. */
int file_read_at(int fd, void *data, uint64_t len, uint64_t offset);
/* Writes len bytes at an offset: 0, or a positive errno; EIO where nothing more is taken. */
int file_write_at(int fd, const void *data, uint64_t len, uint64_t offset);
/* len bytes read as zeros from now on, and may be given back to the host: 0 or a positive errno. */
int file_zero_at(int fd, uint64_t len, uint64_t offset);
/*
 * Reads a regular file that was just opened to its end; messages call it `path`. 0, with *data to
 * be freed, where a 0 follows *len bytes; or -errno and err: -EINVAL for what is no regular file,
 * -EFBIG for more than max bytes.
 */
int file_read_whole(int fd, const char *path, uint64_t max, char **data, size_t *len,
		    struct err *err);
/*
 * Reads a small file of the kernel's (/proc, /sys) as a string of at most size - 1 bytes. Returns
 * the string's length, 0 where the file cannot be read.
 */
size_t file_read_text(const char *path, char *text, size_t size);
/* Reads the first line of such a file, without the line's end; "" where it cannot be read. */
void file_read_line(const char *path, char *line, size_t size);

#endif
