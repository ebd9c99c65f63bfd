/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bare vCPU for unit tests: RAM, the soft engine, a bus that writes down what it sees. Guest code
 * is assembled into the test program (GUEST_CODE) and copied to CODE; HLT ends it.
 *
 *   1000  page tables: PML4, PDPT with two identity-mapped 1 GiB pages, open to user mode
 *   3000  GDT            4000  IDT            5000  TSS (second one at 5800)
 *   6000  LDT            7000  data
 *   10000 code           20000 stack of privilege 0 (top)   30000 user stack (top)
 */
#ifndef TESTS_SOFT_RIG_H
#define TESTS_SOFT_RIG_H

#include <string.h>

#include "hypervisor/engine.h"
#include "hypervisor/memory.h"
#include "hypervisor/soft/cpu.h"
#include "tests/soft/engine.h"
#include "tests/unit.h"

#define PML4	0x1000u
#define PDPT	0x2000u
#define GDT	0x3000u
#define IDT	0x4000u
#define TSS	0x5000u
#define TSS2	0x5800u
#define LDT	0x6000u
#define DATA	0x7000u
#define CODE	0x10000u
#define STACK	0x20000u
#define USTACK	0x30000u
#define HANDLER 0x18000u /* one HLT for each vector, 16 bytes apart */

/* Selectors */
#define K_CODE32 0x08
#define K_DATA	 0x10
#define K_CODE64 0x18
#define U_CODE32 0x23
#define U_DATA	 0x2b
#define U_CODE64 0x33
#define S_TSS	 0x40 /* 16 bytes in long mode */
#define S_LDT	 0x50 /* likewise */
#define S_TSS2	 0x60
#define S_FREE	 0x70 /* for the test: 0x70, 0x78 ... */

#define GUEST_CODE(name, bits, text)                                                          \
	__asm__(".pushsection .rodata\n" #name ":\n.code" #bits "\n" text "\n.code64\n" #name \
		"_end:\n.popsection\n");                                                      \
	extern const uint8_t name[], name##_end[]

struct rig {
	struct memory mem;
	struct engine *e;
	struct cpu_state s;
	uint64_t ns;
	unsigned nports;
	struct {
		uint16_t port;
		uint8_t size;
		bool write;
		uint32_t value;
	} ports[64];
};

static inline uint32_t rig_port_read(void *ctx, uint16_t port, unsigned size)
{
	struct rig *r = ctx;

	if (r->nports < 64) {
		r->ports[r->nports].port = port;
		r->ports[r->nports++].size = (uint8_t)size;
	}
	return 0xa1b2c3d4 + r->nports;
}

static inline void rig_port_write(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
	struct rig *r = ctx;

	if (r->nports >= 64)
		return;
	r->ports[r->nports].port = port;
	r->ports[r->nports].size = (uint8_t)size;
	r->ports[r->nports].write = true;
	r->ports[r->nports++].value = value;
}

static inline uint64_t rig_mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	return UINT64_MAX;
}

static inline void rig_mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
}

static inline uint64_t rig_time(void *ctx)
{
	return ((struct rig *)ctx)->ns;
}

static inline uint64_t rig_random(void *ctx)
{
	return 0x1122334455667788ull;
}

static inline void rig_put(struct rig *r, uint64_t gpa, const void *data, uint64_t n)
{
	ck_assert(memory_write(&r->mem, gpa, data, n));
}

static inline void rig_put64(struct rig *r, uint64_t gpa, uint64_t v)
{
	rig_put(r, gpa, &v, 8);
}

static inline void rig_put32(struct rig *r, uint64_t gpa, uint32_t v)
{
	rig_put(r, gpa, &v, 4);
}

static inline void rig_put16(struct rig *r, uint64_t gpa, uint16_t v)
{
	rig_put(r, gpa, &v, 2);
}

static inline uint64_t rig_get(struct rig *r, uint64_t gpa, unsigned n)
{
	uint64_t v = 0;

	ck_assert(memory_read(&r->mem, gpa, &v, n));
	return v;
}

/* ---- descriptors ---- */
static inline uint64_t desc_make(uint32_t base, uint32_t limit, uint32_t attr)
{
	if (attr & SEG_G)
		limit >>= 12;
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(attr >> 12 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

#define A_CODE32 (SEG_P | SEG_S | SEG_DB | SEG_G | 11u)
#define A_CODE16 (SEG_P | SEG_S | 11u)
#define A_CODE64 (SEG_P | SEG_S | SEG_L | SEG_G | 11u)
#define A_DATA	 (SEG_P | SEG_S | SEG_DB | SEG_G | 3u)
#define A_DPL(n) ((uint32_t)(n) << 5)

static inline void rig_desc(struct rig *r, uint16_t sel, uint32_t base, uint32_t limit,
			    uint32_t attr)
{
	rig_put64(r, (sel & 4 ? LDT : GDT) + (sel & 0xfff8u), desc_make(base, limit, attr));
}

static inline uint64_t gate_make(uint16_t sel, uint32_t off, uint8_t type, unsigned dpl,
				 unsigned low)
{
	return (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)low << 32 |
	       (uint64_t)(SEG_P | dpl << 5 | type) << 40 | (uint64_t)(off >> 16) << 48;
}

static inline void rig_gate64(struct rig *r, unsigned vec, uint16_t sel, uint64_t off, uint8_t type,
			      unsigned dpl, unsigned ist)
{
	rig_put64(r, IDT + vec * 16, gate_make(sel, (uint32_t)off, type, dpl, ist));
	rig_put64(r, IDT + vec * 16 + 8, off >> 32);
}

static inline void rig_gate32(struct rig *r, unsigned vec, uint16_t sel, uint32_t off, uint8_t type,
			      unsigned dpl)
{
	rig_put64(r, IDT + vec * 8, gate_make(sel, off, type, dpl, 0));
}

/* ---- the vCPU ---- */
static inline void rig_seg(struct rig *r, enum seg s, uint16_t sel, uint32_t attr)
{
	r->s.seg[s] = (struct seg_state){ .limit = UINT32_MAX, .attr = attr, .selector = sel };
}

static inline void rig_tables(struct rig *r)
{
	rig_put64(r, PML4, PDPT | 7);
	rig_put64(r, PDPT, 0x87);
	rig_put64(r, PDPT + 8, 0x40000087);
	rig_desc(r, K_CODE32, 0, UINT32_MAX, A_CODE32);
	rig_desc(r, K_DATA, 0, UINT32_MAX, A_DATA);
	rig_desc(r, K_CODE64, 0, UINT32_MAX, A_CODE64);
	rig_desc(r, U_CODE32, 0, UINT32_MAX, A_CODE32 | A_DPL(3));
	rig_desc(r, U_DATA, 0, UINT32_MAX, A_DATA | A_DPL(3));
	rig_desc(r, U_CODE64, 0, UINT32_MAX, A_CODE64 | A_DPL(3));
	rig_desc(r, S_TSS, TSS, 0x67, SEG_P | 11);
	rig_desc(r, S_TSS2, TSS2, 0x67, SEG_P | 9);
	rig_desc(r, S_LDT, LDT, 0xff, SEG_P | 2);
	for (unsigned v = 0; v < 256; v++)
		rig_put16(r, HANDLER + v * 16, 0x90f4); /* HLT; NOP */
	r->s.gdtr = (struct table_state){ .base = GDT, .limit = 0xff };
	r->s.seg[SEG_TR] = (struct seg_state){
		.base = TSS, .limit = 0x67, .attr = SEG_P | 11, .selector = S_TSS
	};
	r->s.seg[SEG_LDTR] = (struct seg_state){
		.base = LDT, .limit = 0xff, .attr = SEG_P | 2, .selector = S_LDT
	};
}

static inline struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));
	const struct engine_bus bus = { .ctx = r,
					.port_read = rig_port_read,
					.port_write = rig_port_write,
					.mmio_read = rig_mmio_read,
					.mmio_write = rig_mmio_write,
					.time_ns = rig_time,
					.random = rig_random };

	ck_assert_int_eq(memory_init(&r->mem, 2 << 20, NULL), 0);
	r->e = test_engine_create(&r->mem, &bus);
	ck_assert_ptr_nonnull(r->e);
	r->mem.engine = r->e;
	cpu_state_reset(&r->s);
	r->s.rip = CODE;
	r->s.gpr[R_RSP] = STACK;
	return r;
}

static inline void rig_free(struct rig *r)
{
	r->e->ops->destroy(r->e);
	memory_fini(&r->mem);
	free(r);
}

/* 64-bit mode at privilege cpl; gates of all vectors lead to HLT at HANDLER. */
static inline void rig_long(struct rig *r, unsigned cpl)
{
	rig_tables(r);
	r->s.cr0 = CR0_PG | CR0_PE | CR0_ET | CR0_NE | CR0_WP;
	r->s.cr3 = PML4;
	r->s.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR;
	r->s.efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NX;
	rig_seg(r, SEG_CS, cpl ? U_CODE64 : K_CODE64, A_CODE64 | A_DPL(cpl));
	for (enum seg s = SEG_ES; s <= SEG_GS; s++) {
		if (s != SEG_CS)
			rig_seg(r, s, cpl ? U_DATA : K_DATA, A_DATA | A_DPL(cpl));
	}
	for (unsigned v = 0; v < 256; v++)
		rig_gate64(r, v, K_CODE64, HANDLER + v * 16, 14, 0, 0);
	r->s.idtr = (struct table_state){ .base = IDT, .limit = 0xfff };
	rig_put64(r, TSS + 4, STACK);		  /* RSP0 */
	rig_put64(r, TSS + 0x24, STACK - 0x1008); /* IST1, not aligned */
	if (cpl)
		r->s.gpr[R_RSP] = USTACK;
}

/* 32-bit protected mode without paging. */
static inline void rig_prot(struct rig *r, unsigned cpl)
{
	rig_tables(r);
	r->s.cr0 = CR0_PE | CR0_ET | CR0_NE;
	rig_seg(r, SEG_CS, cpl ? U_CODE32 : K_CODE32, A_CODE32 | A_DPL(cpl));
	for (enum seg s = SEG_ES; s <= SEG_GS; s++) {
		if (s != SEG_CS)
			rig_seg(r, s, cpl ? U_DATA : K_DATA, A_DATA | A_DPL(cpl));
	}
	for (unsigned v = 0; v < 256; v++)
		rig_gate32(r, v, K_CODE32, HANDLER + v * 16, 14, 0);
	r->s.idtr = (struct table_state){ .base = IDT, .limit = 0x7ff };
	rig_put32(r, TSS + 4, STACK); /* ESP0 */
	rig_put32(r, TSS + 8, K_DATA);
	if (cpl)
		r->s.gpr[R_RSP] = USTACK;
}

/*
 * Real mode at 1000:0000 with the stack at 2000:0000 downwards; IVT entries lead to HLT at
 * 1800:vector * 16.
 */
static inline void rig_real(struct rig *r)
{
	r->s.cr0 = CR0_ET;
	r->s.seg[SEG_CS].base = CODE;
	r->s.seg[SEG_CS].selector = CODE >> 4;
	r->s.seg[SEG_SS].base = 0x1f000;
	r->s.seg[SEG_SS].selector = 0x1f00;
	r->s.gpr[R_RSP] = 0x1000;
	r->s.rip = 0;
	r->s.idtr = (struct table_state){ .limit = 0x3ff };
	for (unsigned v = 0; v < 256; v++) {
		rig_put32(r, v * 4, (HANDLER >> 4) << 16 | v * 16);
		rig_put16(r, HANDLER + v * 16, 0x90f4);
	}
}

static inline void rig_code(struct rig *r, const uint8_t *start, const uint8_t *end)
{
	rig_put(r, CODE, start, (uint64_t)(end - start));
}

/* Runs from r->s until the guest halts (at most n instructions), and reads the state back. */
static inline enum engine_exit_kind rig_run_for(struct rig *r, uint64_t n)
{
	struct err err = ERR_INIT;
	struct landmark until = { .count = r->s.count + n };
	enum engine_exit_kind kind;

	ck_assert_msg(r->e->ops->set_state(r->e, &r->s, &err) == 0, "%s", err.text);
	do {
		kind = r->e->ops->run(r->e, &until);
	} while (kind == ENGINE_EXIT_BUS || kind == ENGINE_EXIT_KICK);
	r->e->ops->get_state(r->e, &r->s);
	return kind;
}

static inline void rig_run(struct rig *r)
{
	enum engine_exit_kind kind = rig_run_for(r, 1000);

	ck_assert_msg(kind == ENGINE_EXIT_HALT, "ended with %d at rip %#lx count %lu", kind,
		      (long)r->s.rip, (long)r->s.count);
}

/* Loads the code, runs it; it has to end with HLT. */
#define RIG_RUN(r, code)                       \
	do {                                   \
		rig_code(r, code, code##_end); \
		rig_run(r);                    \
	} while (0)

/* Which handler the guest halted in, or -1: in its own code. */
static inline int rig_vector(const struct rig *r)
{
	uint64_t at = r->s.seg[SEG_CS].base * !(r->s.seg[SEG_CS].attr & SEG_L) + r->s.rip - 1;

	return at >= HANDLER && at < HANDLER + 4096 && (at & 15) == 0 ? (int)((at - HANDLER) / 16)
								      : -1;
}

/* n-th 8-byte item of the frame that the handler got. */
static inline uint64_t rig_frame64(struct rig *r, unsigned n)
{
	return rig_get(r, r->s.gpr[R_RSP] + 8 * n, 8);
}

static inline uint32_t rig_frame32(struct rig *r, unsigned n)
{
	return (uint32_t)rig_get(r, r->s.seg[SEG_SS].base + (uint32_t)r->s.gpr[R_RSP] + 4 * n, 4);
}

#define ck_hex(a, b) \
	ck_assert_msg((uint64_t)(a) == (uint64_t)(b), #a " is %#lx, not %#lx", (long)(a), (long)(b))

#endif
