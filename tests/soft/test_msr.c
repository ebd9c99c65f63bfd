// SPDX-License-Identifier: GPL-2.0-or-later
/* MSRs, control and debug registers, CPUID, ports and the other system instructions. */
#include "hypervisor/cpuid.h"
#include "tests/soft/rig.h"

GUEST_CODE(g_rdmsr, 64, "rdmsr\n hlt");
GUEST_CODE(g_wrmsr, 64, "wrmsr\n hlt");
GUEST_CODE(g_cr0, 64, "mov %rax, %cr0\n mov %cr0, %rbx\n hlt");
GUEST_CODE(g_cr3, 64, "mov %rax, %cr3\n mov %cr3, %rbx\n hlt");
GUEST_CODE(g_cr4, 64, "mov %rax, %cr4\n mov %cr4, %rbx\n hlt");
GUEST_CODE(g_cr8, 64, "mov %rax, %cr8\n mov %cr8, %rbx\n hlt");
GUEST_CODE(g_cr0_32, 32, "mov %eax, %cr0\n mov %cr0, %ebx\n hlt");
GUEST_CODE(g_dr7, 64, "mov %rax, %db7\n mov %db7, %rbx\n hlt");
GUEST_CODE(g_dr6, 64, "mov %rax, %db6\n mov %db6, %rbx\n hlt");
GUEST_CODE(g_dr4, 64, ".byte 0x0f, 0x21, 0xe3\n hlt"); /* mov %db4, %rbx */
GUEST_CODE(g_lmsw, 32, "lmsw %ax\n smsw %ebx\n hlt");
GUEST_CODE(g_in, 64, "in %dx, %al\n in %dx, %ax\n in %dx, %eax\n in $0x60, %al\n hlt");
GUEST_CODE(g_out, 64, "out %al, %dx\n out %ax, %dx\n out %eax, %dx\n out %al, $0x80\n hlt");
GUEST_CODE(g_ins, 64, "cld\n rep insl\n hlt");
GUEST_CODE(g_outs, 64, "std\n rep outsw\n hlt");
GUEST_CODE(g_in_user, 64, "in %dx, %al\n ud2");
GUEST_CODE(g_in_user4, 64, "in %dx, %eax\n ud2");
GUEST_CODE(g_tsc, 64, "rdtscp\n mov %rax, %rbx\n rdtsc\n hlt");
GUEST_CODE(g_rdrand, 64,
	   "mov $-1, %rax\n stc\n .byte 0x66\n rdrand %eax\n jnc 1f\n rdrand %ebx\n rdseed %rcx\n "
	   "1: hlt");
GUEST_CODE(g_xcr, 64, "xsetbv\n xor %eax, %eax\n xgetbv\n hlt");
GUEST_CODE(g_base, 64,
	   "wrfsbase %rax\n rdfsbase %rbx\n mov %fs:8, %ecx\n swapgs\n rdgsbase %rdx\n hlt");
GUEST_CODE(g_syscall, 64, "syscall\n ud2");
GUEST_CODE(g_sysret, 64, "sysretq");
GUEST_CODE(g_sysret32, 64, "sysretl");
GUEST_CODE(g_sysenter, 32, "sysenter");
GUEST_CODE(g_sysexit, 32, "sysexit");
GUEST_CODE(g_cli_user, 64, "cli\n ud2");
GUEST_CODE(g_popf, 64, "push %rax\n popf\n pushf\n pop %rbx\n hlt");
GUEST_CODE(g_popf_user, 64, "push %rax\n popf\n pushf\n pop %rbx\n ud2");
GUEST_CODE(g_stac, 64, "stac\n pushf\n pop %rax\n clac\n pushf\n pop %rbx\n hlt");
GUEST_CODE(g_cpuid, 64, "cpuid\n hlt");
GUEST_CODE(g_rdpmc, 64, "rdpmc");
GUEST_CODE(g_vmcall, 64, "vmcall");
GUEST_CODE(g_monitor, 64, "monitor");
GUEST_CODE(g_invpcid, 64, "invpcid (%rax), %rbx");
GUEST_CODE(g_clts, 64, "clts\n hlt");
GUEST_CODE(g_invlpg, 64,
	   "mov (%rbx), %al\n mov %rcx, 0x2010\n mov (%rbx), %ah\n invlpg (%rbx)\n mov (%rbx), "
	   "%dl\n hlt");
GUEST_CODE(g_invlpg_user, 64, "invlpg (%rbx)");

static struct rig *long_rig(unsigned cpl, const uint8_t *code, const uint8_t *end)
{
	struct rig *r = rig_new();

	rig_long(r, cpl);
	rig_code(r, code, end);
	return r;
}

#define RIG(cpl, code) long_rig(cpl, code, code##_end)

/* The guest has to end in the handler of #GP(0), or of #UD. */
static void expect(struct rig *r, int vec)
{
	rig_run(r);
	ck_assert_msg(rig_vector(r) == vec, "vector %d, not %d", rig_vector(r), vec);
	if (vec == VEC_GP) {
		ck_hex(rig_frame64(r, 0), 0);
		ck_hex(rig_frame64(r, 1), CODE);
	}
	rig_free(r);
}

/* ---- MSRs ---- */
struct msr_case {
	uint32_t n;
	uint64_t v;
	bool ok;
};

START_TEST(msr_writes)
{
	static const struct msr_case c[] = {
		{ 0xc0000080, 0xd01, true },
		{ 0xc0000080, 0xd03, false },
		{ 0xc0000080, 0xc01, false },
		{ 0xc0000082, 0xffff800000001234, true },
		{ 0xc0000082, 0x800000000000, false },
		{ 0xc0000100, 0x7fffffffffff, true },
		{ 0xc0000101, 0xffff7fffffffffff, false },
		{ 0xc0000102, 0xffffffffffffffff, true },
		{ 0xc0000103, 0xffffffff, true },
		{ 0xc0000103, 0x100000000, false },
		{ 0x277, 0x0007040600070406, true },
		{ 0x277, 0x0007040600070402, false },
		{ 0x277, 0x0807040600070406, false },
		{ 0x2ff, 0xc06, true },
		{ 0x2ff, 0x1c06, false },
		{ 0x2ff, 0xc02, false },
		{ 0x200, 0x80000006, true },
		{ 0x200, 0x10000000006, false },
		{ 0x20f, 0xffc0000800, true },
		{ 0x20f, 0x400, false },
		{ 0x210, 0, false },
		{ 0x250, 0x0606060606060606, true },
		{ 0x26f, 0x0606060606060602, false },
		{ 0x174, 0x10, true },
		{ 0x175, 0x800000000000, false },
		{ 0x176, 0xffff800000000000, true },
		{ 0x1b, 0xfee00900, false },
		{ 0x1b, 0xfee00100, true },
		{ 0x3b, 5, true },
		{ 0x3a, 0, false },
		{ 0x48, 0, false },
		{ 0xce, 0, false },
		{ 0xfe, 0, false },
		{ 0x179, 0, false },
		{ 0x8b, 0, true },
		{ 0, 0, false },
		{ 0xc0000104, 0, false },
		{ 0xffffffff, 0, false },
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rig *r = RIG(0, g_wrmsr);

		r->s.gpr[R_RCX] = c[i].n | 0xabcd00000000ull; /* upper half is ignored */
		r->s.gpr[R_RAX] = (uint32_t)c[i].v | 0xffff00000000ull;
		r->s.gpr[R_RDX] = c[i].v >> 32 | 0xffff00000000ull;
		rig_run(r);
		ck_assert_msg(rig_vector(r) == (c[i].ok ? -1 : VEC_GP),
			      "msr %#x value %#lx: vector %d", c[i].n, (long)c[i].v, rig_vector(r));
		if (c[i].ok && c[i].n != 0x8b) {
			/* It reads back. */
			rig_code(r, g_rdmsr, g_rdmsr_end);
			r->s.halted = false;
			r->s.rip = CODE;
			rig_run(r);
			ck_hex(r->s.gpr[R_RAX], (uint32_t)c[i].v);
			ck_hex(r->s.gpr[R_RDX], c[i].v >> 32);
		}
		rig_free(r);
	}
}
END_TEST

START_TEST(msr_reads)
{
	static const struct msr_case c[] = {
		{ 0x17, 0, true },	     { 0x8b, 1ull << 32, true },
		{ 0xce, 0xa00, true },	     { 0xfe, 0x508, true },
		{ 0x1a0, 0x1801, true },     { 0x277, 0x0007040600070406, true },
		{ 0x10a, 0, false },	     { 0xe7, 0, false },
		{ 0xc0000080, 0xd01, true }, { 0x40000000, 0, false },
		{ 0x179, 0, false }, /* version 2 has it: tests/guest/apic.c */
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rig *r = RIG(0, g_rdmsr);

		r->s.gpr[R_RCX] = c[i].n;
		rig_run(r);
		ck_assert_int_eq(rig_vector(r), c[i].ok ? -1 : VEC_GP);
		if (c[i].ok)
			ck_hex(r->s.gpr[R_RAX] | r->s.gpr[R_RDX] << 32, c[i].v);
		rig_free(r);
	}
	expect(RIG(3, g_rdmsr), VEC_GP);
	expect(RIG(3, g_wrmsr), VEC_GP);
}
END_TEST

START_TEST(tsc)
{
	struct rig *r = RIG(0, g_tsc);

	r->ns = 0x123456789a;
	r->s.tsc_aux = 42;
	RIG_RUN(r, g_tsc);
	ck_hex(r->s.gpr[R_RAX], 0x3456789a);
	ck_hex(r->s.gpr[R_RBX], 0x3456789a);
	ck_hex(r->s.gpr[R_RDX], 0x12);
	ck_hex(r->s.gpr[R_RCX], 42);
	/* WRMSR moves it, and IA32_TSC_ADJUST with it. */
	rig_code(r, g_wrmsr, g_wrmsr_end);
	r->s.halted = false;
	r->s.rip = CODE;
	r->s.gpr[R_RCX] = 0x10;
	r->s.gpr[R_RAX] = 100;
	r->s.gpr[R_RDX] = 0;
	rig_run(r);
	ck_hex(r->s.tsc_offset, 100 - 0x123456789aull);
	rig_free(r);

	r = RIG(3, g_tsc);
	r->s.cr4 |= CR4_TSD;
	expect(r, VEC_GP);
}
END_TEST

/* ---- control registers ---- */
START_TEST(cr0_rules)
{
	static const uint64_t base = CR0_PE | CR0_ET | CR0_NE | CR0_WP;
	static const struct msr_case c[] = {
		{ 0, base | CR0_PG | CR0_TS, true },
		{ 0, base | CR0_PG | CR0_CD | CR0_NW, true },
		{ 0, base | CR0_PG | CR0_NW, false },
		{ 0, base, false }, /* paging off in 64-bit mode */
		{ 0, base | CR0_PG | 1ull << 32, false },
		{ 0, (base & ~CR0_PE) | CR0_PG, false },
		{ 0, base | CR0_PG | 1 << 6, true }, /* reserved low bits are ignored */
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rig *r = RIG(0, g_cr0);

		r->s.gpr[R_RAX] = c[i].v;
		rig_run(r);
		ck_assert_int_eq(rig_vector(r), c[i].ok ? -1 : VEC_GP);
		if (c[i].ok)
			ck_hex(r->s.gpr[R_RBX], c[i].v & ~0x40ull);
		rig_free(r);
	}
	expect(RIG(3, g_cr0), VEC_GP);
}
END_TEST

START_TEST(long_mode_starts)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	r->s.cr3 = PML4;
	r->s.cr4 = CR4_PAE;
	r->s.efer = EFER_LME;
	r->s.gpr[R_RAX] = CR0_PG | CR0_PE;
	RIG_RUN(r, g_cr0_32);
	ck_assert_int_eq(rig_vector(r), -1);
	ck_hex(r->s.efer, EFER_LME | EFER_LMA);
	ck_hex(r->s.gpr[R_RBX], CR0_PG | CR0_PE | CR0_ET);
	rig_free(r);

	/* Not without PAE. */
	r = rig_new();
	rig_prot(r, 0);
	r->s.cr3 = PML4;
	r->s.efer = EFER_LME;
	r->s.gpr[R_RAX] = CR0_PG | CR0_PE;
	RIG_RUN(r, g_cr0_32);
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	ck_hex(r->s.efer, EFER_LME);
	rig_free(r);
}
END_TEST

START_TEST(lmsw)
{
	struct rig *r = rig_new();

	rig_prot(r, 0);
	r->s.gpr[R_RAX] = CR0_TS | CR0_MP | CR0_NE;
	RIG_RUN(r, g_lmsw);
	ck_hex(r->s.gpr[R_RBX],
	       CR0_PE | CR0_TS | CR0_MP | CR0_ET | CR0_NE); /* PE stays, NE is not LMSW's */
	rig_free(r);
	r = RIG(0, g_clts);
	r->s.cr0 |= CR0_TS;
	rig_run(r);
	ck_hex(r->s.cr0 & CR0_TS, 0);
	rig_free(r);
}
END_TEST

START_TEST(cr3_rules)
{
	struct rig *r = RIG(0, g_cr3);

	r->s.gpr[R_RAX] = PML4 | 0x18;
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], PML4 | 0x18);
	rig_free(r);
	r = RIG(0, g_cr3);
	r->s.gpr[R_RAX] = PML4 | 1ull << 40;
	expect(r, VEC_GP);
	r = RIG(0, g_cr3);
	r->s.gpr[R_RAX] = PML4 | 1ull << 63;
	expect(r, VEC_GP);
	/* With PCIDs bit 63 is a request and reads as 0. */
	r = RIG(0, g_cr3);
	r->s.cr4 |= CR4_PCIDE;
	r->s.gpr[R_RAX] = PML4 | 5 | 1ull << 63;
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], PML4 | 5);
	rig_free(r);
}
END_TEST

START_TEST(cr4_rules)
{
	static const struct msr_case c[] = {
		{ 0, CPUID_V1_CR4_MASK & ~(uint64_t)(CR4_SMEP | CR4_SMAP), true },
		{ 0, CR4_PAE | CR4_VME, false },
		{ 0, CR4_PAE | CR4_MCE, false },
		{ 0, CR4_PAE | 1u << 12, false },
		{ 0, CR4_PAE | 1u << 13, false },
		{ 0, CR4_PAE | 1ull << 32, false },
		{ 0, CR4_PGE, false }, /* PAE has to stay */
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rig *r = RIG(0, g_cr4);

		r->s.gpr[R_RAX] = c[i].v;
		rig_run(r);
		ck_assert_int_eq(rig_vector(r), c[i].ok ? -1 : VEC_GP);
		rig_free(r);
	}
}
END_TEST

START_TEST(pcide_needs_pcid_zero)
{
	struct rig *r = RIG(0, g_cr4);

	r->s.cr3 = PML4 | 8;
	r->s.gpr[R_RAX] = CR4_PAE | CR4_PCIDE;
	expect(r, VEC_GP);
}
END_TEST

START_TEST(cr8)
{
	struct rig *r = RIG(0, g_cr8);

	r->s.gpr[R_RAX] = 15;
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], 15);
	rig_free(r);
	r = RIG(0, g_cr8);
	r->s.gpr[R_RAX] = 16;
	expect(r, VEC_GP);
}
END_TEST

START_TEST(debug_registers)
{
	struct rig *r = RIG(0, g_dr7);

	r->s.gpr[R_RAX] = 0xffffc800;
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], 0xffff0400);
	rig_free(r);
	r = RIG(0, g_dr7);
	r->s.gpr[R_RAX] = 1ull << 32;
	expect(r, VEC_GP);
	r = RIG(0, g_dr6);
	r->s.gpr[R_RAX] = 0xffffffff;
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], 0xffffeffful);
	rig_free(r);
	/* DR4 is DR6, until CR4.DE. */
	r = RIG(0, g_dr4);
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], 0xffff0ff0);
	rig_free(r);
	r = RIG(0, g_dr4);
	r->s.cr4 |= CR4_DE;
	expect(r, VEC_UD);
	/* GD guards them and is cleared for the handler. */
	r = RIG(0, g_dr4);
	r->s.dr[7] |= 1u << 13;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_DB);
	ck_hex(r->s.dr[6], 0xffff2ff0);
	ck_hex(r->s.dr[7], 0x400);
	ck_hex(rig_frame64(r, 0), CODE);
	ck_hex(rig_frame64(r, 2),
	       2 | FL_RF); /* a fault, and no instruction breakpoint: vol. 3, 17.3.1.1 */
	rig_free(r);
}
END_TEST

/* ---- ports ---- */
START_TEST(ports)
{
	struct rig *r = RIG(0, g_in);

	r->s.gpr[R_RDX] = 0x13f8;
	r->s.gpr[R_RAX] = UINT64_MAX;
	rig_run(r);
	ck_assert_uint_eq(r->nports, 4);
	ck_hex(r->s.gpr[R_RAX], 0xa1b2c3d8);
	ck_hex(r->ports[0].port, 0x13f8);
	ck_hex(r->ports[2].size, 4);
	ck_hex(r->ports[3].port, 0x60);
	rig_free(r);
	r = RIG(0, g_out);
	r->s.gpr[R_RDX] = 0x13f8;
	r->s.gpr[R_RAX] = 0x9988776655443322;
	rig_run(r);
	ck_hex(r->ports[0].value, 0x22);
	ck_hex(r->ports[1].value, 0x3322);
	ck_hex(r->ports[2].value, 0x55443322);
	ck_hex(r->ports[3].port, 0x80);
	rig_free(r);
}
END_TEST

START_TEST(port_strings)
{
	struct rig *r = RIG(0, g_ins);

	r->s.gpr[R_RDX] = 0x1f0;
	r->s.gpr[R_RDI] = DATA;
	r->s.gpr[R_RCX] = 3;
	rig_run(r);
	ck_assert_uint_eq(r->nports, 3);
	ck_hex(r->s.gpr[R_RCX], 0);
	ck_hex(r->s.gpr[R_RDI], DATA + 12);
	ck_hex(rig_get(r, DATA + 8, 4), 0xa1b2c3d7);
	ck_assert_uint_eq(r->s.count, 3);
	rig_free(r);

	r = RIG(0, g_outs);
	r->s.gpr[R_RDX] = 0x1f0;
	r->s.gpr[R_RSI] = DATA + 2;
	r->s.gpr[R_RCX] = 2;
	rig_put32(r, DATA, 0x22221111);
	rig_run(r);
	ck_assert_uint_eq(r->nports, 2);
	ck_hex(r->ports[0].value, 0x2222);
	ck_hex(r->ports[1].value, 0x1111);
	ck_hex(r->s.gpr[R_RSI], DATA - 2);
	rig_free(r);
}
END_TEST

/* INS into a page that is not there reads no port. */
START_TEST(ins_fault)
{
	struct rig *r = RIG(0, g_ins);

	r->s.gpr[R_RDX] = 0x1f0;
	r->s.gpr[R_RDI] = 0x90000000;
	r->s.gpr[R_RCX] = 3;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_PF);
	ck_assert_uint_eq(r->nports, 0);
	ck_hex(r->s.gpr[R_RCX], 3);
	rig_free(r);
}
END_TEST

static struct rig *user_port(unsigned iopl, uint16_t limit, uint16_t base, uint16_t bits,
			     const uint8_t *code, const uint8_t *end)
{
	struct rig *r = long_rig(3, code, end);

	r->s.rflags |= iopl << 12;
	r->s.seg[SEG_TR].limit = limit;
	rig_put16(r, TSS + 0x66, base);
	if (base < 0x700)
		rig_put16(r, TSS + base + 0x60 / 8, bits);
	r->s.gpr[R_RDX] = 0x66; /* bits 6 and up of the byte for 60h */
	rig_run(r);
	return r;
}

static void check_user_port(unsigned iopl, uint16_t limit, uint16_t base, uint16_t bits,
			    unsigned size, bool ok)
{
	struct rig *r = size == 1 ? user_port(iopl, limit, base, bits, g_in_user, g_in_user_end)
				  : user_port(iopl, limit, base, bits, g_in_user4, g_in_user4_end);

	ck_assert_int_eq(rig_vector(r), ok ? VEC_UD : VEC_GP);
	ck_assert_uint_eq(r->nports, ok);
	rig_free(r);
}

START_TEST(port_permission)
{
	check_user_port(3, 0x67, 0x68, 0, 1, true);
	check_user_port(0, 0x67, 0x68, 0, 1, false);
	check_user_port(0, 0x200, 0x68, 0, 1, true);
	check_user_port(0, 0x200, 0x68, 0x40, 1, false);
	check_user_port(0, 0x200, 0x68, 0xfc3f, 4, true);
	check_user_port(0, 0x200, 0x68, 0x200, 4, false); /* in the next byte */
	check_user_port(0, 0x68 + 0xc, 0x68, 0, 1,
			false); /* two bytes have to be inside the limit */
	check_user_port(0, 0x68 + 0xd, 0x68, 0, 1, true);
	check_user_port(0, 0x200, 0xffff, 0, 1, false);
	check_user_port(2, 0x200, 0x68, 0x40, 1, false);
}
END_TEST

/* ---- the rest ---- */
START_TEST(random_numbers)
{
	struct rig *r = RIG(0, g_rdrand);

	r->s.rflags = 2 | FL_ZF | FL_OF;
	rig_run(r);
	ck_hex(r->s.gpr[R_RAX], 0xffffffffffff7788);
	ck_hex(r->s.gpr[R_RBX], 0x55667788);
	ck_hex(r->s.gpr[R_RCX], 0x1122334455667788);
	ck_hex(r->s.rflags, 2 | FL_CF);
	rig_free(r);
}
END_TEST

START_TEST(xcr0)
{
	struct rig *r = RIG(0, g_xcr);

	expect(r, VEC_UD); /* without CR4.OSXSAVE */
	for (unsigned v = 0; v < 8; v++) {
		r = RIG(0, g_xcr);
		r->s.cr4 |= CR4_OSXSAVE;
		r->s.gpr[R_RAX] = v;
		r->s.gpr[R_RDX] = 0;
		rig_run(r);
		ck_assert_int_eq(rig_vector(r), v == 1 || v == 3 ? -1 : VEC_GP);
		if (v == 3)
			ck_hex(r->s.gpr[R_RAX], 3);
		rig_free(r);
	}
}
END_TEST

START_TEST(bases)
{
	struct rig *r = RIG(0, g_base);

	r->s.cr4 |= CR4_FSGSBASE;
	r->s.gpr[R_RAX] = DATA;
	r->s.kernel_gs_base = 0xffff888000000000;
	r->s.seg[SEG_GS].base = 0x1234;
	rig_put32(r, DATA + 8, 77);
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], DATA);
	ck_hex(r->s.gpr[R_RCX], 77);
	ck_hex(r->s.gpr[R_RDX], 0xffff888000000000);
	ck_hex(r->s.kernel_gs_base, 0x1234);
	rig_free(r);
	expect(RIG(0, g_base), VEC_UD);
}
END_TEST

START_TEST(syscall_sysret)
{
	struct rig *r = RIG(3, g_syscall);

	r->s.star = 0x0018000800000000ull | (uint64_t)K_CODE64 << 32;
	r->s.star = (uint64_t)(U_CODE32 & ~3) << 48 | (uint64_t)(K_CODE64) << 32;
	r->s.lstar = HANDLER + 0xf00;
	r->s.fmask = FL_IF | FL_DF;
	r->s.rflags = 2 | FL_IF | FL_CF | FL_DF;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), 0xf0);
	ck_hex(r->s.gpr[R_RCX], CODE + 2);
	ck_hex(r->s.gpr[R_R11], 2 | FL_IF | FL_CF | FL_DF);
	ck_hex(r->s.rflags, 2 | FL_CF);
	ck_hex(r->s.seg[SEG_CS].selector, K_CODE64);
	ck_hex(r->s.seg[SEG_SS].selector, K_CODE64 + 8);
	ck_hex(SEG_DPL(r->s.seg[SEG_SS].attr), 0);

	/* And back, into UD2. */
	rig_code(r, g_sysret, g_sysret_end);
	r->s.halted = false;
	r->s.rip = CODE;
	r->s.gpr[R_RCX] = DATA;
	r->s.gpr[R_RSP] = USTACK;
	rig_put16(r, DATA, 0x0b0f);
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame64(r, 0), DATA);
	ck_hex(rig_frame64(r, 1), U_CODE64);
	ck_hex(rig_frame64(r, 2), 2 | FL_IF | FL_CF | FL_DF | FL_RF);
	ck_hex(rig_frame64(r, 4), U_DATA);
	rig_free(r);
}
END_TEST

START_TEST(sysret_faults)
{
	struct rig *r = RIG(0, g_sysret);

	r->s.gpr[R_RCX] = 1ull << 47;
	expect(r, VEC_GP);
	expect(RIG(3, g_sysret), VEC_GP);
	r = RIG(0, g_sysret);
	r->s.efer &= ~(uint64_t)EFER_SCE;
	expect(r, VEC_UD);
	r = RIG(3, g_syscall);
	r->s.efer &= ~(uint64_t)EFER_SCE;
	expect(r, VEC_UD);
	/* To compatibility mode. */
	r = RIG(0, g_sysret32);
	r->s.star = (uint64_t)(U_CODE32 & ~3) << 48;
	r->s.gpr[R_RCX] = 0xffff00000000ull | DATA;
	r->s.gpr[R_R11] = 2;
	rig_put16(r, DATA, 0x0b0f);
	rig_run(r);
	ck_hex(rig_frame64(r, 0), DATA);
	ck_hex(rig_frame64(r, 1), U_CODE32);
	rig_free(r);
}
END_TEST

START_TEST(sysenter_sysexit)
{
	struct rig *r = rig_new();

	rig_prot(r, 3);
	r->s.sysenter_cs = K_CODE32;
	r->s.sysenter_eip = HANDLER + 0xf00;
	r->s.sysenter_esp = STACK - 64;
	r->s.rflags = 2 | FL_IF | FL_CF;
	RIG_RUN(r, g_sysenter);
	ck_assert_int_eq(rig_vector(r), 0xf0);
	ck_hex(r->s.gpr[R_RSP], STACK - 64);
	ck_hex(r->s.rflags, 2 | FL_CF);
	ck_hex(r->s.seg[SEG_SS].selector, K_DATA);
	rig_code(r, g_sysexit, g_sysexit_end);
	r->s.halted = false;
	r->s.rip = CODE;
	r->s.gpr[R_RDX] = DATA;
	r->s.gpr[R_RCX] = USTACK;
	rig_put16(r, DATA, 0x0b0f);
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame32(r, 0), DATA);
	ck_hex(rig_frame32(r, 1), K_CODE32 + 16 + 3);
	ck_hex(rig_frame32(r, 3), USTACK);
	rig_free(r);
	r = rig_new();
	rig_prot(r, 3);
	RIG_RUN(r, g_sysenter); /* SYSENTER_CS is 0 */
	ck_assert_int_eq(rig_vector(r), VEC_GP);
	rig_free(r);
}
END_TEST

START_TEST(flags)
{
	struct rig *r = RIG(0, g_popf);

	r->s.gpr[R_RAX] = UINT64_MAX & ~(uint64_t)FL_TF;
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], 0x247ed7); /* no RF, VM, VIF, VIP */
	rig_free(r);
	r = RIG(3, g_popf_user);
	r->s.gpr[R_RAX] = UINT64_MAX & ~(uint64_t)(FL_TF | FL_NT);
	r->s.rflags = 2 | 1u << 12; /* IOPL 1 */
	rig_run(r);
	ck_hex(r->s.gpr[R_RBX], 0x241cd7); /* neither IF nor IOPL moved */
	rig_free(r);
	expect(RIG(3, g_cli_user), VEC_GP);
	r = RIG(3, g_cli_user);
	r->s.rflags = 2 | FL_IOPL | FL_IF;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), VEC_UD);
	ck_hex(rig_frame64(r, 2) & FL_IF, 0);
	rig_free(r);
	r = RIG(0, g_stac);
	rig_run(r);
	ck_hex(r->s.gpr[R_RAX], 2 | FL_AC);
	ck_hex(r->s.gpr[R_RBX], 2);
	rig_free(r);
	expect(RIG(3, g_stac), VEC_UD);
}
END_TEST

START_TEST(not_offered)
{
	expect(RIG(0, g_vmcall), VEC_UD);
	expect(RIG(0, g_monitor), VEC_UD);
	expect(RIG(0, g_invpcid), VEC_UD);
	expect(RIG(0, g_rdpmc), VEC_GP);
	expect(RIG(3, g_clts), VEC_GP);
}
END_TEST

/* A stale translation lasts until INVLPG. */
START_TEST(invlpg)
{
	struct rig *r = RIG(0, g_invlpg);

	rig_put64(r, PDPT + 16, 0x87); /* 2 GiB: a window on 0 */
	rig_put16(r, DATA, 5);
	r->s.gpr[R_RBX] = 0x80000000ull + DATA;
	r->s.gpr[R_RCX] = 0x40000087; /* a window on no memory at all */
	r->s.gpr[R_RDX] = 0;
	rig_run(r);
	ck_assert_int_eq(rig_vector(r), -1);
	ck_hex(r->s.gpr[R_RAX], 0x505);
	ck_hex(r->s.gpr[R_RDX], 0xff);
	rig_free(r);
	expect(RIG(3, g_invlpg_user), VEC_GP);
}
END_TEST

/* ---- CPUID and the state image ---- */

/* What whoever looks CPUID up in the table answers, as hypervisor/vmx/module/serve.c does. */
static bool from_table(const struct cpuid_entry *t, size_t n, uint32_t leaf, uint32_t sub,
		       const struct cpuid_dynamic *dyn, uint32_t out[4])
{
	for (size_t i = 0; i < n; i++) {
		if (t[i].leaf != leaf || !(t[i].any_sub || t[i].sub == sub))
			continue;
		memcpy(out, t[i].out, sizeof(t[i].out));
		if (t[i].osxsave && dyn->cr4 & 1u << 18)
			out[2] |= 1u << 27;
		if (t[i].syscall && !dyn->long_code)
			out[3] &= ~(1u << 11);
		if (t[i].apic && dyn->apic_off)
			out[3] &= ~(1u << 9);
		return true;
	}
	return false;
}

START_TEST(cpuid_table)
{
	static const uint32_t first[] = { 0, 0x40000000, 0x80000000 };
	struct cpuid_entry t[128];
	size_t n = cpuid_v1_table(t, 128), found = 0;

	ck_assert_uint_lt(n, 128);
	ck_assert_uint_eq(cpuid_v1_table(t, 5), 5);
	for (unsigned k = 0; k < 16 * 3 * 0x20 * 10; k++) {
		const struct cpuid_dynamic dyn = { .cr4 = k & 1 ? 1u << 18 : 0,
						   .long_code = k & 2,
						   .apic_off = k & 4 };
		uint32_t leaf = first[k / 16 % 3] + k / 48 % 0x20, sub = k / 48 / 0x20, v[4], w[4];

		n = (k & 8 ? cpuid_v2_table : cpuid_v1_table)(t, 128);
		if (!from_table(t, n, leaf, sub, &dyn, v))
			continue;
		found++;
		(k & 8 ? cpuid_v2 : cpuid_v1)(leaf, sub, &dyn, w);
		ck_assert_msg(!memcmp(v, w, sizeof(v)), "leaf %x.%x", leaf, sub);
		ck_assert(leaf != 1 || (w[3] >> 9 & 1) == ((k & 8) && !dyn.apic_off));
	}
	ck_assert_uint_gt(found, 16 * 33 * 8);
}
END_TEST

START_TEST(cpuid)
{
	struct cpuid_dynamic dyn = { .cr4 = 0, .long_code = true };
	struct rig *r = RIG(0, g_cpuid);
	char name[49] = "", vendor[13] = "";
	uint32_t v[4], w[4];

	cpuid_v1(0, 9, &dyn, v);
	ck_assert_uint_eq(v[0], 0x16);
	memcpy(vendor, &v[1], 4);
	memcpy(vendor + 4, &v[3], 4);
	memcpy(vendor + 8, &v[2], 4);
	ck_assert_str_eq(vendor, "GenuineIntel");
	for (unsigned i = 0; i < 3; i++)
		cpuid_v1(0x80000002 + i, 0, &dyn, (uint32_t *)(name + 16 * i));
	ck_assert_str_eq(name, "Twinstep virtual CPU v1");
	cpuid_v1(0x15, 0, &dyn, v);
	ck_assert_uint_eq((uint64_t)v[2] * v[1] / v[0], CPUID_V1_TSC_HZ);
	cpuid_v1(1, 0, &dyn, v);
	ck_hex(v[2] & (1u << 27), 0);
	dyn.cr4 = CR4_OSXSAVE;
	cpuid_v1(1, 0, &dyn, v);
	ck_assert(v[2] & (1u << 27));
	/* Beyond the highest leaf: the highest basic one. */
	cpuid_v1(0x16, 0, &dyn, v);
	cpuid_v1(0x17, 0, &dyn, w);
	ck_assert_mem_eq(v, w, sizeof(v));
	cpuid_v1(0x80000009, 0, &dyn, w);
	ck_assert_mem_eq(v, w, sizeof(v));
	cpuid_v1(0x40000001, 0, &dyn, w);
	ck_assert(!(w[0] | w[1] | w[2] | w[3]));
	cpuid_v1(0xd, 2, &dyn, w);
	ck_assert(!(w[0] | w[1] | w[2] | w[3]));

	r->s.gpr[R_RAX] = 1;
	rig_run(r);
	ck_hex(r->s.gpr[R_RAX], CPUID_V1_SIGNATURE);
	rig_free(r);
}
END_TEST

/* Digests of the model as logs hold them: before revisions were counted, and now. */
START_TEST(cpu_revision)
{
	const uint64_t first = 0xfaf8a029040df038;
	char text[200];

	ck_assert_uint_eq(cpuid_v1_revision(first), 1);
	ck_assert_uint_eq(cpuid_v1_revision(cpuid_v1_digest()), CPUID_V1_REVISION);
	ck_assert_uint_eq(cpuid_v1_revision(first + 1), 0);
	ck_assert_ptr_null(cpuid_v1_refusal(cpuid_v1_digest(), text, sizeof(text)));
	ck_assert_ptr_nonnull(strstr(cpuid_v1_refusal(first, text, sizeof(text)),
				     "an earlier software CPU (revision 1)"));
	ck_assert_ptr_nonnull(
		strstr(cpuid_v1_refusal(1, text, sizeof(text)), "another CPUID model"));
}
END_TEST

START_TEST(state_image)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct cpu_state s, t;
	struct rd in;

	cpu_state_reset(&s);
	ck_hex(s.rip, 0xfff0);
	ck_hex(s.seg[SEG_CS].base, 0xffff0000);
	for (unsigned i = 0; i < 16; i++)
		s.gpr[i] = 0x1111111111111111ull * i;
	s.event.valid = true;
	s.event.type = 3;
	s.intr_vector = 0x99;
	s.count = 12345;
	s.fxsave[511] = 7;
	cpu_state_save(&s, &a);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(cpu_state_restore(&t, &in), 0);
	ck_assert_uint_eq(rd_left(&in), 0);
	cpu_state_save(&t, &b);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	/* Every shorter image is refused, and nothing that was flipped crashes. */
	for (size_t n = 0; n < a.len; n++) {
		in = (struct rd)RD_INIT(a.data, n);
		ck_assert_int_eq(cpu_state_restore(&t, &in), -22);
	}
	for (size_t n = 0; n < a.len; n++) {
		a.data[n] ^= 0xff;
		in = (struct rd)RD_INIT(a.data, a.len);
		cpu_state_restore(&t, &in);
		a.data[n] ^= 0xff;
	}
	/* 16-bit and 32-bit code has no RIP beyond 4 GiB. */
	s.rip |= 1ull << 32;
	buf_clear(&a);
	cpu_state_save(&s, &a);
	in = (struct rd)RD_INIT(a.data, a.len);
	ck_assert_int_eq(cpu_state_restore(&t, &in), -22);
	buf_free(&a);
	buf_free(&b);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, msr_writes);
	tcase_add_test(tc, msr_reads);
	tcase_add_test(tc, tsc);
	tcase_add_test(tc, cr0_rules);
	tcase_add_test(tc, long_mode_starts);
	tcase_add_test(tc, lmsw);
	tcase_add_test(tc, cr3_rules);
	tcase_add_test(tc, cr4_rules);
	tcase_add_test(tc, pcide_needs_pcid_zero);
	tcase_add_test(tc, cr8);
	tcase_add_test(tc, debug_registers);
	tcase_add_test(tc, ports);
	tcase_add_test(tc, port_strings);
	tcase_add_test(tc, ins_fault);
	tcase_add_test(tc, port_permission);
	tcase_add_test(tc, random_numbers);
	tcase_add_test(tc, xcr0);
	tcase_add_test(tc, bases);
	tcase_add_test(tc, syscall_sysret);
	tcase_add_test(tc, sysret_faults);
	tcase_add_test(tc, sysenter_sysexit);
	tcase_add_test(tc, flags);
	tcase_add_test(tc, not_offered);
	tcase_add_test(tc, invlpg);
	tcase_add_test(tc, cpuid);
	tcase_add_test(tc, cpuid_table);
	tcase_add_test(tc, cpu_revision);
	tcase_add_test(tc, state_image);
}

UNIT_MAIN("msr", add_tests)
