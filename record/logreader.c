// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "record/logfile.h"
#include "record/logfile_private.h"

#define MARKS_MAX 1000000

struct log_reader {
	char *path;
	int fd;
	uint64_t size, offset;
	uint64_t start;	      /* of the first frame */
	uint64_t start_chain; /* the header's checksum */
	uint64_t seq, chain;  /* of the frame before */
	bool ended;	      /* LOG_END was read */
	bool indexed;	      /* LOG_INDEX was read: the trailer follows */
	struct log_header header;
	uint8_t *stored, *raw;
	size_t stored_cap, raw_cap;
	char cut[320];
	struct log_mark *mark;
	size_t nmarks;
	bool have_marks;
};

static int reader_read(struct log_reader *r, uint64_t at, void *data, size_t n, struct err *err)
{
	uint8_t *p = data;

	while (n) {
		ssize_t done = pread(r->fd, p, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_set(err, errno, "cannot read log '%s' at offset %" PRIu64 ": %s",
				       r->path, at, strerror(errno));
		if (done == 0)
			return err_set(err, EBADMSG, "log '%s' became shorter while it was read",
				       r->path);
		p += done;
		n -= (size_t)done;
		at += (uint64_t)done;
	}
	return 0;
}

/* ---- the header ---- */

static int reader_preamble(struct log_reader *r, uint32_t *version, uint32_t *len, struct err *err)
{
	uint8_t pre[LOG_PREAMBLE];
	int ret;

	if (r->size < LOG_PREAMBLE)
		return err_set(err, EBADMSG,
			       "'%s' is not a Twinstep log: %" PRIu64
			       " bytes are too few for a header",
			       r->path, r->size);
	ret = reader_read(r, 0, pre, sizeof(pre), err);
	if (ret < 0)
		return ret;
	if (memcmp(pre, LOG_MAGIC, 8))
		return err_set(err, EBADMSG, "'%s' is not a Twinstep log: wrong magic at offset 0",
			       r->path);
	memcpy(version, pre + 8, 4);
	memcpy(len, pre + 12, 4);
	if (*version < LOG_VERSION_OLD || *version > LOG_VERSION)
		return err_set(err, EBADMSG,
			       "log '%s' has format version %" PRIu32
			       ": this program reads versions %d to %d",
			       r->path, *version, LOG_VERSION_OLD, LOG_VERSION);
	if (*len > LOG_HEADER_MAX || r->size < LOG_PREAMBLE + (uint64_t)*len + 8)
		return err_set(err, EBADMSG,
			       "log '%s' ends inside its header (%" PRIu32
			       " bytes expected at offset %d)",
			       r->path, *len, LOG_PREAMBLE);
	return 0;
}

int log_reader_begin(struct log_reader *r, struct err *err)
{
	uint64_t check;
	uint32_t version = 0, len = 0;
	size_t n;
	struct rd in;
	int ret = reader_preamble(r, &version, &len, err);

	if (ret < 0)
		return ret;
	n = LOG_PREAMBLE + (size_t)len;
	if (!bytes_reserve(&r->raw, &r->raw_cap, n + 8))
		return err_set(err, ENOMEM, "out of memory");
	ret = reader_read(r, 0, r->raw, n + 8, err);
	if (ret < 0)
		return ret;
	memcpy(&check, r->raw + n, 8);
	if (check != XXH3_64bits(r->raw, n))
		return err_set(err, EBADMSG,
			       "log '%s': the header is damaged (checksum at offset %zu)", r->path,
			       n);
	in = (struct rd)RD_INIT(r->raw + LOG_PREAMBLE, len);
	if (log_header_restore(&r->header, version, &in, err) < 0)
		return err_prefix(err, "log '%s'", r->path);
	r->start = r->offset = n + 8;
	r->start_chain = r->chain = check;
	return 0;
}

struct log_reader *log_reader_open_file(const char *path, struct err *err)
{
	struct log_reader *r = calloc(1, sizeof(*r));
	struct stat st;

	if (!r || !(r->path = strdup(path))) {
		free(r);
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st) < 0) {
		err_set(err, errno, "cannot open log '%s': %s", path, strerror(errno));
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(err, EINVAL, "'%s' is not a regular file", path);
		goto fail;
	}
	r->size = (uint64_t)st.st_size;
	return r;
fail:
	log_reader_close(r);
	return NULL;
}

struct log_reader *log_reader_open(const char *path, struct err *err)
{
	struct log_reader *r = log_reader_open_file(path, err);

	if (!r || log_reader_begin(r, err) == 0)
		return r;
	log_reader_close(r);
	return NULL;
}

void log_reader_close(struct log_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	log_header_free(&r->header);
	free(r->stored);
	free(r->raw);
	free(r->mark);
	free(r->path);
	free(r);
}

const struct log_header *log_reader_header(const struct log_reader *r)
{
	return &r->header;
}

uint64_t log_reader_size(const struct log_reader *r)
{
	return r->size;
}

const char *log_reader_cut(const struct log_reader *r)
{
	return r->cut[0] ? r->cut : NULL;
}

/* ---- frames ---- */

/*
 * True: the file's last bytes are a trailer. Such a file has its end, so a frame that looks cut
 * short is damaged.
 */
static bool reader_has_trailer(struct log_reader *r)
{
	uint8_t t[LOG_TRAILER];

	return r->size >= r->start + LOG_TRAILER &&
	       reader_read(r, r->size - LOG_TRAILER, t, sizeof(t), NULL) == 0 &&
	       !memcmp(t, LOG_TRAILER_MAGIC, 8);
}

static int reader_cut_here(struct log_reader *r, const char *where)
{
	snprintf(r->cut, sizeof(r->cut),
		 "log '%s' was cut short: it ends %s frame %" PRIu64 " at offset %" PRIu64
		 " (file size %" PRIu64 ")",
		 r->path, where, r->seq + 1, r->offset, r->size);
	return 0;
}

static int reader_trailer(struct log_reader *r, uint64_t index_at, uint64_t index_chain,
			  struct err *err)
{
	uint8_t t[LOG_TRAILER], want[LOG_TRAILER];
	int ret;

	if (r->size - r->offset < LOG_TRAILER)
		return reader_cut_here(r, "in the trailer after the index, before");
	if (r->size - r->offset > LOG_TRAILER)
		return err_set(err, EBADMSG, "log '%s' goes on after its end at offset %" PRIu64,
			       r->path, r->offset + LOG_TRAILER);
	ret = reader_read(r, r->offset, t, sizeof(t), err);
	if (ret < 0)
		return ret;
	memcpy(want, LOG_TRAILER_MAGIC, 8);
	memcpy(want + 8, &index_at, 8);
	memcpy(want + 16, &index_chain, 8);
	if (memcmp(t, want, sizeof(t)))
		return err_set(err, EBADMSG,
			       "log '%s': the trailer at offset %" PRIu64 " is damaged", r->path,
			       r->offset);
	return 0;
}

static int frame_damaged(struct log_reader *r, const char *what, struct err *err)
{
	return err_set(err, EBADMSG, "log '%s': frame %" PRIu64 " at offset %" PRIu64 ": %s",
		       r->path, r->seq + 1, r->offset, what);
}

/* 1: the header of a frame that is wholly there; 0: cut short; negative: damaged. */
static int frame_header(struct log_reader *r, struct log_frame_header *h, struct err *err)
{
	uint64_t left = r->size - r->offset;
	char text[96];
	int ret;

	if (left < sizeof(*h))
		return reader_cut_here(r, "inside the header of");
	ret = reader_read(r, r->offset, h, sizeof(*h), err);
	if (ret < 0)
		return ret;
	if (h->magic != LOG_FRAME_MAGIC)
		return frame_damaged(r, "no frame starts here", err);
	if (h->seq != r->seq + 1) {
		snprintf(text, sizeof(text),
			 "has number %" PRIu64 ": frames are missing, doubled or swapped", h->seq);
		return frame_damaged(r, text, err);
	}
	if (h->raw > LOG_FRAME_MAX || h->stored > h->raw || h->zero || h->flags & ~LOG_FRAME_ZSTD ||
	    !h->kind || h->kind >= LOG_KIND_END_)
		return frame_damaged(r, "its header is damaged", err);
	if (left < sizeof(*h) + h->stored && reader_has_trailer(r))
		return frame_damaged(r, "is longer than the rest of the file", err);
	if (left < sizeof(*h) + h->stored)
		return reader_cut_here(r, "inside");
	return 1;
}

static int frame_payload(struct log_reader *r, const struct log_frame_header *h, struct err *err)
{
	size_t n;
	int ret;

	if (!bytes_reserve(&r->stored, &r->stored_cap, h->stored) ||
	    !bytes_reserve(&r->raw, &r->raw_cap, h->raw))
		return err_set(err, ENOMEM, "out of memory");
	ret = reader_read(r, r->offset + sizeof(*h), r->stored, h->stored, err);
	if (ret < 0)
		return ret;
	if (h->check != log_frame_check(h, r->stored))
		return frame_damaged(r, "the checksum does not match", err);
	if (h->chain != r->chain)
		return frame_damaged(r, "does not follow the frame before it", err);
	if (!(h->flags & LOG_FRAME_ZSTD)) {
		if (h->stored != h->raw)
			return frame_damaged(r, "its lengths do not agree", err);
		if (h->raw)
			memcpy(r->raw, r->stored, h->raw);
		return 0;
	}
	n = ZSTD_decompress(r->raw, h->raw, r->stored, h->stored);
	return ZSTD_isError(n) || n != h->raw ? frame_damaged(r, "does not decompress", err) : 0;
}

int log_reader_next(struct log_reader *r, struct log_frame *f, struct err *err)
{
	struct log_frame_header h;
	uint64_t at = r->offset, chain = r->chain;
	int ret;

	if (r->indexed)
		return 0;
	if (r->offset == r->size)
		return reader_cut_here(r, r->ended ? "before the index in" : "before");
	ret = frame_header(r, &h, err);
	if (ret <= 0)
		return ret;
	if (r->ended && h.kind != LOG_INDEX)
		return frame_damaged(r, "stands after the end of the recording", err);
	if (!r->ended && h.kind == LOG_INDEX)
		return frame_damaged(r, "is an index, but the recording has no end before it", err);
	ret = frame_payload(r, &h, err);
	if (ret < 0)
		return ret;
	*f = (struct log_frame){ .kind = h.kind,
				 .seq = h.seq,
				 .count = h.count,
				 .offset = at,
				 .stored = sizeof(h) + h.stored,
				 .raw = r->raw,
				 .raw_len = h.raw };
	r->offset += f->stored;
	r->seq = h.seq;
	r->chain = h.check;
	r->ended |= h.kind == LOG_END;
	if (h.kind != LOG_INDEX)
		return 1;
	r->indexed = true;
	return reader_trailer(r, at, chain, err);
}

/* ---- checkpoints ---- */

int log_reader_seek(struct log_reader *r, const struct log_mark *mark, struct err *err)
{
	if (mark && (mark->offset < r->start || mark->offset >= r->size))
		return err_set(err, EBADMSG,
			       "log '%s': a checkpoint's offset %" PRIu64 " is outside the file",
			       r->path, mark->offset);
	r->offset = mark ? mark->offset : r->start;
	r->chain = mark ? mark->chain : r->start_chain;
	r->seq = mark ? mark->seq : 0;
	r->ended = r->indexed = false;
	r->cut[0] = 0;
	return 0;
}

void log_reader_here(const struct log_reader *r, struct log_mark *mark)
{
	mark->offset = r->offset;
	mark->chain = r->chain;
	mark->seq = r->seq;
}

static int add_mark(struct log_reader *r, const struct log_mark *m)
{
	struct log_mark *p = realloc(r->mark, (r->nmarks + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	r->mark = p;
	r->mark[r->nmarks++] = *m;
	return 0;
}

static int checkpoint_mark(struct log_reader *r, const struct log_frame *f, struct log_mark *m,
			   struct err *err)
{
	struct rd in = RD_INIT(f->raw, f->raw_len);

	m->record = rd_varint(&in);
	m->count = rd_varint(&in);
	m->ns = rd_varint(&in);
	if (in.bad || r->nmarks == MARKS_MAX)
		return err_set(err, EBADMSG,
			       "log '%s': the checkpoint at offset %" PRIu64 " is damaged", r->path,
			       f->offset);
	return 0;
}

/*
 * Reads the whole log: slower than an index, but it needs none and believes nothing that is not
 * checked. A checkpoint counts when something comes after its pages and disks: then they are
 * complete.
 */
static int scan_marks(struct log_reader *r, struct err *err)
{
	struct log_mark mark = { 0 };
	bool open = false;
	struct log_frame f;
	int ret;

	log_reader_seek(r, NULL, err);
	for (;;) {
		struct log_mark here = { .offset = r->offset, .chain = r->chain, .seq = r->seq };

		ret = log_reader_next(r, &f, err);
		if (ret < 0 || (ret == 0 && !r->indexed))
			return ret;
		if (open && (ret == 0 || (f.kind != LOG_PAGES && f.kind != LOG_DISK))) {
			if (add_mark(r, &mark) < 0)
				return err_set(err, ENOMEM, "out of memory");
			open = false;
		}
		if (ret == 0)
			return 0;
		if (f.kind != LOG_STATE)
			continue;
		ret = checkpoint_mark(r, &f, &here, err);
		if (ret < 0)
			return ret;
		mark = here;
		open = true;
	}
}

/*
 * The index at the end of the file, by the trailer; false when there is none that can be believed.
 */
static bool index_marks(struct log_reader *r)
{
	uint8_t t[LOG_TRAILER];
	struct log_frame_header h;
	struct log_frame f = { 0 };
	struct rd in;

	if (r->size < r->start + LOG_TRAILER + sizeof(h) ||
	    reader_read(r, r->size - LOG_TRAILER, t, sizeof(t), NULL) < 0 ||
	    memcmp(t, LOG_TRAILER_MAGIC, 8))
		return false;
	memcpy(&r->offset, t + 8, 8);
	memcpy(&r->chain, t + 16, 8);
	if (r->offset < r->start || r->offset > r->size - LOG_TRAILER - sizeof(h) ||
	    reader_read(r, r->offset, &h, sizeof(h), NULL) < 0)
		return false;
	r->seq = h.seq - 1;
	r->ended = true;
	r->indexed = false;
	if (log_reader_next(r, &f, NULL) != 0 || !r->indexed)
		return false;
	in = (struct rd)RD_INIT(r->raw, h.raw);
	for (uint64_t n = rd_varint(&in); n && !in.bad && r->nmarks < MARKS_MAX; n--) {
		struct log_mark m = { .record = rd_varint(&in) };

		m.count = rd_varint(&in);
		m.ns = rd_varint(&in);
		m.offset = rd_varint(&in);
		m.chain = rd_u64(&in);
		m.seq = rd_varint(&in);
		if (add_mark(r, &m) < 0)
			return false;
	}
	return !in.bad && !rd_left(&in);
}

int log_reader_marks(struct log_reader *r, const struct log_mark **marks, size_t *n,
		     struct err *err)
{
	int ret = 0;

	if (!r->have_marks && !index_marks(r)) {
		r->nmarks = 0;
		ret = scan_marks(r, err);
	}

	if (ret < 0)
		return ret;
	r->have_marks = true;
	*marks = r->mark;
	*n = r->nmarks;
	return log_reader_seek(r, NULL, err);
}
