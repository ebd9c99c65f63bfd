/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bare guest for unit tests: RAM, an engine with a recording bus, and programs assembled into the
 * test program. GUEST_CODE(name, "asm...") makes the bytes name_start..name_end,
 * position-independent code for 64-bit mode.
 */
#ifndef TESTS_SOFT_GUEST_H
#define TESTS_SOFT_GUEST_H

#include <string.h>

#include "hypervisor/engine.h"
#include "hypervisor/memory.h"
#include "hypervisor/soft/cpu.h"
#include "hypervisor/soft/flags.h"
#include "tests/soft/engine.h"

#define GUEST_CODE(name, text)                                             \
	__asm__(".pushsection .rodata\n" #name "_start:\n" text "\n" #name \
		"_end:\n.popsection\n");                                   \
	extern const uint8_t name##_start[], name##_end[]

#define GUEST_LOG 4096

enum { GUEST_PORT_IN, GUEST_PORT_OUT, GUEST_MMIO_IN, GUEST_MMIO_OUT };

struct guest_access {
	int kind;
	unsigned size;
	uint64_t addr, value, count;
};

struct guest {
	struct memory mem;
	struct engine *e;
	struct guest_access log[GUEST_LOG];
	size_t n;
	bool stop_on_access; /* every access asks for a bus stop */
	uint64_t in;	     /* what reads give */
};

/*
 * Page tables of guest_long_mode(): one PML4, one PDPT, one page directory with 2 MiB pages,
 * identity.
 */
#define GUEST_PML4 0x70000ull
#define GUEST_PDPT 0x71000ull
#define GUEST_PD   0x72000ull

static inline struct cpu *guest_cpu(struct guest *g)
{
	/* struct soft: the engine, then the CPU on a 64-byte boundary. */
	return (struct cpu *)((char *)g->e + 64);
}

static inline void guest_note(struct guest *g, int kind, uint64_t addr, unsigned size, uint64_t v)
{
	if (g->n < GUEST_LOG)
		g->log[g->n++] =
			(struct guest_access){ kind, size, addr, v, g->e->ops->count(g->e) };
	if (g->stop_on_access)
		g->e->ops->bus_stop(g->e);
}

static inline uint32_t guest_port_read(void *ctx, uint16_t port, unsigned size)
{
	guest_note(ctx, GUEST_PORT_IN, port, size, 0);
	return (uint32_t)((struct guest *)ctx)->in;
}

static inline void guest_port_write(void *ctx, uint16_t port, unsigned size, uint32_t v)
{
	guest_note(ctx, GUEST_PORT_OUT, port, size, v);
}

static inline uint64_t guest_mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	guest_note(ctx, GUEST_MMIO_IN, gpa, size, 0);
	return ((struct guest *)ctx)->in;
}

static inline void guest_mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t v)
{
	guest_note(ctx, GUEST_MMIO_OUT, gpa, size, v);
}

static inline uint64_t guest_time(void *ctx)
{
	struct guest *g = ctx;

	return g->e->ops->count(g->e);
}

static inline uint64_t guest_random(void *ctx)
{
	return 4;
}

static inline void guest_init(struct guest *g, uint64_t size)
{
	struct err err = ERR_INIT;
	struct engine_bus bus = {
		.ctx = g,
		.port_read = guest_port_read,
		.port_write = guest_port_write,
		.mmio_read = guest_mmio_read,
		.mmio_write = guest_mmio_write,
		.time_ns = guest_time,
		.random = guest_random,
	};

	memset(g, 0, sizeof(*g));
	if (memory_init(&g->mem, size, &err) < 0)
		abort();
	g->e = test_engine_create(&g->mem, &bus);
	if (!g->e)
		abort();
	g->mem.engine = g->e;
}

static inline void guest_fini(struct guest *g)
{
	soft_engine_ops.destroy(g->e);
	memory_fini(&g->mem);
}

static inline uint8_t *guest_ram(struct guest *g, uint64_t gpa)
{
	return g->mem.base + memory_offset(&g->mem, gpa);
}

static inline uint64_t guest_peek(struct guest *g, uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, guest_ram(g, gpa), sizeof(v));
	return v;
}

static inline void guest_poke(struct guest *g, uint64_t gpa, uint64_t v)
{
	memory_write(&g->mem, gpa, &v, sizeof(v));
}

static inline void guest_load(struct guest *g, uint64_t gpa, const uint8_t *start,
			      const uint8_t *end)
{
	memory_write(&g->mem, gpa, start, (uint64_t)(end - start));
}

#define GUEST_LOAD(g, gpa, name) guest_load((g), (gpa), name##_start, name##_end)

/*
 * 64-bit mode at CPL 0 (or 3), flat segments, the first GiB identity-mapped with user-accessible 2
 * MiB pages.
 */
static inline void guest_long_mode(struct guest *g, uint64_t rip, unsigned cpl, struct cpu_state *s)
{
	struct err err = ERR_INIT;

	guest_poke(g, GUEST_PML4, GUEST_PDPT | 7);
	guest_poke(g, GUEST_PDPT, GUEST_PD | 7);
	for (uint64_t i = 0; i < 512; i++)
		guest_poke(g, GUEST_PD + 8 * i, i << 21 | 0x87);
	cpu_state_reset(s);
	s->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PGE;
	s->efer = EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	s->cr3 = GUEST_PML4;
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i] = (struct seg_state){ 0, UINT32_MAX, 0xc093 | cpl << 5,
						(uint16_t)(0x10 | cpl) };
	s->seg[SEG_CS] =
		(struct seg_state){ 0, UINT32_MAX, 0xa09b | cpl << 5, (uint16_t)(0x08 | cpl) };
	s->rip = rip;
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[R_RSP] = 0x60000;
	s->rflags = 2;
	s->count = 0;
	if (g->e->ops->set_state(g->e, s, &err) < 0)
		abort();
}

/* Descriptor tables of guest_tables(). */
#define GUEST_GDT 0x50000ull
#define GUEST_IDT 0x51000ull
#define GUEST_TSS 0x52000ull
#define GUEST_IST 0x5f000ull /* top of the stack of IST 1 */
#define GUEST_SP0 0x5d000ull

/* GDT (8: code, 10: data, 18: user code, 20: user data, 28: TSS), TSS and an empty IDT. */
static inline void guest_tables(struct guest *g)
{
	static const uint64_t gdt[] = { 0, 0xaf9b000000ffff, 0xcf93000000ffff, 0xaffb000000ffff,
					0xcff3000000ffff };
	struct err err = ERR_INIT;
	struct cpu_state s;

	memory_write(&g->mem, GUEST_GDT, gdt, sizeof(gdt));
	guest_poke(g, GUEST_GDT + 0x28, GUEST_TSS << 16 | 0x8b0000000067);
	guest_poke(g, GUEST_TSS + 4, GUEST_SP0);
	guest_poke(g, GUEST_TSS + 0x24, GUEST_IST);
	g->e->ops->get_state(g->e, &s);
	s.gdtr = (struct table_state){ GUEST_GDT, 0x37 };
	s.idtr = (struct table_state){ GUEST_IDT, 0xfff };
	s.seg[SEG_TR] = (struct seg_state){ GUEST_TSS, 0x67, 0x8b, 0x28 };
	if (g->e->ops->set_state(g->e, &s, &err) < 0)
		abort();
}

static inline void guest_gate(struct guest *g, unsigned vector, uint64_t handler, unsigned ist)
{
	guest_poke(g, GUEST_IDT + 16 * vector,
		   (handler & 0xffff) | 8 << 16 | (uint64_t)ist << 32 | 0xeeull << 40 |
			   (handler >> 16) << 48);
	guest_poke(g, GUEST_IDT + 16 * vector + 8, handler >> 32);
}

static inline enum engine_exit_kind guest_run_to(struct guest *g, uint64_t count)
{
	struct landmark until = { .count = count };

	return g->e->ops->run(g->e, &until);
}

#endif
