/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory access off the fast path: TLB misses, page crossings, MMIO, watched pages, alignment
 * checks, pages with cached code and pages that are not marked dirty yet.
 *
 * An access is first translated and checked as a whole; every fault, and every need to leave the
 * instruction and run it alone, shows before the first byte moves.
 */
#include "hypervisor/soft/block.h"
#include "hypervisor/soft/mem.h"
#include "hypervisor/soft/mmu.h"
#include "hypervisor/soft/probe.h"

/* The one or two pages of an access. */
struct pieces {
	struct tlb_entry *e[2];
	uint64_t lin[2];
	unsigned len[2];
	unsigned n;
};

static bool is_ram(const struct tlb_entry *e)
{
	return e->addend != 0;
}

static uint8_t *host_of(const struct tlb_entry *e, uint64_t lin)
{
	return (uint8_t *)(lin + e->addend);
}

static uint64_t gpa_of(const struct tlb_entry *e, uint64_t lin)
{
	return GPA_PAGE(e->gpa) | (lin & ~PAGE_MASK);
}

/*
 * SDM vol. 3, table 6-7. Operands of 16 bytes that need not be aligned (MOVUPS, MOVDQU, LDDQU,
 * PCMPxSTRx) are not checked: the manual leaves it to the processor, and Intel's exception classes
 * name accesses of 2, 4 and 8 bytes.
 */
static unsigned natural_alignment(unsigned size)
{
	if (size == 10)
		return 8;
	return size <= 8 && (size & (size - 1)) == 0 ? size : 1;
}

/* Alignment is checked before anything is translated; the address has to be canonical before. */
static void check_alignment(struct cpu *cpu, enum mmu_index idx, uint64_t lin, unsigned align)
{
	if (likely(idx != MMU_USER_AC) || !(lin & (align - 1)))
		return;
	mmu_check_canonical(cpu, lin);
	cpu_raise(cpu, VEC_AC, 0);
}

static void translate(struct cpu *cpu, enum mmu_index idx, uint64_t lin, unsigned size, bool write,
		      struct pieces *p)
{
	unsigned room = (unsigned)(PAGE_SIZE - (lin & ~PAGE_MASK));

	p->n = size > room ? 2 : 1;
	p->lin[0] = lin;
	p->len[0] = size > room ? room : size;
	p->lin[1] = lin + room;
	p->len[1] = size - p->len[0];
	if ((cpu->mode & MODE_SIZE) != MODE_64 && !(cpu->efer & EFER_LMA))
		p->lin[1] = (uint32_t)p->lin[1];
	/* Running out of the canonical range comes before any page fault: that page first. */
	if (p->n == 2 && p->lin[1] == 1ull << 47)
		p->e[1] = mmu_translate(cpu, idx, p->lin[1], write);
	for (unsigned i = 0; i < p->n; i++)
		p->e[i] = mmu_translate(cpu, idx, p->lin[i], write);
	for (unsigned i = 0; i < p->n; i++) {
		if (!is_ram(p->e[i]))
			cpu_need_alone(cpu);
		else if (write && (p->e[i]->wr & TLB_CODE) &&
			 block_present_overlaps(cpu, gpa_of(p->e[i], p->lin[i]), p->len[i]))
			cpu_need_alone(cpu);
	}
	if (((p->e[0]->rd | p->e[p->n - 1]->rd) & TLB_SLOW) &&
	    (mmu_watch_hits(cpu, lin, size, write) || probe_watches(cpu, lin, size, write)))
		cpu_need_alone(cpu);
}

/* The debug trap of an access that was done (SDM vol. 3, 18.2.4: data breakpoints are traps). */
static void note_watch(struct cpu *cpu, const struct pieces *p, uint64_t lin, unsigned size,
		       bool write)
{
	uint32_t hits;

	if (likely(!((p->e[0]->rd | p->e[p->n - 1]->rd) & TLB_SLOW)))
		return;
	probe_note(cpu, lin, size, write);
	hits = mmu_watch_hits(cpu, lin, size, write);
	if (hits && cpu->single) {
		cpu->db_pending = true;
		cpu->db_dr6 |= hits;
		cpu->rep_break = true;
	}
}

/*
 * Largest access of the bus at gpa: a power of two, at most n bytes, inside an aligned group of
 * eight.
 */
static unsigned mmio_step(uint64_t gpa, unsigned n)
{
	unsigned room = 8 - (unsigned)(gpa & 7), step = 8;

	while (step > n || step > room)
		step /= 2;
	return step;
}

static void mmio_read(struct cpu *cpu, uint64_t gpa, uint8_t *data, unsigned n)
{
	while (n) {
		unsigned step = mmio_step(gpa, n);
		uint64_t v = cpu->bus.mmio_read(cpu->bus.ctx, gpa, step);

		cpu_is_exit(cpu);
		cpu->stats.mmio++;
		memcpy(data, &v, step);
		gpa += step;
		data += step;
		n -= step;
	}
}

static void mmio_write(struct cpu *cpu, uint64_t gpa, const uint8_t *data, unsigned n)
{
	while (n) {
		unsigned step = mmio_step(gpa, n);
		uint64_t v = 0;

		cpu->stats.mmio++;
		memcpy(&v, data, step);
		cpu->bus.mmio_write(cpu->bus.ctx, gpa, step, v);
		cpu_is_exit(cpu);
		gpa += step;
		data += step;
		n -= step;
	}
}

static void tell(const struct cpu *cpu, const struct tlb_entry *e, uint64_t lin, unsigned n,
		 enum memory_use use)
{
	if (unlikely(e->rd & TLB_SLOW))
		memory_tell(cpu->mem, memory_offset(cpu->mem, gpa_of(e, lin)), n, use);
}

static void read_pieces(struct cpu *cpu, const struct pieces *p, uint8_t *data)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (is_ram(p->e[i]))
			tell(cpu, p->e[i], p->lin[i], p->len[i], MEMORY_READ);
		if (is_ram(p->e[i]))
			memcpy(data, host_of(p->e[i], p->lin[i]), p->len[i]);
		else
			mmio_read(cpu, gpa_of(p->e[i], p->lin[i]), data, p->len[i]);
		data += p->len[i];
	}
}

static void write_ram(struct cpu *cpu, struct tlb_entry *e, uint64_t lin, const uint8_t *data,
		      unsigned n)
{
	uint64_t gpa = gpa_of(e, lin);

	tell(cpu, e, lin, n, MEMORY_WRITE);
	if (e->wr & TLB_CLEAN) {
		cpu->mem->dirty[memory_offset(cpu->mem, gpa) >> PAGE_SHIFT] = MEMORY_WRITTEN;
		e->wr &= ~(uint64_t)TLB_CLEAN;
	}
	if (e->wr & TLB_CODE) {
		block_invalidate(cpu, gpa, n);
		if (!block_page_has_code(cpu, gpa))
			e->wr &= ~(uint64_t)TLB_CODE;
	}
	memcpy(host_of(e, lin), data, n);
}

static void write_pieces(struct cpu *cpu, const struct pieces *p, const uint8_t *data)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (is_ram(p->e[i]))
			write_ram(cpu, p->e[i], p->lin[i], data, p->len[i]);
		else
			mmio_write(cpu, gpa_of(p->e[i], p->lin[i]), data, p->len[i]);
		data += p->len[i];
	}
}

static void read_through(struct cpu *cpu, enum mmu_index idx, uint64_t lin, void *data,
			 unsigned size, bool rmw)
{
	struct pieces p;

	check_alignment(cpu, idx, lin, natural_alignment(size));
	translate(cpu, idx, lin, size, rmw, &p);
	read_pieces(cpu, &p, data);
	note_watch(cpu, &p, lin, size, rmw);
}

static void write_through(struct cpu *cpu, enum mmu_index idx, uint64_t lin, const void *data,
			  unsigned size, unsigned align)
{
	struct pieces p;

	check_alignment(cpu, idx, lin, align);
	translate(cpu, idx, lin, size, true, &p);
	write_pieces(cpu, &p, data);
	note_watch(cpu, &p, lin, size, true);
}

void mem_read_slow(struct cpu *cpu, uint64_t lin, void *data, unsigned size, bool rmw)
{
	read_through(cpu, mmu_current_index(cpu), lin, data, size, rmw);
}

void mem_write_slow(struct cpu *cpu, uint64_t lin, const void *data, unsigned size)
{
	write_through(cpu, mmu_current_index(cpu), lin, data, size, natural_alignment(size));
}

void mem_write_items(struct cpu *cpu, uint64_t lin, const void *data, unsigned size, unsigned align)
{
	write_through(cpu, mmu_current_index(cpu), lin, data, size, align);
}

uint64_t mem_read_slow_int(struct cpu *cpu, uint64_t lin, unsigned size, bool rmw)
{
	uint64_t v = 0;

	read_through(cpu, mmu_current_index(cpu), lin, &v, size, rmw);
	return v;
}

void mem_write_slow_int(struct cpu *cpu, uint64_t lin, unsigned size, uint64_t v)
{
	write_through(cpu, mmu_current_index(cpu), lin, &v, size, natural_alignment(size));
}

static void probe(struct cpu *cpu, enum mmu_index idx, uint64_t lin, unsigned size, bool write)
{
	struct pieces p;

	check_alignment(cpu, idx, lin, natural_alignment(size));
	while (size) {
		unsigned n = size < PAGE_SIZE ? size : (unsigned)PAGE_SIZE;

		translate(cpu, idx, lin, n, write, &p);
		lin += n;
		size -= n;
	}
}

void mem_probe_write(struct cpu *cpu, uint64_t lin, unsigned size)
{
	probe(cpu, mmu_current_index(cpu), lin, size, true);
}

void mem_probe_read(struct cpu *cpu, uint64_t lin, unsigned size)
{
	probe(cpu, mmu_current_index(cpu), lin, size, false);
}

void mem_check_alignment(struct cpu *cpu, uint64_t lin, unsigned align)
{
	check_alignment(cpu, mmu_current_index(cpu), lin, align);
}

void sys_read(struct cpu *cpu, uint64_t lin, void *data, unsigned size)
{
	read_through(cpu, mmu_system_index(cpu), lin, data, size, false);
}

void sys_write(struct cpu *cpu, uint64_t lin, const void *data, unsigned size)
{
	write_through(cpu, mmu_system_index(cpu), lin, data, size, 1);
}

void sys_probe_write(struct cpu *cpu, uint64_t lin, unsigned size)
{
	probe(cpu, mmu_system_index(cpu), lin, size, true);
}
