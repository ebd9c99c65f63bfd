/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paging: walks of 32-bit, PAE and 4-level tables, and the TLBs that hold their results.
 *
 * The TLBs are part of the machine's state, because they decide when accessed and dirty bits are
 * written and whether a stale translation is used. So they are direct-mapped (what is replaced
 * depends on addresses alone), hits change nothing, and the tag bits that the host needs for itself
 * (TLB_CLEAN, TLB_CODE) never drop a translation.
 *
 * An instruction of several accesses that misses in a block runs again alone, where nothing makes
 * it start once more. Else an instruction that starts again for another reason would find its first
 * operand through an entry that its second one has filled. Where there is one access the walk may
 * be made at once: whatever the instruction starts again for, it finds what it found. But not when
 * the walk writes to the block's own code.
 *
 * CR0.WP is looked at when a page is written, so a change of it drops nothing: guests that clear it
 * for a moment to write what is read-only do so often.
 *
 * Choices that the manual leaves open (SDM vol. 3, 4.10): PCIDs are accepted, but translations are
 * not tagged with them: every load of CR3 drops all but global translations, whatever bit 63 says.
 * Accessed bits are set in all levels at once, when the whole walk has succeeded. A dirty bit that
 * is found set makes the translation writable at once.
 */
#include <string.h>

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/form.h"
#include "hypervisor/soft/mem.h"
#include "hypervisor/soft/mmu.h"
#include "hypervisor/soft/probe.h"

#define PTE_ADDR 0x000000fffffff000ull /* 40 physical address bits */
#define PTE_RSVD 0x000fff0000000000ull /* bits 51:40 */

#define PF_P	1u
#define PF_W	2u
#define PF_U	4u
#define PF_RSVD 8u
#define PF_I	16u

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

/* log2 of the bytes that a large page maps, by GPA_LARGE(). */
static const uint8_t large_shift[4] = { 12, 21, 22, 30 };

struct pte {
	uint64_t gpa, val;
};

struct walk {
	uint64_t lin;
	enum access access;
	bool user; /* the access has user privilege */
	bool smap; /* a supervisor data access that SMAP restricts */

	struct pte pte[4];
	unsigned n;	/* levels visited */
	unsigned width; /* bytes of an entry */
	/* result */
	uint64_t page;	 /* guest physical address of the 4 KiB page */
	unsigned large;	 /* index into large_shift */
	uint64_t rights; /* PTE_W, PTE_U: and of all levels; PTE_NX: or of all levels */
	bool global;
};

/* ---- physical access to tables ---- */
static uint64_t pte_read(const struct cpu *cpu, uint64_t gpa, unsigned width)
{
	uint64_t off = memory_offset(cpu->mem, gpa), v = 0;

	if (off == UINT64_MAX)
		return UINT64_MAX; /* nothing answers there */
	memory_tell(cpu->mem, off, width, MEMORY_READ);
	memcpy(&v, cpu->mem->base + off, width);
	return v;
}

static void pte_write(struct cpu *cpu, const struct pte *p, unsigned width, uint64_t v)
{
	uint64_t off = memory_offset(cpu->mem, p->gpa);

	if (off == UINT64_MAX)
		return;
	memcpy(cpu->mem->base + off, &v, width);
	cpu->mem->dirty[off >> PAGE_SHIFT] = MEMORY_WRITTEN;
	block_invalidate(cpu, p->gpa, width);
}

/* ---- walks ---- */
static _Noreturn void walk_fault(struct cpu *cpu, const struct walk *w, uint32_t err)
{
	if (w->access == ACCESS_WRITE)
		err |= PF_W;
	if (w->user)
		err |= PF_U;
	if (w->access == ACCESS_FETCH &&
	    ((cpu->cr4 & CR4_SMEP) || ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NX))))
		err |= PF_I;
	cpu_raise_pf(cpu, w->lin, err);
}

/* Reads one level; faults when it is not present or has one of the reserved bits set. */
static uint64_t walk_entry(struct cpu *cpu, struct walk *w, uint64_t gpa, uint64_t reserved)
{
	uint64_t v = pte_read(cpu, gpa, w->width);

	if (!(v & PTE_P))
		walk_fault(cpu, w, 0);
	if (v & reserved)
		walk_fault(cpu, w, PF_P | PF_RSVD);
	w->pte[w->n++] = (struct pte){ gpa, v };
	w->rights &= v | PTE_NX;
	w->rights |= v & PTE_NX;
	return v;
}

static void walk_leaf(struct walk *w, uint64_t entry, unsigned large)
{
	uint64_t inside = (1ull << large_shift[large]) - 1;

	w->large = large;
	w->page = ((entry & PTE_ADDR & ~inside) | (w->lin & inside)) & PAGE_MASK;
	w->global = entry & PTE_G;
}

/*
 * The levels that 4-level and PAE paging share, from `level` (0: page table) down; base: the
 * table's address.
 */
static void walk_wide(struct cpu *cpu, struct walk *w, uint64_t base, int level, uint64_t reserved)
{
	for (;; level--) {
		uint64_t gpa = base + ((w->lin >> (PAGE_SHIFT + 9 * level)) & 511) * 8;
		uint64_t rsvd = reserved | (level == 3 ? PTE_PS : 0), v;

		v = walk_entry(cpu, w, gpa, rsvd);
		if (level == 0) {
			walk_leaf(w, v, 0);
			return;
		}
		if (v & PTE_PS) {
			unsigned large = level == 1 ? 1 : 3;

			/* Bit 12 is PAT; the address bits below the page size are reserved. */
			if (v & ((1ull << large_shift[large]) - 1) & ~0x1fffull)
				walk_fault(cpu, w, PF_P | PF_RSVD);
			walk_leaf(w, v, large);
			return;
		}
		base = v & PTE_ADDR;
	}
}

static void walk_pae(struct cpu *cpu, struct walk *w, uint64_t reserved)
{
	uint64_t pdpte = cpu->pdpte[(w->lin >> 30) & 3];

	if (!(pdpte & PTE_P))
		walk_fault(cpu, w, 0);
	/* Without IA-32e mode bits 62:52 are reserved too. */
	walk_wide(cpu, w, pdpte & PTE_ADDR, 1, reserved | 0x7ff0000000000000ull);
}

static void walk_32(struct cpu *cpu, struct walk *w)
{
	uint64_t gpa = (cpu->cr3 & 0xfffff000u) + ((w->lin >> 22) & 1023) * 4, v;

	w->width = 4;
	v = walk_entry(cpu, w, gpa, 0);
	if ((v & PTE_PS) && (cpu->cr4 & CR4_PSE)) {
		if (v & (1u << 21)) /* PSE-36 with 40 bits: 20:13 hold bits 39:32 */
			walk_fault(cpu, w, PF_P | PF_RSVD);
		walk_leaf(w, (v & 0xffc00fffu) | (v & 0x1fe000u) << 19, 2);
		return;
	}
	v = walk_entry(cpu, w, (v & 0xfffff000u) + ((w->lin >> 12) & 1023) * 4, 0);
	walk_leaf(w, v, 0);
}

static void walk_check_rights(struct cpu *cpu, const struct walk *w)
{
	bool user_page = w->rights & PTE_U;

	if (w->access == ACCESS_FETCH) {
		if ((w->rights & PTE_NX) ||
		    (w->user ? !user_page : user_page && (cpu->cr4 & CR4_SMEP)))
			walk_fault(cpu, w, PF_P);
		return;
	}
	if (w->user ? !user_page : user_page && w->smap)
		walk_fault(cpu, w, PF_P);
	if (w->access == ACCESS_WRITE && !(w->rights & PTE_W) && (w->user || (cpu->cr0 & CR0_WP)))
		walk_fault(cpu, w, PF_P);
}

static void walk_set_accessed(struct cpu *cpu, struct walk *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		struct pte *p = &w->pte[i];
		uint64_t v = p->val | PTE_A;

		if (i == w->n - 1 && w->access == ACCESS_WRITE)
			v |= PTE_D;
		if (v != p->val && block_present_overlaps(cpu, p->gpa, w->width))
			cpu_restart(cpu);
		if (v != p->val)
			pte_write(cpu, p, w->width, v);
		p->val = v;
	}
}

static void walk(struct cpu *cpu, struct walk *w)
{
	uint64_t reserved = PTE_RSVD | (cpu->efer & EFER_NX ? 0 : PTE_NX);

	cpu->stats.walks++;
	w->rights = PTE_W | PTE_U;
	w->width = 8;
	if (!(cpu->cr0 & CR0_PG)) {
		w->page = w->lin & PAGE_MASK;
		return;
	}
	if (cpu->efer & EFER_LMA)
		walk_wide(cpu, w, cpu->cr3 & PTE_ADDR, 3, reserved);
	else if (cpu->cr4 & CR4_PAE)
		walk_pae(cpu, w, reserved);
	else
		walk_32(cpu, w);
	walk_check_rights(cpu, w);
	walk_set_accessed(cpu, w);
}

/*
 * Tag bits of a translation for writes: TLB_INVALID where the page may not be written without
 * another walk, TLB_WP where that depends on CR0.WP.
 */
static uint64_t walk_write_bits(const struct cpu *cpu, const struct walk *w)
{
	if (!(cpu->cr0 & CR0_PG))
		return 0;
	if (!(w->pte[w->n - 1].val & PTE_D))
		return TLB_INVALID;
	if (w->rights & PTE_W)
		return 0;
	return w->user || (cpu->cr0 & CR0_WP) ? TLB_INVALID : TLB_WP;
}

/* ---- debug registers ---- */
static uint64_t watch_length(uint64_t dr7, unsigned i)
{
	static const uint8_t len[4] = { 1, 2, 8, 4 };

	return len[(dr7 >> (18 + 4 * i)) & 3];
}

uint32_t mmu_watch_hits(const struct cpu *cpu, uint64_t lin, uint64_t size, bool write)
{
	uint64_t dr7 = cpu->dr[7];
	uint32_t hits = 0;

	for (unsigned i = 0; i < 4; i++) {
		unsigned type = (dr7 >> (16 + 4 * i)) & 3;
		uint64_t len = watch_length(dr7, i), start = cpu->dr[i] & ~(len - 1);

		if (!(dr7 & (3u << (2 * i))) || !(type == 3 || (type == 1 && write)))
			continue;
		if (start - lin < size || lin - start < len)
			hits |= 1u << i;
	}
	return hits;
}

/* ---- holds ---- */
/* The miss that follows does not tell that the place went to another page. */
static void hold_void(struct hold *h)
{
	h->tag = HOLD_NONE;
	if (h->left < HOLD_MISSES)
		h->left++;
}

/* Makes the holds of an entry of TLB MMU_USER void, by its slot; ALL_SLOTS: of all entries. */
#define ALL_SLOTS TLB_SIZE
static void end_holds(struct cpu *cpu, unsigned slot)
{
	for (unsigned word = 0; word < HOLDS / 64; word++) {
		for (uint64_t used = cpu->hold_used[word]; used; used &= used - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(used);
			struct hold *h = &cpu->hold[word * 64 + bit];

			if (slot != ALL_SLOTS && (h->tag >> PAGE_SHIFT) % TLB_SIZE != slot)
				continue;
			hold_void(h);
			cpu->hold_used[word] &= ~(1ull << bit);
		}
	}
}

void mmu_data_lost(struct cpu *cpu)
{
	if (likely(!cpu->hold_any))
		return;
	end_holds(cpu, ALL_SLOTS);
	memset(cpu->hold_slot, 0, sizeof(cpu->hold_slot));
	cpu->hold_any = false;
}

/* The entry in this slot of TLB MMU_USER is about to be replaced. */
static void replaced(struct cpu *cpu, unsigned slot)
{
	if (!cpu->hold_slot[slot])
		return;
	end_holds(cpu, slot);
	cpu->hold_slot[slot] = 0;
}

/* ---- filling ---- */
static _Noreturn void raise_noncanonical(struct cpu *cpu, uint64_t lin)
{
	const struct op *op = cpu->op;
	bool stack = false, mem = op && (op->flags & OPF_MEM);

	if (op)
		stack = op->flags & OPF_STACK;
	/*
	 * Bit strings reach beyond the address of their operand, so it tells only where there are
	 * two accesses.
	 */
	if (mem && (!stack || lin - (cpu->ea_base[op->seg] + op_ea(cpu, op)) <
				      16)) /* POP moves RSP before: 8 more */
		stack = op->seg == SEG_SS;
	cpu_raise(cpu, stack ? VEC_SS : VEC_GP, 0);
}

static bool is_canonical(uint64_t lin)
{
	return (uint64_t)((int64_t)(lin << 16) >> 16) == lin;
}

void mmu_check_canonical(struct cpu *cpu, uint64_t lin)
{
	if ((cpu->efer & EFER_LMA) && !is_canonical(lin))
		raise_noncanonical(cpu, lin);
}

_Static_assert(TLB_SIZE / 64 <= 32, "a bit for each word of tlb_used");

void mmu_note_used(struct cpu *cpu, unsigned tlb, unsigned slot, uint64_t gpa)
{
	uint64_t bit = 1ull << (slot % 64);

	cpu->tlb_used[tlb][slot / 64] |= bit;
	cpu->tlb_used_words[tlb] |= 1u << (slot / 64);
	if (gpa & GPA_GLOBAL) {
		cpu->tlb_local[tlb][slot / 64] &= ~bit;
	} else {
		cpu->tlb_local[tlb][slot / 64] |= bit;
		cpu->tlb_local_words[tlb] |= 1u << (slot / 64);
	}
}

static void note_large(struct cpu *cpu, const struct walk *w)
{
	uint64_t size = 1ull << large_shift[w->large], lo = w->lin & ~(size - 1),
		 hi = lo + size - 1;

	if (!w->large)
		return;
	if (lo < cpu->large_lo)
		cpu->large_lo = lo;
	if (hi > cpu->large_hi)
		cpu->large_hi = hi;
}

static void note_walk(struct cpu *cpu, const struct walk *w)
{
	cpu->walked.lin = w->lin & PAGE_MASK;
	for (unsigned i = 0; i < 4; i++)
		cpu->walked.table[i] = i < w->n ? w->pte[i].gpa & PAGE_MASK : UINT64_MAX;
}

static uint64_t gpa_tag(const struct walk *w, const struct cpu *cpu)
{
	return w->page | (uint64_t)w->large << 1 |
	       (w->global && (cpu->cr4 & CR4_PGE) ? GPA_GLOBAL : 0);
}

/* off: of the page in RAM; UINT64_MAX: it is not there. */
static uint64_t slow_bit(const struct cpu *cpu, enum mmu_index idx, uint64_t page, uint64_t off)
{
	return off == UINT64_MAX || idx == MMU_USER_AC ||
			       mmu_watch_hits(cpu, page, PAGE_SIZE, true) ||
			       probe_watches_page(cpu, page) || memory_is_watched(cpu->mem, off)
		       ? TLB_SLOW
		       : 0;
}

static void tlb_fill(struct cpu *cpu, enum mmu_index idx, uint64_t lin, bool write,
		     struct tlb_entry *e)
{
	struct walk w = {
		.lin = lin,
		.access = write ? ACCESS_WRITE : ACCESS_READ,
		.user = idx == MMU_USER || idx == MMU_USER_AC,
		.smap = idx == MMU_KERNEL && (cpu->cr4 & CR4_SMAP),
	};
	uint64_t page = lin & PAGE_MASK, off, bits, write_bits;

	cpu->stats.tlb_misses++;
	mmu_check_canonical(cpu, lin);
	walk(cpu, &w);
	off = memory_offset(cpu->mem, w.page);
	bits = slow_bit(cpu, idx, page, off);
	note_large(cpu, &w);
	note_walk(cpu, &w);
	if (idx == MMU_USER)
		replaced(cpu, (unsigned)(e - cpu->tlbs[idx]));
	e->gpa = gpa_tag(&w, cpu);
	mmu_note_used(cpu, idx, (unsigned)(e - cpu->tlbs[idx]), e->gpa);
	e->rd = page | bits;
	e->addend = 0;
	if (off != UINT64_MAX) {
		e->addend = (uintptr_t)cpu->mem->base + off - page;
		bits |= cpu->mem->dirty[off >> PAGE_SHIFT] == MEMORY_WRITTEN ? 0 : TLB_CLEAN;
		bits |= block_page_has_code(cpu, w.page) ? TLB_CODE : 0;
	}
	write_bits = walk_write_bits(cpu, &w);
	e->wr = write_bits & TLB_INVALID ? TLB_INVALID : page | bits | write_bits;
}

static bool has_one_access(const struct op *op)
{
	return op && op->kind != OPK_NONE && !(op->kind == OPK_CALL_TO && (op->flags & OPF_MEM));
}

struct tlb_entry *mmu_translate(struct cpu *cpu, enum mmu_index idx, uint64_t lin, bool write)
{
	struct tlb_entry *e = &cpu->tlbs[idx][(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];
	uint64_t tag = write ? e->wr : e->rd;

	/* CR0.WP may have been set since the entry was filled. */
	if ((tag & TLB_WP) && (cpu->cr0 & CR0_WP))
		tag = TLB_INVALID;
	if ((tag & PAGE_MASK) != (lin & PAGE_MASK) || (tag & TLB_INVALID)) {
		if (cpu->block && !has_one_access(cpu->op))
			cpu_restart(cpu);
		tlb_fill(cpu, idx, lin, write, e);
	}
	return e;
}

uint64_t mmu_fetch_page(struct cpu *cpu, uint64_t lin)
{
	unsigned user = cpu->cpl == 3, slot = (lin >> PAGE_SHIFT) & (TLB_SIZE - 1);
	struct itlb_entry *e = &cpu->itlb[user][slot];
	struct walk w = { .lin = lin, .access = ACCESS_FETCH, .user = user };

	if (e->tag == (lin & PAGE_MASK))
		return GPA_PAGE(e->gpa);
	if ((cpu->mode & MODE_SIZE) == MODE_64 && !is_canonical(lin))
		cpu_raise(cpu, VEC_GP, 0);
	walk(cpu, &w);
	note_large(cpu, &w);
	if (!(e->tag & TLB_INVALID))
		mmu_code_lost(cpu);
	e->tag = lin & PAGE_MASK;
	e->gpa = gpa_tag(&w, cpu);
	mmu_note_used(cpu, MMU_COUNT + user, slot, e->gpa);
	return w.page;
}

/* ---- dropping ---- */
typedef bool (*match_fn)(uint64_t lin_page, uint64_t gpa, uint64_t arg);

/*
 * Invalidates the matching entries, looking only at those that were filled in. Inlined for each
 * match function.
 */
static ALWAYS_INLINE void drop_data(struct cpu *cpu, unsigned idx, match_fn match, uint64_t arg)
{
	for (uint32_t words = cpu->tlb_used_words[idx]; words; words &= words - 1) {
		unsigned word = (unsigned)__builtin_ctz(words);
		struct tlb_entry *group = &cpu->tlbs[idx][word * 64];
		uint64_t left = 0;

		for (uint64_t used = cpu->tlb_used[idx][word]; used; used &= used - 1) {
			struct tlb_entry *e = &group[__builtin_ctzll(used)];

			if (match(e->rd & PAGE_MASK, e->gpa, arg))
				e->rd = e->wr = TLB_INVALID;
			else
				left |= used & -used;
		}
		cpu->tlb_used[idx][word] = left;
		if (!left)
			cpu->tlb_used_words[idx] &= ~(1u << word);
	}
}

static ALWAYS_INLINE void drop_code(struct cpu *cpu, unsigned user, match_fn match, uint64_t arg)
{
	unsigned tlb = MMU_COUNT + user;
	bool lost = false;

	for (uint32_t words = cpu->tlb_used_words[tlb]; words; words &= words - 1) {
		unsigned word = (unsigned)__builtin_ctz(words);
		struct itlb_entry *group = &cpu->itlb[user][word * 64];
		uint64_t left = 0;

		for (uint64_t used = cpu->tlb_used[tlb][word]; used; used &= used - 1) {
			struct itlb_entry *e = &group[__builtin_ctzll(used)];

			if (match(e->tag, e->gpa, arg)) {
				lost |= !(e->tag & TLB_INVALID);
				e->tag = TLB_INVALID;
			} else {
				left |= used & -used;
			}
		}
		cpu->tlb_used[tlb][word] = left;
		if (!left)
			cpu->tlb_used_words[tlb] &= ~(1u << word);
	}
	if (lost)
		mmu_code_lost(cpu);
}

static ALWAYS_INLINE void drop(struct cpu *cpu, match_fn match, uint64_t arg)
{
	for (unsigned idx = 0; idx < MMU_COUNT; idx++)
		drop_data(cpu, idx, match, arg);
	drop_code(cpu, 0, match, arg);
	drop_code(cpu, 1, match, arg);
	mmu_data_lost(cpu);
}

static bool is_any(uint64_t lin, uint64_t gpa, uint64_t arg)
{
	return true;
}

void mmu_flush_all(struct cpu *cpu)
{
	drop(cpu, is_any, 0);
	cpu->large_lo = UINT64_MAX;
	cpu->large_hi = 0;
}

/* Takes a word of local entries out of what is used, and returns it. */
static uint64_t take_local(struct cpu *cpu, unsigned tlb, unsigned word)
{
	uint64_t local = cpu->tlb_local[tlb][word];

	cpu->tlb_local[tlb][word] = 0;
	cpu->tlb_used[tlb][word] &= ~local;
	if (!cpu->tlb_used[tlb][word])
		cpu->tlb_used_words[tlb] &= ~(1u << word);
	return local;
}

static void drop_local_data(struct cpu *cpu, unsigned idx)
{
	for (uint32_t words = cpu->tlb_local_words[idx]; words; words &= words - 1) {
		unsigned word = (unsigned)__builtin_ctz(words);
		struct tlb_entry *group = &cpu->tlbs[idx][word * 64];

		for (uint64_t local = take_local(cpu, idx, word); local; local &= local - 1) {
			struct tlb_entry *e = &group[__builtin_ctzll(local)];

			e->rd = e->wr = TLB_INVALID;
		}
	}
	cpu->tlb_local_words[idx] = 0;
}

static void drop_local_code(struct cpu *cpu, unsigned user)
{
	unsigned tlb = MMU_COUNT + user;

	for (uint32_t words = cpu->tlb_local_words[tlb]; words; words &= words - 1) {
		unsigned word = (unsigned)__builtin_ctz(words);
		struct itlb_entry *group = &cpu->itlb[user][word * 64];

		for (uint64_t local = take_local(cpu, tlb, word); local; local &= local - 1)
			group[__builtin_ctzll(local)].tag = TLB_INVALID;
	}
	if (cpu->tlb_local_words[tlb])
		mmu_code_lost(cpu);
	cpu->tlb_local_words[tlb] = 0;
}

/*
 * Drops all translations that are not global. Global ones are not even looked at, as they are most
 * of what a kernel has used.
 */
void mmu_flush_nonglobal(struct cpu *cpu)
{
	cpu->guest_flushes++;
	for (unsigned idx = 0; idx < MMU_COUNT; idx++)
		drop_local_data(cpu, idx);
	drop_local_code(cpu, 0);
	drop_local_code(cpu, 1);
	mmu_data_lost(cpu);
}

/* Any piece of the page, large or not, that holds linear address arg. */
static bool is_piece_of(uint64_t lin, uint64_t gpa, uint64_t arg)
{
	return (lin ^ arg) >> large_shift[GPA_LARGE(gpa)] == 0;
}

void mmu_flush_page(struct cpu *cpu, uint64_t linear)
{
	unsigned slot = (linear >> PAGE_SHIFT) & (TLB_SIZE - 1);
	uint64_t page = linear & PAGE_MASK;

	cpu->guest_flushes++;
	if (linear >= cpu->large_lo && linear <= cpu->large_hi) {
		drop(cpu, is_piece_of, linear);
		return;
	}
	for (unsigned idx = 0; idx < MMU_COUNT; idx++) {
		struct tlb_entry *e = &cpu->tlbs[idx][slot];

		if ((e->rd & PAGE_MASK) == page)
			e->rd = e->wr = TLB_INVALID;
	}
	mmu_data_lost(cpu);
	for (unsigned user = 0; user < 2; user++) {
		if ((cpu->itlb[user][slot].tag & PAGE_MASK) == page) {
			cpu->itlb[user][slot].tag = TLB_INVALID;
			mmu_code_lost(cpu);
		}
	}
}

/* ---- tag bits of the host's own ---- */
typedef void (*retag_fn)(struct cpu *cpu, enum mmu_index idx, struct tlb_entry *e, uint64_t arg);

static void retag(struct cpu *cpu, retag_fn fn, uint64_t arg)
{
	for (unsigned slot = 0; slot < MMU_COUNT * TLB_SIZE; slot += 64) {
		unsigned idx = slot / TLB_SIZE;
		struct tlb_entry *group = &cpu->tlbs[idx][slot % TLB_SIZE];

		for (uint64_t used = cpu->tlb_used[idx][slot % TLB_SIZE / 64]; used;
		     used &= used - 1) {
			struct tlb_entry *e = &group[__builtin_ctzll(used)];

			if (!(e->rd & TLB_INVALID))
				fn(cpu, (enum mmu_index)idx, e, arg);
		}
	}
	mmu_data_lost(cpu);
}

static void retag_code(struct cpu *cpu, enum mmu_index idx, struct tlb_entry *e, uint64_t gpa)
{
	if (GPA_PAGE(e->gpa) == gpa && !(e->wr & TLB_INVALID))
		e->wr |= TLB_CODE;
}

void mmu_flush_code_writes(struct cpu *cpu, uint64_t gpa)
{
	retag(cpu, retag_code, GPA_PAGE(gpa));
}

static void retag_clean(struct cpu *cpu, enum mmu_index idx, struct tlb_entry *e, uint64_t arg)
{
	if (e->addend && !(e->wr & TLB_INVALID))
		e->wr |= TLB_CLEAN;
}

void mmu_rearm_dirty(struct cpu *cpu)
{
	retag(cpu, retag_clean, 0);
}

static void retag_slow(struct cpu *cpu, enum mmu_index idx, struct tlb_entry *e, uint64_t arg)
{
	uint64_t bit =
		slow_bit(cpu, idx, e->rd & PAGE_MASK, memory_offset(cpu->mem, GPA_PAGE(e->gpa)));

	e->rd = (e->rd & ~(uint64_t)TLB_SLOW) | bit;
	if (!(e->wr & TLB_INVALID))
		e->wr = (e->wr & ~(uint64_t)TLB_SLOW) | bit;
}

void mmu_debug_changed(struct cpu *cpu)
{
	retag(cpu, retag_slow, 0);
}

bool mmu_load_pdptes(struct cpu *cpu, uint64_t cr3)
{
	uint64_t v[4];

	for (unsigned i = 0; i < 4; i++) {
		v[i] = pte_read(cpu, (cr3 & 0xffffffe0u) + 8 * i, 8);
		/*
		 * Bits 2:1, 8:5 and everything above the physical address (SDM vol. 3, table 4-8).
		 */
		if ((v[i] & PTE_P) && (v[i] & 0xffffff00000001e6ull))
			return false;
	}
	memcpy(cpu->pdpte, v, sizeof(v));
	return true;
}
