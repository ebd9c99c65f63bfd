// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The part of the software CPU's state that no register shows: the translations in its TLBs, which
 * decide when accessed and dirty bits are written, and whether an interrupt window is asked for.
 *
 * The host's own tag bits are not part of it. What comes back is marked clean, holding code and
 * (where the page is watched) slow: the slow path takes away what does not hold.
 */
#include <errno.h>

#include "hypervisor/soft/mmu.h"
#include "hypervisor/soft/probe.h"

#define TAG_BITS    (TLB_SLOW | TLB_CLEAN | TLB_CODE)
#define FLAG_WINDOW 1u
#define FLAG_STOP   2u

#define HIDDEN_FRAME_BITS 28u /* of a physical address of 40 bits */

static bool is_used(const struct cpu *cpu, unsigned tlb, unsigned slot)
{
	return cpu->tlb_used[tlb][slot / 64] >> (slot % 64) & 1;
}

static uint64_t tag_out(uint64_t tag)
{
	return tag & TLB_INVALID ? TLB_INVALID : tag & ~(uint64_t)TAG_BITS;
}

static void save_data(const struct cpu *cpu, unsigned idx, struct buf *out)
{
	for (unsigned slot = 0; slot < TLB_SIZE; slot++) {
		const struct tlb_entry *e = &cpu->tlbs[idx][slot];

		if (!is_used(cpu, idx, slot) || (e->rd & TLB_INVALID))
			continue;
		buf_put_u16(out, (uint16_t)slot);
		buf_put_u64(out, tag_out(e->rd));
		buf_put_u64(out, tag_out(e->wr));
		buf_put_u64(out, e->gpa);
	}
	buf_put_u16(out, TLB_SIZE);
}

static void save_code(const struct cpu *cpu, unsigned user, struct buf *out)
{
	for (unsigned slot = 0; slot < TLB_SIZE; slot++) {
		const struct itlb_entry *e = &cpu->itlb[user][slot];

		if (!is_used(cpu, MMU_COUNT + user, slot) || (e->tag & TLB_INVALID))
			continue;
		buf_put_u16(out, (uint16_t)slot);
		buf_put_u64(out, e->tag);
		buf_put_u64(out, e->gpa);
	}
	buf_put_u16(out, TLB_SIZE);
}

void hidden_save(struct cpu *cpu, struct buf *out)
{
	buf_put_u8(out,
		   (cpu->window_wanted ? FLAG_WINDOW : 0) | (cpu->stop_wanted ? FLAG_STOP : 0));
	buf_put_u64(out, cpu->large_lo);
	buf_put_u64(out, cpu->large_hi);
	for (unsigned idx = 0; idx < MMU_COUNT; idx++)
		save_data(cpu, idx, out);
	save_code(cpu, 0, out);
	save_code(cpu, 1, out);
}

/* The slot of an entry that follows; TLB_SIZE: none; above: it is not one that was saved. */
static unsigned next_slot(struct rd *in)
{
	unsigned slot = rd_u16(in);

	return in->bad ? TLB_SIZE + 1 : slot;
}

static bool fits(uint64_t tag, unsigned slot)
{
	return (tag & TLB_INVALID) || ((tag >> PAGE_SHIFT) & (TLB_SIZE - 1)) == slot;
}

static int restore_data(struct cpu *cpu, unsigned idx, struct rd *in)
{
	unsigned slot;

	while ((slot = next_slot(in)) < TLB_SIZE) {
		struct tlb_entry *e = &cpu->tlbs[idx][slot];
		uint64_t off;

		e->rd = rd_u64(in);
		e->wr = rd_u64(in);
		e->gpa = rd_u64(in);
		e->addend = 0;
		if (in->bad || (e->rd & TLB_INVALID) || !fits(e->rd, slot) || !fits(e->wr, slot)) {
			e->rd = e->wr = TLB_INVALID;
			return -EINVAL;
		}
		mmu_note_used(cpu, idx, slot, e->gpa);
		off = memory_offset(cpu->mem, GPA_PAGE(e->gpa));
		if (off == UINT64_MAX)
			continue;
		e->addend = (uintptr_t)cpu->mem->base + off - (e->rd & PAGE_MASK);
		if (!(e->wr & TLB_INVALID))
			e->wr |= TLB_CLEAN | TLB_CODE;
	}
	return slot == TLB_SIZE ? 0 : -EINVAL;
}

static int restore_code(struct cpu *cpu, unsigned user, struct rd *in)
{
	unsigned slot;

	while ((slot = next_slot(in)) < TLB_SIZE) {
		struct itlb_entry *e = &cpu->itlb[user][slot];

		e->tag = rd_u64(in);
		e->gpa = rd_u64(in);
		if (in->bad || (e->tag & TLB_INVALID) || !fits(e->tag, slot)) {
			e->tag = TLB_INVALID;
			return -EINVAL;
		}
		mmu_note_used(cpu, MMU_COUNT + user, slot, e->gpa);
	}
	return slot == TLB_SIZE ? 0 : -EINVAL;
}

int hidden_restore(struct cpu *cpu, struct rd *in)
{
	unsigned flags = rd_u8(in);
	int ret = 0;

	mmu_flush_all(cpu);
	cpu->large_lo = rd_u64(in);
	cpu->large_hi = rd_u64(in);
	for (unsigned idx = 0; idx < MMU_COUNT && ret == 0; idx++)
		ret = restore_data(cpu, idx, in);
	for (unsigned user = 0; user < 2 && ret == 0; user++)
		ret = restore_code(cpu, user, in);
	cpu->window_wanted = flags & FLAG_WINDOW;
	cpu->stop_wanted = flags & FLAG_STOP;
	mmu_debug_changed(cpu); /* every page's TLB_SLOW */
	return ret < 0 || in->bad ? -EINVAL : 0;
}

/* ---- a fault ---- */

/* The gpa of the n-th translation that is held, in the order in which they are saved; NULL: fewer
 * are. */
static uint64_t *nth_held(struct cpu *cpu, uint64_t n)
{
	for (unsigned i = 0; i < MMU_COUNT * TLB_SIZE; i++) {
		struct tlb_entry *e = &cpu->tlbs[i / TLB_SIZE][i % TLB_SIZE];

		if (is_used(cpu, i / TLB_SIZE, i % TLB_SIZE) && !(e->rd & TLB_INVALID) && !n--)
			return &e->gpa;
	}
	for (unsigned i = 0; i < 2 * TLB_SIZE; i++) {
		struct itlb_entry *e = &cpu->itlb[i / TLB_SIZE][i % TLB_SIZE];

		if (is_used(cpu, MMU_COUNT + i / TLB_SIZE, i % TLB_SIZE) &&
		    !(e->tag & TLB_INVALID) && !n--)
			return &e->gpa;
	}
	return NULL;
}

static uint64_t count_held(struct cpu *cpu)
{
	uint64_t low = 0, high = (MMU_COUNT + 2) * TLB_SIZE;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (nth_held(cpu, middle))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Restoring makes what the host keeps beside a translation anew: address in RAM, and tag bits. */
int hidden_flip(struct cpu *cpu, uint64_t which)
{
	uint64_t held = count_held(cpu), bit = which % 64;
	struct buf b = BUF_INIT;
	struct rd in;
	int ret;

	if (!held || bit >= HIDDEN_FRAME_BITS)
		return -EINVAL;
	*nth_held(cpu, which / 64 % held) ^= 1ull << (PAGE_SHIFT + bit);
	hidden_save(cpu, &b);
	in = (struct rd)RD_INIT(b.data, b.len);
	ret = b.bad ? -ENOMEM : hidden_restore(cpu, &in);
	buf_free(&b);
	return ret;
}
