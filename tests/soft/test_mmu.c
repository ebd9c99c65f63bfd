/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paging and memory access of the software CPU: walks, rights, error codes, A/D bits, TLBs, MMIO,
 * dirty tracking.
 */
#include <errno.h>

#include "tests/unit.h"

#include "hypervisor/soft/block.h"
#include "hypervisor/soft/mem.h"
#include "hypervisor/soft/mmu.h"
#include "hypervisor/soft/probe.h"
#include "tests/soft/guest.h"

#define MEMORY (16ull << 20)
#define PT     0x73000ull /* page table of the 2 MiB at LIN */
#define LIN    0x40000000ull
#define DATA   0x200000ull /* guest physical page that LIN maps to, in most tests */
#define NX     (1ull << 63)

static struct guest g;
static struct cpu *cpu;

/* 4-level paging; LIN is mapped through a page table of its own with entry `pte`. */
static void start(uint64_t pte)
{
	struct cpu_state s;

	guest_init(&g, MEMORY);
	cpu = guest_cpu(&g);
	guest_long_mode(&g, 0x1000, 0, &s);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, PT | 7);
	guest_poke(&g, PT, pte);
	guest_poke(&g, PT + 8, (DATA + 0x1000) | 7);
}

enum { READ, WRITE, FETCH, RMW, SYSTEM_READ };
enum { OK = -1, GP = 0x100, SS, AC, ALONE };

static int fault_of(void)
{
	switch (cpu->fault.vec) {
	case VEC_PF:
		return (int)cpu->fault.err;
	case VEC_GP:
		return GP;
	case VEC_SS:
		return SS;
	case VEC_AC:
		return AC;
	default:
		return 0x200 + (int)cpu->fault.vec;
	}
}

/* Error code of the #PF that an access meets, or one of the other results. */
static int try_access(int kind, uint64_t lin, unsigned size)
{
	uint8_t buf[64] = { 0 };

	switch (setjmp(cpu->escape)) {
	case ESCAPE_FAULT:
		return fault_of();
	case ESCAPE_RESTART:
		return ALONE;
	}
	if (kind == FETCH)
		mmu_fetch_page(cpu, lin);
	else if (kind == WRITE)
		mem_st(cpu, lin, buf, size);
	else if (kind == SYSTEM_READ)
		sys_read(cpu, lin, buf, size);
	else
		mem_read_slow(cpu, lin, buf, size, kind == RMW);
	return OK;
}

static void set_cpl(uint8_t cpl)
{
	cpu->cpl = cpl;
	cpu_mode_update(cpu);
}

struct rights_case {
	uint64_t pte;
	uint8_t cpl;
	uint8_t access;
	uint32_t cr0_off, cr4; /* CR0 bits cleared, CR4 bits set */
	bool ac;
	int result;
};

static const struct rights_case rights_cases[] = {
	{ 0, 0, READ, 0, 0, false, 0 },
	{ 0, 3, READ, 0, 0, false, 4 },
	{ 0, 0, WRITE, 0, 0, false, 2 },
	{ 0, 3, WRITE, 0, 0, false, 6 },
	{ 0, 0, FETCH, 0, 0, false, 16 },
	{ 0, 3, FETCH, 0, 0, false, 20 },
	{ DATA | 7, 3, READ, 0, 0, false, OK },
	{ DATA | 7, 3, WRITE, 0, 0, false, OK },
	{ DATA | 7, 3, FETCH, 0, 0, false, OK },
	{ DATA | 3, 0, READ, 0, 0, false, OK },
	{ DATA | 3, 0, WRITE, 0, 0, false, OK },
	{ DATA | 3, 3, READ, 0, 0, false, 5 },
	{ DATA | 3, 3, WRITE, 0, 0, false, 7 },
	{ DATA | 3, 3, RMW, 0, 0, false, 7 },
	{ DATA | 3, 3, FETCH, 0, 0, false, 21 },
	{ DATA | 3, 3, SYSTEM_READ, 0, 0, false, OK },
	{ DATA | 5, 3, READ, 0, 0, false, OK },
	{ DATA | 5, 3, WRITE, 0, 0, false, 7 },
	{ DATA | 5, 3, WRITE, CR0_WP, 0, false, 7 },
	{ DATA | 5, 3, RMW, 0, 0, false, 7 },
	{ DATA | 1, 0, WRITE, 0, 0, false, 3 },
	{ DATA | 1, 0, RMW, 0, 0, false, 3 },
	{ DATA | 1, 0, WRITE, CR0_WP, 0, false, OK },
	{ DATA | 7 | NX, 3, FETCH, 0, 0, false, 21 },
	{ DATA | 3 | NX, 0, FETCH, 0, 0, false, 17 },
	{ DATA | 7 | NX, 3, READ, 0, 0, false, OK },
	{ DATA | 7, 0, FETCH, 0, 0, false, OK },
	{ DATA | 7, 0, FETCH, 0, CR4_SMEP, false, 17 },
	{ DATA | 7, 3, FETCH, 0, CR4_SMEP, false, OK },
	{ DATA | 7, 0, READ, 0, CR4_SMAP, false, 1 },
	{ DATA | 7, 0, WRITE, 0, CR4_SMAP, false, 3 },
	{ DATA | 7, 0, WRITE, CR0_WP, CR4_SMAP, false, 3 },
	{ DATA | 7, 0, READ, 0, CR4_SMAP, true, OK },
	{ DATA | 7, 0, SYSTEM_READ, 0, CR4_SMAP, true, 1 },
	{ DATA | 7, 3, SYSTEM_READ, 0, CR4_SMAP, true, 1 },
	{ DATA | 3, 0, READ, 0, CR4_SMAP, false, OK },
	{ DATA | 7, 3, READ, 0, CR4_SMAP, false, OK },
	{ DATA | 7 | 1ull << 40, 0, READ, 0, 0, false, 9 },
	{ DATA | 7 | 1ull << 51, 3, WRITE, 0, 0, false, 15 },
	{ DATA | 7 | 1ull << 52, 3, WRITE, 0, 0, false, OK },
	{ DATA | 7 | 1ull << 40, 3, FETCH, 0, 0, false, 29 },
};

START_TEST(rights)
{
	const struct rights_case *c = &rights_cases[_i];

	start(c->pte);
	cpu->cr0 &= ~(uint64_t)c->cr0_off;
	cpu->cr4 |= c->cr4;
	cpu->rflags |= c->ac ? FL_AC : 0;
	set_cpl(c->cpl);
	for (int again = 0; again < 2; again++) {
		ck_assert_int_eq(try_access(c->access, LIN + 0x10, 8), c->result);
		if (c->result >= 0)
			ck_assert_uint_eq(cpu->fault.cr2, LIN + 0x10);
	}
	/* A failed walk marks nothing. */
	ck_assert_uint_eq(guest_peek(&g, 0x74000) & 0x20, c->result == OK ? 0x20 : 0);
	guest_fini(&g);
}
END_TEST

START_TEST(rights_of_upper_levels)
{
	start(DATA | 7);
	guest_poke(&g, 0x74000, PT | 3);
	set_cpl(3);
	ck_assert_int_eq(try_access(READ, LIN, 1), 5);
	guest_poke(&g, 0x74000, PT | 5);
	ck_assert_int_eq(try_access(READ, LIN, 1), OK);
	ck_assert_int_eq(try_access(WRITE, LIN, 1), 7);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7 | NX);
	ck_assert_int_eq(try_access(FETCH, LIN, 1), 21);
	guest_poke(&g, GUEST_PML4, GUEST_PDPT | 7 | 0x80); /* PS is reserved there */
	mmu_flush_all(cpu);
	ck_assert_int_eq(try_access(READ, LIN, 1), 13);
	guest_fini(&g);
}
END_TEST

START_TEST(accessed_and_dirty)
{
	start(DATA | 7);
	ck_assert_int_eq(try_access(READ, LIN, 8), OK);
	ck_assert_uint_eq(guest_peek(&g, GUEST_PML4) & 0x60, 0x20);
	ck_assert_uint_eq(guest_peek(&g, GUEST_PDPT + 8) & 0x60, 0x20);
	ck_assert_uint_eq(guest_peek(&g, 0x74000) & 0x60, 0x20);
	ck_assert_uint_eq(guest_peek(&g, PT) & 0x60, 0x20);
	ck_assert_int_eq(try_access(WRITE, LIN, 8), OK);
	ck_assert_uint_eq(guest_peek(&g, PT) & 0x60, 0x60);
	ck_assert_uint_eq(guest_peek(&g, 0x74000) & 0x60, 0x20);
	/* A hit writes nothing; INVLPG makes the next access walk again. */
	guest_poke(&g, PT, DATA | 7);
	ck_assert_int_eq(try_access(WRITE, LIN, 8), OK);
	ck_assert_uint_eq(guest_peek(&g, PT) & 0x60, 0);
	mmu_flush_page(cpu, LIN + 0xabc);
	ck_assert_int_eq(try_access(READ, LIN, 8), OK);
	ck_assert_uint_eq(guest_peek(&g, PT) & 0x60, 0x20);
	/* Host-made retagging changes nothing either. */
	guest_poke(&g, PT, DATA | 0x67);
	mmu_flush_all(cpu);
	ck_assert_int_eq(try_access(READ, LIN, 8), OK);
	guest_poke(&g, PT, DATA | 7);
	g.e->ops->sync_dirty(g.e);
	mmu_flush_code_writes(cpu, DATA);
	mmu_debug_changed(cpu);
	ck_assert_int_eq(try_access(WRITE, LIN, 8), OK);
	ck_assert_uint_eq(guest_peek(&g, PT) & 0x60, 0);
	guest_fini(&g);
}
END_TEST

static void set_wp(bool on)
{
	cpu->cr0 = on ? cpu->cr0 | CR0_WP : cpu->cr0 & ~(uint64_t)CR0_WP;
	cpu_mode_update(cpu);
}

/* CR0.WP counts when a page is written; a change of it leaves every translation where it is. */
START_TEST(write_protection_toggles)
{
	start(DATA | 1);
	set_wp(false);
	ck_assert_int_eq(try_access(WRITE, LIN, 8), OK);
	set_wp(true);
	ck_assert_int_eq(try_access(WRITE, LIN, 8), 3);
	ck_assert_int_eq(try_access(RMW, LIN, 8), 3);
	ck_assert_int_eq(try_access(READ, LIN, 8), OK);
	guest_poke(&g, PT, 0); /* a walk would fault */
	set_wp(false);
	mem_st64(cpu, LIN, 0x77);
	ck_assert_int_eq(try_access(WRITE, LIN, 8), OK);
	ck_assert_int_eq(try_access(READ, LIN, 8), OK);
	/* Other pages are as they were, too; the user's never depend on it. */
	set_wp(true);
	guest_poke(&g, PT + 8, (DATA + 0x1000) | 7);
	ck_assert_int_eq(try_access(WRITE, LIN + 0x1000, 8), OK);
	guest_poke(&g, PT + 8, 0);
	set_wp(false);
	ck_assert_int_eq(try_access(WRITE, LIN + 0x1000, 8), OK);
	guest_fini(&g);
	start(DATA | 5);
	set_wp(false);
	set_cpl(3);
	ck_assert_int_eq(try_access(WRITE, LIN, 8), 7);
	guest_fini(&g);
}
END_TEST

/* Pages all over the TLB, some of them global: a flush drops what it has to, and nothing twice. */
START_TEST(flushes_find_all)
{
	start(DATA | 7);
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < 512; i++)
			guest_poke(&g, PT + 8 * i, DATA | 7 | (i % 3 ? 0 : 0x100));
		for (uint64_t i = 0; i < 512; i++)
			ck_assert_int_eq(try_access(i % 2 ? READ : WRITE, LIN + i * 0x1000, 8), OK);
		memset(guest_ram(&g, PT), 0, 4096);
		mmu_flush_nonglobal(cpu);
		for (uint64_t i = 0; i < 512; i++)
			ck_assert_int_eq(try_access(READ, LIN + i * 0x1000, 8), i % 3 ? 0 : OK);
		mmu_flush_all(cpu);
		for (uint64_t i = 0; i < 512; i++)
			ck_assert_int_eq(try_access(READ, LIN + i * 0x1000, 8), 0);
	}
	guest_fini(&g);
}
END_TEST

/* The fault: the only translation leads to another page, until it is filled again; or nowhere. */
START_TEST(a_bit_of_a_translation_flips)
{
	start(DATA | 7);
	guest_poke(&g, DATA, 11);
	guest_poke(&g, DATA + 0x1000, 12);
	ck_assert_int_eq(hidden_flip(cpu, 0), -EINVAL); /* none is held */
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 11);
	ck_assert_int_eq(hidden_flip(cpu, 28), -EINVAL);
	ck_assert_int_eq(hidden_flip(cpu, 12345 * 64), 0);
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 12);
	ck_assert_int_eq(try_access(WRITE, LIN, 1), OK); /* clean: another walk, which mends it */
	ck_assert_uint_eq(mem_ld64(cpu, LIN) >> 8, 0);
	mmu_flush_all(cpu);
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 0);
	ck_assert_int_eq(hidden_flip(cpu, 27), 0);
	/* No RAM: the bus answers, to an instruction that is alone. */
	ck_assert_int_eq(try_access(READ, LIN, 8), ALONE);
	cpu->single = true;
	g.in = 0x1122334455667788;
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 0x1122334455667788);
	guest_fini(&g);
}
END_TEST

START_TEST(stale_and_global)
{
	start(DATA | 7 | 0x100);
	guest_poke(&g, PT + 16, DATA | 7);
	guest_poke(&g, DATA, 11);
	guest_poke(&g, DATA + 0x3000, 12);
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 11);
	ck_assert_uint_eq(mem_ld64(cpu, LIN + 0x2000), 11);
	guest_poke(&g, PT, (DATA + 0x3000) | 7);
	guest_poke(&g, PT + 16, (DATA + 0x3000) | 7);
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 11);
	mmu_flush_nonglobal(cpu);
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 11);
	ck_assert_uint_eq(mem_ld64(cpu, LIN + 0x2000), 12);
	mmu_flush_page(cpu, LIN);
	ck_assert_uint_eq(mem_ld64(cpu, LIN), 12);
	guest_fini(&g);
}
END_TEST

START_TEST(large_pages)
{
	start(DATA | 7);
	guest_poke(&g, 0x74008, 0x600000 | 0x1087); /* 2 MiB, PAT bit */
	guest_poke(&g, GUEST_PDPT + 16, 0x87);	    /* 1 GiB */
	guest_poke(&g, 0x634560, 5);
	guest_poke(&g, 0x777560, 5);
	ck_assert_uint_eq(mem_ld64(cpu, LIN + 0x234560), 5);
	ck_assert_uint_eq(mem_ld64(cpu, 0x80777560), 5);
	ck_assert_uint_eq(guest_peek(&g, 0x74008) & 0x60, 0x20);
	/* INVLPG of another 4 KiB of the page drops this piece too. */
	guest_poke(&g, 0x74008, 0x800000 | 0x87);
	guest_poke(&g, 0x834560, 6);
	ck_assert_uint_eq(mem_ld64(cpu, LIN + 0x234560), 5);
	mmu_flush_page(cpu, LIN + 0x3ff000);
	ck_assert_uint_eq(mem_ld64(cpu, LIN + 0x234560), 6);
	guest_poke(&g, GUEST_PDPT + 16, 0x40000087);
	mmu_flush_page(cpu, 0x80000000 - 1);
	ck_assert_uint_eq(mem_ld64(cpu, 0x80777560), 5);
	/* Address bits below the page size are reserved. */
	guest_poke(&g, 0x74008, 0x602000 | 0x87);
	guest_poke(&g, GUEST_PDPT + 16, 0x200087);
	mmu_flush_all(cpu);
	ck_assert_int_eq(try_access(READ, LIN + 0x200000, 1), 9);
	ck_assert_int_eq(try_access(READ, 0x80000000, 1), 9);
	guest_fini(&g);
}
END_TEST

static void start_legacy(uint64_t cr4)
{
	start(DATA | 7);
	cpu->efer = 0;
	cpu->cr4 = cr4;
	cpu->seg[SEG_CS].attr = 0xc09b;
	cpu->cr3 = 0x80000;
	cpu_mode_update(cpu);
}

START_TEST(paging_32)
{
	uint32_t pde[4] = { 0x81000 | 7, 0x00c00087, 0x00c02087, 0x00e00087 };
	uint32_t pte[2] = { DATA | 7, DATA | 5 };

	start_legacy(CR4_PSE);
	memory_write(&g.mem, 0x80000, pde, sizeof(pde));
	memory_write(&g.mem, 0x81000, pte, sizeof(pte));
	guest_poke(&g, DATA + 8, 77);
	guest_poke(&g, 0xc12340, 78);
	ck_assert_uint_eq(mem_ld64(cpu, 8), 77);
	ck_assert_uint_eq(mem_ld64(cpu, 0x412340), 78);
	ck_assert_int_eq(try_access(WRITE, 0x1000, 4), 3);
	ck_assert_int_eq(try_access(WRITE, 0, 4), OK);
	ck_assert_uint_eq(guest_peek(&g, 0x81000), (uint64_t)(DATA | 5) << 32 | DATA | 0x67);
	ck_assert_int_eq(try_access(READ, 0x2000, 4), 0);
	ck_assert_int_eq(try_access(FETCH, 0x2000, 4), 0);  /* no I/D bit without NX and SMEP */
	ck_assert_int_eq(try_access(READ, 0xc00000, 4), 9); /* bit 21 of a 4 MiB page is reserved */
	/* PSE-36: bits 13 and up are address bits 32 and up, here outside RAM. */
	g.in = 0x55;
	cpu->single = true;
	ck_assert_uint_eq(mem_ld8(cpu, 0x800010), 0x55);
	ck_assert_uint_eq(g.log[0].addr, 0x100c00010);
	/* Without CR4.PSE the bit means nothing. */
	cpu->cr4 = 0;
	cpu_mode_update(cpu);
	memory_write(&g.mem, 0xc00000, (uint32_t[]){ DATA | 7 }, 4);
	ck_assert_uint_eq(mem_ld64(cpu, 0x400008), 77);
	guest_fini(&g);
}
END_TEST

START_TEST(paging_pae)
{
	start_legacy(CR4_PAE);
	cpu->efer = EFER_NX;
	cpu_mode_update(cpu);
	guest_poke(&g, 0x80008, 0x82000 | 1);
	guest_poke(&g, 0x82000, 0x83000 | 7);
	guest_poke(&g, 0x82008, 0x600000 | 0x87 | NX);
	guest_poke(&g, 0x83000, DATA | 7);
	guest_poke(&g, 0x83008, DATA | 7 | 1ull << 52);
	guest_poke(&g, DATA + 16, 99);
	ck_assert(mmu_load_pdptes(cpu, cpu->cr3));
	ck_assert_uint_eq(mem_ld64(cpu, 0x40000010), 99);
	ck_assert_int_eq(try_access(READ, 0x40001000, 1), 9);
	ck_assert_int_eq(try_access(READ, 0, 1), 0);
	ck_assert_int_eq(try_access(FETCH, 0x40200000, 1), 17);
	ck_assert_uint_eq(guest_peek(&g, 0x80008), 0x82000 | 1); /* PDPTEs have no A bit */
	/* The PDPTEs are registers: a change in memory counts when CR3 is loaded. */
	guest_poke(&g, 0x80008, 0);
	mmu_flush_all(cpu);
	ck_assert_uint_eq(mem_ld64(cpu, 0x40000010), 99);
	guest_poke(&g, 0x80008, 0x82000 | 3);
	ck_assert(!mmu_load_pdptes(cpu, cpu->cr3));
	guest_poke(&g, 0x80008, 0x82000 | 1 | 1ull << 40);
	ck_assert(!mmu_load_pdptes(cpu, cpu->cr3));
	ck_assert_uint_eq(cpu->pdpte[1], 0x82000 | 1);
	guest_fini(&g);
}
END_TEST

START_TEST(canonical)
{
	struct op op = { .base = REG_ZERO, .idx = REG_ZERO, .asize = 8, .seg = SEG_DS };

	start(DATA | 7);
	ck_assert_int_eq(try_access(READ, 1ull << 47, 1), GP);
	ck_assert_int_eq(try_access(WRITE, 0xffff7fffffffffff, 1), GP);
	ck_assert_int_eq(try_access(FETCH, 1ull << 63, 1), GP);
	ck_assert_int_eq(try_access(READ, 0xffff800000000000, 1), 0);
	ck_assert_int_eq(try_access(READ, 0x7ffffffffffe, 4), GP); /* before the page fault */
	cpu->op = &op;
	op.flags = OPF_STACK;
	ck_assert_int_eq(try_access(READ, 1ull << 47, 1), SS);
	op.flags = OPF_MEM;
	ck_assert_int_eq(try_access(READ, 1ull << 47, 1), GP);
	op.seg = SEG_SS;
	op.disp = 1ll << 47;
	ck_assert_int_eq(try_access(READ, 1ull << 47, 1), SS);
	op.flags = OPF_MEM | OPF_STACK; /* PUSH m64: memory operand through DS, or the stack */
	op.seg = SEG_DS;
	ck_assert_int_eq(try_access(READ, 1ull << 47, 1), GP);
	ck_assert_int_eq(try_access(WRITE, (1ull << 47) + 8, 8),
			 GP); /* POP m64 based on RSP, which has moved */
	ck_assert_int_eq(try_access(WRITE, (1ull << 47) + 16, 8), SS);
	cpu->op = NULL;
	guest_fini(&g);
}
END_TEST

START_TEST(crossing)
{
	start(DATA | 7);
	guest_poke(&g, PT + 8, 0x300000 | 7);
	guest_poke(&g, DATA + 0xff8, 0x1111111111111111);
	guest_poke(&g, 0x300000, 0x2222222222222222);
	ck_assert_uint_eq(mem_ld64(cpu, LIN + 0xffc), 0x2222222211111111);
	mem_st32(cpu, LIN + 0xffd, 0xaabbccdd);
	ck_assert_uint_eq(guest_peek(&g, DATA + 0xff8), 0xbbccdd1111111111);
	ck_assert_uint_eq(guest_peek(&g, 0x300000), 0x22222222222222aa);
	/* A store that faults on its second page leaves the first as it was. */
	guest_poke(&g, PT + 8, 0x300000 | 5);
	guest_poke(&g, PT, DATA | 7);
	mmu_flush_all(cpu);
	ck_assert_int_eq(try_access(WRITE, LIN + 0xffc, 8), 3);
	ck_assert_uint_eq(cpu->fault.cr2, LIN + 0x1000);
	ck_assert_uint_eq(guest_peek(&g, DATA + 0xff8), 0xbbccdd1111111111);
	ck_assert_int_eq(try_access(RMW, LIN + 0xffc, 8), 3);
	ck_assert_int_eq(try_access(READ, LIN + 0xffc, 8), OK);
	guest_fini(&g);
}
END_TEST

START_TEST(mmio)
{
	uint8_t buf[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

	start(0xd0000000 | 7);
	/* In the middle of a block the instruction is left before anything happens. */
	ck_assert_int_eq(try_access(READ, LIN, 4), ALONE);
	ck_assert_int_eq(try_access(WRITE, LIN, 4), ALONE);
	ck_assert_uint_eq(g.n, 0);
	cpu->single = true;
	g.in = 0x1122334455667788;
	ck_assert_uint_eq(mem_ld32(cpu, LIN + 4), 0x55667788);
	mem_st(cpu, LIN + 6, buf, 11);
	ck_assert_uint_eq(g.n, 4);
	ck_assert_uint_eq(g.log[0].addr, 0xd0000004);
	ck_assert_uint_eq(g.log[0].size, 4);
	ck_assert_uint_eq(g.log[1].addr, 0xd0000006);
	ck_assert_uint_eq(g.log[1].size, 2);
	ck_assert_uint_eq(g.log[1].value, 0x0201);
	ck_assert_uint_eq(g.log[2].size, 8);
	ck_assert_uint_eq(g.log[2].value, 0x0a09080706050403);
	ck_assert_uint_eq(g.log[3].size, 1);
	/* Half RAM, half device. */
	g.n = 0;
	mem_st(cpu, LIN + 0xffc, buf, 8);
	ck_assert_uint_eq(g.n, 1);
	ck_assert_uint_eq(g.log[0].size, 4);
	ck_assert_uint_eq(guest_peek(&g, DATA + 0x1000) & 0xffffffff, 0x08070605);
	guest_fini(&g);
}
END_TEST

START_TEST(tables_outside_ram)
{
	start(DATA | 7);
	cpu->cr3 = 0xe0000000;
	mmu_flush_all(cpu);
	ck_assert_int_eq(try_access(READ, LIN, 1), 9); /* all ones: reserved bits */
	ck_assert_uint_eq(g.n, 0);
	guest_fini(&g);
}
END_TEST

START_TEST(dirty_pages)
{
	uint8_t *dirty;

	start(DATA | 7);
	dirty = g.mem.dirty;
	memset(dirty, 0, g.mem.pages);
	mem_ld64(cpu, LIN);
	ck_assert_uint_eq(dirty[DATA >> 12], 0);
	ck_assert_uint_eq(dirty[PT >> 12], 1); /* its A bit */
	mem_st8(cpu, LIN, 1);
	ck_assert_uint_eq(dirty[DATA >> 12], 1);
	g.e->ops->sync_dirty(g.e);
	memset(dirty, 0, g.mem.pages);
	mem_st8(cpu, LIN, 2);
	ck_assert_uint_eq(dirty[DATA >> 12], 1);
	ck_assert_uint_eq(dirty[PT >> 12], 0);
	g.e->ops->sync_dirty(g.e);
	memset(dirty, 0, g.mem.pages);
	mem_st64(cpu, LIN + 0xffc, 3);
	ck_assert_uint_eq(dirty[DATA >> 12], 1);
	ck_assert_uint_eq(dirty[(DATA >> 12) + 1], 1);
	ck_assert_ptr_nonnull(mem_bulk_write(cpu, LIN));
	g.e->ops->sync_dirty(g.e);
	ck_assert_ptr_null(mem_bulk_write(cpu, LIN));
	ck_assert_ptr_nonnull(mem_bulk_read(cpu, LIN));
	guest_fini(&g);
}
END_TEST

START_TEST(watchpoints)
{
	start(DATA | 7);
	mem_ld64(cpu, LIN);
	cpu->dr[0] = LIN + 0x104;
	cpu->dr[7] = 1 | 1u << 16 | 3u << 18; /* write, 4 bytes */
	mmu_debug_changed(cpu);
	ck_assert_int_eq(try_access(READ, LIN + 0x104, 4), OK);
	ck_assert_int_eq(try_access(WRITE, LIN + 0x108, 4), OK);
	ck_assert_int_eq(try_access(WRITE, LIN + 0xfc, 8), OK);
	ck_assert(!cpu->db_pending);
	ck_assert_int_eq(try_access(WRITE, LIN + 0x107, 1), ALONE);
	ck_assert_int_eq(try_access(WRITE, LIN + 0x100, 8), ALONE);
	cpu->single = true;
	ck_assert_int_eq(try_access(WRITE, LIN + 0x100, 8), OK);
	ck_assert(cpu->db_pending);
	ck_assert_uint_eq(cpu->db_dr6, 1);
	cpu->db_pending = false;
	cpu->dr[7] = 0;
	mmu_debug_changed(cpu);
	ck_assert_int_eq(try_access(WRITE, LIN + 0x104, 4), OK);
	ck_assert(!cpu->db_pending);
	guest_fini(&g);
}
END_TEST

START_TEST(alignment)
{
	start(DATA | 7);
	cpu->cr0 |= CR0_AM;
	cpu->rflags |= FL_AC;
	set_cpl(3);
	ck_assert_int_eq(try_access(READ, LIN + 4, 4), OK);
	ck_assert_int_eq(try_access(READ, LIN + 2, 4), AC);
	ck_assert_int_eq(try_access(WRITE, LIN + 4, 8), AC);
	ck_assert_int_eq(try_access(WRITE, LIN + 7, 1), OK);
	ck_assert_int_eq(try_access(READ, LIN + 4, 10), AC);
	ck_assert_int_eq(try_access(WRITE, LIN + 8, 10), OK);
	ck_assert_int_eq(try_access(READ, LIN + 1, 16), OK); /* not checked: see mem.c */
	ck_assert_int_eq(try_access(SYSTEM_READ, LIN + 1, 8), OK);
	cpu->rflags &= ~(uint64_t)FL_AC;
	set_cpl(3);
	ck_assert_int_eq(try_access(READ, LIN + 2, 4), OK);
	guest_fini(&g);
}
END_TEST

START_TEST(replacement_is_by_address)
{
	start(DATA | 7);
	/* Two pages of the same slot push each other out, whatever else is in the TLB. */
	guest_poke(&g, GUEST_PD + 8 * 2, 0x400000 | 0x87);
	mem_ld8(cpu, LIN);
	guest_poke(&g, PT, (DATA + 0x1000) | 7);
	guest_poke(&g, DATA, 1);
	guest_poke(&g, DATA + 0x1000, 2);
	ck_assert_uint_eq(mem_ld8(cpu, LIN), 1);
	mem_ld8(cpu, TLB_SIZE * PAGE_SIZE); /* slot 0 too */
	ck_assert_uint_eq(mem_ld8(cpu, LIN), 2);
	guest_fini(&g);
}
END_TEST

/*
 * User code that accesses the same two pages again and again: what ends a translation, or what it
 * allows, ends it for the next access too, and nothing else does.
 */
GUEST_CODE(again, "1:	mov	(%rbx), %rax\n"
		  "	mov	%rdx, (%rsi)\n"
		  "	dec	%ecx\n"
		  "	jnz	1b\n"
		  "2:	jmp	2b\n"
		  "	.org	again_start + 0x40\n"
		  "	call	*%rsi\n"
		  "2:	jmp	2b\n");

#define AGAIN 0x1000ull

static void run_user(uint64_t rip, uint64_t instructions)
{
	uint64_t to = cpu->count + instructions;

	cpu->rip = rip;
	ck_assert_int_eq(guest_run_to(&g, to), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(cpu->count, to);
}

/* Reads at `from` and writes `value` at LIN + 0x1000; returns what was read. */
static uint64_t access_again(uint64_t from, uint64_t value)
{
	cpu->gpr[R_RBX] = from;
	cpu->gpr[R_RSI] = LIN + 0x1000;
	cpu->gpr[R_RDX] = value;
	cpu->gpr[R_RCX] = 50;
	run_user(AGAIN, 4 * 50 + 3);
	return cpu->gpr[R_RAX];
}

static void start_user(void)
{
	struct cpu_state s;

	start(DATA | 7);
	g.e->ops->get_state(g.e, &s);
	guest_long_mode(&g, AGAIN, 3, &s);
	GUEST_LOAD(&g, AGAIN, again);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000 + 8 * 4, 0x600000 | 0x87);
	guest_poke(&g, DATA, 11);
	guest_poke(&g, DATA + 0x3000, 12);
	ck_assert_uint_eq(access_again(LIN, 1), 11);
	guest_poke(&g, PT, (DATA + 0x3000) | 7);
	ck_assert_uint_eq(access_again(LIN, 1), 11);
}

static void flush_page(void)
{
	mmu_flush_page(cpu, LIN);
}

static void flush_nonglobal(void)
{
	mmu_flush_nonglobal(cpu);
}

static void take_slot(void)
{
	uint64_t other = LIN + TLB_SIZE * PAGE_SIZE;

	guest_poke(&g, 0x600000, 5);
	ck_assert_uint_eq(access_again(other, 1), 5);
}

static void take_slot_from_c(void)
{
	mem_ld8(cpu, LIN + TLB_SIZE * PAGE_SIZE);
}

static void restore(void)
{
	struct buf b = BUF_INIT;
	struct rd in;

	hidden_save(cpu, &b);
	in = (struct rd){ b.data, b.data + b.len, false };
	ck_assert_int_eq(hidden_restore(cpu, &in), 0);
	buf_free(&b);
	ck_assert_uint_eq(access_again(LIN, 1), 11);
	mmu_flush_nonglobal(cpu);
}

static void (*const ends_translation[])(void) = { flush_page, flush_nonglobal, take_slot,
						  take_slot_from_c, restore };

START_TEST(user_sees_another_page)
{
	start_user();
	ends_translation[_i]();
	ck_assert_uint_eq(access_again(LIN, 1), 12);
	guest_fini(&g);
}
END_TEST

START_TEST(user_marks_pages_dirty_again)
{
	uint8_t *dirty;

	start_user();
	dirty = g.mem.dirty;
	for (unsigned i = 0; i < 3; i++) {
		g.e->ops->sync_dirty(g.e);
		memset(dirty, 0, g.mem.pages);
		access_again(LIN, i);
		ck_assert_uint_eq(dirty[(DATA >> 12) + 1], 1);
		ck_assert_uint_eq(dirty[DATA >> 12], 0);
	}
	guest_fini(&g);
}
END_TEST

/* The page that is written becomes code, which is written again. */
START_TEST(user_writes_code)
{
	start_user();
	cpu->gpr[R_RSP] = 0x60000;
	for (unsigned i = 0; i < 5; i++) {
		access_again(LIN, 0xc300000000b8 | (uint64_t)i << 8); /* MOV EAX, i; RET */
		run_user(AGAIN + 0x40, 4);
		ck_assert_uint_eq(cpu->gpr[R_RAX], i);
		run_user(AGAIN + 0x40, 40);
	}
	guest_fini(&g);
}
END_TEST

/* With alignment checked, user mode uses another TLB, which has to have pages of its own. */
START_TEST(user_checks_alignment)
{
	start_user();
	cpu->cr0 |= CR0_AM;
	cpu->rflags |= FL_AC;
	cpu_mode_update(cpu);
	ck_assert_uint_eq(access_again(LIN, 1), 12);
	cpu->rflags &= ~(uint64_t)FL_AC;
	cpu_mode_update(cpu);
	ck_assert_uint_eq(access_again(LIN, 1), 11);
	guest_fini(&g);
}
END_TEST

/* ---- watchpoints of user code ---- */
GUEST_CODE(count_db, "	inc	%r11d\n"
		     "	iretq\n");

#define COUNT_DB 0x4000ull

/* A data breakpoint on the pages that access_again() reads and writes 50 times each. */
static const struct watch_case {
	uint64_t at;
	unsigned type; /* of DR7: 1 writes, 3 reads and writes */
	unsigned hits;
} watch_cases[] = {
	{ LIN + 0x1000, 1, 50 }, { LIN + 0x1000, 3, 50 }, { LIN, 3, 50 },
	{ LIN, 1, 0 },		 { LIN + 0x1008, 3, 0 },  { LIN + 8, 3, 0 },
};

/* The hits of a round of access_again(); the handler executes two instructions for each. */
static unsigned hits_again(unsigned expected)
{
	cpu->gpr[R_R11] = 0;
	cpu->gpr[R_RBX] = LIN;
	cpu->gpr[R_RSI] = LIN + 0x1000;
	cpu->gpr[R_RCX] = 50;
	run_user(AGAIN, 4 * 50 + 3 + 2 * expected);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 0);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 12); /* of what LIN is mapped to */
	return (unsigned)cpu->gpr[R_R11];
}

/* Each access of a page that was accessed often before meets a new watchpoint, none an old one. */
START_TEST(user_meets_watchpoint)
{
	const struct watch_case *c = &watch_cases[_i];
	struct err err = ERR_INIT;
	struct cpu_state s;

	start_user();
	guest_tables(&g);
	g.e->ops->get_state(g.e, &s);
	for (unsigned i = SEG_ES; i <= SEG_GS; i++) /* the handler's IRET loads them again */
		s.seg[i].selector = i == SEG_CS ? 0x1b : 0x23;
	ck_assert_int_eq(g.e->ops->set_state(g.e, &s, &err), 0);
	GUEST_LOAD(&g, COUNT_DB, count_db);
	guest_gate(&g, VEC_DB, COUNT_DB, 0);
	cpu->dr[0] = c->at;
	for (unsigned round = 0; round < 3; round++) {
		ck_assert_uint_eq(hits_again(0), 0);
		cpu->dr[7] = 1 | c->type << 16 | 3u << 18; /* 4 bytes */
		mmu_debug_changed(cpu);
		ck_assert_uint_eq(hits_again(c->hits), c->hits);
		cpu->dr[7] = 0;
		mmu_debug_changed(cpu);
	}
	guest_fini(&g);
}
END_TEST

static unsigned told;

static bool no_boundary(void *ctx, const struct moment *at, uint64_t linear)
{
	return false;
}

static void tell(void *ctx, size_t i, const struct moment *from, uint64_t lin, uint64_t size)
{
	told++;
}

/*
 * The same for a debugger's watch, with which code runs in blocks as before. Each change of it has
 * the blocks translated anew, with the next holds in turn, until holds are taken that an earlier
 * round filled.
 */
START_TEST(user_meets_watch)
{
	const struct watch_case *c = &watch_cases[_i];
	const struct engine_probe probe = {
		.watch = { { .address = c->at, .length = 4, .read = c->type == 3, .write = true } },
		.nwatches = 1,
		.boundary = no_boundary,
		.access = tell
	};

	start_user();
	flush_page();
	for (unsigned round = 0; round < HOLDS / 2; round++) {
		told = 0;
		/* Two of three without the watch, as a power of two has no third. */
		for (unsigned i = 0; i < 2; i++) {
			ck_assert_uint_eq(access_again(LIN, 1), 12);
			ck_assert_uint_eq(told, 0);
			probe_set(cpu, i ? &probe : NULL);
		}
		ck_assert_uint_eq(access_again(LIN, 1), 12);
		ck_assert_uint_eq(told, c->hits);
		probe_set(cpu, NULL);
	}
	guest_fini(&g);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, rights, 0, sizeof(rights_cases) / sizeof(rights_cases[0]));
	tcase_add_test(tc, rights_of_upper_levels);
	tcase_add_test(tc, accessed_and_dirty);
	tcase_add_test(tc, write_protection_toggles);
	tcase_add_test(tc, flushes_find_all);
	tcase_add_test(tc, a_bit_of_a_translation_flips);
	tcase_add_test(tc, stale_and_global);
	tcase_add_test(tc, large_pages);
	tcase_add_test(tc, paging_32);
	tcase_add_test(tc, paging_pae);
	tcase_add_test(tc, canonical);
	tcase_add_test(tc, crossing);
	tcase_add_test(tc, mmio);
	tcase_add_test(tc, tables_outside_ram);
	tcase_add_test(tc, dirty_pages);
	tcase_add_test(tc, watchpoints);
	tcase_add_test(tc, alignment);
	tcase_add_test(tc, replacement_is_by_address);
	tcase_add_loop_test(tc, user_sees_another_page, 0,
			    sizeof(ends_translation) / sizeof(ends_translation[0]));
	tcase_add_test(tc, user_marks_pages_dirty_again);
	tcase_add_test(tc, user_writes_code);
	tcase_add_test(tc, user_checks_alignment);
	tcase_add_loop_test(tc, user_meets_watch, 0, sizeof(watch_cases) / sizeof(watch_cases[0]));
	tcase_add_loop_test(tc, user_meets_watchpoint, 0,
			    sizeof(watch_cases) / sizeof(watch_cases[0]));
}

UNIT_MAIN("soft_mmu", add)
