// SPDX-License-Identifier: GPL-2.0-or-later
/* Instructions that load, store or look at segment registers: Intel SDM vol. 2. */
#include "hypervisor/soft/sys.h"

static bool is_sreg(const struct decoded *d, unsigned i)
{
	return opnd_is_reg(d, i) &&
	       ZydisRegisterGetClass(d->opnd[i].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

/* MOV and POP to SS, but not LSS, hold off interrupts and debug traps until after the next
 * instruction (SDM vol. 3, 6.8.3). */
static void finish_load(struct cpu *cpu, const struct op *op, enum seg s)
{
	cpu->rip = next_rip(cpu, op);
	if (s == SEG_SS)
		cpu->shadow = cpu->shadow_movss = true;
}

static void op_mov_to_sreg(struct cpu *cpu, const struct op *op)
{
	seg_load(cpu, op->r0, rm16_get(cpu, op, op->r1));
	finish_load(cpu, op, op->r0);
	OP_EXIT;
}

static void op_mov_from_sreg(struct cpu *cpu, const struct op *op)
{
	uint16_t sel = cpu->seg[op->r1].selector;

	if (op->flags & OPF_MEM)
		mem_st16(cpu, op_lin(cpu, op, 2, true), sel);
	else
		reg_put(cpu, op->r0, op->osize, sel);
	OP_NEXT;
}

static bool bind_mov_sreg(const struct decoded *d, struct op *op, uintptr_t arg)
{
	if (is_sreg(d, 0)) {
		op->fn = op_mov_to_sreg;
		op->flags |= OPF_END;
		return op->r0 != SEG_CS;
	}
	op->fn = op_mov_from_sreg;
	return is_sreg(d, 1);
}

static void op_push_sreg(struct cpu *cpu, const struct op *op)
{
	struct stack st = stack_current(cpu);
	uint64_t sel = cpu->seg[op->r0].selector;

	/*
	 * With 32-bit operand size the processor moves the stack pointer by four and writes two
	 * bytes.
	 */
	if (op->osize == 4) {
		st.sp = (st.sp - 2) & st.mask;
		stack_push(cpu, &st, &sel, 1, 2, 0);
	} else {
		stack_push(cpu, &st, &sel, 1, op->osize, 0);
	}
	stack_set_pointer(cpu, st.sp, st.mask);
	OP_NEXT;
}

static void op_pop_sreg(struct cpu *cpu, const struct op *op)
{
	struct stack st = stack_current(cpu);
	uint16_t sel = (uint16_t)stack_peek(cpu, &st, 0, op->osize == 4 ? 2 : op->osize, 0);

	seg_load(cpu, op->r0, sel);
	/* POP SS moves the pointer as wide as the old stack was. */
	stack_set_pointer(cpu, st.sp + op->osize, st.mask);
	finish_load(cpu, op, op->r0);
	OP_EXIT;
}

static bool bind_push_sreg(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->fn = op_push_sreg;
	return is_sreg(d, 0);
}

static bool bind_pop_sreg(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->fn = op_pop_sreg;
	op->flags |= OPF_END;
	return is_sreg(d, 0) && op->r0 != SEG_CS;
}

/* LDS, LES, LFS, LGS, LSS: offset first, selector behind it; extra = segment register. */
static void op_load_far(struct cpu *cpu, const struct op *op)
{
	uint64_t lin = op_lin(cpu, op, op->osize + 2u, false);
	uint8_t b[10] = { 0 };
	uint64_t off = 0;

	mem_check_alignment(cpu, lin, op->osize);
	mem_ld(cpu, lin, b, op->osize + 2u);
	memcpy(&off, b, op->osize);
	seg_load(cpu, op->extra, (uint16_t)(b[op->osize] | b[op->osize + 1] << 8));
	reg_put(cpu, op->r0, op->osize, off);
	cpu->rip = next_rip(cpu, op);
	OP_EXIT;
}

static bool bind_load_far(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->fn = op_load_far;
	op->extra = (uint16_t)arg;
	op->flags |= OPF_END;
	return op->flags & OPF_MEM;
}

/* ---- LAR, LSL, VERR, VERW: questions that never fault on the selector ---- */
#define T(n) (1u << (n))
#define LAR_TYPES                                                                      \
	(T(SYS_TSS16) | T(SYS_LDT) | T(SYS_TSS16_BUSY) | T(SYS_CALL16) | T(SYS_TASK) | \
	 T(SYS_TSS32) | T(SYS_TSS32_BUSY) | T(SYS_CALL32))
#define LAR_TYPES_LONG (T(SYS_LDT) | T(SYS_TSS32) | T(SYS_TSS32_BUSY) | T(SYS_CALL32))
#define GATE_TYPES     (T(SYS_CALL16) | T(SYS_TASK) | T(SYS_CALL32))

/* Can the descriptor be seen with this CPL and RPL? */
static bool desc_visible(const struct cpu *cpu, const struct desc *d)
{
	unsigned dpl = SEG_DPL(d->s.attr);

	return attr_is_conforming(d->s.attr) || (cpu->cpl <= dpl && (d->s.selector & 3u) <= dpl);
}

static bool desc_query(struct cpu *cpu, uint16_t sel, bool gates, struct desc *d)
{
	uint32_t types = cpu_long(cpu) ? LAR_TYPES_LONG : LAR_TYPES;

	if (sel_null(sel) || !desc_lookup(cpu, sel, d))
		return false;
	if (!gates)
		types &= ~GATE_TYPES;
	if (!(d->s.attr & SEG_S) && !(types & T(SEG_TYPE(d->s.attr))))
		return false;
	return desc_visible(cpu, d);
}

static void set_zf(struct cpu *cpu, bool on)
{
	flags_set_arith(cpu, (flags_arith(cpu) & ~FL_ZF) | (on ? FL_ZF : 0));
}

/* Bits 19:16 of what LAR gives, which the manual leaves open, are the limit's. */
static void op_lar(struct cpu *cpu, const struct op *op)
{
	struct desc d;
	bool ok = desc_query(cpu, rm16_get(cpu, op, op->r1), true, &d);

	if (ok)
		reg_put(cpu, op->r0, op->osize, (d.raw >> 32) & 0x00ffff00);
	set_zf(cpu, ok);
	OP_NEXT;
}

static void op_lsl(struct cpu *cpu, const struct op *op)
{
	struct desc d;
	bool ok = desc_query(cpu, rm16_get(cpu, op, op->r1), false, &d);

	if (ok)
		reg_put(cpu, op->r0, op->osize, d.s.limit);
	set_zf(cpu, ok);
	OP_NEXT;
}

/* extra: 1 for VERW */
static void op_verify(struct cpu *cpu, const struct op *op)
{
	uint16_t sel = rm16_get(cpu, op, op->r0);
	struct desc d;
	bool ok = !sel_null(sel) && desc_lookup(cpu, sel, &d) && desc_visible(cpu, &d);

	set_zf(cpu,
	       ok && (op->extra ? attr_is_writable_data(d.s.attr) : attr_is_readable(d.s.attr)));
	OP_NEXT;
}

static bool bind_verify(const struct decoded *d, struct op *op, uintptr_t arg)
{
	op->extra = (uint16_t)arg;
	return bind_protected(d, op, (uintptr_t)op_verify);
}

/* The destination is written only when its RPL changes. */
static void op_arpl(struct cpu *cpu, const struct op *op)
{
	uint16_t rpl = cpu->gpr[op->r1] & 3, dest = rm16_get(cpu, op, op->r0);
	bool raise_rpl = (dest & 3) < rpl;

	dest = (uint16_t)((dest & ~3u) | rpl);
	if (raise_rpl && (op->flags & OPF_MEM))
		mem_st16(cpu, op_lin(cpu, op, 2, true), dest);
	else if (raise_rpl)
		reg_put(cpu, op->r0, 2, dest);
	set_zf(cpu, raise_rpl);
	OP_NEXT;
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_MOV, bind_mov_sreg, 0 },
	{ ZYDIS_MNEMONIC_PUSH, bind_push_sreg, 0 },
	{ ZYDIS_MNEMONIC_POP, bind_pop_sreg, 0 },
	{ ZYDIS_MNEMONIC_LDS, bind_load_far, SEG_DS },
	{ ZYDIS_MNEMONIC_LES, bind_load_far, SEG_ES },
	{ ZYDIS_MNEMONIC_LFS, bind_load_far, SEG_FS },
	{ ZYDIS_MNEMONIC_LGS, bind_load_far, SEG_GS },
	{ ZYDIS_MNEMONIC_LSS, bind_load_far, SEG_SS },
	{ ZYDIS_MNEMONIC_LAR, bind_protected, (uintptr_t)op_lar },
	{ ZYDIS_MNEMONIC_LSL, bind_protected, (uintptr_t)op_lsl },
	{ ZYDIS_MNEMONIC_VERR, bind_verify, 0 },
	{ ZYDIS_MNEMONIC_VERW, bind_verify, 1 },
	{ ZYDIS_MNEMONIC_ARPL, bind_protected, (uintptr_t)op_arpl },
};

BINDING_TABLE(segop_bindings, rows);
