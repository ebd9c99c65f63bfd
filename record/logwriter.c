// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "record/logfile.h"
#include "record/logfile_private.h"

#define ZSTD_LEVEL 3

struct log_writer {
	char *path;
	int fd;
	uint64_t offset; /* end of the last whole frame */
	uint64_t seq, chain;
	ZSTD_CCtx *zstd;
	struct buf out; /* one frame */
	struct log_mark *mark;
	size_t nmarks, mark_cap;
};

static int writer_put(struct log_writer *w, const void *data, size_t n, struct err *err)
{
	const uint8_t *p = data;
	uint64_t at = w->offset;

	while (n) {
		ssize_t done = pwrite(w->fd, p, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			int code = done < 0 ? errno : ENOSPC;

			if (ftruncate(w->fd, (off_t)w->offset) < 0)
				return err_set(err, code, "cannot write log '%s': %s", w->path,
					       strerror(code));
			return err_set(err, code,
				       "cannot write log '%s' at offset %llu: %s (it is whole up "
				       "to there)",
				       w->path, (unsigned long long)w->offset, strerror(code));
		}
		p += done;
		n -= (size_t)done;
		at += (uint64_t)done;
	}
	w->offset = at;
	return 0;
}

static int writer_header(struct log_writer *w, const struct log_header *h, struct err *err)
{
	struct buf b = BUF_INIT;
	uint32_t len;
	int ret;

	buf_put(&b, LOG_MAGIC, 8);
	buf_put_u32(&b, LOG_VERSION);
	buf_put_u32(&b, 0);
	log_header_save(h, &b);
	if (b.bad)
		return err_set(err, ENOMEM, "out of memory");
	len = (uint32_t)(b.len - LOG_PREAMBLE);
	memcpy(b.data + 12, &len, 4);
	w->chain = XXH3_64bits(b.data, b.len);
	buf_put_u64(&b, w->chain);
	ret = b.bad ? err_set(err, ENOMEM, "out of memory") : writer_put(w, b.data, b.len, err);
	buf_free(&b);
	return ret;
}

static void writer_free(struct log_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	ZSTD_freeCCtx(w->zstd);
	buf_free(&w->out);
	free(w->mark);
	free(w->path);
	free(w);
}

/* Moves a descriptor above 2, because 0 to 2 are the standard streams. */
static int above_standard(int fd)
{
	int high =
		fd < 0 || fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	if (high != fd)
		close(fd);
	return high;
}

/*
 * Refuses to replace what is there already, if that is a device, or belongs to a recording or
 * machine that runs (disk images are locked, too).
 */
static int replaceable(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL,
			       "cannot replace '%s' by a log: it is not a regular file", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return err_set(err, EBUSY,
			       "cannot replace '%s' by a log: a recording or a machine is using it",
			       path);
	return 0;
}

int log_file_create(const char *path, bool force, bool *created, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	*created = fd >= 0;
	if (fd < 0 && errno == EEXIST && force)
		fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	fd = above_standard(fd);
	if (fd < 0)
		return err_set(err, errno, "cannot create log '%s': %s%s", path, strerror(errno),
			       errno == EEXIST && !force ? " (--force replaces it)" : "");
	if (replaceable(fd, path, err) == 0)
		return fd;
	close(fd);
	return -err->code;
}

struct log_writer *log_writer_open_fd(int fd, const char *path, const struct log_header *h,
				      struct err *err)
{
	struct log_writer *w = calloc(1, sizeof(*w));

	if (!w) {
		close(fd);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	w->fd = fd;
	if (!(w->path = strdup(path)) || !(w->zstd = ZSTD_createCCtx()))
		err_set(err, ENOMEM, "out of memory");
	else if (ftruncate(fd, 0) < 0)
		err_set(err, errno, "cannot empty log '%s': %s", path, strerror(errno));
	else if (writer_header(w, h, err) == 0)
		return w;
	writer_free(w);
	return NULL;
}

struct log_writer *log_writer_open(const char *path, const struct log_header *h, bool force,
				   struct err *err)
{
	bool created;
	int fd = log_file_create(path, force, &created, err);
	struct log_writer *w = fd < 0 ? NULL : log_writer_open_fd(fd, path, h, err);

	if (!w && fd >= 0)
		unlink(path); /* what was in it is gone */
	return w;
}

/* Compressed where that makes it smaller. */
static int writer_payload(struct log_writer *w, struct log_frame_header *h, const void *raw,
			  size_t len, struct err *err)
{
	size_t bound = ZSTD_compressBound(len), n;
	uint8_t *p = buf_grow(&w->out, bound);

	if (!p)
		return err_set(err, ENOMEM, "out of memory");
	n = ZSTD_compressCCtx(w->zstd, p, bound, raw, len, ZSTD_LEVEL);
	if (ZSTD_isError(n) || n >= len) {
		memcpy(p, raw, len);
		n = len;
	} else {
		h->flags = LOG_FRAME_ZSTD;
	}
	h->stored = (uint32_t)n;
	w->out.len = sizeof(*h) + n;
	return 0;
}

int log_writer_frame(struct log_writer *w, enum log_frame_kind kind, uint64_t count,
		     const void *raw, size_t len, struct err *err)
{
	struct log_frame_header h = {
		.magic = LOG_FRAME_MAGIC,
		.kind = (uint8_t)kind,
		.raw = (uint32_t)len,
		.seq = w->seq + 1,
		.count = count,
		.chain = w->chain,
	};
	int ret;

	if (len > LOG_FRAME_MAX)
		return err_set(err, EFBIG, "log frame of %zu bytes: at most %u", len,
			       LOG_FRAME_MAX);
	buf_clear(&w->out);
	buf_put(&w->out, &h, sizeof(h));
	ret = writer_payload(w, &h, raw, len, err);
	if (ret < 0)
		return ret;
	h.check = log_frame_check(&h, w->out.data + sizeof(h));
	memcpy(w->out.data, &h, sizeof(h));
	ret = writer_put(w, w->out.data, w->out.len, err);
	if (ret < 0)
		return ret;
	w->seq = h.seq;
	w->chain = h.check;
	return 0;
}

void log_writer_mark(struct log_writer *w, uint64_t record, uint64_t count, uint64_t ns)
{
	if (w->nmarks == w->mark_cap) {
		size_t cap = w->mark_cap ? 2 * w->mark_cap : 16;
		struct log_mark *p = realloc(w->mark, cap * sizeof(*p));

		if (!p)
			return;
		w->mark = p;
		w->mark_cap = cap;
	}
	w->mark[w->nmarks++] = (struct log_mark){ .record = record,
						  .count = count,
						  .ns = ns,
						  .offset = w->offset,
						  .chain = w->chain,
						  .seq = w->seq };
}

static int writer_index(struct log_writer *w, struct err *err)
{
	uint64_t at = w->offset, chain = w->chain;
	struct buf b = BUF_INIT;
	int ret;

	buf_put_varint(&b, w->nmarks);
	for (size_t i = 0; i < w->nmarks; i++) {
		const struct log_mark *m = &w->mark[i];

		buf_put_varint(&b, m->record);
		buf_put_varint(&b, m->count);
		buf_put_varint(&b, m->ns);
		buf_put_varint(&b, m->offset);
		buf_put_u64(&b, m->chain);
		buf_put_varint(&b, m->seq);
	}
	ret = b.bad ? err_set(err, ENOMEM, "out of memory")
		    : log_writer_frame(w, LOG_INDEX, 0, b.data, b.len, err);
	buf_clear(&b);
	buf_put(&b, LOG_TRAILER_MAGIC, 8);
	buf_put_u64(&b, at);
	buf_put_u64(&b, chain);
	if (ret == 0 && !b.bad)
		ret = writer_put(w, b.data, b.len, err);
	buf_free(&b);
	return ret;
}

int log_writer_close(struct log_writer *w, bool whole, struct err *err)
{
	int ret = whole ? writer_index(w, err) : 0;

	if (ret == 0 && fsync(w->fd) < 0)
		ret = err_set(err, errno, "cannot bring log '%s' to the disk: %s", w->path,
			      strerror(errno));
	writer_free(w);
	return ret;
}

uint64_t log_writer_bytes(const struct log_writer *w)
{
	return w->offset;
}
