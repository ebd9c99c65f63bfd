// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/vmx/bench.h"

#include <stdio.h>
#include <string.h>

static uint32_t port_read(void *ctx, uint16_t port, unsigned size)
{
	return port;
}

static void port_write(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
}

static uint64_t mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	return UINT64_MAX;
}

static void mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
}

static uint64_t time_ns(void *ctx)
{
	const struct bench *b = ctx;

	return b->e->ops->count(b->e);
}

static uint64_t random_bits(void *ctx)
{
	return 0;
}

void bench_stop(struct bench *b)
{
	if (b->e)
		b->e->ops->destroy(b->e);
	memory_fini(&b->mem);
}

/* ---- 64-bit mode: the addresses are those of bench.h ---- */

#define PML4	   0x1000u
#define GDT	   0x6000u
#define TSS	   0x6100u
#define TSS_LIMIT  0x67u
#define STACK_0	   0x7800u
#define PRESENT_RW 7u /* and open to user mode */
#define CODE_64	   (11 | SEG_S | SEG_P | SEG_L | SEG_G)
#define DATA	   (3 | SEG_S | SEG_P | SEG_DB | SEG_G)

static void put64(struct memory *m, uint64_t gpa, uint64_t v)
{
	memory_write(m, gpa, &v, sizeof(v));
}

static void put_tables(struct memory *m)
{
	static const uint64_t gdt[] = {
		0,
		0x00af9b000000ffff,
		0x00cf93000000ffff,
		0x00cffb000000ffff,
		0x00cff3000000ffff,
		0x00affb000000ffff,
		0x00008b0000000000 | (uint64_t)TSS << 16 | TSS_LIMIT,
		0,
	};

	for (uint64_t table = PML4; table < BENCH_PT; table += PAGE_SIZE)
		put64(m, table, (table + PAGE_SIZE) | PRESENT_RW);
	for (uint64_t page = 0; page < BENCH_MEMORY; page += PAGE_SIZE)
		put64(m, BENCH_PT + page / PAGE_SIZE * 8, page | PRESENT_RW);
	memory_write(m, GDT, gdt, sizeof(gdt));
	put64(m, TSS + 4, STACK_0);
}

static void long_state(struct cpu_state *s)
{
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr3 = PML4;
	s->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i] = (struct seg_state){ .limit = UINT32_MAX, .attr = DATA, .selector = 16 };
	s->seg[SEG_CS] = (struct seg_state){ .limit = UINT32_MAX, .attr = CODE_64, .selector = 8 };
	s->seg[SEG_TR] = (struct seg_state){
		.base = TSS, .limit = TSS_LIMIT, .attr = 11 | SEG_P, .selector = 0x30
	};
	s->gdtr = (struct table_state){ .base = GDT, .limit = 0x3f };
	s->idtr = (struct table_state){ .base = BENCH_IDT, .limit = 0xfff };
}

/* As after a far jump in real mode. */
static void real_state(struct cpu_state *s)
{
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i].base = s->seg[i].selector = 0;
	s->seg[SEG_CS].attr = s->seg[SEG_DS].attr;
}

int bench_load(struct bench *b, const struct bench_program *p, struct err *err)
{
	struct cpu_state s;

	memory_write(&b->mem, BENCH_CODE, p->code, (size_t)(p->end - p->code));
	b->e->ops->memory_written(b->e, 0, BENCH_MEMORY);
	cpu_state_reset(&s);
	if (p->long_mode) {
		put_tables(&b->mem);
		long_state(&s);
	} else {
		real_state(&s);
	}
	s.rip = s.gpr[R_RSP] = BENCH_CODE;
	s.gpr[R_RDX] = 0;
	return b->e->ops->set_state(b->e, &s, err);
}

int bench_start(struct bench *b, const struct engine_ops *ops, unsigned version,
		const struct bench_program *p, struct err *err)
{
	const struct engine_bus bus = { .ctx = b,
					.version = version,
					.port_read = port_read,
					.port_write = port_write,
					.mmio_read = mmio_read,
					.mmio_write = mmio_write,
					.time_ns = time_ns,
					.random = random_bits };
	int ret;

	memset(b, 0, sizeof(*b));
	ret = memory_init(&b->mem, BENCH_MEMORY, err);
	if (ret < 0)
		return ret;
	b->e = ops->create(&b->mem, &bus, err);
	b->mem.engine = b->e;
	ret = b->e ? bench_load(b, p, err) : -err->code;
	if (ret < 0)
		bench_stop(b);
	return ret;
}

enum engine_exit_kind bench_run(struct bench *b, uint64_t count)
{
	const struct landmark until = { .count = count };

	return b->e->ops->run(b->e, &until);
}

void bench_note_error(const struct bench *b, enum engine_exit_kind kind, char error[BENCH_ERROR])
{
	const char *text = b->e->ops->last_error(b->e);

	if (!error[0])
		snprintf(error, BENCH_ERROR, "%s",
			 kind == ENGINE_EXIT_ERROR && text ? text
							   : "the guest did not get to its end");
}

#define NEAR 8 /* instructions */

static bool at_rep(const struct bench *b, const struct cpu_state *s)
{
	uint8_t prefix = 0;

	return memory_read(&b->mem, s->rip, &prefix, 1) && prefix == 0xf3 && s->gpr[R_RCX] > 1;
}

/* To half-way through the next REP instruction, where there is one. */
static enum engine_exit_kind go_into_rep(struct bench *b)
{
	enum engine_exit_kind kind = ENGINE_EXIT_UNTIL;
	struct landmark until = { .in_rep = true };
	struct cpu_state s;

	b->e->ops->get_state(b->e, &s);
	for (unsigned i = 0; i < NEAR && !at_rep(b, &s) && kind == ENGINE_EXIT_UNTIL; i++) {
		kind = bench_run(b, s.count + 1);
		b->e->ops->get_state(b->e, &s);
	}
	if (kind != ENGINE_EXIT_UNTIL || !at_rep(b, &s))
		return kind;
	until.count = s.count;
	until.rip = s.rip;
	until.rcx = s.gpr[R_RCX] / 2;
	return b->e->ops->run(b->e, &until);
}

/* As bench_run(), with interrupts from outside. */
static enum engine_exit_kind run_interrupted(struct bench *b, unsigned every, uint64_t limit)
{
	enum engine_exit_kind kind = ENGINE_EXIT_UNTIL;

	while (kind == ENGINE_EXIT_UNTIL && b->e->ops->count(b->e) < limit) {
		kind = bench_run(b, b->e->ops->count(b->e) + every);
		if (kind == ENGINE_EXIT_UNTIL)
			kind = go_into_rep(b);
		if (kind == ENGINE_EXIT_UNTIL && b->e->ops->can_interrupt(b->e))
			b->e->ops->inject(b->e, BENCH_VECTOR);
	}
	return kind;
}

int bench_run_program(const struct engine_ops *ops, unsigned version, const struct bench_program *p,
		      uint64_t limit, struct cpu_state *s, char error[BENCH_ERROR], struct err *err)
{
	enum engine_exit_kind kind;
	struct bench b;
	int ret = bench_start(&b, ops, version, p, err);

	if (ret < 0)
		return ret;
	kind = p->every ? run_interrupted(&b, p->every, limit) : bench_run(&b, limit);
	if (kind != ENGINE_EXIT_HALT)
		bench_note_error(&b, kind, error);
	b.e->ops->get_state(b.e, s);
	bench_stop(&b);
	return 0;
}
