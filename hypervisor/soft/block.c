/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cache of decoded blocks.
 *
 * Blocks live in one arena of fixed size. An invalidated block is unlinked and marked, but its
 * memory stays until the arena is full; then everything is dropped at once. So no pointer to a
 * block dangles while a block runs, and memory is bounded. Only RAM is cached.
 *
 * Self-modifying code. A page with blocks has TLB_CODE in all write tags; the slow path of a store
 * compares the bytes written with the pieces (64 bytes each) that blocks of the page cover and
 * invalidates those that overlap. When that meets the block under way, the store runs alone first
 * (mem.c), so the very next instruction is decoded afresh.
 *
 * An instruction that goes on in the next page is a block of its own. Whether it may be entered
 * depends on two translations: that of its first page is checked like any block's, that of the
 * second by op_cross(), which stands in front of it and has it fetched by hand when the ITLB does
 * not hold the page, as an uncached fetch would.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/decode.h"
#include "hypervisor/soft/probe.h"
#include "hypervisor/soft/translate.h"

#define ARENA_SIZE (32u << 20)
#define HASH_BITS  15
#define HASH_SIZE  (1u << HASH_BITS)

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Makes a block that lies in no page, so that nothing is linked to it. */
static struct block *make_edge(struct block_cache *c)
{
	struct block *b = malloc(sizeof(*b));

	if (!b)
		return NULL;
	*b = c->dead;
	b->gpa = UINT64_MAX;
	b->plain = true;
	b->link[0] = b->link[1] = (struct block_link){ .to = &c->dead };
	return b;
}

static void forget(struct block_cache *c)
{
	for (unsigned i = 0; i < JUMP_SIZE; i++)
		c->jump[i] = (struct jump_entry){ .b = &c->dead };
	memset(c->hash, 0, HASH_SIZE * sizeof(c->hash[0]));
	c->used = 0;
	c->epoch++;
}

struct block_cache *block_cache_create(const struct memory *mem)
{
	struct block_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->pages = mem->pages;
	c->dead.mode = BLOCK_DEAD;
	c->dead.gpa2 = BLOCK_NO_PAGE;
	c->hash = map(HASH_SIZE * sizeof(c->hash[0]));
	c->page = map(c->pages * sizeof(c->page[0]));
	c->arena = map(ARENA_SIZE);
	c->edge = make_edge(c);
	if (!c->hash || !c->page || !c->arena || !c->edge) {
		block_cache_destroy(c);
		return NULL;
	}
	forget(c);
	return c;
}

void block_cache_destroy(struct block_cache *c)
{
	if (!c)
		return;
	if (c->hash)
		munmap(c->hash, HASH_SIZE * sizeof(c->hash[0]));
	if (c->page)
		munmap(c->page, c->pages * sizeof(c->page[0]));
	if (c->arena)
		munmap(c->arena, ARENA_SIZE);
	free(c->edge);
	free(c);
}

static size_t size_for(unsigned n)
{
	return sizeof(struct block) + (n + 1) * sizeof(struct op);
}

static size_t block_size(const struct block *b)
{
	return size_for(b->n + block_is_cross(b));
}

static struct code_page *page_of(const struct cpu *cpu, uint64_t gpa)
{
	uint64_t off = memory_offset(cpu->mem, gpa);

	return off == UINT64_MAX ? NULL : &cpu->blocks->page[off >> PAGE_SHIFT];
}

struct block *block_each(const struct block_cache *c, const struct block *b)
{
	size_t at = b ? (size_t)((const uint8_t *)b - c->arena) + block_size(b) : 0;

	return at < c->used ? (struct block *)(c->arena + at) : NULL;
}

void block_drop_all(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;

	if (!c->used)
		return;
	for (struct block *b = NULL; (b = block_each(c, b));) {
		*page_of(cpu, b->gpa) = (struct code_page){ 0 };
		if (block_is_cross(b))
			*page_of(cpu, b->gpa2) = (struct code_page){ 0 };
	}
	forget(c);
	trans_forget(cpu);
}

static unsigned hash_of(uint64_t gpa, uint32_t mode)
{
	return (unsigned)(((gpa ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull) >>
			  (64 - HASH_BITS));
}

/* Pieces of its page that [gpa, gpa+len) touches; the range lies in one page. */
static uint64_t piece_mask(uint64_t gpa, uint64_t len)
{
	unsigned first = (gpa & ~PAGE_MASK) / 64,
		 last = (unsigned)(((gpa & ~PAGE_MASK) + len - 1) / 64);

	return (UINT64_MAX >> (63 - (last - first))) << first;
}

bool block_page_has_code(const struct cpu *cpu, uint64_t gpa)
{
	const struct code_page *p = page_of(cpu, gpa);

	return p && (p->first || p->cross);
}

bool block_present_overlaps(const struct cpu *cpu, uint64_t gpa, uint64_t len)
{
	const struct block *b = cpu->block;

	if (!b || !len)
		return false;
	return (((b->gpa ^ gpa) & PAGE_MASK) == 0 && (b->mask & piece_mask(gpa, len))) ||
	       (b->gpa2 == (gpa & PAGE_MASK) && (b->mask2 & piece_mask(gpa, len)));
}

/* ---- building ---- */
static unsigned decode_block(struct cpu *cpu, uint64_t gpa, struct op *op, unsigned *bytes)
{
	const uint8_t *code = cpu->mem->base + memory_offset(cpu->mem, gpa);
	unsigned room = (unsigned)(PAGE_SIZE - (gpa & ~PAGE_MASK)), n = 0;

	*bytes = 0;
	while (n < BLOCK_OPS && *bytes < room) {
		if (n && probe_may_break(cpu, gpa + *bytes))
			break;
		if (decode_op(code + *bytes, room - *bytes, cpu->mode, (uint16_t)*bytes, &op[n]) ==
		    DECODE_SHORT)
			break;
		op[n].index_in_block = (uint8_t)n;
		*bytes += op[n].len;
		if (op[n++].flags & OPF_END)
			break;
	}
	memory_tell(cpu->mem, memory_offset(cpu->mem, gpa), *bytes, MEMORY_FETCH);
	cpu->stats.decoded += n;
	return n;
}

/* Blocks of the page are about to be more by one that covers `mask`. */
static struct code_page *page_grow(struct cpu *cpu, uint64_t gpa, uint64_t mask)
{
	struct code_page *page = page_of(cpu, gpa);

	if (!page->first && !page->cross)
		mmu_flush_code_writes(cpu, gpa);
	page->mask |= mask;
	return page;
}

static void insert(struct cpu *cpu, struct block *b)
{
	struct block **bucket = &cpu->blocks->hash[hash_of(b->gpa, b->mode)];
	struct code_page *page = page_grow(cpu, b->gpa, b->mask);

	b->hash_next = *bucket;
	*bucket = b;
	b->page_next = page->first;
	page->first = b;
	if (!block_is_cross(b))
		return;
	page = page_grow(cpu, b->gpa2, b->mask2);
	b->cross_next = page->cross;
	page->cross = b;
}

/* Room for a block of `n` ops. */
static struct block *arena_room(struct cpu *cpu, unsigned n)
{
	struct block_cache *c = cpu->blocks;

	if (c->used + size_for(n) > ARENA_SIZE)
		block_drop_all(cpu);
	return (struct block *)(c->arena + c->used);
}

/*
 * Goes on to the next block, after the last op of a block in 64-bit mode that does not end with a
 * branch.
 */
static void op_block_on(struct cpu *cpu, const struct op *op)
{
	block_chain(cpu, BLOCK_ON);
}

/* The ops are there. */
static struct block *finish(struct cpu *cpu, struct block *b, uint64_t gpa, unsigned bytes)
{
	struct block_cache *c = cpu->blocks;
	struct op *last = &b->op[b->n - 1 + block_is_cross(b)];
	uint64_t room = PAGE_SIZE - (gpa & ~PAGE_MASK);

	b->gpa = gpa;
	b->mode = cpu->mode;
	b->bytes = (uint16_t)bytes;
	b->mask = piece_mask(gpa, bytes < room ? bytes : room);
	b->plain = !(last->flags & OPF_END) || (last->flags & OPF_BRANCH);
	last[1].fn = (b->mode & MODE_SIZE) == MODE_64 && b->plain ? op_block_on : op_block_end;
	b->link[0] = b->link[1] = (struct block_link){ .to = &c->dead };
	trans_block_made(cpu, b);
	c->used += block_size(b);
	cpu->stats.blocks++;
	insert(cpu, b);
	return b;
}

static uint64_t page_after(const struct cpu *cpu, uint64_t lin)
{
	uint64_t next = (lin & PAGE_MASK) + PAGE_SIZE;

	return (cpu->mode & MODE_SIZE) == MODE_64 ? next : (uint32_t)next;
}

/* Stands before an instruction that goes on in the next page. */
static void op_cross(struct cpu *cpu, const struct op *op)
{
	uint64_t lin = page_after(cpu, cpu->ea_base[SEG_CS] + cpu->gpr[REG_RIPBASE]);
	const struct itlb_entry *t =
		&cpu->itlb[cpu->cpl == 3][(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];

	if (unlikely(t->tag != lin || (t->gpa & PAGE_MASK) != cpu->block->gpa2))
		cpu_refetch(cpu);
	OP_NEXT;
}

static struct block *build_cross(struct cpu *cpu, uint64_t gpa, uint64_t gpa2)
{
	const uint8_t *base = cpu->mem->base;
	unsigned room = (unsigned)(PAGE_SIZE - (gpa & ~PAGE_MASK));
	struct block *b = arena_room(cpu, 2);
	uint8_t code[15];

	if (memory_offset(cpu->mem, gpa2) == UINT64_MAX || room >= sizeof(code))
		return NULL;
	memcpy(code, base + memory_offset(cpu->mem, gpa), room);
	memcpy(code + room, base + memory_offset(cpu->mem, gpa2), sizeof(code) - room);
	memory_tell(cpu->mem, memory_offset(cpu->mem, gpa), room, MEMORY_FETCH);
	memory_tell(cpu->mem, memory_offset(cpu->mem, gpa2), sizeof(code) - room, MEMORY_FETCH);
	if (decode_op(code, sizeof(code), cpu->mode, 0, &b->op[1]) == DECODE_SHORT ||
	    b->op[1].len <= room)
		return NULL;
	cpu->stats.decoded++;
	b->op[0] = (struct op){ .fn = op_cross };
	b->n = 1;
	b->gpa2 = gpa2;
	b->mask2 = piece_mask(gpa2, b->op[1].len - room);
	return finish(cpu, b, gpa, b->op[1].len);
}

static struct block *build(struct cpu *cpu, uint64_t lin, uint64_t gpa)
{
	struct block *b = arena_room(cpu, BLOCK_OPS);
	unsigned bytes;

	if (probe_may_break(cpu, gpa))
		return NULL;
	b->n = (uint8_t)decode_block(cpu, gpa, b->op, &bytes);
	if (!b->n)
		return build_cross(cpu, gpa, mmu_fetch_page(cpu, page_after(cpu, lin)));
	b->gpa2 = BLOCK_NO_PAGE;
	return finish(cpu, b, gpa, bytes);
}

/* A block in the cache for code at gpa, whose linear address is lin. */
static struct block *look_up(struct cpu *cpu, uint64_t lin, uint64_t gpa)
{
	struct block **bucket = &cpu->blocks->hash[hash_of(gpa, cpu->mode)], *b;
	uint64_t gpa2 = BLOCK_NO_PAGE;

	for (b = *bucket; b;) {
		bool here = b->gpa == gpa && b->mode == cpu->mode;

		if (here && (!block_is_cross(b) || b->gpa2 == gpa2))
			return b;
		if (here && gpa2 == BLOCK_NO_PAGE) {
			/* The walk may write: to this code, which takes blocks out of the list. */
			gpa2 = mmu_fetch_page(cpu, page_after(cpu, lin));
			b = *bucket;
		} else {
			b = b->hash_next;
		}
	}
	return NULL;
}

struct block *block_find_slow(struct cpu *cpu, uint64_t lin)
{
	struct block_cache *c = cpu->blocks;
	uint64_t gpa = mmu_fetch_page(cpu, lin) | (lin & ~PAGE_MASK);
	struct block *b;

	if (memory_offset(cpu->mem, gpa) == UINT64_MAX)
		return NULL;
	b = look_up(cpu, lin, gpa);
	if (!b)
		b = build(cpu, lin, gpa);
	if (b)
		c->jump[(lin ^ lin >> JUMP_BITS) & (JUMP_SIZE - 1)] =
			(struct jump_entry){ .lin = lin, .b = b };
	return b;
}

/* ---- chains ---- */
/* Remembers that `next` followed b in the same linear page. */
static void set_link(const struct cpu *cpu, struct block *b, enum block_way way, struct block *next)
{
	uint64_t start = cpu->gpr[REG_RIPBASE], cs = cpu->ea_base[SEG_CS];

	if (((next->gpa ^ b->gpa) & PAGE_MASK) == 0 &&
	    (((cs + start) ^ (cs + cpu->rip)) & PAGE_MASK) == 0)
		b->link[way] = (struct block_link){ cpu->rip - start, next };
}

void block_chain_miss(struct cpu *cpu, enum block_way way)
{
	struct block *next = block_hit(cpu, cpu->rip);

	if (!next)
		return;
	set_link(cpu, (struct block *)cpu->block, way, next);
	block_enter(cpu, next);
}

struct block *block_next(struct cpu *cpu, struct block *b)
{
	uint64_t delta = cpu->rip - cpu->gpr[REG_RIPBASE], lin = cpu->ea_base[SEG_CS] + cpu->rip;
	enum block_way way = delta == b->bytes ? BLOCK_ON : BLOCK_TAKEN;
	const struct block_link *l = &b->link[way];
	uint32_t epoch = cpu->blocks->epoch;
	struct block *next;

	if (likely(l->delta == delta && l->to->mode == cpu->mode))
		return l->to;
	cpu->op = NULL;
	cpu->block = NULL;
	next = block_find(cpu, (cpu->mode & MODE_SIZE) == MODE_64 ? lin : (uint32_t)lin);
	if (next && epoch == cpu->blocks->epoch)
		set_link(cpu, b, way, next);
	return next;
}

/* ---- invalidating ---- */
static void unlink_hash(struct block_cache *c, struct block *b)
{
	struct block **p = &c->hash[hash_of(b->gpa, b->mode)];

	while (*p != b)
		p = &(*p)->hash_next;
	*p = b->hash_next;
}

static void kill_block(struct cpu *cpu, struct block *b)
{
	unlink_hash(cpu->blocks, b);
	b->mode = BLOCK_DEAD;
	trans_block_killed(cpu, b);
	cpu->rep_break = true;
	cpu->stats.smc++;
}

static void invalidate_in_page(struct cpu *cpu, struct code_page *page, uint64_t mask)
{
	struct block **p, *b;
	uint64_t left = 0;

	for (p = &page->first; (b = *p);) {
		if (b->mode != BLOCK_DEAD && (b->mask & mask))
			kill_block(cpu, b);
		if (b->mode == BLOCK_DEAD) {
			*p = b->page_next;
			continue;
		}
		left |= b->mask;
		p = &b->page_next;
	}
	for (p = &page->cross; (b = *p);) {
		if (b->mode != BLOCK_DEAD && (b->mask2 & mask))
			kill_block(cpu, b);
		if (b->mode == BLOCK_DEAD) {
			*p = b->cross_next;
			continue;
		}
		left |= b->mask2;
		p = &b->cross_next;
	}
	page->mask = left;
}

void block_invalidate(struct cpu *cpu, uint64_t gpa, uint64_t len)
{
	while (len) {
		uint64_t room = PAGE_SIZE - (gpa & ~PAGE_MASK), n = len < room ? len : room;
		struct code_page *page = page_of(cpu, gpa);

		if (page && (page->mask & piece_mask(gpa, n)))
			invalidate_in_page(cpu, page, piece_mask(gpa, n));
		gpa += n;
		len -= n;
	}
}
