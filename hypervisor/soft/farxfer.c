// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Far transfers: JMP, CALL and RET between segments, through gates and to other tasks; IRET in all
 * forms; INT n. Intel SDM vol. 2, operation sections of those instructions; vol. 3, 5.8.
 */
#include "hypervisor/soft/sys.h"

struct far_ptr {
	uint64_t off;
	uint16_t sel;
};

static struct far_ptr far_operand(struct cpu *cpu, const struct op *op)
{
	struct far_ptr p = { .off = op->imm, .sel = op->extra };
	uint8_t b[10];

	if (op->flags & OPF_MEM) {
		uint64_t lin = op_lin(cpu, op, op->osize + 2u, false);

		mem_check_alignment(cpu, lin, op->osize);
		mem_ld(cpu, lin, b, op->osize + 2u);
		p.off = 0;
		memcpy(&p.off, b, op->osize);
		p.sel = (uint16_t)(b[op->osize] | b[op->osize + 1] << 8);
	}
	return p;
}

/* ---- checks of code segments ---- */
enum code_via { VIA_JMP, VIA_CALL, VIA_GATE_JMP, VIA_GATE_CALL };

static bool code_privilege_ok(const struct cpu *cpu, const struct desc *cs, enum code_via via)
{
	unsigned dpl = SEG_DPL(cs->s.attr), rpl = cs->s.selector & 3;

	if (via == VIA_GATE_CALL || attr_is_conforming(cs->s.attr))
		return dpl <= cpu->cpl;
	/* The RPL of the selector inside a gate does not count. */
	return dpl == cpu->cpl && (via == VIA_GATE_JMP || rpl <= cpu->cpl);
}

/* `cs` was fetched; checks that the transfer may enter it. */
static void code_check(struct cpu *cpu, const struct desc *cs, enum code_via via)
{
	uint32_t attr = cs->s.attr;
	bool bad = !attr_is_code(attr) || !code_privilege_ok(cpu, cs, via);

	if (cpu_long(cpu)) {
		bad |= (attr & SEG_L) && (attr & SEG_DB);
		if (via >= VIA_GATE_JMP)
			bad |= !(attr & SEG_L);
	}
	if (bad)
		cpu_raise(cpu, VEC_GP, sel_error(cpu, cs->s.selector));
	if (!(attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, cs->s.selector));
}

static void jump_to(struct cpu *cpu, const struct desc *cs, uint64_t rip, uint8_t cpl)
{
	seg_set_cs(cpu, cs, cpl);
	cpu->rip = rip;
	cpu_mode_update(cpu);
}

/* ---- gates ---- */
struct call_gate {
	uint64_t off;
	uint16_t sel;
	uint8_t type;
	uint8_t params;
};

static void gate_read(struct cpu *cpu, struct desc *d, struct call_gate *g)
{
	unsigned dpl = SEG_DPL(d->s.attr);

	if (dpl < cpu->cpl || dpl < (d->s.selector & 3u))
		cpu_raise(cpu, VEC_GP, sel_error(cpu, d->s.selector));
	if (!(d->s.attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, d->s.selector));
	g->type = SEG_TYPE(d->s.attr);
	g->sel = (uint16_t)(d->raw >> 16);
	g->params = (d->raw >> 32) & 31;
	g->off = (d->raw & 0xffff) | (uint32_t)((d->raw >> 48) << 16);
	if (g->type == SYS_CALL16)
		g->off &= 0xffff;
	if (cpu_long(cpu)) {
		d->s.base = 0;
		desc_fetch_upper(cpu, d, VEC_GP); /* base now holds the upper half of the offset */
		g->off |= d->s.base;
	}
}

/* Code segment behind a call gate. */
static void gate_code(struct cpu *cpu, const struct call_gate *g, enum code_via via,
		      struct desc *cs)
{
	if (sel_null(g->sel))
		cpu_raise(cpu, VEC_GP, 0);
	desc_fetch(cpu, g->sel, VEC_GP, cs);
	code_check(cpu, cs, via);
}

static unsigned gate_size(const struct cpu *cpu, const struct call_gate *g)
{
	if (cpu_long(cpu))
		return 8;
	return g->type & SYS_32 ? 4 : 2;
}

/* A call to more privilege: new stack from the TSS, parameters copied (vol. 3, 5.8.5). */
static void gate_call_inner(struct cpu *cpu, const struct op *op, const struct call_gate *g,
			    struct desc *cs)
{
	struct stack old = stack_current(cpu), st = { .mask = UINT64_MAX };
	uint8_t cpl = SEG_DPL(cs->s.attr);
	unsigned size = gate_size(cpu, g), n = 0, params = cpu_long(cpu) ? 0 : g->params;
	uint64_t v[STACK_ITEMS_MAX];

	if (cpu_long(cpu)) {
		st.sp = tss_stack64(cpu, cpl);
		st.cpl = cpl;
		st.ss = (struct seg_state){ .attr = SEG_UNUSABLE | (uint32_t)cpl << 5,
					    .selector = cpl };
	} else {
		tss_stack(cpu, cpl, &st);
	}
	v[n++] = cpu->seg[SEG_SS].selector;
	v[n++] = cpu->gpr[R_RSP];
	while (params--)
		v[n++] = stack_peek(cpu, &old, (uint64_t)params * size, size, 0);
	v[n++] = cpu->seg[SEG_CS].selector;
	v[n++] = next_rip(cpu, op);
	seg_check_rip(cpu, &cs->s, g->off);
	desc_mark_accessed(cpu, cs);
	stack_push(cpu, &st, v, n, size, sel_error(cpu, st.ss.selector));
	cpu->seg[SEG_SS] = st.ss;
	stack_set_pointer(cpu, st.sp, st.mask);
	jump_to(cpu, cs, g->off, cpl);
}

/* Pushes the return address and jumps, privilege unchanged. */
static void call_same(struct cpu *cpu, const struct op *op, struct desc *cs, uint64_t off,
		      unsigned size)
{
	uint64_t v[2] = { cpu->seg[SEG_CS].selector, next_rip(cpu, op) };
	struct stack st = stack_current(cpu);

	/* From compatibility mode through a 64-bit gate the stack is used as in 64-bit mode. */
	if (seg_is_code64(cpu, &cs->s) && size == 8)
		st.mask = UINT64_MAX;
	seg_check_rip(cpu, &cs->s, off);
	desc_mark_accessed(cpu, cs);
	stack_push(cpu, &st, v, 2, size, 0);
	stack_set_pointer(cpu, st.sp, st.mask);
	jump_to(cpu, cs, off, cpu->cpl);
}

static void call_gate(struct cpu *cpu, const struct op *op, struct desc *d, bool call)
{
	struct call_gate g;
	struct desc cs;

	gate_read(cpu, d, &g);
	gate_code(cpu, &g, call ? VIA_GATE_CALL : VIA_GATE_JMP, &cs);
	if (!call) {
		seg_check_rip(cpu, &cs.s, g.off);
		desc_mark_accessed(cpu, &cs);
		jump_to(cpu, &cs, g.off, cpu->cpl);
	} else if (!attr_is_conforming(cs.s.attr) && SEG_DPL(cs.s.attr) < cpu->cpl) {
		gate_call_inner(cpu, op, &g, &cs);
	} else {
		call_same(cpu, op, &cs, g.off, gate_size(cpu, &g));
	}
}

/* ---- tasks ---- */
static void check_task_privilege(struct cpu *cpu, const struct desc *d)
{
	unsigned dpl = SEG_DPL(d->s.attr);

	if (dpl < cpu->cpl || dpl < (d->s.selector & 3u))
		cpu_raise(cpu, VEC_GP, sel_error(cpu, d->s.selector));
}

static void jump_task(struct cpu *cpu, const struct op *op, struct desc *d, bool call)
{
	struct desc tss;
	uint16_t sel = d->s.selector;
	bool gate = SEG_TYPE(d->s.attr) == SYS_TASK;

	check_task_privilege(cpu, d);
	if (gate) {
		if (!(d->s.attr & SEG_P))
			cpu_raise(cpu, VEC_NP, sel_error(cpu, sel));
		sel = (uint16_t)(d->raw >> 16);
	}
	task_fetch_tss(cpu, sel, VEC_GP, false, &tss);
	task_switch(cpu, &tss, call ? TASK_CALL : TASK_JMP, next_rip(cpu, op), flags_get(cpu),
		    NULL);
}

static void jump_system(struct cpu *cpu, const struct op *op, struct desc *d, bool call)
{
	unsigned type = SEG_TYPE(d->s.attr);

	if (type == SYS_CALL32 || (type == SYS_CALL16 && !cpu_long(cpu)))
		call_gate(cpu, op, d, call);
	else if (!cpu_long(cpu) && (type == SYS_TASK || type == SYS_TSS16 || type == SYS_TSS32))
		jump_task(cpu, op, d, call);
	else
		cpu_raise(cpu, VEC_GP, sel_error(cpu, d->s.selector));
}

/* ---- far JMP and CALL ---- */
static void far_real(struct cpu *cpu, const struct op *op, struct far_ptr p, bool call)
{
	if (p.off > cpu->seg[SEG_CS].limit)
		cpu_raise(cpu, VEC_GP, 0);
	if (call) {
		uint64_t v[2] = { cpu->seg[SEG_CS].selector, next_rip(cpu, op) };
		struct stack st = stack_current(cpu);

		stack_push(cpu, &st, v, 2, op->osize, 0);
		stack_set_pointer(cpu, st.sp, st.mask);
	}
	cpu->rip = p.off;
	seg_load_real(cpu, SEG_CS, p.sel);
}

static void far_transfer(struct cpu *cpu, const struct op *op, bool call)
{
	struct far_ptr p = far_operand(cpu, op);
	struct desc d;

	if (!cpu_protected(cpu)) {
		far_real(cpu, op, p, call);
		return;
	}
	if (sel_null(p.sel))
		cpu_raise(cpu, VEC_GP, 0);
	desc_fetch(cpu, p.sel, VEC_GP, &d);
	if (!(d.s.attr & SEG_S)) {
		jump_system(cpu, op, &d, call);
		return;
	}
	code_check(cpu, &d, call ? VIA_CALL : VIA_JMP);
	if (call) {
		call_same(cpu, op, &d, p.off, op->osize);
	} else {
		seg_check_rip(cpu, &d.s, p.off);
		desc_mark_accessed(cpu, &d);
		jump_to(cpu, &d, p.off, cpu->cpl);
	}
}

static void op_far_jmp(struct cpu *cpu, const struct op *op)
{
	far_transfer(cpu, op, false);
	OP_EXIT;
}

static void op_far_call(struct cpu *cpu, const struct op *op)
{
	far_transfer(cpu, op, true);
	OP_EXIT;
}

/* ---- returns ---- */
struct far_return {
	struct desc cs, ss;
	uint64_t rip, sp;
	uint8_t cpl;
	bool load_ss; /* the stack changes: ss and sp are valid */
};

/* The code segment that a return goes to (vol. 2, RET and IRET). */
static void return_check_cs(struct cpu *cpu, uint16_t sel, struct far_return *r)
{
	unsigned rpl = sel & 3, dpl;
	uint32_t attr;

	if (sel_null(sel))
		cpu_raise(cpu, VEC_GP, 0);
	desc_fetch(cpu, sel, VEC_GP, &r->cs);
	attr = r->cs.s.attr;
	dpl = SEG_DPL(attr);
	if (!attr_is_code(attr) || rpl < cpu->cpl ||
	    (attr_is_conforming(attr) ? dpl > rpl : dpl != rpl) ||
	    (cpu_long(cpu) && (attr & SEG_L) && (attr & SEG_DB)))
		cpu_raise(cpu, VEC_GP, sel_error(cpu, sel));
	if (!(attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, sel));
	r->cpl = (uint8_t)rpl;
}

/* The null selector is good for 64-bit code below privilege 3, with the new CPL as its RPL. */
static void return_check_ss(struct cpu *cpu, uint16_t sel, uint64_t sp, struct far_return *r)
{
	seg_check_ss(cpu, sel, r->cpl, seg_is_code64(cpu, &r->cs.s) && r->cpl != 3, VEC_GP, &r->ss);
	r->sp = sp;
	r->load_ss = true;
}

static void return_commit(struct cpu *cpu, const struct far_return *r, uint64_t release)
{
	bool outer = r->cpl > cpu->cpl;

	seg_set_cs(cpu, &r->cs, r->cpl);
	cpu->rip = r->rip;
	if (r->load_ss) {
		cpu->seg[SEG_SS] = r->ss.s;
		stack_set_pointer(cpu, r->sp + release,
				  seg_is_code64(cpu, &r->cs.s) ? UINT64_MAX : stack_mask(&r->ss.s));
	}
	if (outer)
		seg_drop_inner(cpu);
	cpu_mode_update(cpu);
}

static void far_ret_real(struct cpu *cpu, const struct op *op, struct stack *st)
{
	uint64_t rip = stack_peek(cpu, st, 0, op->osize, 0);
	uint16_t cs = (uint16_t)stack_peek(cpu, st, op->osize, op->osize, 0);

	if (rip > cpu->seg[SEG_CS].limit)
		cpu_raise(cpu, VEC_GP, 0);
	stack_set_pointer(cpu, st->sp + 2u * op->osize + op->imm, st->mask);
	cpu->rip = rip;
	seg_load_real(cpu, SEG_CS, cs);
}

/* imm: bytes of parameters to release */
static void op_far_ret(struct cpu *cpu, const struct op *op)
{
	struct stack st = stack_current(cpu);
	struct far_return r = { .load_ss = false };
	unsigned n = op->osize;
	uint64_t outer = 2 * n + op->imm;
	uint16_t cs;

	if (!cpu_protected(cpu)) {
		far_ret_real(cpu, op, &st);
		OP_EXIT;
	}
	r.rip = stack_peek(cpu, &st, 0, n, 0);
	cs = (uint16_t)stack_peek(cpu, &st, n, n, 0);
	return_check_cs(cpu, cs, &r);
	if (r.cpl > cpu->cpl) {
		uint64_t sp = stack_peek(cpu, &st, outer, n, 0);

		return_check_ss(cpu, (uint16_t)stack_peek(cpu, &st, outer + n, n, 0), sp, &r);
	}
	seg_check_rip(cpu, &r.cs.s, r.rip);
	desc_mark_accessed(cpu, &r.cs);
	if (!r.load_ss)
		stack_set_pointer(cpu, st.sp + outer, st.mask);
	return_commit(cpu, &r, op->imm);
	OP_EXIT;
}

/* ---- IRET ---- */
#define FL_IRET (FL_ARITH | FL_TF | FL_DF | FL_NT)

/* RFLAGS after IRET with image v popped at privilege cpl. */
static uint64_t iret_flags(const struct cpu *cpu, uint64_t v, unsigned size)
{
	uint64_t mask = FL_IRET;

	if (size > 2)
		mask |= FL_RF | FL_AC | FL_ID;
	if (cpu->cpl <= cpu_iopl(cpu))
		mask |= FL_IF;
	if (cpu->cpl == 0)
		mask |= FL_IOPL | (size > 2 ? FL_VIF | FL_VIP : 0);
	return (flags_get(cpu) & ~mask) | (v & mask);
}

static void iret_real(struct cpu *cpu, const struct op *op, struct stack *st)
{
	unsigned n = op->osize;
	uint64_t rip = stack_peek(cpu, st, 0, n, 0);
	uint16_t cs = (uint16_t)stack_peek(cpu, st, n, n, 0);
	uint64_t flags = stack_peek(cpu, st, 2 * n, n, 0), mask = FL_IRET | FL_IF;

	if ((cpu->rflags & FL_VM) && cpu_iopl(cpu) != 3)
		cpu_raise(cpu, VEC_GP, 0);
	if (rip > cpu->seg[SEG_CS].limit)
		cpu_raise(cpu, VEC_GP, 0);
	if (n == 4)
		mask |= FL_RF | FL_AC | FL_ID;
	if (!(cpu->rflags & FL_VM))
		mask |= FL_IOPL;
	flags_set(cpu, (flags_get(cpu) & ~mask) | (flags & mask));
	stack_set_pointer(cpu, st->sp + 3 * n, st->mask);
	cpu->rip = rip;
	seg_load_real(cpu, SEG_CS, cs);
}

/* Returns to virtual-8086 mode: pops EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS. */
static void iret_vm86(struct cpu *cpu, struct stack *st, uint64_t flags)
{
	static const enum seg segs[] = { SEG_CS, SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	static const unsigned slot[] = { 1, 4, 5, 6, 7, 8 };
	uint64_t v[9];

	for (unsigned i = 0; i < 9; i++)
		v[i] = stack_peek(cpu, st, i * 4, 4, 0);
	if (v[0] > 0xffff)
		cpu_raise(cpu, VEC_GP, 0);
	for (unsigned i = 0; i < 6; i++)
		seg_set_vm86(cpu, segs[i], (uint16_t)v[slot[i]]);
	cpu->cpl = 3;
	cpu->rip = v[0];
	cpu->gpr[R_RSP] = v[3];
	flags_set(cpu, flags & (FL_IRET | FL_IF | FL_IOPL | FL_RF | FL_VM | FL_AC | FL_VIF |
				FL_VIP | FL_ID));
	cpu_mode_update(cpu);
}

/* NT is set: back to the task that the link field of the TSS names. */
static void iret_task(struct cpu *cpu, const struct op *op)
{
	struct desc tss;
	uint16_t link;

	if (cpu_long(cpu))
		cpu_raise(cpu, VEC_GP, 0);
	sys_read(cpu, (uint32_t)cpu->seg[SEG_TR].base, &link, sizeof(link));
	task_fetch_tss(cpu, link, VEC_TS, true, &tss);
	task_switch(cpu, &tss, TASK_IRET, next_rip(cpu, op), flags_get(cpu), NULL);
}

static void iret_protected(struct cpu *cpu, const struct op *op)
{
	struct stack st = stack_current(cpu);
	struct far_return r = { .load_ss = false };
	unsigned n = op->osize;
	uint64_t flags, sp;
	uint16_t cs, ss;

	r.rip = stack_peek(cpu, &st, 0, n, 0);
	cs = (uint16_t)stack_peek(cpu, &st, n, n, 0);
	flags = stack_peek(cpu, &st, 2 * n, n, 0);
	if ((flags & FL_VM) && n == 4 && cpu->cpl == 0 && !cpu_long(cpu)) {
		iret_vm86(cpu, &st, flags);
		return;
	}
	return_check_cs(cpu, cs, &r);
	if (r.cpl > cpu->cpl || cpu_mode64(cpu)) {
		sp = stack_peek(cpu, &st, 3 * n, n, 0);
		ss = (uint16_t)stack_peek(cpu, &st, 4 * n, n, 0);
		return_check_ss(cpu, ss, sp, &r);
	}
	seg_check_rip(cpu, &r.cs.s, r.rip);
	desc_mark_accessed(cpu, &r.cs);
	flags_set(cpu, iret_flags(cpu, flags, n));
	if (!r.load_ss)
		stack_set_pointer(cpu, st.sp + 3 * n, st.mask);
	return_commit(cpu, &r, 0);
}

static void op_iret(struct cpu *cpu, const struct op *op)
{
	struct stack st;

	cpu->nmi_blocked = false; /* even when it faults */
	if (!cpu_protected(cpu)) {
		st = stack_current(cpu);
		iret_real(cpu, op, &st);
	} else if (cpu->rflags & FL_NT) {
		iret_task(cpu, op);
	} else {
		iret_protected(cpu, op);
	}
	OP_EXIT;
}

/* ---- instructions that cause an event ---- */
static void op_int(struct cpu *cpu, const struct op *op)
{
	if ((cpu->rflags & FL_VM) && cpu_iopl(cpu) != 3)
		cpu_raise(cpu, VEC_GP, 0);
	intr_software(cpu, op, EVENT_SOFT_INT, (uint8_t)op->imm);
	OP_EXIT;
}

static void op_int3(struct cpu *cpu, const struct op *op)
{
	intr_software(cpu, op, EVENT_INT3, VEC_BP);
	OP_EXIT;
}

static void op_int1(struct cpu *cpu, const struct op *op)
{
	intr_software(cpu, op, EVENT_INT1, VEC_DB);
	OP_EXIT;
}

static void op_into(struct cpu *cpu, const struct op *op)
{
	cpu->rip = next_rip(cpu, op);
	if (flags_arith(cpu) & FL_OF)
		intr_software(cpu, op, EVENT_INT3, VEC_OF);
	OP_EXIT;
}

/* Bound `i` of the two in memory, sign-extended. */
static int32_t bound_load(struct cpu *cpu, const struct op *op, unsigned i)
{
	struct op at = *op;
	uint64_t lin;

	at.disp += i * op->osize;
	lin = op_lin(cpu, &at, op->osize, false);
	return op->osize == 2 ? (int16_t)mem_ld16(cpu, lin) : (int32_t)mem_ld32(cpu, lin);
}

/* Two accesses: the lower bound is compared before the upper one is read. */
static void op_bound(struct cpu *cpu, const struct op *op)
{
	uint64_t r = cpu->gpr[op->r0];
	int32_t index = op->osize == 2 ? (int16_t)r : (int32_t)r;

	if (index < bound_load(cpu, op, 0) || index > bound_load(cpu, op, 1))
		cpu_raise(cpu, VEC_BR, 0);
	OP_NEXT;
}

/* ---- binders ---- */
static bool bind_far(const struct decoded *d, struct op *op, uintptr_t arg)
{
	if (d->ins.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
		return false;
	if (d->opnd[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
		op->imm = d->opnd[0].ptr.offset;
		op->extra = d->opnd[0].ptr.segment;
		if (op->osize == 2)
			op->imm = (uint16_t)op->imm;
	}
	return bind_end(d, op, arg);
}

static bool bind_far_ret(const struct decoded *d, struct op *op, uintptr_t arg)
{
	if (d->ins.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
		return false;
	op->imm = (uint16_t)op->imm;
	return bind_end(d, op, arg);
}

#define H(fn) ((uintptr_t)(fn))

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_JMP, bind_far, H(op_far_jmp) },
	{ ZYDIS_MNEMONIC_CALL, bind_far, H(op_far_call) },
	{ ZYDIS_MNEMONIC_RET, bind_far_ret, H(op_far_ret) },
	{ ZYDIS_MNEMONIC_IRET, bind_end, H(op_iret) },
	{ ZYDIS_MNEMONIC_IRETD, bind_end, H(op_iret) },
	{ ZYDIS_MNEMONIC_IRETQ, bind_end, H(op_iret) },
	{ ZYDIS_MNEMONIC_INT, bind_end, H(op_int) },
	{ ZYDIS_MNEMONIC_INT3, bind_end, H(op_int3) },
	{ ZYDIS_MNEMONIC_INT1, bind_end, H(op_int1) },
	{ ZYDIS_MNEMONIC_INTO, bind_end, H(op_into) },
	{ ZYDIS_MNEMONIC_BOUND, bind_plain, H(op_bound) },
};

BINDING_TABLE(far_bindings, rows);
