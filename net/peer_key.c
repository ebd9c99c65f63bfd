// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "net/peer_private.h"

/* A page of its own: locked, left out of core dumps, not inherited by children. */
static struct peer_key *key_alloc(void)
{
	struct peer_key *k =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (k == MAP_FAILED)
		return NULL;
	mlock(k, 4096);
	madvise(k, 4096, MADV_DONTDUMP);
	madvise(k, 4096, MADV_WIPEONFORK);
	return k;
}

void peer_key_inherit(struct peer_key *k)
{
	madvise(k, 4096, MADV_KEEPONFORK);
}

void peer_key_free(struct peer_key *k)
{
	if (!k)
		return;
	explicit_bzero(k, sizeof(*k));
	munmap(k, 4096);
}

/* The file: 64 hexadecimal digits and a newline. */
int peer_key_create(const char *path, struct err *err)
{
	uint8_t raw[PEER_KEY_LEN];
	char text[2 * PEER_KEY_LEN + 2];
	int fd, ret = 0;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return err_set(err, EIO, "the host has no random numbers to make a key of");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(
			err, errno, "cannot create key file '%s': %s%s", path, strerror(errno),
			errno == EEXIST ? ": remove it first where nobody uses it any more" : "");
	hex_put(text, raw, PEER_KEY_LEN);
	strcat(text, "\n");
	if (fchmod(fd, 0600) < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
	    fsync(fd) < 0)
		ret = err_set(err, errno ? errno : EIO, "cannot write key file '%s': %s", path,
			      strerror(errno));
	close(fd);
	if (ret)
		unlink(path);
	explicit_bzero(raw, sizeof(raw));
	explicit_bzero(text, sizeof(text));
	return ret;
}

static bool key_parse(const char *text, size_t n, uint8_t key[PEER_KEY_LEN])
{
	if (n && text[n - 1] == '\n')
		n--;
	return n == 2 * PEER_KEY_LEN && hex_get(text, key, PEER_KEY_LEN, HEX_ANY);
}

static int key_check_mode(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "cannot look at key file '%s': %s", path,
			       strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "key file '%s' is not a regular file", path);
	if (st.st_mode & 077)
		return err_set(err, EPERM,
			       "key file '%s' has mode %04o: others can use it; `chmod 600` it",
			       path, st.st_mode & 07777);
	return 0;
}

struct peer_key *peer_key_load(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct peer_key *k = NULL;
	char text[2 * PEER_KEY_LEN + 3];
	ssize_t n;

	if (fd < 0) {
		err_set(err, errno, "cannot open key file '%s': %s", path, strerror(errno));
		return NULL;
	}
	if (key_check_mode(fd, path, err) == 0) {
		n = read(fd, text, sizeof(text));
		k = key_alloc();
		if (!k) {
			err_set(err, ENOMEM, "out of memory");
		} else if (n < 0 || !key_parse(text, (size_t)n, k->bytes)) {
			err_set(err, EINVAL,
				"key file '%s' does not hold 64 hexadecimal digits; `twinstep "
				"keygen` makes one",
				path);
			peer_key_free(k);
			k = NULL;
		}
	}
	explicit_bzero(text, sizeof(text));
	close(fd);
	return k;
}
