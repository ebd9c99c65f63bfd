/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paging: permissions and error codes, accessed and dirty bits, reserved bits, large pages, TLB.
 * SDM vol. 3, ch. 4.
 */
#include "tests/guest/rt64.h"

#define CR0_WP	 (1ull << 16)
#define CR4_PGE	 (1ull << 7)
#define CR4_PCID (1ull << 17)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)

#define LIN TEST_BASE

static volatile u8 page_a[4096] ALIGNED, page_b[4096] ALIGNED;

static inline u8 load(u64 lin)
{
	return *(volatile u8 *)lin;
}

static inline void store(u64 lin, u8 v)
{
	*(volatile u8 *)lin = v;
}

static inline void call(u64 lin)
{
	((void (*)(void))lin)();
}

SNIPPET(user_load, "movzbl (%rdi), %eax; int $0x80");
SNIPPET(user_store, "movb %sil, (%rdi); int $0x80");
SNIPPET(user_add, "addb %sil, (%rdi); int $0x80");
SNIPPET(user_call, "jmp *%rdi");
SNIPPET(user_store8, "movq %rsi, (%rdi); int $0x80");

static void set_pte(u64 flags)
{
	map(LIN, (void *)page_a, flags);
}

static void test_supervisor(void)
{
	set_pte(0);
	check_eq("paging.not-present.read", CATCH_ERR(load(LIN)),
		 VE(PF, 0)); /* #PF, supervisor read */
	check_eq("paging.not-present.cr2", last_cr2, LIN);
	check_eq("paging.not-present.write", CATCH_ERR(store(LIN + 5, 1)), VE(PF, 2));
	check_eq("paging.not-present.write-cr2", last_cr2, LIN + 5);
	check_eq("paging.not-present.fetch", CATCH_ERR(call(LIN)), VE(PF, 0x10));
	check_eq("paging.fetch.rip", last.rip,
		 LIN); /* the faulting instruction is the one not fetched */
	set_pte(PT_P);
	check_eq("paging.ro.read", CATCH(load(LIN)), NONE);
	check_eq("paging.ro.write-wp", CATCH_ERR(store(LIN, 1)), VE(PF, 3));
	write_cr0(read_cr0() & ~CR0_WP);
	check_eq("paging.ro.write-no-wp", CATCH(store(LIN, 0x55)), NONE);
	check_eq("paging.ro.write-no-wp.value", page_a[0], 0x55);
	write_cr0(read_cr0() | CR0_WP);
	check_eq("paging.ro.write-wp-again", CATCH_ERR(store(LIN, 1)), VE(PF, 3));
	set_pte(PT_P | PT_W | PT_NX);
	page_a[0] = 0xc3;
	check_eq("paging.nx.fetch", CATCH_ERR(call(LIN)), VE(PF, 0x11));
	set_pte(PT_P | PT_W);
	check_eq("paging.x.fetch", CATCH(call(LIN)), NONE);
}

static void test_user(void)
{
	set_pte(PT_P | PT_W);
	check_eq("paging.user.supervisor-page.read", RUN_USER_ERR(user_load, LIN, 0), VE(PF, 5));
	check_eq("paging.user.supervisor-page.write", RUN_USER_ERR(user_store, LIN, 0), VE(PF, 7));
	check_eq("paging.user.supervisor-page.fetch", RUN_USER_ERR(user_call, LIN, 0),
		 VE(PF, 0x15));
	set_pte(PT_P | PT_U);
	check_eq("paging.user.ro.read", RUN_USER(user_load, LIN, 0), 0x80);
	check_eq("paging.user.ro.write", RUN_USER_ERR(user_store, LIN, 0), VE(PF, 7));
	check_eq("paging.user.ro.rmw", RUN_USER_ERR(user_add, LIN, 1),
		 VE(PF, 7)); /* RMW faults as a write */
	write_cr0(read_cr0() & ~CR0_WP);
	check_eq("paging.user.ro.write-no-wp", RUN_USER_ERR(user_store, LIN, 0),
		 VE(PF, 7)); /* WP is for CPL 0 */
	write_cr0(read_cr0() | CR0_WP);
	set_pte(0);
	check_eq("paging.user.not-present", RUN_USER_ERR(user_load, LIN, 0), VE(PF, 4));
	set_pte(PT_URW | PT_NX);
	check_eq("paging.user.nx", RUN_USER_ERR(user_call, LIN, 0), VE(PF, 0x15));
	check_eq("paging.user.write", RUN_USER(user_store, LIN + 7, 0x42), 0x80);
	check_eq("paging.user.write.value", page_a[7], 0x42);
}

/* The permissions of all levels are combined. */
static void test_levels(void)
{
	volatile u64 *pde = pt_entry(LIN, 2), *pml4e = pt_entry(LIN, 4);
	u64 pde_was = *pde, pml4e_was = *pml4e;

	set_pte(PT_URW);
	*pde = pde_was & ~PT_W;
	flush_tlb();
	check_eq("paging.level.pde-ro", CATCH_ERR(store(LIN, 0)), VE(PF, 3));
	*pde = pde_was & ~PT_U;
	flush_tlb();
	check_eq("paging.level.pde-supervisor", RUN_USER_ERR(user_load, LIN, 0), VE(PF, 4 | 1));
	*pde = pde_was;
	*pml4e = pml4e_was | PT_NX;
	flush_tlb();
	check_eq("paging.level.pml4e-nx", CATCH_ERR(call(LIN)), VE(PF, 0x11));
	*pml4e = pml4e_was;
	*pde = 0;
	flush_tlb();
	check_eq("paging.level.pde-not-present", CATCH_ERR(load(LIN)), VE(PF, 0));
	*pde = pde_was;
	flush_tlb();
	check_eq("paging.level.restored", CATCH(load(LIN)), NONE);
}

static void test_reserved(void)
{
	volatile u64 *pde = pt_entry(LIN, 2);
	u64 pde_was = *pde;

	set_pte(PT_URW | 1ull << 51);
	check_eq("paging.reserved.pte", CATCH_ERR(load(LIN)), VE(PF, 9));
	check_eq("paging.reserved.pte-user-write", RUN_USER_ERR(user_store, LIN, 0), VE(PF, 0xf));
	set_pte(1ull << 51);
	check_eq("paging.reserved.not-present", CATCH_ERR(load(LIN)), VE(PF, 0));
	set_pte(PT_URW | PT_NX);
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x800ull);
	flush_tlb();
	check_eq("paging.reserved.nx-without-nxe", CATCH_ERR(load(LIN)), VE(PF, 9));
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	flush_tlb();
	*pde = 0x2000 | PT_URW | PT_PS; /* a 2 MiB page that is not aligned */
	flush_tlb();
	check_eq("paging.reserved.pde-2m-misaligned", CATCH_ERR(load(LIN)), VE(PF, 9));
	*pde = pde_was;
	flush_tlb();
}

static void test_accessed_dirty(void)
{
	volatile u64 *pte = pt_entry(LIN, 1), *pde = pt_entry(LIN, 2);

	set_pte(PT_URW);
	*pde &= ~PT_A;
	flush_tlb();
	check_eq("paging.ad.clear", *pte & (PT_A | PT_D), 0);
	load(LIN);
	check_eq("paging.ad.read", *pte & (PT_A | PT_D), PT_A);
	check_eq("paging.ad.read-pde", *pde & PT_A, PT_A);
	store(LIN, 1);
	check_eq("paging.ad.write-after-read", *pte & (PT_A | PT_D), PT_A | PT_D);
	set_pte(PT_URW);
	store(LIN, 1);
	check_eq("paging.ad.write", *pte & (PT_A | PT_D), PT_A | PT_D);
	set_pte(PT_P);
	check_eq("paging.ad.write-fault", CATCH_ERR(store(LIN, 1)), VE(PF, 3));
	check_eq("paging.ad.write-fault.dirty", *pte & PT_D, 0);
	/*
	 * An RMW that faults on the second page must leave the first page alone: values, not D,
	 * which may be set.
	 */
	map(LIN, (void *)page_a, PT_URW);
	map(LIN + 4096, (void *)page_b, PT_P | PT_U);
	*(volatile u32 *)(page_a + 4092) = 0x11111111;
	check_eq("paging.cross.write", CATCH_ERR(*(volatile u64 *)(LIN + 4092) = 0), VE(PF, 3));
	check_eq("paging.cross.write.cr2", last_cr2, LIN + 4096);
	check_eq("paging.cross.write.first-page", *(volatile u32 *)(page_a + 4092), 0x11111111);
	check_eq("paging.cross.user-write", RUN_USER_ERR(user_store8, LIN + 4093, 0), VE(PF, 7));
	check_eq("paging.cross.read", CATCH(load(LIN + 4095)), NONE);
}

static void test_cross_values(void)
{
	map(LIN, (void *)page_a, PT_URW);
	map(LIN + 4096, (void *)page_b, PT_URW);
	*(volatile u64 *)(LIN + 4091) = 0x0102030405060708;
	check_eq("paging.cross.value", *(volatile u64 *)(LIN + 4091), 0x0102030405060708);
	check_eq("paging.cross.low", page_a[4095], 0x04);
	check_eq("paging.cross.high", page_b[0], 0x03);
	/* The same physical page twice. */
	map(LIN + 4096, (void *)page_a, PT_URW);
	*(volatile u64 *)(LIN + 4092) = 0xaabbccdd11223344;
	check_eq("paging.alias.wrap", page_a[0] | (u64)page_a[4095] << 8, 0xdd | 0x11 << 8);
}

static void test_invlpg(void)
{
	volatile u64 *pte = pt_entry(LIN, 1);
	u8 v;

	page_a[0] = 0xa1;
	page_b[0] = 0xb2;
	map(LIN, (void *)page_a, PT_URW);
	load(LIN);
	*pte = (u64)page_b | PT_URW;
	v = load(LIN);
	check_eq("paging.tlb.without-invlpg", v == 0xa1 || v == 0xb2,
		 1); /* either translation is right */
	invlpg(LIN);
	check_eq("paging.tlb.invlpg", load(LIN), 0xb2);
	*pte = (u64)page_a | PT_URW;
	flush_tlb();
	check_eq("paging.tlb.cr3", load(LIN), 0xa1);
	/* More rights in memory than in the TLB: a processor must look again before it faults. */
	map(LIN, (void *)page_a, PT_P | PT_U);
	load(LIN);
	*pte = (u64)page_a | PT_URW;
	check_eq("paging.tlb.upgrade-write", CATCH(store(LIN, 3)), NONE);
	/* A fault drops the translation: after it, no INVLPG is needed. */
	*pte = 0;
	invlpg(LIN);
	check_eq("paging.tlb.fault", CATCH_ERR(load(LIN)), VE(PF, 0));
	*pte = (u64)page_b | PT_URW;
	check_eq("paging.tlb.not-present-not-cached", load(LIN), 0xb2);
	*pte = (u64)page_a | PT_URW;
	invlpg(LIN + 8); /* any address in the page */
	check_eq("paging.tlb.invlpg-offset", load(LIN), 3);
}

static void test_global(void)
{
	volatile u64 *pte = pt_entry(LIN, 1);
	u8 v;

	write_cr4(read_cr4() | CR4_PGE);
	page_a[0] = 0xa1;
	page_b[0] = 0xb2;
	map(LIN, (void *)page_a, PT_URW | PT_G);
	load(LIN);
	*pte = (u64)page_b | PT_URW | PT_G;
	flush_tlb();
	v = load(LIN);
	check_eq("paging.global.cr3", v == 0xa1 || v == 0xb2, 1);
	write_cr4(read_cr4() & ~CR4_PGE);
	write_cr4(read_cr4() | CR4_PGE);
	check_eq("paging.global.cr4-pge", load(LIN), 0xb2);
	*pte = (u64)page_a | PT_URW | PT_G;
	invlpg(LIN);
	check_eq("paging.global.invlpg", load(LIN), 0xa1);
}

static u8 big[0x400000];

static void test_large(void)
{
	u64 lin = TEST_BASE + 0x40000000;
	u64 phys = ((u64)big + 0x1fffff) & ~0x1fffffull;
	volatile u64 *pde = pt_entry(lin, 2);

	*(volatile u64 *)(phys + 0x12345 * 8) = 0x1122334455667788;
	*pde = phys | PT_URW | PT_PS;
	flush_tlb();
	check_eq("paging.2m.read", *(volatile u64 *)(lin + 0x12345 * 8), 0x1122334455667788);
	check_eq("paging.2m.accessed", *pde & (PT_A | PT_D), PT_A);
	store(lin + 0x1fffff, 9);
	check_eq("paging.2m.dirty", *pde & (PT_A | PT_D), PT_A | PT_D);
	check_eq("paging.2m.value", *(volatile u8 *)(phys + 0x1fffff), 9);
	*pde = phys | PT_P | PT_PS;
	invlpg(lin + 0x100000); /* one INVLPG drops all of a large page */
	check_eq("paging.2m.ro-a", CATCH_ERR(store(lin, 1)), VE(PF, 3));
	check_eq("paging.2m.ro-b", CATCH_ERR(store(lin + 0x1ff000, 1)), VE(PF, 3));
	*pde = phys | PT_P | PT_W | PT_PS | PT_NX;
	invlpg(lin);
	check_eq("paging.2m.nx", CATCH_ERR(call(lin)), VE(PF, 0x11));
}

static void test_1g(void)
{
	u64 lin = TEST_BASE + 0x80000000;
	u32 r[4];

	cpuid(0x80000001, 0, r);
	if (!(r[3] & 1u << 26)) {
		print("skip paging.1g: the CPU has no 1 GiB pages\n");
		return;
	}
	*pt_entry(lin, 3) = PT_P | PT_W | PT_PS;
	flush_tlb();
	check_eq("paging.1g.read", *(volatile u64 *)(lin + (u64)pml4), pml4[0]);
	*pt_entry(lin, 3) = PT_P | PT_W | PT_PS | 0x2000;
	flush_tlb();
	check_eq("paging.1g.misaligned", CATCH_ERR(load(lin)), VE(PF, 9));
	*pt_entry(lin, 3) = 0;
	flush_tlb();
}

static void test_smep(void)
{
	u32 r[4];

	cpuid(7, 0, r);
	if (!(r[1] & 1u << 7)) {
		print("skip paging.smep: the CPU has no SMEP\n");
		return;
	}
	set_pte(PT_URW);
	page_a[0] = 0xc3;
	check_eq("paging.smep.off", CATCH(call(LIN)), NONE);
	write_cr4(read_cr4() | CR4_SMEP);
	check_eq("paging.smep.on", CATCH_ERR(call(LIN)), VE(PF, 0x11));
	check_eq("paging.smep.read", CATCH(load(LIN)), NONE);
	write_cr4(read_cr4() & ~CR4_SMEP);
}

static void test_smap(void)
{
	u32 r[4];

	cpuid(7, 0, r);
	if (!(r[1] & 1u << 20)) {
		print("skip paging.smap: the CPU has no SMAP\n");
		return;
	}
	set_pte(PT_URW);
	check_eq("paging.smap.clac-without", CATCH(__asm__ volatile("clac")), NONE);
	write_cr4(read_cr4() | CR4_SMAP);
	check_eq("paging.smap.read", CATCH_ERR(load(LIN)), VE(PF, 1));
	check_eq("paging.smap.write", CATCH_ERR(store(LIN, 1)), VE(PF, 3));
	__asm__ volatile("stac");
	check_eq("paging.smap.stac", CATCH(store(LIN, 0x66)), NONE);
	__asm__ volatile("clac");
	check_eq("paging.smap.clac", CATCH_ERR(load(LIN)), VE(PF, 1));
	check_eq("paging.smap.user", RUN_USER(user_load, LIN, 0),
		 0x80); /* CPL 3 is not concerned */
	/*
	 * Implicit supervisor accesses ignore EFLAGS.AC: a local descriptor table in a user page.
	 */
	set_pte(PT_URW);
	*(volatile u64 *)(page_a + 8) = 0x00cf93000000ffff;
	gdt[SEL_FREE / 8] = 15 | (LIN & 0xffffff) << 16 | 0x82ull << 40 | (LIN >> 24 & 0xff) << 56;
	gdt[SEL_FREE / 8 + 1] = LIN >> 32;
	__asm__ volatile("lldt %w0; stac" : : "r"(SEL_FREE));
	check_eq("paging.smap.implicit",
		 CATCH_ERR(__asm__ volatile("mov %0, %%fs"
					    :
					    : "r"(8 | 4))),
		 VE(PF, 1));
	__asm__ volatile("clac; lldt %w0" : : "r"(0));
	write_cr4(read_cr4() & ~CR4_SMAP);
	__asm__ volatile("mov %0, %%fs" : : "r"(0));
}

static void test_canonical(void)
{
	check_eq("paging.canonical.read", CATCH_ERR(load(0x800000000000)), VE(GP, 0));
	check_eq("paging.canonical.write", CATCH_ERR(store(0xffff7fffffffffff, 0)), VE(GP, 0));
	check_eq("paging.canonical.stack",
		 CATCH_ERR(__asm__ volatile("mov %0, %%rcx; xchg %%rcx, %%rbp;"
					    "movb 0(%%rbp), %%al; xchg %%rcx, %%rbp"
					    :
					    : "r"(0x800000000000)
					    : "rcx", "rax")),
		 VE(SS, 0)); /* RBP as base: SS, so #SS */
	map(0x7ffffffff000, (void *)page_a, PT_P | PT_W);
	check_eq("paging.canonical.cross", CATCH(*(volatile u64 *)0x7ffffffffffc), GP);
	check_eq("paging.canonical.last", CATCH(*(volatile u64 *)0x7ffffffffff8), NONE);
	check_eq("paging.canonical.invlpg", CATCH(invlpg(0x800000000000)), NONE); /* no fault */
}

static void test_pcid(void)
{
	u32 r[4];
	u64 cr3 = read_cr3();
	volatile u64 *pte = pt_entry(LIN, 1);

	cpuid(1, 0, r);
	if (!(r[2] & 1u << 17)) {
		print("skip paging.pcid: the CPU has no PCID\n");
		return;
	}
	write_cr4(read_cr4() | CR4_PCID);
	write_cr3(cr3 | 1);
	page_a[0] = 0xa1;
	page_b[0] = 0xb2;
	map(LIN, (void *)page_a, PT_URW);
	check_eq("paging.pcid.read", load(LIN), 0xa1);
	*pte = (u64)page_b | PT_URW;
	write_cr3(cr3 | 1); /* bit 63 clear: drops PCID 1 */
	check_eq("paging.pcid.flush", load(LIN), 0xb2);
	check_eq("paging.pcid.cr3-bit63-reads-0", (write_cr3(cr3 | 1 | 1ull << 63), read_cr3()),
		 cr3 | 1);
	check_eq("paging.pcid.disable-with-pcid", CATCH(write_cr4(read_cr4() & ~CR4_PCID)), NONE);
	write_cr3(cr3);
	check_eq("paging.pcid.enable-with-pcid",
		 (write_cr3(cr3 | 8), CATCH_ERR(write_cr4(read_cr4() | CR4_PCID))), VE(GP, 0));
	write_cr3(cr3);
}

int main(void)
{
	user_setup();
	test_supervisor();
	test_user();
	test_levels();
	test_reserved();
	test_accessed_dirty();
	test_cross_values();
	test_invlpg();
	test_global();
	test_large();
	test_1g();
	test_smep();
	test_smap();
	test_canonical();
	test_pcid();
	finish();
}
