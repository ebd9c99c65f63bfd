/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM: one memfd, mapped once, split around the 32-bit PCI hole.
 *
 *   guest physical                         offset in the memfd
 *   0 .. low_size                          0
 *   MEMORY_HOLE_START .. 4 GiB             none: PCI memory
 *   4 GiB .. 4 GiB + high_size             low_size
 *
 * While the machine runs, everything that writes RAM other than the vCPU goes through
 * memory_write() or memory_zero(), which mark pages dirty and tell the engine that cached code may
 * be void. A whole state that is put into RAM from outside (a checkpoint, a primary) goes through
 * memory_load_page(), and memory_load_end() tells the engine once.
 */
#ifndef HYPERVISOR_MEMORY_H
#define HYPERVISOR_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PAGE_SHIFT	  12
#define PAGE_SIZE	  4096ul
#define MEMORY_HOLE_START 0xc0000000ull
#define MEMORY_HOLE_END	  0x100000000ull
#define MEMORY_MIN	  (1ull << 20)	/* 1 MiB */
#define MEMORY_MAX	  (64ull << 30) /* 64 GiB */

struct engine;

/*
 * The mark of a page. A digest and a round of collecting (memory_collect()) each see what was
 * written since their own last look: a write sets WRITTEN, and who looks leaves what the other has
 * not seen. A write finds its page's translation armed unless the mark is WRITTEN already.
 */
enum memory_mark {
	MEMORY_WRITTEN = 1,	/* since the last digest, and since the last collection */
	MEMORY_UNCOLLECTED = 2, /* since the last collection only: a digest has it */
	MEMORY_UNDIGESTED = 4,	/* since the last digest only: it was collected */
};

/* What is done to bytes of RAM. */
enum memory_use {
	MEMORY_READ,
	MEMORY_WRITE,
	MEMORY_FETCH, /* as code, which may run again without another fetch */
};

/*
 * Is told of every use of RAM, by vCPU and devices, in the pages of a set; perhaps of more than
 * that. Changes nothing that a guest, a count or a digest shows. Loading RAM from outside is no
 * use.
 */
struct memory_watch {
	const uint64_t *pages; /* by offset in the memfd, as below */
	void (*used)(void *ctx, uint64_t offset, uint64_t len, enum memory_use use);
	void *ctx;
};

struct memory {
	int fd;	       /* the memfd */
	uint8_t *base; /* where all of it is mapped */
	uint64_t size; /* bytes of RAM */
	uint64_t low_size, high_size;
	uint64_t pages;
	/* Marks, one a page (by offset in the memfd), 0: not written; owned by the vCPU thread. */
	uint8_t *dirty;
	bool collecting;       /* between memory_collect_begin() and memory_collect_end() */
	struct engine *engine; /* told of writes from outside the vCPU; may be NULL */
	const struct memory_watch *watch; /* or NULL: memory_set_watch() */
};

/*
 * Makes the memfd of the next memory_init() of this process: for who may make no files any more by
 * then. Of no size yet. 0 or -errno.
 */
int memory_prepare(struct err *err);
/* Drops it again, when there was no memory_init(). */
void memory_unprepare(void);
/* size: multiple of 4096 from MEMORY_MIN to MEMORY_MAX. Contents are zero, no page is dirty. */
int memory_init(struct memory *m, uint64_t size, struct err *err);
void memory_fini(struct memory *m);
/* Gives all of it back: contents are zero again, no page is dirty. The engine is not told. */
int memory_clear(struct memory *m, struct err *err);

/* Offset in the memfd of gpa, or UINT64_MAX when it is not RAM. */
static inline uint64_t memory_offset(const struct memory *m, uint64_t gpa)
{
	if (gpa < m->low_size)
		return gpa;
	if (gpa >= MEMORY_HOLE_END && gpa - MEMORY_HOLE_END < m->high_size)
		return gpa - MEMORY_HOLE_END + m->low_size;
	return UINT64_MAX;
}

/* Guest physical address of a byte at offset in the memfd. */
static inline uint64_t memory_gpa(const struct memory *m, uint64_t offset)
{
	return offset < m->low_size ? offset : offset - m->low_size + MEMORY_HOLE_END;
}

/* Host address of [gpa, gpa+len) when all of it is RAM and contiguous, else NULL. For reading. */
const void *memory_at(const struct memory *m, uint64_t gpa, uint64_t len);

/*
 * Copies; false when any byte is not RAM (then nothing was copied). A guest may write to the same
 * place meanwhile, from another processor: the copy is some mixture, but does not change any more.
 * Whoever checks a value from the guest checks and uses one copy of it.
 */
bool memory_read(const struct memory *m, uint64_t gpa, void *data, uint64_t len);
bool memory_write(struct memory *m, uint64_t gpa, const void *data, uint64_t len);
bool memory_zero(struct memory *m, uint64_t gpa, uint64_t len);

/*
 * Loading RAM from outside, between two runs of the vCPU: pages in any order, data NULL for zeros.
 * At the end no page is dirty, and the engine has been told that all of RAM is another.
 */
void memory_load_page(struct memory *m, uint64_t page, const void *data);
void memory_load_end(struct memory *m);

/* A page of zeros need not be stored or sent. */
bool memory_page_is_zero(const void *page);
/*
 * First page from `page` on that may hold anything but zeros; mem->pages: none. Pages that were
 * never used are skipped unread, for reading one would allocate it.
 */
uint64_t memory_next_used(const struct memory *m, uint64_t page);
/* First page after `page`, which is in use, that was never used; mem->pages: none. */
uint64_t memory_next_unused(const struct memory *m, uint64_t page);

/* ---- pages written since the last digest; vCPU thread, after the engine's sync_dirty() ---- */

/* First such page from `page` on; mem->pages: none. */
uint64_t memory_next_undigested(const struct memory *m, uint64_t page);
/* A digest has the page. */
void memory_set_digested(struct memory *m, uint64_t page);

/*
 * ---- pages written since the last collection ----
 *
 * For copying the memory of a machine that runs: after begin(), whatever was copied is current
 * again when all pages of the following collections have been copied, too. Nothing of it shows in
 * the guest, in counts, digests or saved states. vCPU thread, between two runs of the vCPU.
 */

/* Bytes of a set of pages, a bit each, and the set's operations. */
static inline uint64_t page_set_words(uint64_t pages)
{
	return (pages + 63) / 64;
}

static inline void page_set_add(uint64_t *set, uint64_t page)
{
	set[page / 64] |= 1ull << (page % 64);
}

static inline bool page_set_has(const uint64_t *set, uint64_t page)
{
	return set[page / 64] >> (page % 64) & 1;
}

static inline void page_set_remove(uint64_t *set, uint64_t page)
{
	set[page / 64] &= ~(1ull << (page % 64));
}

/* First page of a set of `pages` from `page` on; `pages`: none. */
uint64_t page_set_next(const uint64_t *set, uint64_t pages, uint64_t page);

/*
 * Between two runs of the vCPU. w and its pages stay the caller's; NULL: no more. -ENOTSUP: the
 * engine does not tell.
 */
int memory_set_watch(struct memory *m, const struct memory_watch *w);

/* True: uses of the page with this offset are to be told. */
static inline bool memory_is_watched(const struct memory *m, uint64_t offset)
{
	return m->watch && page_set_has(m->watch->pages, offset >> PAGE_SHIFT);
}

static inline void memory_tell(const struct memory *m, uint64_t offset, uint64_t len,
			       enum memory_use use)
{
	if (m->watch)
		m->watch->used(m->watch->ctx, offset, len, use);
}

void memory_collect_begin(struct memory *m);
/* Adds the pages written since begin() or the last call to a set; returns how many there were. */
uint64_t memory_collect(struct memory *m, uint64_t *set);
void memory_collect_end(struct memory *m);

/*
 * A copy of a page that the vCPU may be writing to: each aligned word is old or new. Any thread.
 */
void memory_copy_page(const struct memory *m, uint64_t page, void *to);

#endif
