/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cached blocks: straight runs of decoded instructions inside one physical page, found by the physical address of their
 * first byte and the execution mode. Whether a block is cached is the host's business and invisible to the guest: a
 * block is entered only through the ITLB entry of its page, exactly as its first instruction alone would be.
 */
#ifndef SOFT_BLOCK_H
#define SOFT_BLOCK_H

#include "hypervisor/soft/cpu.h"

#define BLOCK_OPS  64
#define BLOCK_DEAD (1u << 31) /* in mode: invalidated, matches no CPU */

struct block {
	uint64_t gpa;	/* of the first byte */
	uint32_t mode;	/* MODE_* */
	uint16_t bytes; /* of code */
	uint8_t n;	/* ops, at most BLOCK_OPS */
	bool plain;	/* ends without a need to look at events */
	uint64_t mask;	/* 64-byte pieces of the page that it covers */
	struct block *hash_next, *page_next;
	/* Blocks that followed this one inside the same linear page: [0] straight on, [1] the last jump. */
	struct block_link {
		uint64_t delta; /* RIP - RIP of this block's start */
		struct block *to;
	} link[2];
	struct op op[];
};

/* 4096 entries: the block last entered at a linear address. */
#define JUMP_BITS 12
#define JUMP_SIZE (1u << JUMP_BITS)

struct jump_entry {
	uint64_t lin;
	struct block *b; /* never NULL */
};

struct code_page {
	uint64_t mask; /* union of the blocks' masks */
	struct block *first;
};

struct block_cache {
	struct jump_entry jump[JUMP_SIZE];
	struct block **hash;
	struct code_page *page; /* by page number in the memfd */
	uint64_t pages;
	uint8_t *arena;
	size_t used;
	uint32_t epoch;	   /* goes up when everything was dropped: pointers to blocks are void */
	struct block dead; /* what empty links and jump entries point to */
};

/* Returns NULL when out of memory. */
struct block_cache *block_cache_create(const struct memory *mem);
void block_cache_destroy(struct block_cache *c);
/* Forgets every block. Must not be called while one runs. */
void block_drop_all(struct cpu *cpu);

/*
 * The block at linear address `lin` in the present mode, built when it is not cached, or NULL when its first
 * instruction has to be fetched by hand: it crosses into the next page or lies outside RAM. Raises what fetching
 * raises.
 */
struct block *block_find_slow(struct cpu *cpu, uint64_t lin);

static inline struct block *block_find(struct cpu *cpu, uint64_t lin)
{
	const struct jump_entry *j = &cpu->blocks->jump[(lin ^ lin >> JUMP_BITS) & (JUMP_SIZE - 1)];
	const struct itlb_entry *t = &cpu->itlb[cpu->cpl == 3][(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];
	struct block *b = j->b;

	if (likely(j->lin == lin && b->mode == cpu->mode && t->tag == (lin & PAGE_MASK) &&
		   ((t->gpa ^ b->gpa) & PAGE_MASK) == 0))
		return b;
	return block_find_slow(cpu, lin);
}

/* Does the page of gpa hold cached code? */
bool block_page_has_code(const struct cpu *cpu, uint64_t gpa);
/* Does a write of [gpa, gpa+len), inside one page, meet the block that runs now? */
bool block_present_overlaps(const struct cpu *cpu, uint64_t gpa, uint64_t len);

#endif
