// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "hypervisor/engine.h"

static int prepared = -1; /* memory_prepare()'s */

static int make_file(struct err *err)
{
	int fd = memfd_create("twinstep-guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? err_set(err, errno, "cannot create guest memory: %s", strerror(errno)) : fd;
}

int memory_prepare(struct err *err)
{
	int ret = prepared < 0 ? make_file(err) : 0;

	if (ret > 0)
		prepared = ret;
	return ret < 0 ? ret : 0;
}

void memory_unprepare(void)
{
	if (prepared >= 0)
		close(prepared);
	prepared = -1;
}

/*
 * The memfd cannot change its size afterwards: a file that shrinks under a mapping would be a
 * SIGBUS.
 */
static int memory_map(struct memory *m, struct err *err)
{
	m->fd = __atomic_exchange_n(&prepared, -1, __ATOMIC_RELAXED);
	if (m->fd < 0)
		m->fd = make_file(err);
	if (m->fd < 0)
		return m->fd;
	if (ftruncate(m->fd, (off_t)m->size) < 0)
		return err_set(err, errno, "cannot size guest memory to %llu MiB: %s",
			       (unsigned long long)m->size >> 20, strerror(errno));
	if (fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_set(err, errno, "cannot seal guest memory: %s", strerror(errno));
	m->base = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	if (m->base == MAP_FAILED) {
		m->base = NULL;
		return err_set(err, errno, "cannot map %llu MiB of guest memory: %s",
			       (unsigned long long)m->size >> 20, strerror(errno));
	}
	madvise(m->base, m->size, MADV_DONTDUMP);
	madvise(m->base, m->size, MADV_UNMERGEABLE);
	madvise(m->base, m->size, MADV_DONTFORK); /* no helper process has it */
	madvise(m->base, m->size,
		MADV_HUGEPAGE); /* a hint, taken where the host has shmem_enabled=advise */
	return 0;
}

int memory_init(struct memory *m, uint64_t size, struct err *err)
{
	int ret;

	*m = (struct memory){ .fd = -1, .size = size };
	if (size < MEMORY_MIN || size > MEMORY_MAX || size % PAGE_SIZE)
		return err_set(
			err, EINVAL,
			"guest memory of %llu bytes: must be a multiple of 4096 from 1M to 64G",
			(unsigned long long)size);
	m->low_size = size < MEMORY_HOLE_START ? size : MEMORY_HOLE_START;
	m->high_size = size - m->low_size;
	m->pages = size / PAGE_SIZE;
	ret = memory_map(m, err);
	if (ret)
		goto fail;
	m->dirty = calloc(m->pages, 1);
	if (!m->dirty) {
		ret = err_set(err, ENOMEM, "out of memory");
		goto fail;
	}
	return 0;
fail:
	memory_fini(m);
	return ret;
}

void memory_fini(struct memory *m)
{
	if (m->base)
		munmap(m->base, m->size);
	if (m->fd >= 0) {
		/*
		 * The pages are the kernel's again now, zeroed, whoever else may hold the
		 * descriptor.
		 */
		if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			      (off_t)m->size) < 0)
			m->size = 0;
		close(m->fd);
	}
	free(m->dirty);
	*m = (struct memory){ .fd = -1 };
}

int memory_clear(struct memory *m, struct err *err)
{
	if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)m->size) < 0)
		return err_set(err, errno, "cannot clear guest memory: %s", strerror(errno));
	memset(m->dirty, 0, m->pages);
	memory_tell(m, 0, m->size, MEMORY_WRITE);
	if (m->engine && m->engine->ops->memory_moved)
		m->engine->ops->memory_moved(m->engine);
	return 0;
}

const void *memory_at(const struct memory *m, uint64_t gpa, uint64_t len)
{
	uint64_t offset = memory_offset(m, gpa);
	uint64_t end;

	if (offset == UINT64_MAX)
		return NULL;
	end = offset < m->low_size ? m->low_size : m->size;
	return len <= end - offset ? m->base + offset : NULL;
}

bool memory_read(const struct memory *m, uint64_t gpa, void *data, uint64_t len)
{
	const void *p = memory_at(m, gpa, len);

	if (!p)
		return false;
	memory_tell(m, memory_offset(m, gpa), len, MEMORY_READ);
	memcpy(data, p, len);
	/*
	 * The copied value is the one that is checked and used: the compiler must not look into the
	 * guest's memory for it again.
	 */
	__asm__ volatile("" ::: "memory");
	return true;
}

/* Marks [gpa, gpa+len) written and returns where it is, or NULL. */
static uint8_t *memory_for_write(struct memory *m, uint64_t gpa, uint64_t len)
{
	uint8_t *p = (uint8_t *)(uintptr_t)memory_at(m, gpa, len);
	uint64_t first, last;

	if (!p || !len)
		return p;
	first = (uint64_t)(p - m->base) >> PAGE_SHIFT;
	last = (uint64_t)(p - m->base + len - 1) >> PAGE_SHIFT;
	memset(m->dirty + first, MEMORY_WRITTEN, last - first + 1);
	memory_tell(m, memory_offset(m, gpa), len, MEMORY_WRITE);
	if (m->engine)
		m->engine->ops->memory_written(m->engine, gpa, len);
	return p;
}

bool memory_write(struct memory *m, uint64_t gpa, const void *data, uint64_t len)
{
	uint8_t *p = memory_for_write(m, gpa, len);

	if (p)
		memcpy(p, data, len);
	return p != NULL;
}

bool memory_zero(struct memory *m, uint64_t gpa, uint64_t len)
{
	uint8_t *p = memory_for_write(m, gpa, len);

	if (p)
		memset(p, 0, len);
	return p != NULL;
}

void memory_load_page(struct memory *m, uint64_t page, const void *data)
{
	uint8_t *p = m->base + page * PAGE_SIZE;

	must(page < m->pages);
	if (data)
		memcpy(p, data, PAGE_SIZE);
	else
		memset(p, 0, PAGE_SIZE);
}

void memory_load_end(struct memory *m)
{
	struct engine *e = m->engine;

	memset(m->dirty, 0, m->pages);
	if (!e)
		return;
	e->ops->memory_written(e, 0, m->low_size);
	if (m->high_size)
		e->ops->memory_written(e, MEMORY_HOLE_END, m->high_size);
}

bool memory_page_is_zero(const void *page)
{
	return bytes_are_zero(page, PAGE_SIZE);
}

uint64_t memory_next_used(const struct memory *m, uint64_t page)
{
	off_t at = lseek(m->fd, (off_t)(page * PAGE_SIZE), SEEK_DATA);

	if (at >= 0)
		return (uint64_t)at / PAGE_SIZE;
	return errno == ENXIO ? m->pages : page;
}

uint64_t memory_next_unused(const struct memory *m, uint64_t page)
{
	off_t at = lseek(m->fd, (off_t)(page * PAGE_SIZE), SEEK_HOLE);
	uint64_t next = at < 0 ? m->pages : ((uint64_t)at + PAGE_SIZE - 1) / PAGE_SIZE;

	return next > page ? next : page + 1;
}

int memory_set_watch(struct memory *m, const struct memory_watch *w)
{
	if (m->engine && !m->engine->ops->memory_watched)
		return -ENOTSUP;
	m->watch = w;
	if (m->engine)
		m->engine->ops->memory_watched(m->engine);
	return 0;
}

/* ---- marks ---- */

#define EIGHT(mark) ((mark)*0x0101010101010101ull)

/* First page from `page` on that has one of the marks. */
static uint64_t next_marked(const struct memory *m, uint64_t page, uint8_t marks)
{
	while (page < m->pages && !(m->dirty[page] & marks)) {
		uint64_t eight = EIGHT(marks);

		if (page % 8 == 0 && page + 8 <= m->pages)
			memcpy(&eight, m->dirty + page, 8);
		page += eight & EIGHT(marks) ? 1 : 8;
	}
	return page;
}

uint64_t memory_next_undigested(const struct memory *m, uint64_t page)
{
	return next_marked(m, page, MEMORY_WRITTEN | MEMORY_UNDIGESTED);
}

void memory_set_digested(struct memory *m, uint64_t page)
{
	bool keep = m->collecting && m->dirty[page] == MEMORY_WRITTEN;

	m->dirty[page] = keep ? MEMORY_UNCOLLECTED : 0;
}

uint64_t page_set_next(const uint64_t *set, uint64_t pages, uint64_t page)
{
	while (page < pages) {
		uint64_t left = set[page / 64] >> (page % 64);

		if (left)
			return page + (uint64_t)__builtin_ctzll(left);
		page = (page / 64 + 1) * 64;
	}
	return pages;
}

static void sync_marks(struct memory *m)
{
	if (m->engine)
		m->engine->ops->sync_dirty(m->engine);
}

/* All that was written is collected; set: NULL for nobody. */
static uint64_t collect(struct memory *m, uint64_t *set)
{
	const uint8_t marks = MEMORY_WRITTEN | MEMORY_UNCOLLECTED;
	uint64_t n = 0;

	for (uint64_t i = next_marked(m, 0, marks); i < m->pages;
	     i = next_marked(m, i + 1, marks)) {
		m->dirty[i] = m->dirty[i] == MEMORY_WRITTEN ? MEMORY_UNDIGESTED : 0;
		if (set)
			page_set_add(set, i);
		n++;
	}
	return n;
}

void memory_collect_begin(struct memory *m)
{
	sync_marks(m);
	collect(m, NULL);
	m->collecting = true;
}

uint64_t memory_collect(struct memory *m, uint64_t *set)
{
	must(m->collecting);
	sync_marks(m);
	return collect(m, set);
}

void memory_collect_end(struct memory *m)
{
	sync_marks(m);
	m->collecting = false;
	for (uint64_t i = 0; i < m->pages; i++)
		m->dirty[i] =
			m->dirty[i] & (MEMORY_WRITTEN | MEMORY_UNDIGESTED) ? MEMORY_WRITTEN : 0;
}

/*
 * The race with the vCPU is meant: a word that is written meanwhile is in a later collection.
 * Nobody but the thread sanitizer has to be told.
 */
__attribute__((no_sanitize("thread"))) void memory_copy_page(const struct memory *m, uint64_t page,
							     void *to)
{
	const volatile uint64_t *p = (const volatile uint64_t *)(m->base + page * PAGE_SIZE);
	uint64_t *out = to;

	must(page < m->pages);
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		out[i] = p[i];
}
