// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "record/checkpoint_private.h"
#include "record/pages.h"

#define ZSTD_LEVEL 1 /* the machine stands still meanwhile */

struct writer {
	const char *path; /* for messages */
	int fd;
	uint64_t offset, chain, sections, pages;
	ZSTD_CCtx *zstd;
	struct buf out; /* one section */
	struct err *err;
};

uint64_t checkpoint_check(const struct checkpoint_section *s, const void *stored)
{
	XXH3_state_t *x = XXH3_createState();
	uint64_t h;

	if (!x)
		return 0;
	XXH3_64bits_reset(x);
	XXH3_64bits_update(x, s, offsetof(struct checkpoint_section, check));
	XXH3_64bits_update(x, stored, s->stored);
	h = XXH3_64bits_digest(x);
	XXH3_freeState(x);
	return h;
}

static int writer_fail(struct writer *w, int code)
{
	return err_set(w->err, code, "cannot write checkpoint '%s' at offset %" PRIu64 ": %s",
		       w->path, w->offset, strerror(code));
}

static int writer_put(struct writer *w, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n) {
		ssize_t done = write(w->fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return writer_fail(w, done < 0 ? errno : ENOSPC);
		p += done;
		n -= (size_t)done;
		w->offset += (uint64_t)done;
	}
	return 0;
}

static int writer_header(struct writer *w, const struct checkpoint_info *info)
{
	struct buf b = BUF_INIT, config = BUF_INIT;
	uint32_t len;
	int ret;

	machine_config_save(&info->config, &config);
	buf_put(&b, CHECKPOINT_MAGIC, 8);
	buf_put_u32(&b, CHECKPOINT_VERSION);
	buf_put_u32(&b, 0);
	buf_put_blob(&b, config.data, config.len);
	buf_put_str(&b, info->engine);
	buf_put_str(&b, info->counter);
	buf_put_u64(&b, info->base);
	buf_put_u64(&b, info->count);
	buf_put_u64(&b, info->ns);
	buf_put_u64(&b, info->record);
	if (b.bad || config.bad) {
		ret = writer_fail(w, ENOMEM);
	} else {
		len = (uint32_t)(b.len - CHECKPOINT_PREAMBLE);
		memcpy(b.data + 12, &len, 4);
		w->chain = XXH3_64bits(b.data, b.len);
		buf_put_u64(&b, w->chain);
		ret = b.bad ? writer_fail(w, ENOMEM) : writer_put(w, b.data, b.len);
	}
	buf_free(&config);
	buf_free(&b);
	return ret;
}

/* One section, compressed where that makes it smaller. */
static int writer_section(struct writer *w, enum checkpoint_kind kind, unsigned index,
			  const void *raw, size_t len)
{
	struct checkpoint_section s = {
		.magic = CHECKPOINT_SECTION,
		.kind = (uint8_t)kind,
		.index = (uint16_t)index,
		.raw = (uint32_t)len,
		.chain = w->chain,
	};
	size_t bound = ZSTD_compressBound(len), n;
	uint8_t *p;
	int ret;

	buf_clear(&w->out);
	p = buf_grow(&w->out, sizeof(s) + bound);
	if (!p)
		return writer_fail(w, ENOMEM);
	n = ZSTD_compressCCtx(w->zstd, p + sizeof(s), bound, raw, len, ZSTD_LEVEL);
	if (ZSTD_isError(n) || n >= len) {
		memcpy(p + sizeof(s), raw, len);
		n = len;
	} else {
		s.flags = CHECKPOINT_ZSTD;
	}
	s.stored = (uint32_t)n;
	s.check = checkpoint_check(&s, p + sizeof(s));
	memcpy(p, &s, sizeof(s));
	ret = writer_put(w, p, sizeof(s) + n);
	w->chain = s.check;
	w->sections++;
	return ret;
}

/* A blob in pieces; an empty one is one empty piece. */
static int writer_blob(struct writer *w, enum checkpoint_kind kind, unsigned index,
		       const struct buf *b)
{
	size_t at = 0;
	int ret;

	if (b->bad)
		return writer_fail(w, ENOMEM);
	do {
		size_t n = b->len - at < CHECKPOINT_CHUNK ? b->len - at : CHECKPOINT_CHUNK;

		ret = writer_section(w, kind, index, n ? b->data + at : (const uint8_t *)"", n);
		at += n;
	} while (ret == 0 && at < b->len);
	return ret;
}

static int writer_state(struct writer *w, struct machine *m)
{
	struct buf b = BUF_INIT;
	int ret;

	machine_save(m, &b);
	ret = writer_blob(w, CHECKPOINT_STATE, 0, &b);
	buf_free(&b);
	return ret;
}

static int writer_page(struct writer *w, struct buf *b, uint64_t i, const uint8_t *page)
{
	int ret = 0;

	pages_put(b, i, page);
	w->pages++;
	if (b->bad)
		return writer_fail(w, ENOMEM);
	if (b->len >= CHECKPOINT_CHUNK) {
		ret = writer_section(w, CHECKPOINT_PAGES, 0, b->data, b->len);
		buf_clear(b);
	}
	return ret;
}

/* Pages that are not zero, or all changed ones. */
static int writer_pages(struct writer *w, const struct memory *mem, const uint8_t *changed)
{
	struct buf b = BUF_INIT;
	int ret = 0;

	for (uint64_t i = changed ? 0 : memory_next_used(mem, 0); i < mem->pages && ret == 0; i++) {
		const uint8_t *page = mem->base + i * PAGE_SIZE;

		if (changed && changed[i])
			ret = writer_page(w, &b, i, memory_page_is_zero(page) ? NULL : page);
		else if (!changed && !memory_page_is_zero(page))
			ret = writer_page(w, &b, i, page);
		if (!changed && i % 512 == 511)
			i = memory_next_used(mem, i + 1) - 1;
	}
	if (ret == 0 && b.len)
		ret = writer_section(w, CHECKPOINT_PAGES, 0, b.data, b.len);
	buf_free(&b);
	return ret;
}

static int writer_disks(struct writer *w, unsigned n, const struct checkpoint_write_options *o)
{
	int ret = 0;

	for (unsigned i = 0; o->disk_export && i < n && ret == 0; i++) {
		struct buf b = BUF_INIT;

		ret = o->disk_export(o->disk_ctx, i, &b, w->err);
		if (ret == 0)
			ret = writer_blob(w, CHECKPOINT_DISK, i, &b);
		buf_free(&b);
	}
	return ret;
}

static int writer_end(struct writer *w)
{
	struct buf b = BUF_INIT;
	int ret;

	buf_put_u64(&b, w->pages);
	buf_put_u64(&b, w->sections);
	ret = writer_blob(w, CHECKPOINT_END, 0, &b);
	buf_free(&b);
	if (ret == 0 && fsync(w->fd) < 0)
		ret = writer_fail(w, errno);
	return ret;
}

static int sync_directory(const char *path, struct err *err)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, ret = 0;

	if (fd < 0 || fsync(fd) < 0)
		ret = err_set(err, errno,
			      "checkpoint '%s' is written, but its directory cannot be synced: %s",
			      path, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(copy);
	return ret;
}

int checkpoint_file_create(const char *path, bool force, char **tmp, struct err *err)
{
	struct stat st;
	int fd;

	*tmp = NULL;
	if (stat(path, &st) == 0 && !force)
		return err_set(err, EEXIST, "checkpoint '%s' exists already", path);
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "cannot write checkpoint '%s': it is no regular file",
			       path);
	if (asprintf(tmp, "%s.XXXXXX", path) < 0) {
		*tmp = NULL;
		return err_set(err, ENOMEM, "out of memory");
	}
	fd = mkostemp(*tmp, O_CLOEXEC);
	if (fd >= 0)
		return fd;
	free(*tmp);
	*tmp = NULL;
	return err_set(err, errno, "cannot create a file beside checkpoint '%s': %s", path,
		       strerror(errno));
}

int checkpoint_file_publish(const char *path, char *tmp, bool force, struct err *err)
{
	int ret = 0;

	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, force ? 0 : RENAME_NOREPLACE) < 0 &&
	    (force || errno != EINVAL || link(tmp, path) < 0 ||
	     unlink(tmp) < 0)) { /* no such flag: by link */
		ret = err_set(err, errno, "cannot give checkpoint '%s' its name: %s", path,
			      strerror(errno));
		unlink(tmp);
	}
	free(tmp);
	return ret ? ret : sync_directory(path, err);
}

void checkpoint_file_drop(char *tmp)
{
	unlink(tmp);
	free(tmp);
}

static struct checkpoint_info describe(struct machine *m, const struct checkpoint_write_options *o)
{
	struct engine *e = machine_engine(m);
	struct checkpoint_info info = {
		.config = *machine_get_config(m),
		.base = o->base,
		.count = e->ops->count(e),
		.ns = machine_now(m),
		.record = o->record,
	};

	snprintf(info.engine, sizeof(info.engine), "%s", e->ops->name);
	snprintf(info.counter, sizeof(info.counter), "%s", e->ops->counter);
	return info;
}

static bool any_dirty(struct machine *m)
{
	const struct memory *mem = machine_memory(m);
	struct engine *e = machine_engine(m);

	e->ops->sync_dirty(e);
	return memory_next_undigested(mem, 0) < mem->pages;
}

int checkpoint_write_fd(int fd, const char *name, struct machine *m,
			const struct checkpoint_write_options *o, struct checkpoint_info *info,
			struct err *err)
{
	struct writer w = { .path = name, .fd = fd, .err = err, .zstd = ZSTD_createCCtx() };
	struct checkpoint_info d = describe(m, o);
	int ret = w.zstd ? 0 : writer_fail(&w, ENOMEM);

	if (ret == 0 && any_dirty(m))
		ret = err_set(err, EBUSY,
			      "checkpoint '%s' must be taken where the state digest was computed",
			      name);
	if (ret == 0)
		ret = writer_header(&w, &d);
	if (ret == 0)
		ret = writer_state(&w, m);
	if (ret == 0)
		ret = writer_pages(&w, machine_memory(m), o->changed);
	if (ret == 0)
		ret = writer_disks(&w, d.config.ndisks, o);
	if (ret == 0)
		ret = writer_end(&w);
	d.id = w.chain;
	d.pages = w.pages;
	d.bytes = w.offset;
	ZSTD_freeCCtx(w.zstd);
	buf_free(&w.out);
	if (ret == 0 && info)
		*info = d;
	return ret;
}
