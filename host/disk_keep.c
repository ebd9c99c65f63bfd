// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/disk_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "record/disk_file.h"
#include "record/disk_image.h"
#include "replica/disks.h"

/* Path of the metadata: beside the image itself, also where a link led to that. */
static char *meta_path(const struct disk_opt *o, struct err *err)
{
	char *image, *path = NULL;
	struct stat st;

	if (o->meta)
		return strdup(o->meta);
	if (disk_image_is_nbd(o->path)) {
		err_set(err, EINVAL,
			"disk %s is at an NBD server: say where its metadata lies, with "
			"--disk %s,meta=FILE, on this host's storage",
			o->path, o->path);
		return NULL;
	}
	image = realpath(o->path, NULL);
	if (!image || stat(image, &st) < 0)
		err_set(err, errno, "disk image %s: %s", o->path, strerror(errno));
	else if (S_ISBLK(st.st_mode))
		err_set(err, EINVAL,
			"disk image %s is a block device: say where its metadata lies, with "
			"--disk %s,meta=FILE, on storage that outlives a reboot",
			o->path, o->path);
	else if (asprintf(&path, "%s.twin", image) < 0)
		err_set(err, ENOMEM, "out of memory");
	free(image);
	return path;
}

/* A disk that is no file, whose metadata nobody has named: it cannot be found. */
static bool no_place(const struct disk_opt *o)
{
	struct stat st;

	return !o->meta &&
	       (disk_image_is_nbd(o->path) || (!stat(o->path, &st) && S_ISBLK(st.st_mode)));
}

/* A name that was just made is on stable storage. */
static int sync_directory(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int ret = fd >= 0 && !fsync(fd) ? 0 : -errno;

	if (fd >= 0)
		close(fd);
	free(copy);
	return ret;
}

static int format_file(int fd, const char *name, const struct disk_backend *d, bool new_id,
		       struct err *err)
{
	struct disk_meta_identity id = { .image_bytes = d->sectors * DISK_SECTOR };

	if (new_id && getrandom(id.disk, sizeof(id.disk), 0) != (ssize_t)sizeof(id.disk))
		return err_set(err, EIO, "the host has no random numbers");
	return disk_meta_format(fd, name, &id, err);
}

/* Made under another name first, so that it is there as a whole or not at all. */
static int make_file(const char *path, const struct disk_backend *d, bool new_id, struct err *err)
{
	char *temporary;
	int fd, ret;

	if (asprintf(&temporary, "%s.new", path) < 0)
		return err_set(err, ENOMEM, "out of memory");
	unlink(temporary);
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	ret = fd < 0 ? err_set(err, errno, "cannot make disk metadata %s: %s", temporary,
			       strerror(errno))
		     : format_file(fd, path, d, new_id, err);
	/* link(), because rename() would replace a file that another process has made meanwhile. */
	if (!ret && link(temporary, path) < 0 && errno != EEXIST)
		ret = err_set(err, errno, "cannot make disk metadata %s: %s", path,
			      strerror(errno));
	if (!ret && sync_directory(path) < 0)
		ret = err_set(err, errno, "cannot make disk metadata %s last: %s", path,
			      strerror(errno));
	if (fd >= 0)
		close(fd);
	unlink(temporary);
	free(temporary);
	return ret;
}

static int open_file(const char *path, int flags, struct err *err)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT
				       : err_set(err, errno, "cannot open disk metadata %s: %s",
						 path, strerror(errno));
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return err_set(err, EINVAL, "disk metadata %s is not a regular file", path);
}

int disk_keep_open(struct disk_keep *k, const struct disk_opt *o, const struct disk_backend *d,
		   enum disk_keep_new how, struct err *err)
{
	int fd;

	if (o->readonly || o->overlay || (how == DISK_KEEP_LEAVE && no_place(o)))
		return 0;
	k->path = meta_path(o, err);
	if (!k->path)
		return -err->code;
	fd = open_file(k->path, O_RDWR, err);
	if (fd == -ENOENT && how == DISK_KEEP_LEAVE) {
		disk_keep_close(k);
		return 0;
	}
	if (fd == -ENOENT) {
		if (make_file(k->path, d, how == DISK_KEEP_MAKE_ID, err) < 0)
			return -err->code;
		fd = open_file(k->path, O_RDWR, err);
		if (fd == -ENOENT)
			return err_set(err, ENOENT, "disk metadata %s has disappeared", k->path);
	}
	if (fd < 0)
		return fd;
	k->fd = fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, errno,
			       "disk metadata %s is in use: each disk needs a file of its own",
			       k->path);
	return 0;
}

void disk_keep_close(struct disk_keep *k)
{
	if (k->fd > 0)
		close(k->fd);
	free(k->path);
	*k = (struct disk_keep){ 0 };
}

struct disk_meta *disk_keep_load(struct disk_keep *k, struct disk_backend *d,
				 const atomic_uint_fast64_t *record, struct err *err)
{
	struct disk_meta *m =
		disk_meta_open(k->fd, k->path, d->sectors * DISK_SECTOR, disk_flush_image, d, err);

	if (m)
		disk_attach_meta(d, m, record);
	return m;
}

int disk_keep_part(const struct disk_keep *k, struct disk_meta *m, bool force, struct err *err)
{
	struct disk_meta_identity id;
	int error = disk_meta_get(m, &id);
	const char *doubt = disk_meta_state_doubt(id.state);

	if (error)
		return err_set(err, error, "disk metadata %s: %s", k->path, strerror(error));
	if (doubt && !force)
		return err_set(
			err, ESTALE,
			"%s says that the disk is one of a pair and may be old (%s): %s. "
			"With ,ro or ,overlay it can be looked at; --force writes to it, and "
			"gives up what only the other side has",
			k->path, disk_meta_state_name(id.state), doubt);
	if (doubt)
		log_warn("%s: the disk is one of a pair, and %s: --force makes it what counts",
			 k->path, doubt);
	else
		log_warn("%s: the disk is one of a pair; what is written to it now is copied to "
			 "the other side when that joins",
			 k->path);
	disk_meta_part(m, disks_new_name(), id.generation);
	return 0;
}

int disk_keep_peek(const struct disk_opt *o, struct disk_meta_identity *id, struct err *err)
{
	char *path;
	int fd, ret = 0;

	if (o->readonly || o->overlay)
		return 0;
	path = meta_path(o, err);
	if (!path)
		return -err->code;
	fd = open_file(path, O_RDONLY, err);
	if (fd >= 0) {
		ret = disk_meta_peek(fd, path, id, err);
		ret = ret ? ret : 1;
		close(fd);
	} else if (fd != -ENOENT) {
		ret = fd;
	}
	free(path);
	return ret;
}
