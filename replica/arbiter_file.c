// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An arbiter in a directory: file:DIR. Generation n is the file generation-n, whose content is its
 * owner. The file is written under another name and put in place by link(2), which is atomic, also
 * on NFS, and fails if the name exists. So the first owner wins, and no reader ever sees a
 * half-written file. Files are never removed.
 *
 * If DIR is a mount point and somebody forgets to mount it, the empty directory there must not
 * decide beside the real one. Therefore only arbiter_init() creates the directory, with a marker
 * file that holds an identity. A directory without a marker is not an arbiter; if the marker has
 * changed, the directory is a different arbiter, and the answer is that it cannot tell.
 */
#include "replica/arbiter.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"

#define TEXT_LEN (2 * ARBITER_ID_LEN + 1)
#define MARKER	 "twinstep-arbiter"

struct file_arbiter {
	struct arbiter base;
	char *dir;
	int dirfd;
	char marker[TEXT_LEN + 1];
};

static void id_to_text(const uint8_t id[ARBITER_ID_LEN], char text[TEXT_LEN + 1])
{
	hex_put(text, id, ARBITER_ID_LEN);
	strcat(text, "\n");
}

static int fail(const struct file_arbiter *a, const char *what, struct err *err)
{
	int code = errno;

	return err_set(err, code, "arbiter '%s': cannot %s: %s", a->dir, what, strerror(code));
}

/* Writes our claim to a file whose name no other process uses. */
static int file_claim(const struct file_arbiter *a, const char *name, const char *text,
		      struct err *err)
{
	int fd = openat(a->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), ret = 0;

	if (fd < 0)
		return fail(a, "create a claim", err);
	if (write(fd, text, TEXT_LEN) != TEXT_LEN || fsync(fd) < 0)
		ret = fail(a, "write a claim", err);
	close(fd);
	return ret;
}

/* Reads the identity of the directory, TEXT_LEN characters. 0, or -errno and err. */
static int read_marker(const struct file_arbiter *a, char text[TEXT_LEN + 1], struct err *err)
{
	int fd = openat(a->dirfd, MARKER, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, TEXT_LEN) : -1;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT,
			       "directory '%s' is no arbiter (is it mounted?): `twinstep arbiter "
			       "init file:%s` makes it one",
			       a->dir, a->dir);
	if (n < 0)
		n = fail(a, "read its marker", err);
	else if (n != TEXT_LEN)
		n = err_set(err, EBADMSG, "arbiter '%s': its marker '" MARKER "' is damaged",
			    a->dir);
	if (fd >= 0)
		close(fd);
	text[TEXT_LEN] = 0;
	return n < 0 ? (int)n : 0;
}

static struct arbiter *file_open(const char *name, struct err *err)
{
	struct file_arbiter *a = calloc(1, sizeof(*a));

	if (!a || !(a->dir = strdup(name))) {
		free(a);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	a->dirfd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->dirfd < 0 && errno == ENOENT)
		err_set(err, ENOENT,
			"there is no arbiter '%s' (is it mounted?): `twinstep arbiter init "
			"file:%s` makes one",
			name, name);
	else if (a->dirfd < 0)
		fail(a, "open the directory", err);
	else if (read_marker(a, a->marker, err) == 0)
		return &a->base;
	if (a->dirfd >= 0)
		close(a->dirfd);
	free(a->dir);
	free(a);
	return NULL;
}

/* Writes the marker, under another name first, so that no reader sees a half-written one. */
static int write_marker(const struct file_arbiter *a, struct err *err)
{
	char text[TEXT_LEN + 1] = "", temporary[64];
	uint8_t id[ARBITER_ID_LEN];
	int ret;

	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return err_set(err, EIO, "the host has no random numbers");
	id_to_text(id, text);
	snprintf(temporary, sizeof(temporary), MARKER "-%.16s", text);
	ret = file_claim(a, temporary, text, err);
	if (ret == 0 && linkat(a->dirfd, temporary, a->dirfd, MARKER, 0) < 0 && errno != EEXIST)
		ret = fail(a, "write its marker", err);
	unlinkat(a->dirfd, temporary, 0);
	if (ret == 0 && fsync(a->dirfd) < 0)
		ret = fail(a, "bring the directory to the disk", err);
	return ret;
}

static int file_init(const char *name, struct err *err)
{
	struct file_arbiter a = { .dir = (char *)name, .dirfd = -1 };
	int ret;

	if (mkdir(name, 0700) < 0 && errno != EEXIST)
		return fail(&a, "create the directory", err);
	a.dirfd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a.dirfd < 0)
		return fail(&a, "open the directory", err);
	ret = write_marker(&a, err);
	close(a.dirfd);
	return ret;
}

static void file_close(struct arbiter *base)
{
	struct file_arbiter *a = (struct file_arbiter *)base;

	if (a->dirfd >= 0)
		close(a->dirfd);
	free(a->dir);
	free(a);
}

static int open_generation(const struct file_arbiter *a, uint64_t generation)
{
	char name[64];

	snprintf(name, sizeof(name), "generation-%" PRIu64, generation);
	return openat(a->dirfd, name, O_RDONLY | O_CLOEXEC);
}

/* 1: the generation is taken; 0: it is not; -errno. */
static int file_exists(const struct file_arbiter *a, uint64_t generation)
{
	int fd = open_generation(a, generation);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	close(fd);
	return 1;
}

static int file_owner(struct arbiter *base, uint64_t generation, uint8_t id[ARBITER_ID_LEN],
		      struct err *err)
{
	struct file_arbiter *a = (struct file_arbiter *)base;
	int fd = open_generation(a, generation);
	char text[TEXT_LEN + 1] = "";
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : fail(a, "open a generation", err);
	n = read(fd, text, TEXT_LEN);
	close(fd);
	if (n < 0)
		return fail(a, "read a generation", err);
	for (unsigned i = 0; i < ARBITER_ID_LEN; i++) {
		unsigned v;

		if (n != TEXT_LEN || sscanf(text + 2 * i, "%2x", &v) != 1)
			return err_set(err, EBADMSG,
				       "arbiter '%s': generation-%" PRIu64 " is damaged", a->dir,
				       generation);
		id[i] = (uint8_t)v;
	}
	return 1;
}

static int check_marker(const struct file_arbiter *a, struct err *err)
{
	char text[TEXT_LEN + 1];
	int ret = read_marker(a, text, err);

	if (ret == 0 && strcmp(text, a->marker))
		ret = err_set(err, ESTALE, "arbiter '%s' is another one than at the start", a->dir);
	return ret;
}

static int check_next(const struct file_arbiter *a, uint64_t generation, struct err *err)
{
	int before = generation == 1 ? 1 : file_exists(a, generation - 1);

	if (before < 0)
		return fail(a, "open a generation", err);
	return before ? 0
		      : err_set(err, EPERM,
				"arbiter '%s': generation %" PRIu64
				" is not the next one: the one before is nobody's",
				a->dir, generation);
}

static int file_take(struct arbiter *base, uint64_t generation, const uint8_t id[ARBITER_ID_LEN],
		     struct err *err)
{
	static atomic_uint claims; /* two threads may ask at the same time */
	struct file_arbiter *a = (struct file_arbiter *)base;
	char name[64], claim[64], text[TEXT_LEN + 1] = "";
	uint8_t owner[ARBITER_ID_LEN];
	int ret;

	id_to_text(id, text);
	snprintf(name, sizeof(name), "generation-%" PRIu64, generation);
	snprintf(claim, sizeof(claim), "claim-%.16s-%ld-%u", text, (long)getpid(),
		 atomic_fetch_add(&claims, 1));
	ret = check_marker(a, err);
	if (ret == 0)
		ret = check_next(a, generation, err);
	if (ret < 0)
		return ret;
	ret = file_claim(a, claim, text, err);
	if (ret == 0 && linkat(a->dirfd, claim, a->dirfd, name, 0) < 0 && errno != EEXIST)
		ret = fail(a, "take a generation", err);
	unlinkat(a->dirfd, claim, 0);
	if (ret == 0 && fsync(a->dirfd) < 0)
		ret = fail(a, "bring the directory to the disk", err);
	if (ret < 0)
		return ret;
	/*
	 * The owner in the file is final. It may be us: link(2) may have succeeded although its
	 * answer got lost (NFS).
	 */
	ret = file_owner(base, generation, owner, err);
	return ret == 1 ? !memcmp(owner, id, ARBITER_ID_LEN) : ret;
}

static int file_last(struct arbiter *base, uint64_t *generation, struct err *err)
{
	struct file_arbiter *a = (struct file_arbiter *)base;
	int fd = openat(a->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	uint64_t n;

	if (!d)
		return fail(a, "read the directory", err);
	*generation = 0;
	while ((e = readdir(d))) {
		if (sscanf(e->d_name, "generation-%" SCNu64, &n) == 1 && n > *generation)
			*generation = n;
	}
	closedir(d);
	return 0;
}

/* ---- for the keeper of a replica in a jail ---- */

static int file_fd(const struct arbiter *base)
{
	return ((const struct file_arbiter *)base)->dirfd;
}

static void file_delegate(struct arbiter *base)
{
	struct file_arbiter *a = (struct file_arbiter *)base;

	close(a->dirfd);
	a->dirfd = -1;
}

const struct arbiter_ops arbiter_file_ops = {
	.prefix = "file",
	.wait_ms = 10000,
	.open = file_open,
	.init = file_init,
	.close = file_close,
	.take = file_take,
	.owner = file_owner,
	.last = file_last,
	.fd = file_fd,
	.delegate = file_delegate,
};
