// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Delivery of interrupts and exceptions: Intel SDM vol. 3, chapter 6; vol. 2, INT n.
 *
 * One delivery is all or nothing: everything is read and checked, the frame is written with one
 * store that can fault as a whole, then registers change. A fault on the way becomes the next thing
 * to deliver, alone or as #DF (table 6-5).
 */
#include "hypervisor/soft/sys.h"

#define ERR_EXT 1u
#define ERR_IDT 2u

struct delivery {
	enum event_type type;
	uint8_t vector;
	bool has_err;
	uint32_t err;
	uint64_t rip;	/* return address */
	uint64_t flags; /* image for the frame */
};

struct gate {
	uint64_t offset;
	uint16_t selector;
	uint8_t type, dpl, ist;
};

/*
 * True: the gate's DPL guards the way. INT1 and all events that no instruction asked for go through
 * any gate.
 */
static bool is_software(enum event_type type)
{
	return type == EVENT_SOFT_INT || type == EVENT_INT3;
}

static uint32_t idt_error(const struct cpu *cpu, uint8_t vector)
{
	return (uint32_t)vector << 3 | ERR_IDT | cpu->ext;
}

/* ---- real mode ---- */
static void deliver_real(struct cpu *cpu, const struct delivery *d)
{
	struct stack st = stack_current(cpu);
	uint64_t frame[3] = { d->flags, cpu->seg[SEG_CS].selector, d->rip };
	uint16_t ivt[2];

	if (d->vector * 4u + 3 > cpu->idtr.limit)
		cpu_raise(cpu, VEC_GP, idt_error(cpu, d->vector));
	sys_read(cpu, cpu->idtr.base + d->vector * 4u, ivt, sizeof(ivt));
	stack_push(cpu, &st, frame, 3, 2, 0);
	stack_set_pointer(cpu, st.sp, st.mask);
	seg_set_real(cpu, SEG_CS, ivt[1]);
	cpu->rip = ivt[0];
	flags_set(cpu, flags_get(cpu) & ~(uint64_t)(FL_IF | FL_TF | FL_AC | FL_RF));
}

/* ---- gates ---- */
static void gate_check(struct cpu *cpu, const struct delivery *d, uint64_t raw, uint32_t types,
		       struct gate *g)
{
	g->type = (raw >> 40) & 31; /* S bit included: it has to be 0 */
	g->dpl = (raw >> 45) & 3;
	g->selector = (uint16_t)(raw >> 16);
	g->ist = (raw >> 32) & 7;
	g->offset = (raw & 0xffff) | (uint32_t)((raw >> 48) << 16);
	if (!((types >> g->type) & 1))
		cpu_raise(cpu, VEC_GP, idt_error(cpu, d->vector));
	if (is_software(d->type) && g->dpl < cpu->cpl)
		cpu_raise(cpu, VEC_GP, idt_error(cpu, d->vector));
	if (!((raw >> 47) & 1))
		cpu_raise(cpu, VEC_NP, idt_error(cpu, d->vector));
}

static void gate_read(struct cpu *cpu, const struct delivery *d, struct gate *g)
{
	static const uint32_t types = 1u << SYS_TASK | 1u << SYS_INTR16 | 1u << SYS_TRAP16 |
				      1u << SYS_INTR32 | 1u << SYS_TRAP32;
	uint64_t raw;

	if (d->vector * 8u + 7 > cpu->idtr.limit)
		cpu_raise(cpu, VEC_GP, idt_error(cpu, d->vector));
	sys_read(cpu, (uint32_t)(cpu->idtr.base + d->vector * 8u), &raw, sizeof(raw));
	gate_check(cpu, d, raw, types, g);
	if (!(g->type & SYS_32))
		g->offset &= 0xffff;
}

static void gate_read64(struct cpu *cpu, const struct delivery *d, struct gate *g)
{
	uint64_t raw[2];

	if (d->vector * 16u + 15 > cpu->idtr.limit)
		cpu_raise(cpu, VEC_GP, idt_error(cpu, d->vector));
	sys_read(cpu, cpu->idtr.base + d->vector * 16u, raw, sizeof(raw));
	gate_check(cpu, d, raw[0], 1u << SYS_INTR32 | 1u << SYS_TRAP32, g);
	g->offset |= raw[1] << 32;
}

/* The handler's code segment; returns the CPL that it runs at. */
static uint8_t gate_code(struct cpu *cpu, const struct gate *g, struct desc *cs)
{
	uint8_t dpl;

	if (sel_null(g->selector))
		cpu_raise(cpu, VEC_GP, cpu->ext);
	desc_fetch(cpu, g->selector, VEC_GP, cs);
	dpl = SEG_DPL(cs->s.attr);
	if (!attr_is_code(cs->s.attr) || dpl > cpu->cpl)
		cpu_raise(cpu, VEC_GP, sel_error(cpu, g->selector));
	if (!(cs->s.attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, g->selector));
	return attr_is_conforming(cs->s.attr) ? cpu->cpl : dpl;
}

static void enter_handler(struct cpu *cpu, const struct gate *g, const struct desc *cs, uint8_t cpl)
{
	uint64_t clear = FL_TF | FL_VM | FL_RF | FL_NT;

	if (!(g->type & 1)) /* interrupt gate */
		clear |= FL_IF;
	seg_set_cs(cpu, cs, cpl);
	cpu->rip = g->offset;
	flags_set(cpu, flags_get(cpu) & ~clear);
}

/* ---- IA-32e mode: vol. 3, 6.14 ---- */
static void deliver_long(struct cpu *cpu, const struct delivery *d)
{
	uint64_t frame[6] = { cpu->seg[SEG_SS].selector, cpu->gpr[R_RSP], d->flags,
			      cpu->seg[SEG_CS].selector, d->rip,	  d->err };
	struct stack st = { .mask = UINT64_MAX, .sp = cpu->gpr[R_RSP] };
	struct gate g;
	struct desc cs;
	uint8_t cpl;

	gate_read64(cpu, d, &g);
	cpl = gate_code(cpu, &g, &cs);
	if (!(cs.s.attr & SEG_L) || (cs.s.attr & SEG_DB))
		cpu_raise(cpu, VEC_GP, sel_error(cpu, g.selector));
	if (g.ist)
		st.sp = tss_stack64(cpu, TSS_SLOT_IST + g.ist);
	else if (cpl != cpu->cpl)
		st.sp = tss_stack64(cpu, cpl);
	if (!canonical(g.offset))
		cpu_raise(cpu, VEC_GP, cpu->ext);
	desc_mark_accessed(cpu, &cs);
	st.cpl = cpl;
	st.sp &= ~15ull;
	stack_push(cpu, &st, frame, d->has_err ? 6 : 5, 8, cpu->ext);
	cpu->gpr[R_RSP] = st.sp;
	if (cpl != cpu->cpl) {
		seg_set_null(cpu, SEG_SS, cpl);
		cpu->seg[SEG_SS].attr |= (uint32_t)cpl << 5;
	}
	enter_handler(cpu, &g, &cs, cpl);
}

/* ---- legacy protected mode: vol. 3, 6.12 ---- */
static void deliver_task(struct cpu *cpu, const struct delivery *d, const struct gate *g)
{
	const struct task_event ev = { .has_err = d->has_err, .err = d->err };
	struct desc tss;

	task_fetch_tss(cpu, g->selector, VEC_GP, false, &tss);
	task_switch(cpu, &tss, TASK_EVENT, d->rip, d->flags, &ev);
}

/* Items of the frame in the order of the pushes; returns how many. */
static unsigned build_frame(const struct cpu *cpu, const struct delivery *d, bool outer,
			    uint64_t *v)
{
	static const enum seg vm_segs[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
	unsigned n = 0;

	for (unsigned i = 0; (cpu->rflags & FL_VM) && i < 4; i++)
		v[n++] = cpu->seg[vm_segs[i]].selector;
	if (outer) {
		v[n++] = cpu->seg[SEG_SS].selector;
		v[n++] = cpu->gpr[R_RSP];
	}
	v[n++] = d->flags;
	v[n++] = cpu->seg[SEG_CS].selector;
	v[n++] = d->rip;
	if (d->has_err)
		v[n++] = d->err;
	return n;
}

static void deliver_protected(struct cpu *cpu, const struct delivery *d)
{
	struct stack st = stack_current(cpu);
	bool vm = cpu->rflags & FL_VM, inner;
	uint64_t frame[10];
	struct gate g;
	struct desc cs;
	uint8_t cpl;
	unsigned n;

	gate_read(cpu, d, &g);
	if (g.type == SYS_TASK) {
		deliver_task(cpu, d, &g);
		return;
	}
	cpl = gate_code(cpu, &g, &cs);
	inner = cpl != cpu->cpl;
	/* Virtual-8086 mode is left for privilege 0 only. */
	if (vm && (!inner || cpl != 0))
		cpu_raise(cpu, VEC_GP, sel_error(cpu, g.selector));
	if (inner)
		tss_stack(cpu, cpl, &st);
	if (g.offset > cs.s.limit)
		cpu_raise(cpu, VEC_GP, cpu->ext);
	desc_mark_accessed(cpu, &cs);
	n = build_frame(cpu, d, inner, frame);
	stack_push(cpu, &st, frame, n, g.type & SYS_32 ? 4 : 2,
		   inner ? sel_error(cpu, st.ss.selector) : cpu->ext);
	if (inner)
		cpu->seg[SEG_SS] = st.ss;
	stack_set_pointer(cpu, st.sp, st.mask);
	for (enum seg s = SEG_ES; vm && s <= SEG_GS; s++) {
		if (s != SEG_CS && s != SEG_SS)
			seg_set_null(cpu, s, 0);
	}
	enter_handler(cpu, &g, &cs, cpl);
}

static void deliver(struct cpu *cpu, const struct delivery *d)
{
	if (cpu_long(cpu))
		deliver_long(cpu, d);
	else if (cpu->cr0 & CR0_PE)
		deliver_protected(cpu, d);
	else
		deliver_real(cpu, d);
	cpu_mode_update(cpu);
}

/* The processor clears both when it generates a debug exception (vol. 3, 17.2.4 and 17.4.3). */
static void debug_delivered(struct cpu *cpu)
{
	cpu->dr[7] &= ~DR7_GD;
	cpu->debugctl &= ~(uint64_t)DEBUGCTL_BTF;
}

/* The debug traps that MOV SS has held back, by their DR6 bits: they are no longer to come. */
static uint64_t take_debug_trap(struct cpu *cpu)
{
	uint64_t bits = cpu->db_pending ? cpu->db_dr6 : 0;

	cpu->db_pending = false;
	cpu->db_dr6 = 0;
	return bits;
}

/*
 * ---- INT n and its like ----
 *
 * INT1 is a debug exception itself, so it reports what MOV SS has held back. (Where its delivery
 * faults, drop_watched() of run.c brings that back.)
 */
void intr_software(struct cpu *cpu, const struct op *op, enum event_type type, uint8_t vector)
{
	struct delivery d = {
		.type = type,
		.vector = vector,
		.rip = next_rip(cpu, op),
		.flags = flags_get(cpu),
	};
	bool debug = type == EVENT_INT1;
	uint64_t held = debug ? take_debug_trap(cpu) : 0;

	cpu->ext = debug;
	deliver(cpu, &d);
	cpu->ext = 0;
	if (!debug)
		return;
	cpu_debug_status(cpu, held);
	debug_delivered(cpu);
}

/* ---- events between instructions ---- */
static bool is_contributory(uint8_t vector)
{
	return vector == VEC_DE || (vector >= VEC_TS && vector <= VEC_GP);
}

static bool pushes_error(uint8_t vector)
{
	return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == VEC_AC;
}

/* Vector 8 of a pair of faults, table 6-5: true when they cannot be handled one after the other. */
static bool makes_double(uint8_t first, uint8_t second)
{
	if (first == VEC_PF)
		return second == VEC_PF || is_contributory(second);
	return is_contributory(first) && is_contributory(second);
}

/*
 * Turns a fault that was met on delivering `d` into the next delivery, as a double fault where it
 * has to be one; false: shutdown.
 */
static bool escalate(struct cpu *cpu, struct delivery *d)
{
	uint8_t second = cpu->fault.vec;
	bool exception = d->type == EVENT_EXCEPTION;

	if (exception && d->vector == VEC_DF && (second == VEC_PF || is_contributory(second)))
		return false;
	if (exception && makes_double(d->vector, second)) {
		d->vector = VEC_DF;
		d->err = 0;
	} else {
		d->vector = second;
		d->err = cpu->fault.err;
	}
	d->type = EVENT_EXCEPTION;
	d->has_err = pushes_error(d->vector);
	return true;
}

/*
 * Image of RFLAGS: RF keeps an instruction breakpoint from being met again on return (SDM vol.
 * 3, 17.3.1.1).
 */
static uint64_t flags_image(const struct cpu *cpu, const struct delivery *d)
{
	uint64_t flags = flags_get(cpu);
	bool fault = d->type == EVENT_EXCEPTION && d->vector != VEC_DB && d->vector != VEC_BP &&
		     d->vector != VEC_OF && d->vector != VEC_DF && d->vector != VEC_MC;

	fault |= d->type == EVENT_EXCEPTION && d->vector == VEC_DB && d->err == DB_GENERAL_DETECT;
	return fault || cpu->in_rep ? flags | FL_RF : flags;
}

/*
 * Tries the delivery once. False: it faulted, with the fault in cpu->fault and nothing else
 * changed.
 */
static bool deliver_guarded(struct cpu *cpu, const struct delivery *d)
{
	if (setjmp(cpu->escape))
		return false;
	deliver(cpu, d);
	return true;
}

static void deliver_until_done(struct cpu *cpu, struct delivery *d)
{
	for (;;) {
		d->rip = cpu->rip;
		d->flags = flags_image(cpu, d);
		cpu->ext = !is_software(d->type);
		if (deliver_guarded(cpu, d))
			return;
		/* CR2 also shows the address of a page fault that ends up as a double fault. */
		if (cpu->fault.vec == VEC_PF)
			cpu->cr2 = cpu->fault.cr2;
		if (!escalate(cpu, d)) {
			cpu->shutdown = true;
			return;
		}
	}
}

void intr_deliver(struct cpu *cpu, enum event_type type, uint8_t vector, bool has_err, uint32_t err)
{
	struct delivery d = { .type = type, .vector = vector, .has_err = has_err, .err = err };
	jmp_buf escape;

	memcpy(&escape, &cpu->escape, sizeof(escape));
	cpu->op = NULL;
	if (vector == VEC_DB && (type == EVENT_EXCEPTION || type == EVENT_INT1))
		debug_delivered(cpu);
	deliver_until_done(cpu, &d);
	cpu->ext = 0;
	memcpy(&cpu->escape, &escape, sizeof(escape));
}
