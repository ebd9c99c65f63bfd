/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases on an engine. The guest is as small as it can be: page tables that map the case's memory at
 * the linear addresses that it has on the host, and, high up for the supervisor, descriptor tables
 * and one HLT for each vector. A fault goes through the IDT to the HLT of its vector; the frame on
 * the kernel stack tells the rest.
 *
 *   physical          linear
 *   0x01000..0x0ffff  page tables
 *   0x10000           KERNEL + 0: GDT, IDT, TSS, stubs, stack (supervisor)
 *   0x20000           CODE, then the image
 */
#include "tests/isa/isa.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "hypervisor/engine.h"
#include "hypervisor/memory.h"
#include "hypervisor/soft/cpu.h"
#include "tests/soft/engine.h"

#define PT_P  1ull
#define PT_W  2ull
#define PT_U  4ull
#define PT_NX (1ull << 63)

#define GPA_PML4   0x1000
#define GPA_TABLES 0x2000 /* first free page for tables */
#define GPA_KERNEL 0x10000
#define GPA_CODE   0x20000
#define GPA_IMAGE  (GPA_CODE + CODE_SIZE)
#define GUEST_RAM  MEMORY_MIN

#define KERNEL_BASE  0xffff800000000000ull
#define OFF_GDT	     0x000
#define OFF_TSS	     0x100
#define OFF_IDT	     0x1000
#define OFF_STUBS    0x2000
#define OFF_STACK    0x4000 /* top */
#define KERNEL_PAGES 4

#define SEL_KCODE   0x10
#define SEL_KDATA   0x18
#define SEL_UCODE32 0x23
#define SEL_UDATA   0x2b
#define SEL_UCODE   0x33
#define SEL_TSS	    0x40

#define CASE_BUDGET 200000 /* instructions */

struct model {
	struct memory mem;
	struct engine *engine;
	struct engine_bus bus;
	uint64_t next_table;
	bool writable; /* are the code pages? */
	struct cpu_state start;
};

static uint32_t no_port_read(void *ctx, uint16_t port, unsigned size)
{
	return ~0u;
}

static void no_port_write(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
}

static uint64_t no_mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	return ~0ull;
}

static void no_mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
}

static uint64_t zero_time(void *ctx)
{
	return 0;
}

/* ---- guest memory ---- */
static uint64_t *table_at(struct model *m, uint64_t gpa)
{
	return (uint64_t *)(m->mem.base + gpa);
}

static void map_page(struct model *m, uint64_t linear, uint64_t gpa, uint64_t flags)
{
	uint64_t table = GPA_PML4;

	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t *e = &table_at(m, table)[linear >> shift & 511];

		if (!(*e & PT_P)) {
			*e = m->next_table | PT_P | PT_W | PT_U;
			m->next_table += PAGE;
		}
		table = *e & ~0xfffull;
	}
	table_at(m, table)[linear >> 12 & 511] = gpa | flags | PT_P;
}

static void map_range(struct model *m, uint64_t linear, uint64_t gpa, uint64_t len, uint64_t flags)
{
	for (uint64_t off = 0; off < len; off += PAGE)
		map_page(m, linear + off, gpa + off, flags);
}

static void map_all(struct model *m)
{
	m->next_table = GPA_TABLES;
	map_range(m, KERNEL_BASE, GPA_KERNEL, KERNEL_PAGES * PAGE, PT_W);
	map_range(m, CODE_BASE, GPA_CODE, CODE_SIZE, PT_U | (m->writable ? PT_W : 0));
	map_range(m, DATA_BASE, GPA_IMAGE + IMAGE_DATA, DATA_RW_SIZE, PT_U | PT_W | PT_NX);
	map_range(m, DATA_BASE + DATA_RW_SIZE, GPA_IMAGE + IMAGE_DATA + DATA_RW_SIZE,
		  DATA_SIZE - DATA_RW_SIZE, PT_U | PT_NX);
	map_range(m, FAR_BASE, GPA_IMAGE + IMAGE_FAR, FAR_SIZE, PT_U | PT_W | PT_NX);
	map_range(m, SCRATCH_BASE, GPA_IMAGE + IMAGE_SCRATCH, SCRATCH_SIZE, PT_U | PT_W | PT_NX);
}

static void put_gate(uint8_t *idt, unsigned vector, uint64_t to)
{
	/* Breakpoint and overflow are open to CPL 3. */
	uint64_t dpl = vector == VEC_BP || vector == VEC_OF ? 3 : 0;
	uint64_t lo = (to & 0xffff) | SEL_KCODE << 16 | (0x8e00ull | dpl << 13) << 32 |
		      (to >> 16 & 0xffff) << 48;
	uint64_t hi = to >> 32;

	memcpy(idt + 16 * vector, &lo, 8);
	memcpy(idt + 16 * vector + 8, &hi, 8);
}

static void put_kernel(struct model *m)
{
	uint8_t *k = m->mem.base + GPA_KERNEL;
	static const uint64_t gdt[] = {
		0,
		0,
		0x00af9b000000ffff, /* SEL_KCODE */
		0x00cf93000000ffff, /* SEL_KDATA */
		0x00cffb000000ffff, /* SEL_UCODE32 */
		0x00cff3000000ffff, /* SEL_UDATA */
		0x00affb000000ffff, /* SEL_UCODE */
	};
	uint64_t stack = KERNEL_BASE + OFF_STACK;
	uint16_t no_bitmap = 0xffff;

	memcpy(k + OFF_GDT, gdt, sizeof(gdt));
	memcpy(k + OFF_TSS + 4, &stack, 8);
	memcpy(k + OFF_TSS + 102, &no_bitmap, 2);
	for (unsigned v = 0; v < 32; v++)
		put_gate(k + OFF_IDT, v, KERNEL_BASE + OFF_STUBS + v);
	memset(k + OFF_STUBS, 0xf4, 32);
}

/* ---- state ---- */
static struct seg_state segment(uint16_t selector, uint32_t attr)
{
	return (struct seg_state){ .limit = 0xffffffff, .attr = attr, .selector = selector };
}

static void make_start(struct model *m)
{
	struct cpu_state *s = &m->start;
	struct seg_state null = { .attr = SEG_UNUSABLE };

	m->engine->ops->get_state(m->engine, s);
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	s->cr3 = GPA_PML4;
	s->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_SMEP |
		 CR4_SMAP | (m->bus.version == 1 ? CR4_OSXSAVE : 0);
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
	s->xcr0 = 3;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = null;
	s->seg[SEG_CS] = segment(SEL_UCODE, 11 | SEG_S | 3 << 5 | SEG_P | SEG_L | SEG_G);
	s->seg[SEG_SS] = segment(SEL_UDATA, 3 | SEG_S | 3 << 5 | SEG_P | SEG_DB | SEG_G);
	s->seg[SEG_DS] = s->seg[SEG_ES] = s->seg[SEG_SS];
	s->seg[SEG_TR] = (struct seg_state){ KERNEL_BASE + OFF_TSS, 0x67, 11 | SEG_P, SEL_TSS };
	s->gdtr = (struct table_state){ KERNEL_BASE + OFF_GDT, 0x4f };
	s->idtr = (struct table_state){ KERNEL_BASE + OFF_IDT, 0x1ff };
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	s->halted = false;
}

static void load_state(struct model *m, const struct regs *init, bool m32, struct cpu_state *s)
{
	*s = m->start;
	memcpy(s->gpr, init->gpr, sizeof(s->gpr));
	s->rip = init->rip;
	s->rflags = init->rflags;
	if (m32)
		s->seg[SEG_CS] = segment(SEL_UCODE32, 11 | SEG_S | 3 << 5 | SEG_P | SEG_DB | SEG_G);
	s->seg[SEG_FS].base = init->fs_base;
	s->seg[SEG_GS].base = init->gs_base;
	memcpy(s->fxsave, init->fx, sizeof(s->fxsave));
	s->count = m->engine->ops->count(m->engine);
}

/* Fresh page tables, with clear accessed and dirty bits; the engine forgets the memory it had. */
static void renew_memory(struct model *m, bool writable)
{
	m->writable = writable;
	memset(m->mem.base + GPA_PML4, 0, GPA_KERNEL - GPA_PML4);
	map_all(m);
	m->engine->ops->flush_tlb(m->engine);
	m->engine->ops->memory_written(m->engine, GPA_CODE, CODE_SIZE);
}

static void load_memory(struct model *m, const struct tcase *c)
{
	uint8_t *code = m->mem.base + GPA_CODE;

	memset(code, 0xcc, CODE_SIZE);
	memcpy(code + c->code_off, c->model_code, c->code_len);
	memcpy(m->mem.base + GPA_IMAGE, image_pristine(), IMAGE_SIZE);
	renew_memory(m, c->cls == CLS_SMC);
}

static bool has_error_code(unsigned vector)
{
	return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == VEC_AC;
}

/* From the halted state and the frame on the kernel stack. */
static void store_registers(struct model *m, bool m32, struct outcome *o)
{
	struct cpu_state s;
	uint64_t frame[6];

	m->engine->ops->get_state(m->engine, &s);
	o->vector = (uint32_t)(s.rip - 1 - (KERNEL_BASE + OFF_STUBS));
	memcpy(frame, m->mem.base + GPA_KERNEL + OFF_STACK - sizeof(frame), sizeof(frame));
	memcpy(o->regs.gpr, s.gpr, sizeof(s.gpr));
	o->error = has_error_code(o->vector) ? (uint32_t)frame[0] : 0;
	o->regs.rip = frame[1];
	o->cs = (uint16_t)frame[2];
	o->regs.rflags = frame[3];
	o->regs.gpr[R_RSP] = frame[4];
	o->ss = (uint16_t)frame[5];
	for (unsigned i = 0; i < 8 && m32; i++)
		o->regs.gpr[i] = (uint32_t)o->regs.gpr[i];
	o->regs.fs_base = s.seg[SEG_FS].base;
	o->regs.gs_base = s.seg[SEG_GS].base;
	memcpy(o->regs.fx, s.fxsave, sizeof(s.fxsave));
	o->cr2 = s.cr2;
	o->status = o->vector < 32 ? OUT_OK : OUT_BROKEN;
}

static void store_outcome(struct model *m, const struct tcase *c, struct outcome *o)
{
	store_registers(m, c->m32, o);
	o->memory = image_hash(c, m->mem.base + GPA_IMAGE);
	o->tables = XXH3_64bits(m->mem.base + GPA_PML4, GPA_KERNEL - GPA_PML4);
}

static bool start(struct model *m, const struct tcase *c, struct outcome *out)
{
	struct cpu_state s;

	memset(out, 0, sizeof(*out));
	load_memory(m, c);
	load_state(m, &c->init, c->m32, &s);
	out->status = OUT_BROKEN;
	return m->engine->ops->set_state(m->engine, &s, NULL) == 0;
}

static void finish(struct model *m, const struct tcase *c, enum engine_exit_kind why,
		   uint64_t first, struct outcome *out)
{
	out->why = why;
	out->retired = m->engine->ops->count(m->engine) - first;
	if (why == ENGINE_EXIT_HALT)
		store_outcome(m, c, out);
	else if (why == ENGINE_EXIT_UNTIL)
		out->status = OUT_TIMEOUT;
}

void model_run(struct model *m, const struct tcase *c, struct outcome *out)
{
	const struct engine_ops *ops = m->engine->ops;
	struct landmark until = { 0 };
	uint64_t first = ops->count(m->engine);

	until.count = first + CASE_BUDGET;
	if (start(m, c, out))
		finish(m, c, ops->run(m->engine, &until), first, out);
}

void model_run_memory(struct model *m, const struct regs *init, bool m32, bool writable,
		      const uint8_t *memory, struct outcome *out)
{
	const struct engine_ops *ops = m->engine->ops;
	struct landmark until = { 0 };
	struct cpu_state s;

	memset(out, 0, sizeof(*out));
	out->status = OUT_BROKEN;
	memcpy(m->mem.base + GPA_CODE, memory, CODE_SIZE + IMAGE_SIZE);
	renew_memory(m, writable);
	load_state(m, init, m32, &s);
	if (ops->set_state(m->engine, &s, NULL) < 0)
		return;
	until.count = ops->count(m->engine) + CASE_BUDGET;
	out->why = ops->run(m->engine, &until);
	if (out->why == ENGINE_EXIT_HALT)
		store_registers(m, m32, out);
	else if (out->why == ENGINE_EXIT_UNTIL)
		out->status = OUT_TIMEOUT;
}

/* Takes the state out and puts it back: nothing that matters may be missing from it. */
static bool copy_state(struct model *m)
{
	struct cpu_state s, again;
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd rd;
	bool same;

	m->engine->ops->get_state(m->engine, &s);
	cpu_state_save(&s, &a);
	rd = (struct rd)RD_INIT(a.data, a.len);
	same = cpu_state_restore(&again, &rd) == 0 &&
	       m->engine->ops->set_state(m->engine, &again, NULL) == 0;
	m->engine->ops->get_state(m->engine, &s);
	cpu_state_save(&s, &b);
	same = same && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
	buf_free(&a);
	buf_free(&b);
	return same;
}

/* In front of a REP instruction: a landmark between two of its iterations. */
static bool inside_rep(struct model *m, const struct tcase *c, struct rng *r,
		       struct landmark *until)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	struct cpu_state s;
	unsigned i = 0;

	m->engine->ops->get_state(m->engine, &s);
	while (i < c->n && CODE_BASE + c->at[i] != s.rip)
		i++;
	if (i == c->n || s.gpr[R_RCX] < 2 || s.gpr[R_RCX] > 1000 ||
	    !policy_decode(c->m32, &c->insn[i], &ins, op) ||
	    !(ins.attributes &
	      (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)))
		return false;
	*until = (struct landmark){ .count = s.count, .rip = s.rip, .in_rep = true };
	until->rcx = s.gpr[R_RCX] - 1 - rng_below(r, (uint32_t)s.gpr[R_RCX] - 1);
	return true;
}

void model_run_stopped(struct model *m, const struct tcase *c, struct outcome *out)
{
	const struct engine_ops *ops = m->engine->ops;
	struct landmark until = { 0 };
	uint64_t first = ops->count(m->engine), last = first + CASE_BUDGET;
	struct rng r = { c->seed };
	enum engine_exit_kind why;

	if (!start(m, c, out))
		return;
	do {
		if (rng_chance(&r, 25) && !copy_state(m))
			return;
		if (!inside_rep(m, c, &r, &until))
			until = (struct landmark){ .count = ops->count(m->engine) +
							    rng_below(&r, 4) };
		if (rng_chance(&r, 20))
			ops->kick(m->engine);
		why = ops->run(m->engine, &until);
		/* A landmark inside REP that never comes ends at the next boundary. */
		if (why == ENGINE_EXIT_UNTIL && ops->count(m->engine) - until.count > until.in_rep)
			return;
	} while ((why == ENGINE_EXIT_UNTIL || why == ENGINE_EXIT_KICK) &&
		 ops->count(m->engine) < last);
	finish(m, c, why, first, out);
}

const uint8_t *model_image(const struct model *m)
{
	return m->mem.base + GPA_IMAGE;
}

const uint8_t *model_memory(const struct model *m)
{
	return m->mem.base + GPA_CODE;
}

struct model *model_create(const struct engine_ops *ops, unsigned version, struct err *err)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	if (memory_init(&m->mem, GUEST_RAM, err) < 0) {
		free(m);
		return NULL;
	}
	m->bus = (struct engine_bus){ .version = version,
				      .port_read = no_port_read,
				      .port_write = no_port_write,
				      .mmio_read = no_mmio_read,
				      .mmio_write = no_mmio_write,
				      .time_ns = zero_time,
				      .random = zero_time };
	m->engine = ops == &soft_engine_ops ? test_engine_create(&m->mem, &m->bus)
					    : ops->create(&m->mem, &m->bus, err);
	if (!m->engine) {
		memory_fini(&m->mem);
		free(m);
		return NULL;
	}
	m->mem.engine = m->engine;
	map_all(m);
	put_kernel(m);
	make_start(m);
	return m;
}

void model_destroy(struct model *m)
{
	if (!m)
		return;
	m->engine->ops->destroy(m->engine);
	memory_fini(&m->mem);
	free(m);
}
