// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/lineage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/hex.h"
#include "base/log.h"

#define LINE_LEN  (2 * ARBITER_ID_LEN)
#define BYTES_MAX (1u << 20) /* thirty thousand starts; then it begins anew with the last ones */
#define KEPT	  1000

/* A line that a crash has cut short is no name. */
static bool parse_line(const char *s, size_t len, uint8_t id[ARBITER_ID_LEN])
{
	return len == LINE_LEN && hex_get(s, id, ARBITER_ID_LEN, HEX_LOWER);
}

static void parse(struct lineage *l, const char *text, size_t len)
{
	const char *end = text + len;

	l->id = calloc(len / LINE_LEN + 1, sizeof(*l->id));
	must(l->id != NULL);
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((stop ? stop : end) - text);

		l->n += parse_line(text, n, l->id[l->n]);
		text += n + 1;
	}
}

/* *cut: the last line has no end. */
static int read_fd(struct lineage *l, int fd, const char *path, bool *cut, struct err *err)
{
	size_t len;
	char *text;
	int ret = file_read_whole(fd, path, 2 * BYTES_MAX, &text, &len, err);

	*cut = false;
	if (ret)
		return ret;
	parse(l, text, len);
	*cut = len && text[len - 1] != '\n';
	free(text);
	return 0;
}

int lineage_read(struct lineage *l, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret;
	bool cut;

	*l = (struct lineage){ 0 };
	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	ret = read_fd(l, fd, path, &cut, err);
	close(fd);
	return ret;
}

static int put_id(int fd, const uint8_t id[ARBITER_ID_LEN])
{
	char line[LINE_LEN + 2];

	hex_put(line, id, ARBITER_ID_LEN);
	line[LINE_LEN] = '\n';
	return write(fd, line, LINE_LEN + 1) == LINE_LEN + 1 ? 0 : -EIO;
}

/*
 * Writes a file that has grown long anew, with the last names alone. A crash in the middle loses
 * some of them: then a person has to say which host begins.
 */
static int shorten(const struct lineage *l, int fd)
{
	int ret = ftruncate(fd, 0) < 0 ? -errno : 0;

	for (size_t i = l->n > KEPT ? l->n - KEPT : 0; ret == 0 && i < l->n; i++)
		ret = put_id(fd, l->id[i]);
	return ret;
}

static int add(const struct lineage *l, int fd, const uint8_t *id, bool cut, const char *path,
	       struct err *err)
{
	int ret = 0;

	if (l->n * (LINE_LEN + 1) > BYTES_MAX)
		ret = shorten(l, fd);
	else if (cut && write(fd, "\n", 1) != 1)
		ret = -EIO;
	if (ret == 0)
		ret = put_id(fd, id);
	if (ret == 0 && fsync(fd) < 0)
		ret = -errno;
	return ret ? err_set(err, -ret, "cannot write %s: %s", path,
			     ret == -EIO ? "the disk is full, or takes nothing" : strerror(-ret))
		   : 0;
}

int lineage_enter(struct lineage *l, const char *path, const uint8_t id[ARBITER_ID_LEN],
		  struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600), ret;
	bool cut;

	*l = (struct lineage){ 0 };
	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		ret = err_set(err, EBUSY, "%s is in use: a replica of this guest runs here already",
			      path);
	else
		ret = read_fd(l, fd, path, &cut, err);
	if (ret == 0)
		ret = add(l, fd, id, cut, path, err);
	if (ret == 0)
		return fd;
	lineage_free(l);
	close(fd);
	return ret;
}

bool lineage_has(const struct lineage *l, const uint8_t id[ARBITER_ID_LEN])
{
	for (size_t i = 0; i < l->n; i++) {
		if (!memcmp(l->id[i], id, ARBITER_ID_LEN))
			return true;
	}
	return false;
}

void lineage_free(struct lineage *l)
{
	free(l->id);
	*l = (struct lineage){ 0 };
}
