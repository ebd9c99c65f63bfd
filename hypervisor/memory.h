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

struct memory {
	int fd;	       /* the memfd */
	uint8_t *base; /* where all of it is mapped */
	uint64_t size; /* bytes of RAM */
	uint64_t low_size, high_size;
	uint64_t pages;
	/* One byte a page (by offset in the memfd): non-zero when written since the last digest;
	 * owned by the vCPU thread. */
	uint8_t *dirty;
	struct engine *engine; /* told of writes from outside the vCPU; may be NULL */
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

#endif
