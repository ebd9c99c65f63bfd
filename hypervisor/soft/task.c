// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hardware task switches: Intel SDM vol. 3, chapter 7.
 *
 * Up to the point of no return everything that can fault is read or probed; then the old task is
 * stored, the new one loaded. What is wrong with the new task's segments is found afterwards and is
 * a fault of the new task, at its first instruction, with registers loaded and segments empty from
 * the faulty one on.
 */
#include "hypervisor/soft/sys.h"

#define TSS16_LIMIT 0x2bu
#define TSS32_LIMIT 0x67u

#define TSS_LINK     0x00
#define TSS32_CR3    0x1c
#define TSS32_SAVED  0x20 /* EIP, EFLAGS, eight registers, six selectors in four bytes each */
#define TSS32_LDT    0x60
#define TSS32_TRAP   0x64
#define TSS16_SAVED  0x0e /* IP, FLAGS, eight registers, four selectors in two bytes each */
#define TSS16_LDT    0x2a
#define SAVED_EIP    0
#define SAVED_EFLAGS 1
#define SAVED_GPR    2
#define SAVED_SEG    10

#define DR7_LOCALS 0x155ull

#define FL_TASK                                                                                \
	(FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | \
	 FL_VIP | FL_ID)

/* A task as its TSS holds it. */
struct task_image {
	uint32_t saved[16]; /* by SAVED_* */
	uint32_t cr3;
	uint16_t ldt;
	bool wide; /* 32-bit TSS */
	bool trap;
};

static bool is_wide(uint32_t attr)
{
	return SEG_TYPE(attr) & SYS_32;
}

void task_fetch_tss(struct cpu *cpu, uint16_t sel, enum vector vec, bool busy, struct desc *d)
{
	unsigned want = busy ? SYS_TSS16_BUSY : SYS_TSS16;

	if (sel & 4)
		cpu_raise(cpu, vec, sel_error(cpu, sel));
	desc_fetch(cpu, sel, vec, d);
	/* 16- and 32-bit TSSs differ in one bit of the type. */
	if ((d->s.attr & SEG_S) || (SEG_TYPE(d->s.attr) & ~SYS_32) != want)
		cpu_raise(cpu, vec, sel_error(cpu, sel));
	if (!(d->s.attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, sel));
	if (d->s.limit < (is_wide(d->s.attr) ? TSS32_LIMIT : TSS16_LIMIT))
		cpu_raise(cpu, VEC_TS, sel_error(cpu, sel));
}

static void load_image(struct cpu *cpu, const struct seg_state *tss, struct task_image *t)
{
	uint8_t b[TSS32_LIMIT + 1];

	*t = (struct task_image){ .wide = is_wide(tss->attr) };
	/* A read is at most 64 bytes. */
	if (t->wide) {
		sys_read(cpu, tss->base, b, 64);
		sys_read(cpu, (uint32_t)(tss->base + 64), b + 64, sizeof(b) - 64);
		memcpy(t->saved, b + TSS32_SAVED, sizeof(t->saved));
		memcpy(&t->cr3, b + TSS32_CR3, sizeof(t->cr3));
		memcpy(&t->ldt, b + TSS32_LDT, sizeof(t->ldt));
		t->trap = b[TSS32_TRAP] & 1;
		return;
	}
	sys_read(cpu, tss->base, b, TSS16_LIMIT + 1);
	for (unsigned i = 0; i < SAVED_SEG + 4; i++)
		t->saved[i] = (uint32_t)(b[TSS16_SAVED + 2 * i] | b[TSS16_SAVED + 2 * i + 1] << 8);
	memcpy(&t->ldt, b + TSS16_LDT, sizeof(t->ldt));
}

/*
 * Stores the running task; the last step that can fault. Selectors fill half of their slots, the
 * rest stays.
 */
static void save_task(struct cpu *cpu, uint64_t rip, uint64_t flags)
{
	const struct seg_state *tr = &cpu->seg[SEG_TR];
	bool wide = is_wide(tr->attr);
	unsigned item = wide ? 4 : 2, off = wide ? TSS32_SAVED : TSS16_SAVED,
		 n = (wide ? 16u : 14u) * item;
	uint32_t lin = (uint32_t)(tr->base + off);
	uint8_t b[64];

	sys_read(cpu, lin, b, n);
	memcpy(b + SAVED_EIP * item, &rip, item);
	memcpy(b + SAVED_EFLAGS * item, &flags, item);
	for (unsigned i = 0; i < 8; i++)
		memcpy(b + (SAVED_GPR + i) * item, &cpu->gpr[i], item);
	for (unsigned i = 0; (SAVED_SEG + i) * item < n; i++)
		memcpy(b + (SAVED_SEG + i) * item, &cpu->seg[i].selector, 2);
	sys_write(cpu, lin, b, n);
}

/* Faults as the writes of the switch to `lin` would. */
static void probe(struct cpu *cpu, uint64_t lin, unsigned size)
{
	uint8_t b[8];

	sys_read(cpu, lin, b, size);
	sys_write(cpu, lin, b, size);
}

/* ---- the new task's registers ---- */
static void load_paging(struct cpu *cpu, const struct task_image *t)
{
	if (!t->wide || !(cpu->cr0 & CR0_PG))
		return;
	cpu->cr3 = t->cr3;
	mmu_flush_nonglobal(cpu);
	if ((cpu->cr4 & CR4_PAE) && !mmu_load_pdptes(cpu, cpu->cr3))
		cpu_raise(cpu, VEC_GP, cpu->ext);
}

static void load_registers(struct cpu *cpu, const struct task_image *t, bool nested)
{
	uint64_t flags = t->saved[SAVED_EFLAGS] & FL_TASK;

	cpu->rip = t->saved[SAVED_EIP];
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = t->saved[SAVED_GPR + i];
	for (unsigned i = 0; i < 6; i++)
		seg_set_null(cpu, (enum seg)i, (uint16_t)t->saved[SAVED_SEG + i]);
	seg_set_null(cpu, SEG_LDTR, t->ldt);
	flags_set(cpu, nested ? flags | FL_NT : flags);
	cpu->cpl = flags & FL_VM ? 3 : t->saved[SAVED_SEG + SEG_CS] & 3;
	cpu->seg[SEG_SS].attr |= (uint32_t)cpu->cpl << 5; /* SS.DPL is the CPL */
	cpu->cr0 |= CR0_TS;
	cpu->dr[7] &= ~DR7_LOCALS;
	mmu_debug_changed(cpu);
	cpu_mode_update(cpu);
}

static void load_ldt(struct cpu *cpu, uint16_t sel)
{
	struct desc d;

	if (sel_null(sel))
		return;
	if (sel & 4)
		cpu_raise(cpu, VEC_TS, sel_error(cpu, sel));
	desc_fetch(cpu, sel, VEC_TS, &d);
	if ((d.s.attr & SEG_S) || SEG_TYPE(d.s.attr) != SYS_LDT || !(d.s.attr & SEG_P))
		cpu_raise(cpu, VEC_TS, sel_error(cpu, sel));
	cpu->seg[SEG_LDTR] = d.s;
}

static void load_cs(struct cpu *cpu, uint16_t sel)
{
	struct desc d;
	unsigned dpl;

	if (sel_null(sel))
		cpu_raise(cpu, VEC_TS, sel_error(cpu, sel));
	desc_fetch(cpu, sel, VEC_TS, &d);
	dpl = SEG_DPL(d.s.attr);
	if (!attr_is_code(d.s.attr) ||
	    (attr_is_conforming(d.s.attr) ? dpl > cpu->cpl : dpl != cpu->cpl))
		cpu_raise(cpu, VEC_TS, sel_error(cpu, sel));
	if (!(d.s.attr & SEG_P))
		cpu_raise(cpu, VEC_NP, sel_error(cpu, sel));
	desc_mark_accessed(cpu, &d);
	seg_set_cs(cpu, &d, cpu->cpl);
}

static void load_segments(struct cpu *cpu, const struct task_image *t)
{
	static const enum seg data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	const uint32_t *sel = t->saved + SAVED_SEG;
	struct desc d;

	load_ldt(cpu, t->ldt);
	if (cpu->rflags & FL_VM) {
		for (unsigned i = 0; i < 6; i++)
			seg_set_vm86(cpu, (enum seg)i, (uint16_t)sel[i]);
		return;
	}
	load_cs(cpu, (uint16_t)sel[SEG_CS]);
	seg_check_ss(cpu, (uint16_t)sel[SEG_SS], cpu->cpl, false, VEC_TS, &d);
	cpu->seg[SEG_SS] = d.s;
	for (unsigned i = 0; i < 4; i++) {
		seg_check_data(cpu, (uint16_t)sel[data[i]], cpu->cpl, VEC_TS, &d);
		cpu->seg[data[i]] = d.s;
	}
}

static void push_error(struct cpu *cpu, const struct task_event *event, bool wide)
{
	struct stack st = stack_current(cpu);
	uint64_t err = event->err;

	stack_push(cpu, &st, &err, 1, wide ? 4 : 2, cpu->ext);
	stack_set_pointer(cpu, st.sp, st.mask);
}

/* Moves the busy bits and the link; all of these writes were probed. */
static void hand_over(struct cpu *cpu, struct desc *tss, const struct desc *old, enum task_via via)
{
	uint16_t link = cpu->seg[SEG_TR].selector;

	if (via == TASK_JMP || via == TASK_IRET)
		desc_set_busy(cpu, old, false);
	else
		sys_write(cpu, tss->s.base + TSS_LINK, &link, sizeof(link));
	if (via != TASK_IRET)
		desc_set_busy(cpu, tss, true);
	tss->s.attr |= SYS_TSS_BUSY_BIT;
	cpu->seg[SEG_TR] = tss->s;
}

void task_switch(struct cpu *cpu, struct desc *tss, enum task_via via, uint64_t rip, uint64_t flags,
		 const struct task_event *event)
{
	bool nested = via == TASK_CALL || via == TASK_EVENT;
	struct task_image t;
	struct desc old;

	/* Many writes, so none may make the run loop start the instruction again. */
	cpu_need_alone(cpu);
	load_image(cpu, &tss->s, &t);
	desc_fetch(cpu, cpu->seg[SEG_TR].selector, VEC_TS, &old);
	probe(cpu, old.lin + 5, 1);
	probe(cpu, tss->lin + 5, 1);
	probe(cpu, tss->s.base + TSS_LINK, 2);
	save_task(cpu, rip, via == TASK_IRET ? flags & ~(uint64_t)FL_NT : flags);

	hand_over(cpu, tss, &old, via);
	cpu->op = NULL; /* faults from here on are the new task's */
	cpu->task_switched = true;
	load_registers(cpu, &t, nested);
	load_paging(cpu, &t);
	load_segments(cpu, &t);
	cpu_mode_update(cpu);
	seg_check_rip(cpu, &cpu->seg[SEG_CS], cpu->rip);
	if (event && event->has_err)
		push_error(cpu, event, t.wide);
	if (t.trap) {
		cpu->db_pending = true;
		cpu->db_dr6 |= DR6_BT;
	}
}
