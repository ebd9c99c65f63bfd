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

#include "base/log.h"
#include "record/checkpoint_private.h"
#include "record/pages.h"

#define ZSTD_LEVEL 1 /* the machine stands still meanwhile */

struct checkpoint_out {
	const char *path; /* for messages */
	int fd;
	struct checkpoint_info info;
	uint64_t offset, chain, sections, pages;
	ZSTD_CCtx *zstd;
	struct buf out;	 /* one section */
	struct buf list; /* pages, or blocks of a disk, for the next one */
	int disk;	 /* whose content the list has; -1: it has pages */
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

static int writer_fail(struct checkpoint_out *w, int code)
{
	return err_set(w->err, code, "cannot write checkpoint '%s' at offset %" PRIu64 ": %s",
		       w->path, w->offset, strerror(code));
}

static int writer_put(struct checkpoint_out *w, const void *data, size_t n)
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

static int writer_header(struct checkpoint_out *w, const struct checkpoint_info *info)
{
	struct buf b = BUF_INIT, config = BUF_INIT;
	uint32_t len;
	int ret;

	machine_config_save(&info->config, &config);
	buf_put(&b, CHECKPOINT_MAGIC, 8);
	buf_put_u32(&b, info->contents ? CHECKPOINT_VERSION : CHECKPOINT_VERSION_PLAIN);
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
static int writer_section(struct checkpoint_out *w, enum checkpoint_kind kind, unsigned index,
			  unsigned flags, const void *raw, size_t len)
{
	struct checkpoint_section s = {
		.magic = CHECKPOINT_SECTION,
		.kind = (uint8_t)kind,
		.flags = (uint8_t)flags,
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
		s.flags |= CHECKPOINT_ZSTD;
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
static int writer_blob(struct checkpoint_out *w, enum checkpoint_kind kind, unsigned index,
		       const struct buf *b)
{
	size_t at = 0;
	int ret;

	if (b->bad)
		return writer_fail(w, ENOMEM);
	do {
		size_t n = b->len - at < CHECKPOINT_CHUNK ? b->len - at : CHECKPOINT_CHUNK;

		ret = writer_section(w, kind, index, 0, n ? b->data + at : (const uint8_t *)"", n);
		at += n;
	} while (ret == 0 && at < b->len);
	return ret;
}

/* The list's section, if there is something in it. */
static int writer_flush(struct checkpoint_out *w)
{
	int ret = 0;

	if (w->list.bad)
		return writer_fail(w, ENOMEM);
	if (w->list.len && w->disk < 0)
		ret = writer_section(w, CHECKPOINT_PAGES, 0, 0, w->list.data, w->list.len);
	else if (w->list.len)
		ret = writer_section(w, CHECKPOINT_DISK, (unsigned)w->disk, CHECKPOINT_CONTENT,
				     w->list.data, w->list.len);
	buf_clear(&w->list);
	return ret;
}

int checkpoint_out_page(struct checkpoint_out *w, uint64_t number, const uint8_t *data)
{
	pages_put(&w->list, number, data);
	w->pages++;
	return w->list.bad || w->list.len >= CHECKPOINT_CHUNK ? writer_flush(w) : 0;
}

/* Pages that are not zero, or all changed ones. */
static int writer_pages(struct checkpoint_out *w, const struct memory *mem, const uint8_t *changed)
{
	int ret = 0;

	for (uint64_t i = changed ? 0 : memory_next_used(mem, 0); i < mem->pages && ret == 0; i++) {
		const uint8_t *page = mem->base + i * PAGE_SIZE;

		if (changed && changed[i])
			ret = checkpoint_out_page(w, i, memory_page_is_zero(page) ? NULL : page);
		else if (!changed && !memory_page_is_zero(page))
			ret = checkpoint_out_page(w, i, page);
		if (!changed && i % 512 == 511)
			i = memory_next_used(mem, i + 1) - 1;
	}
	return ret;
}

int checkpoint_out_changes(struct checkpoint_out *w, unsigned disk, const struct buf *changes)
{
	int ret = writer_flush(w);

	return ret ? ret : writer_blob(w, CHECKPOINT_DISK, disk, changes);
}

int checkpoint_out_content(struct checkpoint_out *w, unsigned disk)
{
	int ret = writer_flush(w);

	must(w->info.contents);
	w->disk = (int)disk;
	return ret ? ret : writer_section(w, CHECKPOINT_DISK, disk, CHECKPOINT_CONTENT, "", 0);
}

int checkpoint_out_block(struct checkpoint_out *w, uint64_t block, const uint8_t *data)
{
	uint64_t sectors = w->info.config.disk_sectors[w->disk];
	unsigned len = checkpoint_block_bytes(sectors, block);
	int ret = 0;

	if (w->list.len + len > CHECKPOINT_CHUNK)
		ret = writer_flush(w);
	buf_put_varint(&w->list, block << 1 | !data);
	if (data)
		buf_put(&w->list, data, len);
	return ret;
}

static int writer_disks(struct checkpoint_out *w, unsigned n,
			const struct checkpoint_write_options *o)
{
	int ret = 0;

	for (unsigned i = 0; o->disk_export && i < n && ret == 0; i++) {
		struct buf b = BUF_INIT;

		ret = o->disk_export(o->disk_ctx, i, &b, w->err);
		if (ret == 0)
			ret = checkpoint_out_changes(w, i, &b);
		buf_free(&b);
	}
	return ret;
}

int checkpoint_out_end(struct checkpoint_out *w, struct checkpoint_info *info)
{
	struct buf b = BUF_INIT;
	int ret = writer_flush(w);

	buf_put_u64(&b, w->pages);
	buf_put_u64(&b, w->sections);
	if (ret == 0)
		ret = writer_blob(w, CHECKPOINT_END, 0, &b);
	buf_free(&b);
	w->info.id = w->chain;
	w->info.pages = w->pages;
	w->info.bytes = w->offset;
	if (ret == 0 && info)
		*info = w->info;
	return ret;
}

int checkpoint_out_sync(struct checkpoint_out *w)
{
	return fsync(w->fd) < 0 ? writer_fail(w, errno) : 0;
}

struct checkpoint_out *checkpoint_out_begin(int fd, const char *name,
					    const struct checkpoint_info *info,
					    const struct buf *state, struct err *err)
{
	struct checkpoint_out *w = calloc(1, sizeof(*w));

	if (w)
		*w = (struct checkpoint_out){ .path = name,
					      .fd = fd,
					      .info = *info,
					      .zstd = ZSTD_createCCtx(),
					      .disk = -1,
					      .err = err };
	if (!w || !w->zstd)
		err_set(err, ENOMEM, "cannot write checkpoint '%s': out of memory", name);
	else if (writer_header(w, info) == 0 && writer_blob(w, CHECKPOINT_STATE, 0, state) == 0)
		return w;
	checkpoint_out_free(w);
	return NULL;
}

void checkpoint_out_free(struct checkpoint_out *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->zstd);
	buf_free(&w->out);
	buf_free(&w->list);
	free(w);
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

struct checkpoint_info checkpoint_describe(struct machine *m, uint64_t record, uint64_t base)
{
	struct engine *e = machine_engine(m);
	struct checkpoint_info info = {
		.config = *machine_get_config(m),
		.base = base,
		.count = e->ops->count(e),
		.ns = machine_now(m),
		.record = record,
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
	struct checkpoint_info d = checkpoint_describe(m, o->record, o->base);
	struct checkpoint_out *w;
	struct buf state = BUF_INIT;
	int ret;

	if (any_dirty(m))
		return err_set(err, EBUSY,
			       "checkpoint '%s' must be taken where the state digest was computed",
			       name);
	machine_save(m, &state);
	w = checkpoint_out_begin(fd, name, &d, &state, err);
	buf_free(&state);
	ret = w ? writer_pages(w, machine_memory(m), o->changed) : -err->code;
	if (ret == 0)
		ret = writer_disks(w, d.config.ndisks, o);
	if (ret == 0)
		ret = checkpoint_out_end(w, &d);
	if (ret == 0)
		ret = checkpoint_out_sync(w);
	if (ret == 0 && info)
		*info = d;
	checkpoint_out_free(w);
	return ret;
}
