// SPDX-License-Identifier: GPL-2.0-or-later
/* Descriptors, segment register loads and stacks: Intel SDM vol. 3, chapters 3, 5 and 7. */
#include "hypervisor/soft/mem.h"
#include "hypervisor/soft/seg.h"

#define DESC_SIZE     8u
#define DESC_ACCESSED (1ull << 40)
#define DESC_BUSY     (2ull << 40)

static void desc_unpack(struct desc *d)
{
	uint64_t raw = d->raw;
	uint32_t limit = (uint32_t)((raw & 0xffff) | ((raw >> 32) & 0xf0000));

	d->s.base = ((raw >> 16) & 0xffffff) | ((raw >> 56) << 24);
	d->s.attr = (uint32_t)(raw >> 40) & 0xf0ff;
	d->s.limit = d->s.attr & SEG_G ? (limit << 12) | 0xfff : limit;
}

/*
 * Linear address of `size` bytes at the selector's index, or false when they are not inside the
 * table.
 */
static bool desc_locate(const struct cpu *cpu, uint16_t sel, unsigned size, uint64_t *lin)
{
	const struct seg_state *ldt = &cpu->seg[SEG_LDTR];
	uint32_t off = sel & 0xfff8u;

	if (sel & 4) {
		if ((ldt->attr & SEG_UNUSABLE) || (uint64_t)off + size - 1 > ldt->limit)
			return false;
		*lin = ldt->base + off;
	} else {
		if (off + size - 1 > cpu->gdtr.limit)
			return false;
		*lin = cpu->gdtr.base + off;
	}
	if (!cpu_long(cpu))
		*lin = (uint32_t)*lin;
	return true;
}

bool desc_lookup(struct cpu *cpu, uint16_t sel, struct desc *d)
{
	if (!desc_locate(cpu, sel, DESC_SIZE, &d->lin))
		return false;
	sys_read(cpu, d->lin, &d->raw, DESC_SIZE);
	d->s.selector = sel;
	desc_unpack(d);
	return true;
}

void desc_fetch(struct cpu *cpu, uint16_t sel, enum vector vec, struct desc *d)
{
	if (unlikely(!desc_lookup(cpu, sel, d)))
		cpu_raise(cpu, vec, sel_error(cpu, sel));
}

void desc_fetch_upper(struct cpu *cpu, struct desc *d, enum vector vec)
{
	uint64_t lin, upper;

	if (!desc_locate(cpu, d->s.selector, 2 * DESC_SIZE, &lin))
		cpu_raise(cpu, vec, sel_error(cpu, d->s.selector));
	sys_read(cpu, d->lin + DESC_SIZE, &upper, sizeof(upper));
	/*
	 * The type field of the upper half has to be zero, lest it be taken for a descriptor of its
	 * own.
	 */
	if (upper & (0x1full << 40))
		cpu_raise(cpu, vec, sel_error(cpu, d->s.selector));
	d->s.base |= upper << 32;
}

void desc_mark_accessed(struct cpu *cpu, struct desc *d)
{
	uint8_t access;

	d->s.attr |= 1;
	if (likely(d->raw & DESC_ACCESSED))
		return;
	d->raw |= DESC_ACCESSED;
	access = (uint8_t)(d->raw >> 40);
	sys_write(cpu, d->lin + 5, &access, 1);
}

void desc_set_busy(struct cpu *cpu, const struct desc *d, bool busy)
{
	uint8_t access = (uint8_t)((busy ? d->raw | DESC_BUSY : d->raw & ~DESC_BUSY) >> 40);

	sys_write(cpu, d->lin + 5, &access, 1);
}

/* ---- checks ---- */
static void desc_null(struct desc *d, uint16_t sel)
{
	d->s = (struct seg_state){ .attr = SEG_UNUSABLE, .selector = sel };
}

void seg_check_ss(struct cpu *cpu, uint16_t sel, uint8_t cpl, bool null_ok, enum vector vec,
		  struct desc *d)
{
	if (sel_null(sel)) {
		if (!null_ok || (sel & 3) != cpl)
			cpu_raise(cpu, vec, cpu->ext);
		desc_null(d, sel);
		d->s.attr |= (uint32_t)cpl << 5; /* SS.DPL is the CPL */
		return;
	}
	desc_fetch(cpu, sel, vec, d);
	if ((sel & 3) != cpl || !attr_is_writable_data(d->s.attr) || SEG_DPL(d->s.attr) != cpl)
		cpu_raise(cpu, vec, sel_error(cpu, sel));
	if (!(d->s.attr & SEG_P))
		cpu_raise(cpu, VEC_SS, sel_error(cpu, sel));
	desc_mark_accessed(cpu, d);
}

void seg_check_data(struct cpu *cpu, uint16_t sel, uint8_t cpl, enum vector vec, struct desc *d)
{
	if (sel_null(sel)) {
		desc_null(d, sel);
		return;
	}
	desc_fetch(cpu, sel, vec, d);
	if (!attr_is_readable(d->s.attr))
		cpu_raise(cpu, vec, sel_error(cpu, sel));
	if (!attr_is_conforming(d->s.attr) &&
	    ((sel & 3u) > SEG_DPL(d->s.attr) || cpl > SEG_DPL(d->s.attr)))
		cpu_raise(cpu, vec, sel_error(cpu, sel));
	if (!(d->s.attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, sel));
	desc_mark_accessed(cpu, d);
}

void seg_check_rip(struct cpu *cpu, const struct seg_state *cs, uint64_t rip)
{
	bool ok = seg_is_code64(cpu, cs) ? canonical(rip) : rip <= cs->limit;

	if (unlikely(!ok))
		cpu_raise(cpu, VEC_GP, cpu->ext);
}

/* ---- loads ---- */
void seg_set_real(struct cpu *cpu, enum seg s, uint16_t sel)
{
	struct seg_state *r = &cpu->seg[s];

	/*
	 * Limit and size outlast the return from protected mode; a register that was null gets what
	 * RESET gives.
	 */
	if (r->attr & SEG_UNUSABLE)
		*r = (struct seg_state){ .limit = 0xffff };
	r->attr = (r->attr & (SEG_G | SEG_DB | SEG_AVL)) | SEG_P | SEG_S | 3;
	r->selector = sel;
	r->base = (uint32_t)sel << 4;
}

void seg_set_vm86(struct cpu *cpu, enum seg s, uint16_t sel)
{
	cpu->seg[s] = (struct seg_state){
		.base = (uint32_t)sel << 4,
		.limit = 0xffff,
		.attr = SEG_P | (3u << 5) | SEG_S | 3,
		.selector = sel,
	};
}

void seg_set_null(struct cpu *cpu, enum seg s, uint16_t sel)
{
	cpu->seg[s] = (struct seg_state){ .attr = SEG_UNUSABLE, .selector = sel };
}

void seg_set_cs(struct cpu *cpu, const struct desc *d, uint8_t cpl)
{
	cpu->seg[SEG_CS] = d->s;
	cpu->seg[SEG_CS].selector = (uint16_t)((d->s.selector & ~3u) | cpl);
	cpu->cpl = cpl;
}

/* Base and limit stay behind a selector that became null: with FS and GS 64-bit code sees them. */
static void null_selector(struct seg_state *r)
{
	r->selector = 0;
	r->attr = SEG_UNUSABLE;
}

void seg_drop_inner(struct cpu *cpu)
{
	static const enum seg data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
		uint32_t attr = cpu->seg[data[i]].attr;

		/* A register that is null already keeps its base, which WRFSBASE may have set. */
		if (!(attr & SEG_UNUSABLE) && SEG_DPL(attr) < cpu->cpl && !attr_is_conforming(attr))
			null_selector(&cpu->seg[data[i]]);
	}
}

void seg_load_real(struct cpu *cpu, enum seg s, uint16_t selector)
{
	if (cpu->rflags & FL_VM)
		seg_set_vm86(cpu, s, selector);
	else
		seg_set_real(cpu, s, selector);
	cpu_mode_update(cpu);
}

void seg_load(struct cpu *cpu, enum seg s, uint16_t selector)
{
	struct desc d;

	if (!cpu_protected(cpu)) {
		seg_load_real(cpu, s, selector);
		return;
	}
	if (s == SEG_SS)
		seg_check_ss(cpu, selector, cpu->cpl, cpu_mode64(cpu) && cpu->cpl != 3, VEC_GP, &d);
	else
		seg_check_data(cpu, selector, cpu->cpl, VEC_GP, &d);
	cpu->seg[s] = d.s;
	cpu_mode_update(cpu);
}

/* True: [offset, offset+size) is inside the segment. SDM vol. 3, 5.3. */
static bool limit_ok(const struct seg_state *r, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;
	bool expand_down = (r->attr & (SEG_S | 12)) == (SEG_S | 4);

	if (expand_down)
		return offset > r->limit && last <= stack_mask(r);
	/* With a limit of 4 GiB an access wraps around, as it does where no check is made. */
	return last <= r->limit || r->limit == 0xffffffff;
}

void seg_check(struct cpu *cpu, unsigned s, uint64_t offset, unsigned size, bool write)
{
	enum vector vec = s == SEG_SS ? VEC_SS : VEC_GP;
	const struct seg_state *r;

	if (s >= SEG_LDTR)
		return;
	r = &cpu->seg[s];
	if (cpu_protected(cpu)) {
		if (r->attr & SEG_UNUSABLE)
			cpu_raise(cpu, vec, 0);
		if (write ? !attr_is_writable_data(r->attr) : !attr_is_readable(r->attr))
			cpu_raise(cpu, vec, 0);
	}
	if (!limit_ok(r, offset, size))
		cpu_raise(cpu, vec, 0);
}

/* ---- stacks ---- */
struct stack stack_current(const struct cpu *cpu)
{
	struct stack st = { .ss = cpu->seg[SEG_SS], .sp = cpu->gpr[R_RSP], .cpl = cpu->cpl };

	st.mask = cpu_mode64(cpu) ? UINT64_MAX : stack_mask(&st.ss);
	return st;
}

void stack_set_pointer(struct cpu *cpu, uint64_t sp, uint64_t mask)
{
	if (mask == 0xffff)
		cpu->gpr[R_RSP] = (cpu->gpr[R_RSP] & ~mask) | (sp & mask);
	else
		cpu->gpr[R_RSP] = sp & mask;
}

static void stack_read(struct cpu *cpu, const struct stack *st, uint64_t lin, void *data,
		       unsigned size)
{
	if (st->cpl == cpu->cpl)
		mem_read_slow(cpu, lin, data, size, false);
	else
		sys_read(cpu, lin, data, size);
}

/* `size` bytes of items of `item` bytes each. */
static void stack_write(struct cpu *cpu, const struct stack *st, uint64_t lin, const void *data,
			unsigned size, unsigned item)
{
	if (st->cpl == cpu->cpl)
		mem_write_items(cpu, lin, data, size, item);
	else
		sys_write(cpu, lin, data, size);
}

/*
 * Linear address of `size` bytes at offset sp, items of `item` bytes each; #SS(err) when they are
 * not in the stack segment. Alignment comes before the canonical range of all but the first byte.
 */
static uint64_t stack_linear(struct cpu *cpu, const struct stack *st, uint64_t sp, unsigned size,
			     unsigned item, uint32_t err)
{
	if (st->mask != UINT64_MAX) {
		if (unlikely(!limit_ok(&st->ss, sp, size)))
			cpu_raise(cpu, VEC_SS, err);
		return (uint32_t)(st->ss.base + sp);
	}
	if (unlikely(!canonical(sp)))
		cpu_raise(cpu, VEC_SS, err);
	if (st->cpl == cpu->cpl)
		mem_check_alignment(cpu, sp, item);
	if (unlikely(!canonical(sp + size - 1)))
		cpu_raise(cpu, VEC_SS, err);
	return sp;
}

/*
 * Frames that wrap around the end of the segment, or are longer than a store can be: piece by
 * piece, after every piece has been looked at as the store will, so that a fault leaves no trace.
 */
static void stack_push_pieces(struct cpu *cpu, const struct stack *st, const uint64_t *val,
			      unsigned n, unsigned size, uint32_t err)
{
	for (int pass = 0; pass < 2; pass++) {
		uint64_t sp = st->sp;

		for (unsigned i = 0; i < n; i++) {
			uint64_t lin;

			sp = (sp - size) & st->mask;
			lin = stack_linear(cpu, st, sp, size, size, err);
			if (pass == 1)
				stack_write(cpu, st, lin, &val[i], size, size);
			else if (st->cpl == cpu->cpl)
				mem_probe_write(cpu, lin, size);
			else
				sys_probe_write(cpu, lin, size);
		}
	}
}

void stack_push(struct cpu *cpu, struct stack *st, const uint64_t *val, unsigned n, unsigned size,
		uint32_t err)
{
	uint64_t total = (uint64_t)n * size, sp = (st->sp - total) & st->mask,
		 last = sp + total - 1;
	uint8_t frame[64];

	/* A frame that ends with the last byte of the address space does not wrap. */
	if (n > 1 && (total > sizeof(frame) || last > st->mask || last < sp)) {
		stack_push_pieces(cpu, st, val, n, size, err);
	} else {
		uint64_t lin = stack_linear(cpu, st, sp, (unsigned)total, size, err);

		for (unsigned i = 0; i < n; i++)
			memcpy(frame + total - (i + 1) * size, &val[i], size);
		stack_write(cpu, st, lin, frame, (unsigned)total, size);
	}
	st->sp = sp;
}

uint64_t stack_peek(struct cpu *cpu, const struct stack *st, uint64_t off, unsigned size,
		    uint32_t err)
{
	uint64_t lin = stack_linear(cpu, st, (st->sp + off) & st->mask, size, size, err);
	uint64_t v = 0;

	if (likely(size == 8 && st->cpl == cpu->cpl))
		return mem_ld64(cpu, lin);
	stack_read(cpu, st, lin, &v, size);
	return v;
}

/* ---- the TSS ---- */
uint64_t tss_linear(const struct cpu *cpu, uint32_t off)
{
	uint64_t lin = cpu->seg[SEG_TR].base + off;

	return cpu_long(cpu) ? lin : (uint32_t)lin;
}

void tss_stack(struct cpu *cpu, uint8_t cpl, struct stack *st)
{
	const struct seg_state *tr = &cpu->seg[SEG_TR];
	bool wide = SEG_TYPE(tr->attr) & SYS_32;
	unsigned off = wide ? cpl * 8u + 4 : cpl * 4u + 2;
	unsigned n = wide ? 6 : 4;
	struct desc d;
	uint8_t b[6];

	if ((tr->attr & SEG_UNUSABLE) || off + n - 1 > tr->limit)
		cpu_raise(cpu, VEC_TS, sel_error(cpu, tr->selector));
	sys_read(cpu, tss_linear(cpu, off), b, n);
	st->sp = 0;
	memcpy(&st->sp, b, n - 2);
	seg_check_ss(cpu, (uint16_t)(b[n - 2] | b[n - 1] << 8), cpl, false, VEC_TS, &d);
	st->ss = d.s;
	st->mask = stack_mask(&d.s);
	st->cpl = cpl;
}

uint64_t tss_stack64(struct cpu *cpu, unsigned slot)
{
	const struct seg_state *tr = &cpu->seg[SEG_TR];
	/* RSP0..RSP2 start at 4, a reserved quadword follows, then IST1..IST7. */
	unsigned off = slot < TSS_SLOT_IST ? 4 + slot * 8 : 28 + (slot - TSS_SLOT_IST) * 8;
	uint64_t sp;

	if ((tr->attr & SEG_UNUSABLE) || off + 7 > tr->limit)
		cpu_raise(cpu, VEC_TS, sel_error(cpu, tr->selector));
	sys_read(cpu, tss_linear(cpu, off), &sp, sizeof(sp));
	return sp;
}
