/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cached blocks: straight runs of decoded instructions inside one physical page, found by the
 * physical address of their first byte and the execution mode. Whether a block is cached is the
 * host's business and invisible to the guest: a block is entered only through the ITLB entry of its
 * page, exactly as its first instruction alone would be.
 */
#ifndef SOFT_BLOCK_H
#define SOFT_BLOCK_H

#include "hypervisor/soft/cpu.h"

#define BLOCK_OPS     64
#define BLOCK_DEAD    (1u << 31) /* in mode: invalidated, matches no CPU */
#define BLOCK_NO_PAGE UINT64_MAX

enum block_way { BLOCK_ON, BLOCK_TAKEN /* the last jump */ };

struct block;

/* Results of translating a block; offsets are into the code memory. */
struct block_code {
	const uint8_t *run; /* host code with registers loaded; NULL: none */
	uint32_t body;	    /* its offset; 0: none */
	uint32_t dead;	    /* where its start jumps to when the block is void */
	/*
	 * Places of both ways (enum block_way): the displacement of the jump that way (0: none),
	 * where that goes while it is not linked, and the offset in the page of where it leads.
	 */
	uint32_t site[2], stub[2];
	/* A jump in front that leads to the stub while the way is not linked; 0: none. Where the
	 * physical page's number stands that is compared before a jump to another page; 0: none. */
	uint32_t gate[2], page[2];
	uint16_t target[2];
	uint16_t heat;
	bool linked[2];
	uint8_t from_way[2], into_way;
	struct block *from[2]; /* the next one in a list of blocks that jump to the same block */
	struct block *into;    /* blocks that jump to this one */
};

struct block {
	op_fn enter;	/* runs it from the start: op[0].fn, or host code */
	uint64_t gpa;	/* of the first byte */
	uint32_t mode;	/* MODE_* */
	uint16_t bytes; /* of code */
	uint8_t n;	/* ops, at most BLOCK_OPS */
	bool plain;	/* ends without a need to look at events */
	uint64_t mask;	/* 64-byte pieces of the page that it covers */
	struct block *hash_next, *page_next;
	/* Blocks that followed this one inside the same linear page, by enum block_way. */
	struct block_link {
		uint64_t delta; /* RIP - RIP of this block's start */
		struct block *to;
	} link[2];
	/*
	 * Second page of a block that is one instruction through two pages (op[0] is op_cross()
	 * then, op[1] the instruction).
	 */
	uint64_t gpa2; /* where the second page starts, or BLOCK_NO_PAGE */
	uint64_t mask2;
	struct block *cross_next;
	struct block_code t;
	struct op op[];
};

static inline bool block_is_cross(const struct block *b)
{
	return b->gpa2 != BLOCK_NO_PAGE;
}

/* Its instruction i; that after the last one ends it. */
static inline const struct op *block_op(const struct block *b, unsigned i)
{
	return &b->op[i + block_is_cross(b)];
}

/* The block last entered at a linear address. */
#define JUMP_BITS 15
#define JUMP_SIZE (1u << JUMP_BITS)

struct jump_entry {
	uint64_t lin;
	struct block *b; /* never NULL */
	/*
	 * For translated code, which finds its way without a look at the block: the block's code,
	 * and cpu->jump_key when that was looked through the last time; 0: never. Code of a block
	 * that became void leads back to the run loop.
	 */
	const uint8_t *run;
	uint64_t key;
};

struct code_page {
	uint64_t mask;		     /* union of the blocks' masks */
	struct block *first, *cross; /* that start here; whose instruction ends here. Dead ones may
					be among them. */
};

struct block_cache {
	struct jump_entry jump[JUMP_SIZE];
	struct block **hash;
	struct code_page *page; /* by page number in the memfd */
	uint64_t pages;
	uint8_t *arena;
	size_t used;
	uint32_t epoch;	    /* goes up when everything was dropped: pointers to blocks are void */
	struct block *edge; /* of no instructions: what translated code in front of a block is in */
	struct block dead;  /* what empty links and jump entries point to */
};

/* Returns NULL when out of memory. */
struct block_cache *block_cache_create(const struct memory *mem);
void block_cache_destroy(struct block_cache *c);
/* The block built after `b`, dead or not; after NULL the first; NULL: there is none. */
struct block *block_each(const struct block_cache *c, const struct block *b);
/* Forgets every block. Must not be called while one runs. */
void block_drop_all(struct cpu *cpu);

/*
 * The block at linear address `lin` in the present mode, built when it is not cached, or NULL when
 * its first instruction has to be fetched by hand: it lies outside RAM, or part of it does. Raises
 * what fetching raises.
 */
struct block *block_find_slow(struct cpu *cpu, uint64_t lin);

/*
 * The block at `lin` when the jump cache and the ITLB have it; NULL: ask block_find_slow(). Changes
 * nothing.
 */
static inline struct block *block_hit(const struct cpu *cpu, uint64_t lin)
{
	const struct jump_entry *j = &cpu->blocks->jump[(lin ^ lin >> JUMP_BITS) & (JUMP_SIZE - 1)];
	const struct itlb_entry *t =
		&cpu->itlb[cpu->cpl == 3][(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];
	struct block *b = j->b;

	if (likely(j->lin == lin && b->mode == cpu->mode && t->tag == (lin & PAGE_MASK) &&
		   ((t->gpa ^ b->gpa) & PAGE_MASK) == 0))
		return b;
	return NULL;
}

static inline struct block *block_find(struct cpu *cpu, uint64_t lin)
{
	struct block *b = block_hit(cpu, lin);

	return likely(b) ? b : block_find_slow(cpu, lin);
}

/*
 * Chains: the last op of a block, a near branch in 64-bit mode, goes on with the next block by
 * itself instead of returning to the run loop, as long as that block is at hand and ends before
 * cpu->chain_limit. cpu->rip is set.
 */
static inline __attribute__((always_inline)) void block_enter(struct cpu *cpu,
							      const struct block *next)
{
	uint64_t count = cpu->count + cpu->block->n;

	if (unlikely(count + next->n > cpu->chain_limit))
		return;
	cpu->count = count;
	cpu->gpr[REG_RIPBASE] = cpu->rip;
	cpu->rip += next->bytes;
	cpu->block = next;
	cpu->op = next->op;
	next->enter(cpu, next->op);
}

/* Finds the block through the jump cache, after a direct branch whose link is not there. */
void block_chain_miss(struct cpu *cpu, enum block_way way);

/* Goes on, after a direct branch, to the block that followed this way the last time. */
static inline __attribute__((always_inline)) void block_chain(struct cpu *cpu, enum block_way way)
{
	const struct block *next;

	if (unlikely(!cpu->block)) {
		cpu->branched = way == BLOCK_TAKEN;
		return;
	}
	next = cpu->block->link[way].to;
	if (likely(next->mode == cpu->mode))
		block_enter(cpu, next);
	else
		block_chain_miss(cpu, way);
}

/* Goes on to the block that follows an indirect branch. */
static inline __attribute__((always_inline)) void block_chain_indirect(struct cpu *cpu)
{
	const struct block *next;

	if (unlikely(!cpu->block))
		return;
	next = block_hit(cpu, cpu->rip);
	if (likely(next))
		block_enter(cpu, next);
}

/*
 * The block after b, whose start is in gpr[REG_RIPBASE] and which ended with a near branch or
 * without one; like block_find().
 */
struct block *block_next(struct cpu *cpu, struct block *b);

/* True: the page of gpa holds cached code. */
bool block_page_has_code(const struct cpu *cpu, uint64_t gpa);
/* True: a write of [gpa, gpa+len), inside one page, meets the block that runs now. */
bool block_present_overlaps(const struct cpu *cpu, uint64_t gpa, uint64_t len);

#endif
