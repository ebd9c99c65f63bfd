// SPDX-License-Identifier: GPL-2.0-or-later
/* Raw images in files and on block devices. */
#include "record/disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.h"
#include "hypervisor/devices/disk.h"

struct image_file {
	struct disk_image image; /* first */
	int fd;
};

static int image_fd(const struct disk_image *i)
{
	return ((const struct image_file *)i)->fd;
}

static int file_image_read(struct disk_image *i, void *data, uint64_t len, uint64_t offset)
{
	return file_read_at(image_fd(i), data, len, offset);
}

static int file_image_write(struct disk_image *i, const void *data, uint64_t len, uint64_t offset)
{
	return file_write_at(image_fd(i), data, len, offset);
}

static int file_image_zero(struct disk_image *i, uint64_t len, uint64_t offset)
{
	return file_zero_at(image_fd(i), len, offset);
}

static int file_image_flush(struct disk_image *i)
{
	return fdatasync(image_fd(i)) ? errno : 0;
}

static void file_image_close(struct disk_image *i)
{
	if (image_fd(i) >= 0)
		close(image_fd(i));
	free(i);
}

static bool file_image_blank(struct disk_image *i)
{
	return lseek(image_fd(i), 0, SEEK_DATA) < 0 && errno == ENXIO;
}

static int present_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return errno;
	*size = (uint64_t)st.st_size;
	return S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, size) < 0 ? errno : 0;
}

/*
 * Grows the image. Bytes that were there beyond the old end belong to no disk and become zeros.
 * Only a file that is extended is known to have zeros there already.
 */
static int file_image_grow(struct disk_image *i, uint64_t bytes)
{
	int fd = image_fd(i), error;
	uint64_t size, end;

	error = present_size(fd, &size);
	if (error)
		return error;
	end = size < bytes ? size : bytes;
	if (size < bytes && ftruncate(fd, (off_t)bytes) < 0)
		return errno == EINVAL ? ENXIO : errno; /* a device cannot grow */
	error = end > i->bytes ? file_zero_at(fd, end - i->bytes, i->bytes) : 0;
	if (!error && fsync(fd) < 0)
		error = errno;
	if (!error)
		i->bytes = bytes;
	return error;
}

/*
 * Undoes a growth. A device keeps its length; so does a file if this fails, but the extra bytes
 * belong to no disk.
 */
static void file_image_cut(struct disk_image *i, uint64_t bytes)
{
	if (ftruncate(image_fd(i), (off_t)bytes) == 0)
		fsync(image_fd(i));
	i->bytes = bytes;
}

static bool file_image_shrinks(const struct disk_image *i)
{
	struct stat st;

	return fstat(image_fd(i), &st) == 0 && S_ISREG(st.st_mode);
}

static const struct disk_image_ops file_image_ops = {
	.read = file_image_read,
	.write = file_image_write,
	.zero = file_image_zero,
	.flush = file_image_flush,
	.close = file_image_close,
	.blank = file_image_blank,
	.grow = file_image_grow,
	.cut = file_image_cut,
	.shrinks = file_image_shrinks,
};

static int image_size(int fd, const char *path, uint64_t *size, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "disk image %s: %s", path, strerror(errno));
	if (S_ISREG(st.st_mode))
		*size = (uint64_t)st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return err_set(err, EINVAL, "disk image %s: not a regular file or block device",
			       path);
	else if (ioctl(fd, BLKGETSIZE64, size) < 0)
		return err_set(err, errno, "disk image %s: cannot get its size: %s", path,
			       strerror(errno));
	if (*size == 0 || *size % DISK_SECTOR)
		return err_set(
			err, EINVAL,
			"disk image %s: its size (%llu bytes) must be a multiple of 512, not 0",
			path, (unsigned long long)*size);
	return 0;
}

static int image_open(struct image_file *f, const char *path, bool writable, struct err *err)
{
	int ret;

	f->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0)
		return err_set(err, errno, "cannot open disk image %s: %s", path, strerror(errno));
	ret = image_size(f->fd, path, &f->image.bytes, err);
	if (ret)
		return ret;
	if (flock(f->fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
		return err_set(err, errno,
			       "disk image %s is in use by another machine; give each its own copy",
			       path);
	return 0;
}

struct disk_image *disk_image_open_file(const char *path, bool writable, struct err *err)
{
	struct image_file *f = calloc(1, sizeof(*f));

	if (!f) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	f->image.ops = &file_image_ops;
	if (image_open(f, path, writable, err)) {
		file_image_close(&f->image);
		return NULL;
	}
	return &f->image;
}

bool disk_image_is_nbd(const char *name)
{
	static const char *const schemes[] = { "nbd:",	     "nbds:",	   "nbd+unix:",
					       "nbds+unix:", "nbd+vsock:", "nbds+vsock:" };

	for (unsigned i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (!strncmp(name, schemes[i], strlen(schemes[i])))
			return true;
	return false;
}

struct disk_image *disk_image_open(const char *name, bool writable, struct err *err)
{
	return disk_image_is_nbd(name) ? disk_image_open_nbd(name, writable, err)
				       : disk_image_open_file(name, writable, err);
}
