/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cache of decoded blocks.
 *
 * Blocks live in one arena of fixed size. An invalidated block is unlinked and marked, but its memory stays until the
 * arena is full; then everything is dropped at once. So no pointer to a block dangles while a block runs, and memory is
 * bounded. Only RAM is cached.
 *
 * Self-modifying code. A page with blocks has TLB_CODE in all write tags; the slow path of a store compares the bytes
 * written with the pieces (64 bytes each) that blocks of the page cover and invalidates those that overlap. When that
 * meets the block under way, the store runs alone first (mem.c), so the very next instruction is decoded afresh.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/decode.h"

#define ARENA_SIZE (32u << 20)
#define HASH_BITS  15
#define HASH_SIZE  (1u << HASH_BITS)

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
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
	c->hash = map(HASH_SIZE * sizeof(c->hash[0]));
	c->page = map(c->pages * sizeof(c->page[0]));
	c->arena = map(ARENA_SIZE);
	if (!c->hash || !c->page || !c->arena) {
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
	free(c);
}

static size_t block_size(unsigned n)
{
	return sizeof(struct block) + (n + 1) * sizeof(struct op);
}

static struct code_page *page_of(const struct cpu *cpu, uint64_t gpa)
{
	uint64_t off = memory_offset(cpu->mem, gpa);

	return off == UINT64_MAX ? NULL : &cpu->blocks->page[off >> PAGE_SHIFT];
}

void block_drop_all(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	size_t at = 0;

	if (!c->used)
		return;
	while (at < c->used) {
		struct block *b = (struct block *)(c->arena + at);

		*page_of(cpu, b->gpa) = (struct code_page){ 0 };
		at += block_size(b->n);
	}
	forget(c);
}

static unsigned hash_of(uint64_t gpa, uint32_t mode)
{
	return (unsigned)(((gpa ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull) >> (64 - HASH_BITS));
}

/* Pieces of its page that [gpa, gpa+len) touches; the range lies in one page. */
static uint64_t piece_mask(uint64_t gpa, uint64_t len)
{
	unsigned first = (gpa & ~PAGE_MASK) / 64, last = (unsigned)(((gpa & ~PAGE_MASK) + len - 1) / 64);

	return (UINT64_MAX >> (63 - (last - first))) << first;
}

bool block_page_has_code(const struct cpu *cpu, uint64_t gpa)
{
	const struct code_page *p = page_of(cpu, gpa);

	return p && p->first;
}

bool block_present_overlaps(const struct cpu *cpu, uint64_t gpa, uint64_t len)
{
	const struct block *b = cpu->block;

	return b && len && ((b->gpa ^ gpa) & PAGE_MASK) == 0 && (b->mask & piece_mask(gpa, len));
}

/* ---- building ---- */
static unsigned decode_block(struct cpu *cpu, uint64_t gpa, struct op *op, unsigned *bytes)
{
	const uint8_t *code = cpu->mem->base + memory_offset(cpu->mem, gpa);
	unsigned room = (unsigned)(PAGE_SIZE - (gpa & ~PAGE_MASK)), n = 0;

	*bytes = 0;
	while (n < BLOCK_OPS && *bytes < room) {
		if (decode_op(code + *bytes, room - *bytes, cpu->mode, (uint16_t)*bytes, &op[n]) == DECODE_SHORT)
			break;
		op[n].index_in_block = (uint8_t)n;
		*bytes += op[n].len;
		if (op[n++].flags & OPF_END)
			break;
	}
	cpu->stats.decoded += n;
	return n;
}

static void insert(struct cpu *cpu, struct block *b)
{
	struct block **bucket = &cpu->blocks->hash[hash_of(b->gpa, b->mode)];
	struct code_page *page = page_of(cpu, b->gpa);
	bool first = !page->first;

	b->hash_next = *bucket;
	*bucket = b;
	b->page_next = page->first;
	page->first = b;
	page->mask |= b->mask;
	if (first)
		mmu_flush_code_writes(cpu, b->gpa);
}

static struct block *build(struct cpu *cpu, uint64_t gpa)
{
	struct block_cache *c = cpu->blocks;
	struct block *b;
	unsigned bytes;

	if (c->used + block_size(BLOCK_OPS) > ARENA_SIZE)
		block_drop_all(cpu);
	b = (struct block *)(c->arena + c->used);
	b->n = (uint8_t)decode_block(cpu, gpa, b->op, &bytes);
	if (!b->n)
		return NULL;
	b->gpa = gpa;
	b->mode = cpu->mode;
	b->bytes = (uint16_t)bytes;
	b->mask = piece_mask(gpa, bytes);
	b->plain = !(b->op[b->n - 1].flags & OPF_END) || (b->op[b->n - 1].flags & OPF_BRANCH);
	b->op[b->n].fn = op_block_end;
	b->link[0] = b->link[1] = (struct block_link){ .to = &c->dead };
	c->used += block_size(b->n);
	cpu->stats.blocks++;
	insert(cpu, b);
	return b;
}

struct block *block_find_slow(struct cpu *cpu, uint64_t lin)
{
	struct block_cache *c = cpu->blocks;
	struct jump_entry *j = &c->jump[(lin ^ lin >> JUMP_BITS) & (JUMP_SIZE - 1)];
	uint64_t gpa = mmu_fetch_page(cpu, lin) | (lin & ~PAGE_MASK);
	struct block *b;

	if (memory_offset(cpu->mem, gpa) == UINT64_MAX)
		return NULL;
	for (b = c->hash[hash_of(gpa, cpu->mode)]; b; b = b->hash_next) {
		if (b->gpa == gpa && b->mode == cpu->mode)
			break;
	}
	if (!b)
		b = build(cpu, gpa);
	if (b)
		*j = (struct jump_entry){ lin, b };
	return b;
}

/* ---- invalidating ---- */
static void unlink_hash(struct block_cache *c, struct block *b)
{
	struct block **p = &c->hash[hash_of(b->gpa, b->mode)];

	while (*p != b)
		p = &(*p)->hash_next;
	*p = b->hash_next;
}

static void invalidate_in_page(struct cpu *cpu, struct code_page *page, uint64_t mask)
{
	struct block **p = &page->first;
	uint64_t left = 0;

	while (*p) {
		struct block *b = *p;

		if (!(b->mask & mask)) {
			left |= b->mask;
			p = &b->page_next;
			continue;
		}
		unlink_hash(cpu->blocks, b);
		*p = b->page_next;
		b->mode = BLOCK_DEAD;
		cpu->rep_break = true;
		cpu->stats.smc++;
	}
	page->mask = left;
}

void block_invalidate(struct cpu *cpu, uint64_t gpa, uint64_t len)
{
	while (len) {
		uint64_t room = PAGE_SIZE - (gpa & ~PAGE_MASK), n = len < room ? len : room;
		struct code_page *page = page_of(cpu, gpa);

		if (page && page->first) {
			uint64_t mask = piece_mask(gpa, n);

			if (page->mask & mask)
				invalidate_in_page(cpu, page, mask);
		}
		gpa += n;
		len -= n;
	}
}
