// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read_at(int fd, void *data, uint64_t len, uint64_t offset)
{
	uint8_t *p = data;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		p += n;
		len -= (uint64_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int file_write_at(int fd, const void *data, uint64_t len, uint64_t offset)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		p += n;
		len -= (uint64_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int file_zero_at(int fd, uint64_t len, uint64_t offset)
{
	static const uint8_t zeros[65536];
	int error = 0;

	if (len == 0 ||
	    !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
		return errno;
	while (len && !error) {
		uint64_t part = len < sizeof(zeros) ? len : sizeof(zeros);

		error = file_write_at(fd, zeros, part, offset);
		len -= part;
		offset += part;
	}
	return error;
}

/* Reads up to len bytes: their number, with errno 0 at the file's end. */
static ssize_t read_up_to(int fd, char *data, size_t len)
{
	size_t n = 0;

	while (n < len) {
		ssize_t got = read(fd, data + n, len - n);

		if (got < 0 && errno == EINTR)
			continue;
		errno = got ? errno : 0;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

int file_read_whole(int fd, const char *path, uint64_t max, char **data, size_t *len,
		    struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "cannot look at '%s': %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "'%s' is %s", path,
			       S_ISDIR(st.st_mode) ? "a directory, not a file"
						   : "not a regular file");
	if ((uint64_t)st.st_size > max)
		return err_set(err, EFBIG, "'%s' has %lld bytes, and at most %llu are expected",
			       path, (long long)st.st_size, (unsigned long long)max);
	*len = (size_t)st.st_size;
	*data = malloc(*len + 1);
	if (!*data)
		return err_set(err, ENOMEM, "out of memory for the %zu bytes of '%s'", *len, path);
	(*data)[*len] = 0;
	if (read_up_to(fd, *data, *len) == (ssize_t)*len)
		return 0;
	free(*data);
	*data = NULL;
	return err_set(err, errno ? errno : EIO, "cannot read '%s': %s", path,
		       errno ? strerror(errno) : "it became shorter while it was read");
}

size_t file_read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read_up_to(fd, text, size - 1);

	text[n] = 0;
	if (fd >= 0)
		close(fd);
	return (size_t)n;
}

void file_read_line(const char *path, char *line, size_t size)
{
	file_read_text(path, line, size);
	line[strcspn(line, "\n")] = 0;
}
