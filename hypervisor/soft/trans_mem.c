/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host code of accesses to memory.
 *
 * The probe looks into the data TLB as mem.h does. In user mode most places in the code need not
 * even that: each has a hold (struct hold of cpu.h), which is the TLB's entry for the page that the
 * place accessed last. A hit takes two instructions less than half of the probe's, and the host
 * address no longer waits for a look-up that begins with the guest's.
 *
 * A miss fills the hold by the probe. Places that go from page to page would be slower for that: as
 * soon as misses are frequent, those that miss are changed into plain probes (trans_worn() of
 * translate.c), for as long as the code lives.
 */
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/trans_op.h"

_Static_assert(sizeof(struct tlb_entry) == 32, "the probe shifts by 5");

struct guest_mem trans_operand(const struct tr *tr)
{
	const struct op *op = tr->op;
	struct guest_mem m = { op->base, op->idx, op->scale, op->seg, op->disp };

	if (m.base == REG_RIPBASE)
		m.disp += (int64_t)(tr->b->gpa & ~PAGE_MASK);
	return m;
}

static bool has_base(const struct guest_mem *m)
{
	return m->seg == SEG_FS || m->seg == SEG_GS;
}

/* True: one host address can name the operand. */
static bool is_simple(const struct guest_mem *m)
{
	return m->base < 16 && trans_reg[m->base] != H_NONE && !has_base(m) &&
	       (m->idx == REG_ZERO || trans_reg[m->idx] != H_NONE);
}

static void add_base(struct tr *tr, const struct guest_mem *m, unsigned reg)
{
	if (m->base < 16 && trans_reg[m->base] != H_NONE)
		emit_rr(tr->e, 3, 0x01, trans_reg[m->base], reg);
	else if (m->base < 16)
		emit_rm(tr->e, 3, 0x03, reg, CPU_GPR(m->base));
	else if (m->base == REG_RIPBASE)
		emit_rm(tr->e, 3, 0x03, reg, CPU_FIELD(page_lin));
}

/* Linear address plus `more` to reg, of which only the register itself is needed. */
static void address(struct tr *tr, const struct guest_mem *m, int32_t more, unsigned reg)
{
	struct host_mem a = { H_NONE, H_NONE, m->scale, (int32_t)m->disp + more };

	if (is_simple(m)) {
		a.base = trans_reg[m->base];
		a.idx = m->idx == REG_ZERO ? H_NONE : trans_reg[m->idx];
		emit_rm(tr->e, 3, 0x8d, reg, a); /* LEA */
		return;
	}
	if (m->idx != REG_ZERO) {
		unsigned from = use(tr, m->idx, reg);

		if (from != reg)
			emit_move(tr->e, 3, reg, from);
		if (m->scale) {
			emit_rr(tr->e, 3, 0xc1, 4, reg); /* SHL */
			emit8(tr->e, m->scale);
		}
		if (a.disp)
			emit_alu_imm(tr->e, ALU_ADD, 3, reg, a.disp);
	} else {
		emit_move_imm(tr->e, reg, (uint64_t)(int64_t)a.disp);
	}
	add_base(tr, m, reg);
	if (has_base(m))
		emit_rm(tr->e, 3, 0x03, reg, CPU_EA_BASE(m->seg));
}

/*
 * The probe of n bytes: returns the jump that is taken where the TLB does not allow the access.
 * Leaves the entry's addend in H_S1 and the page in H_S0.
 */
static uint8_t *probe_tlb(struct tr *tr, const struct guest_mem *m, unsigned n, bool write)
{
	struct emit *e = tr->e;
	uint8_t *miss;

	address(tr, m, 0, H_S1);
	emit_rr(e, 2, 0xc1, 5, H_S1); /* SHR */
	emit8(e, PAGE_SHIFT - 5);
	emit_alu_imm(e, ALU_AND, 2, H_S1, (TLB_SIZE - 1) << 5);
	emit_rm(e, 3, 0x03, H_S1, CPU_FIELD(tlb));
	address(tr, m, (int32_t)n - 1, H_S0);
	emit_alu_imm(e, ALU_AND, 3, H_S0, -(int32_t)PAGE_SIZE);
	emit_rm(e, 3, 0x3b, H_S0,
		HOST_MEM(H_S1,
			 write ? offsetof(struct tlb_entry, wr) : offsetof(struct tlb_entry, rd)));
	miss = emit_jcc(e, 5);
	emit_load(e, H_S1, HOST_MEM(H_S1, offsetof(struct tlb_entry, addend)));
	return miss;
}

/* ---- holds ---- */
#define CPU_HOLD(i, field)                                                       \
	HOST_MEM(H_CPU, offsetof(struct cpu, hold) + sizeof(struct hold) * (i) + \
				offsetof(struct hold, field))

/* A miss of a hold for numbers that are not aligned would be one each time. */
static bool may_hold(const struct tr *tr, unsigned n)
{
	return (tr->b->mode & MODE_USER) && n <= 8;
}

static bool is_near_to(const struct guest_mem *a, const struct guest_mem *b)
{
	return a->base == b->base && a->idx == b->idx && a->scale == b->scale && a->seg == b->seg &&
	       a->disp >> HOLD_REACH == b->disp >> HOLD_REACH;
}

/* Places of a block that seem to access the same page share one. */
static unsigned hold_for(struct tr *tr, const struct guest_mem *m, bool write)
{
	unsigned i, hold;

	for (i = 0; i < tr->holds; i++) {
		if (is_near_to(&tr->hold[i].m, m) && tr->hold[i].number % 2 == write)
			return tr->hold[i].number;
	}
	hold = tr->t->next_hold++ % (HOLDS / 2) * 2 + write;
	if (i < sizeof(tr->hold) / sizeof(tr->hold[0]))
		tr->hold[tr->holds++] = (struct tr_hold){ *m, (uint16_t)hold };
	return hold;
}

/* The addend to H_S1, from the hold if it has the page. */
static void probe_hold(struct tr *tr, const struct guest_mem *m, unsigned n, bool write,
		       enum cold_kind slow)
{
	unsigned hold = hold_for(tr, m, write);
	struct emit *e = tr->e;
	uint8_t *start = e->at;
	struct cold *c;

	address(tr, m, 0, H_S0);
	emit_alu_imm(e, ALU_AND, 3, H_S0, -(int32_t)PAGE_SIZE | (int32_t)(n - 1));
	emit_rm(e, 3, 0x3b, H_S0, CPU_HOLD(hold, tag));
	c = trans_cold(tr, emit_jcc(e, 5), COLD_HOLD);
	emit_load(e, H_S1, CPU_HOLD(hold, addend));
	c->at = (struct cold_access){ .m = *m,
				      .n = (uint8_t)n,
				      .write = write,
				      .slow = (uint8_t)slow,
				      .hold = (uint16_t)hold,
				      .start = start,
				      .found = e->at };
}

/* Cold code of the same access. */
static struct cold *cold_again(struct tr *tr, const struct cold *c, uint8_t *site,
			       enum cold_kind kind)
{
	struct cold *again = trans_cold(tr, site, kind);

	*again = *c;
	again->site = site;
	again->kind = (uint8_t)kind;
	return again;
}

void trans_cold_hold(struct tr *tr, const struct cold *c)
{
	const struct cold_access *at = &c->at;
	struct emit *e = tr->e;
	struct cold *worn;
	uint8_t *probe;

	emit_rm(e, 2, 0xff, 1, CPU_HOLD(at->hold, left)); /* DEC */
	worn = cold_again(tr, c, emit_jcc(e, 8), COLD_WORN);
	probe = e->at;
	cold_again(tr, c, probe_tlb(tr, &at->m, at->n, at->write), (enum cold_kind)at->slow);
	worn->at.probe = probe;
	worn->at.fill = e->at;
	emit_store(e, H_S0, CPU_HOLD(at->hold, tag));
	emit_store(e, H_S1, CPU_HOLD(at->hold, addend));
	emit_alu_imm_mem(e, ALU_OR, 0,
			 HOST_MEM(H_CPU, offsetof(struct cpu, hold_used) + at->hold / 8u),
			 1 << at->hold % 8);
	emit_rm(e, 0, 0xc6, 0, CPU_FIELD(hold_any)); /* MOV */
	emit8(e, 1);
	emit_rr(e, 2, 0xc1, 5, H_S0); /* SHR */
	emit8(e, PAGE_SHIFT);
	emit_alu_imm(e, ALU_AND, 2, H_S0, TLB_SIZE - 1);
	emit_rm(e, 0, 0xc6, 0,
		(struct host_mem){ H_CPU, H_S0, 0, (int32_t)offsetof(struct cpu, hold_slot) });
	emit8(e, 1);
	emit_aim(emit_jmp(e), at->found);
}

void trans_cold_worn(struct tr *tr, const struct cold *c)
{
	const struct trans_place place = { .start = trans_offset_of(tr, c->at.start),
					   .probe = trans_offset_of(tr, c->at.probe),
					   .fill = trans_offset_of(tr, c->at.fill),
					   .found = trans_offset_of(tr, c->at.found),
					   .hold = c->at.hold };
	uint32_t at = trans_offset_of(tr, tr->e->at);

	emit_bytes(tr->e, &place, sizeof(place));
	emit_aim(c->site, tr->e->at);
	trans_sse_leave(tr, c);
	trans_name_op(tr, c->op | at << 8);
	trans_shared_jump(tr, tr->t->shared.worn);
}

/* ---- for ops ---- */
struct host_mem trans_probe(struct tr *tr, struct guest_mem m, unsigned n, unsigned align,
			    bool write, enum cold_kind slow)
{
	struct emit *e = tr->e;

	if (align > 1) {
		address(tr, &m, 0, H_S1);
		emit_rr(e, 0, 0xf6, 0, H_S1); /* TEST */
		emit8(e, align - 1);
		trans_cold(tr, emit_jcc(e, 5), slow);
	}
	if (may_hold(tr, n))
		probe_hold(tr, &m, n, write, slow);
	else
		trans_cold(tr, probe_tlb(tr, &m, n, write), slow);
	tr->host = 0;
	if (!is_simple(&m)) {
		address(tr, &m, 0, H_S0);
		emit_rr(e, 3, 0x01, H_S0, H_S1);
		return HOST_MEM(H_S1, 0);
	}
	if (m.idx == REG_ZERO)
		return (struct host_mem){ H_S1, trans_reg[m.base], 0, (int32_t)m.disp };
	emit_rm(e, 3, 0x8d, H_S1, (struct host_mem){ H_S1, trans_reg[m.base], 0, (int32_t)m.disp });
	return (struct host_mem){ H_S1, trans_reg[m.idx], m.scale, 0 };
}
