/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Privilege: SYSCALL, SYSENTER, IRET, call gates, stacks of the TSS, rules of control registers and
 * MSRs.
 */
#include "tests/guest/rt64.h"

#define MSR_EFER	 0xc0000080
#define MSR_STAR	 0xc0000081
#define MSR_LSTAR	 0xc0000082
#define MSR_FMASK	 0xc0000084
#define MSR_FS_BASE	 0xc0000100
#define MSR_GS_BASE	 0xc0000101
#define MSR_KERNEL_GS	 0xc0000102
#define MSR_SYSENTER_CS	 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176

/* ---- what CPL 3 must not do: each ends in #GP(0) ---- */
/* clang-format off */
#define PRIVILEGED(X)                                                                                              \
	X(hlt, "hlt") X(cli, "cli") X(sti, "sti") X(clts, "clts") X(invlpg, "invlpg (%rdi)") X(wbinvd, "wbinvd")    \
	X(lgdt, "lgdt (%rsp)") X(lidt, "lidt (%rsp)") X(lldt, "xor %eax, %eax; lldt %ax")                           \
	X(ltr, "xor %eax, %eax; ltr %ax") X(rdmsr, "mov $0xc0000080, %ecx; rdmsr")                                  \
	X(wrmsr, "mov $0xc0000080, %ecx; wrmsr") X(mov_from_cr0, "mov %cr0, %rax") X(mov_to_cr3, "mov %rax, %cr3") \
	X(mov_from_dr7, "mov %dr7, %rax") X(in, "in $0x80, %al") X(out, "out %al, $0x80") X(ins, "insb")            \
	X(outs, "outsb") X(lmsw, "lmsw %ax") X(swapgs, "swapgs") X(sysret, "sysretq") X(mov_cr8, "mov %rax, %cr8") \
	X(iret_tss, "pushf; orl $0x4000, (%rsp); popf; iretq") X(invd, "invd") X(sysexit, "sysexitl") \
	X(rep_ins_none, "xor %ecx, %ecx; rep insb") X(rep_outs_none, "xor %ecx, %ecx; rep outsb")
/* clang-format on */
#define PRIVILEGED_SNIPPET(name, code) SNIPPET(user_##name, code "; int $0x80");
PRIVILEGED(PRIVILEGED_SNIPPET)

static void test_privileged(void)
{
#define PRIVILEGED_CHECK(name, code) \
	check_eq("priv.cpl3." #name, RUN_USER_ERR(user_##name, 0, 0), VE(GP, 0));
	PRIVILEGED(PRIVILEGED_CHECK)
}

SNIPPET(user_popf, "push $0; popf; pushf; pop %rax; int $0x80");
SNIPPET(user_rdtsc, "rdtsc; int $0x80");
SNIPPET(user_umip, "sgdt -16(%rsp); int $0x80");
SNIPPET(user_smsw, "smsw %eax; int $0x80");
SNIPPET(user_nothing, "int $0x80");
SNIPPET(user_int_kernel_gate, "int $0x42");
SNIPPET(user_int3, "int3");

static void test_user_flags(void)
{
	check_eq("priv.popf.end", run_user_at(SEL_UCODE, user_popf, user_popf_end, FL_IF, 0, 0),
		 0x80);
	check_eq("priv.popf.if-stays", last.rflags & FL_IF,
		 FL_IF); /* IOPL 0: POPF leaves IF alone */
	check_eq("priv.cs", last.cs, SEL_UCODE);
	check_eq("priv.ss", last.ss, SEL_UDATA);
	check_eq("priv.stack", last_stack, (u64)irq_stack); /* RSP0 */
	check_eq("priv.int-dpl", RUN_USER_ERR(user_int_kernel_gate, 0, 0), VE(GP, 0x42 * 8 + 2));
	check_eq("priv.int3-dpl3", RUN_USER(user_int3, 0, 0), BP);
	check_eq("priv.rdtsc", RUN_USER(user_rdtsc, 0, 0), 0x80);
	write_cr4(read_cr4() | 4); /* TSD */
	check_eq("priv.rdtsc-tsd", RUN_USER_ERR(user_rdtsc, 0, 0), VE(GP, 0));
	write_cr4(read_cr4() & ~4ull);
	check_eq("priv.sgdt", RUN_USER(user_umip, 0, 0), 0x80);
	check_eq("priv.smsw", RUN_USER(user_smsw, 0, 0), 0x80);
	check_eq("priv.smsw.value", last.rax & 0xffff, read_cr0() & 0xffff);
	{
		u32 r[4];

		cpuid(7, 0, r);
		if (r[2] & 4) {
			write_cr4(read_cr4() | 0x800);
			check_eq("priv.umip.sgdt", RUN_USER_ERR(user_umip, 0, 0), VE(GP, 0));
			check_eq("priv.umip.smsw", RUN_USER_ERR(user_smsw, 0, 0), VE(GP, 0));
			write_cr4(read_cr4() & ~0x800ull);
		} else {
			print("skip priv.umip: the CPU has no UMIP\n");
		}
	}
	/* An interrupt stack from the IST, whatever the CPL. */
	set_gate(0x80, (u64)(vectors + 16 * 0x80), SEL_CODE, GATE_INT | GATE_DPL3, 1);
	check_eq("priv.ist", RUN_USER(user_nothing, 0, 0), 0x80);
	check_eq("priv.ist.stack", last_stack, (u64)ist_stack);
	check_eq("priv.ist.cpl0", CATCH(__asm__ volatile("int $0x80")), 0x80);
	check_eq("priv.ist.cpl0.stack", last_stack, (u64)ist_stack);
	reset_gate(0x80);
}

SNIPPET(user_in_ok, "mov $0xe9, %edx; in (%dx), %al; int $0x80");
SNIPPET(user_in16, "mov $0xef, %edx; in (%dx), %ax; int $0x80");

static void test_io_bitmap(void)
{
	u8 *bitmap = tss + 104;

	gdt_tss[0] = (gdt_tss[0] & ~0xffffull) | (104 + 8192);
	gdt_tss[0] &= ~(2ull << 40); /* not busy */
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	for (unsigned i = 0; i < 8193; i++)
		bitmap[i] = 0xff;
	check_eq("priv.io.denied", RUN_USER_ERR(user_in_ok, 0, 0), VE(GP, 0));
	bitmap[0xe9 / 8] &= (u8) ~(1u << (0xe9 & 7));
	check_eq("priv.io.allowed", RUN_USER(user_in_ok, 0, 0), 0x80);
	check_eq("priv.io.value", last.rax & 0xff, 0xe9);
	bitmap[0xef / 8] &= (u8) ~(1u << (0xef & 7));
	check_eq("priv.io.second-port-denied", RUN_USER_ERR(user_in16, 0, 0), VE(GP, 0)); /* 0xf0 */
	bitmap[0xf0 / 8] &= (u8)~1u;
	check_eq("priv.io.both", RUN_USER(user_in16, 0, 0), 0x80);
	check_eq("priv.io.iopl", run_user_at(SEL_UCODE, user_in, user_in_end, 0x3000, 0, 0),
		 0x80); /* IOPL 3 */
}

/* ---- SYSCALL ---- */
extern const u8 syscall_entry[];
__asm__("syscall_entry:\n"
	"	mov %rsp, %r12\n" /* what SYSCALL left: still the user's stack */
	"	pushf\n"
	"	pop %r13\n"
	"	int $0x70\n");

SNIPPET(user_syscall, "mov $0x1234, %ebx; syscall; user_syscall_after: int $0x80");
SNIPPET(user_sysret_back, "syscall; mov %r11, %rax; int $0x80");

static void test_syscall(void)
{
	extern const u8 user_syscall_after[];

	wrmsr(MSR_STAR, (u64)(SEL_CODE32 | 3) << 48 | (u64)SEL_CODE << 32);
	wrmsr(MSR_LSTAR, (u64)syscall_entry);
	wrmsr(MSR_FMASK, FL_IF | 0x400);
	map(USER_STACK_LIN, user_stack_page, PT_URW | PT_NX);
	check_eq(
		"priv.syscall",
		run_user_at(SEL_UCODE, user_syscall, user_syscall_end, FL_CF | 0x400 | FL_IF, 0, 0),
		0x70);
	check_eq("priv.syscall.cs", last.cs, SEL_CODE);
	check_eq("priv.syscall.ss", last.ss, SEL_DATA);
	check_eq("priv.syscall.rcx", last.rcx,
		 USER_CODE_LIN + (u64)(user_syscall_after - user_syscall));
	check_eq("priv.syscall.r11", last.r11 & (FL_CF | FL_IF | 0x400), FL_CF | FL_IF | 0x400);
	check_eq("priv.syscall.flags", last.r13 & (FL_CF | FL_IF | 0x400),
		 FL_CF); /* the mask cleared IF and DF */
	check_eq("priv.syscall.rsp", last.r12, USER_STACK_TOP - 64);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~1ull);
	check_eq("priv.syscall.sce", RUN_USER(user_syscall, 0, 0), UD);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
	check_eq("priv.lstar-noncanonical", CATCH_ERR(wrmsr(MSR_LSTAR, 0x800000000000)), VE(GP, 0));
	/*
	 * SYSRET to 64-bit code: CS is STAR[63:48] + 16, SS + 8, both with RPL 3. Ours gives 18
	 * and 10.
	 */
	wrmsr(MSR_STAR, (u64)(SEL_UCODE - 16) << 48 | (u64)SEL_CODE << 32);
	for (unsigned i = 0; user_nothing + i < user_nothing_end; i++)
		user_code_page[i] = user_nothing[i];
	check_eq("priv.sysret",
		 CATCH(__asm__ volatile("mov %%rsp, %%rbx; sysretq"
					:
					: "c"(USER_CODE_LIN), "d"(0), "a"(0)
					: "rbx", "r11")),
		 0x80);
	check_eq("priv.sysret.cs", last.cs, SEL_UCODE);
	check_eq("priv.sysret.ss", last.ss, SEL_UDATA);
	check_eq("priv.sysret.noncanonical",
		 CATCH_ERR(__asm__ volatile("sysretq"
					    :
					    : "c"(0x800000000000), "a"(0))),
		 VE(GP, 0));
}

/* ---- SYSENTER ---- */
SNIPPET(user_sysenter, "sysenter");

static void test_sysenter(void)
{
	wrmsr(MSR_SYSENTER_CS, 0);
	check_eq("priv.sysenter.cs-0", RUN_USER_ERR(user_sysenter, 0, 0), VE(GP, 0));
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	wrmsr(MSR_SYSENTER_ESP, (u64)irq_stack - 4096);
	wrmsr(MSR_SYSENTER_EIP, (u64)syscall_entry);
	check_eq("priv.sysenter",
		 run_user_at(SEL_UCODE, user_sysenter, user_sysenter_end, FL_IF, 0, 0), 0x70);
	check_eq("priv.sysenter.cs", last.cs, SEL_CODE);
	check_eq("priv.sysenter.ss", last.ss, SEL_DATA);
	check_eq("priv.sysenter.rsp", last.r12, (u64)irq_stack - 4096);
	check_eq("priv.sysenter.if", last.r13 & FL_IF, 0);
	check_eq("priv.sysenter.eip-noncanonical", CATCH_ERR(wrmsr(MSR_SYSENTER_EIP, 1ull << 63)),
		 VE(GP, 0));
	/* SYSEXIT to 64-bit code: CS = SYSENTER_CS + 32 + 3, SS = + 40 + 3. */
	for (unsigned i = 0; user_nothing + i < user_nothing_end; i++)
		user_code_page[i] = user_nothing[i];
	wrmsr(MSR_SYSENTER_CS, SEL_FREE);
	gdt[(SEL_FREE + 32) / 8] = gdt[SEL_UCODE / 8];
	gdt[(SEL_FREE + 40) / 8] = gdt[SEL_UDATA / 8];
	check_eq("priv.sysexit",
		 CATCH(__asm__ volatile("sysexitq"
					:
					: "c"(USER_STACK_TOP), "d"(USER_CODE_LIN))),
		 0x80);
	check_eq("priv.sysexit.cs", last.cs, (SEL_FREE + 32) | 3);
	check_eq("priv.sysexit.ss", last.ss, (SEL_FREE + 40) | 3);
	wrmsr(MSR_SYSENTER_CS, 0);
}

/* ---- IRET ---- */
static inline void iret_to(u64 ss, u64 rsp, u64 flags, u64 cs, u64 rip)
{
	__asm__ volatile("push %0\n\tpush %1\n\tpush %2\n\tpush %3\n\tpush %4\n\tiretq"
			 :
			 : "r"(ss), "r"(rsp), "r"(flags), "r"(cs), "r"(rip)
			 : "memory");
}

static void test_iret(void)
{
	user_setup();
	check_eq("priv.iret.user", RUN_USER(user_nothing, 0, 0), 0x80);
	/* Compatibility mode needs code and stack below 4 GiB. */
	pml4[0] |= PT_U;
	map(0xbf000000, user_code_page, PT_P | PT_U);
	map(0xbf001000, user_stack_page, PT_URW);
	/* push eax; int 0x80 */
	for (unsigned i = 0; i < 3; i++)
		user_code_page[i] = (u8) "\x50\xcd\x80"[i];
	check_eq("priv.iret.compat",
		 CATCH(iret_to(SEL_UDATA, 0xbf001100, 2, SEL_UCODE32, 0xbf000000)), 0x80);
	check_eq("priv.iret.compat.cs", last.cs, SEL_UCODE32);
	check_eq("priv.iret.compat.rsp", last.rsp, 0xbf0010fc); /* PUSH of 4 bytes: 32-bit code */
	check_eq("priv.iret.null-cs", CATCH_ERR(iret_to(SEL_DATA, 0, 2, 0, (u64)vectors)),
		 VE(GP, 0));
	check_eq("priv.iret.data-cs", CATCH_ERR(iret_to(SEL_DATA, 0, 2, SEL_DATA, (u64)vectors)),
		 VE(GP, SEL_DATA));
	check_eq("priv.iret.noncanonical-rip",
		 CATCH_ERR(iret_to(SEL_DATA, 0, 2, SEL_CODE, 0x800000000000)), VE(GP, 0));
	check_eq("priv.iret.null-ss-user", CATCH_ERR(iret_to(3, 0, 2, SEL_UCODE, USER_CODE_LIN)),
		 VE(GP, 0));
	check_eq("priv.iret.ss-dpl", CATCH_ERR(iret_to(SEL_DATA, 0, 2, SEL_UCODE, USER_CODE_LIN)),
		 VE(GP, SEL_DATA));
	check_eq("priv.iret.nt",
		 CATCH_ERR(__asm__ volatile("pushf; orl $0x4000, (%rsp); popf; iretq")), VE(GP, 0));
	__asm__ volatile("pushf; andl $~0x4000, (%rsp); popf");
}

/* ---- far transfers ---- */
SNIPPET(user_call_gate, "lcall *(%rdi)");
SNIPPET(user_far_jmp, "ljmp *(%rdi)");

extern const u8 gate_entry[];
__asm__("gate_entry: int $0x71\n");

static void put_call_gate(unsigned sel, u64 to, u16 cs, unsigned type_dpl)
{
	gdt[sel / 8] = (to & 0xffff) | (u64)cs << 16 | (u64)(0x80 | type_dpl) << 40 |
		       (to >> 16 & 0xffff) << 48;
	gdt[sel / 8 + 1] = to >> 32;
}

static struct {
	u32 off;
	u16 sel;
} __attribute__((packed)) far_pointer ALIGNED;

static u64 call_far(u16 sel, bool jmp)
{
	far_pointer.off = 0;
	far_pointer.sel = sel;
	map(TEST_BASE, &far_pointer, PT_P | PT_U);
	if (jmp)
		return RUN_USER(user_far_jmp, TEST_BASE, 0);
	return RUN_USER(user_call_gate, TEST_BASE, 0);
}

static void test_call_gate(void)
{
	put_call_gate(SEL_FREE, (u64)gate_entry, SEL_CODE, 0x0c | GATE_DPL3);
	check_eq("priv.call-gate", call_far(SEL_FREE | 3, false), 0x71);
	check_eq("priv.call-gate.cs", last.cs, SEL_CODE);
	check_eq("priv.call-gate.ss", last.ss, 0); /* null SS with the new CPL */
	check_eq("priv.call-gate.stack", last.rsp, (u64)irq_stack - 32);
	check_eq("priv.call-gate.pushed-cs", *(u64 *)(irq_stack - 24), SEL_UCODE);
	check_eq("priv.call-gate.pushed-ss", *(u64 *)(irq_stack - 8), SEL_UDATA);
	check_eq("priv.call-gate.jmp-to-inner", call_far(SEL_FREE | 3, true),
		 GP); /* JMP cannot change the CPL */
	check_eq("priv.call-gate.jmp-error", last.error, SEL_CODE);
	put_call_gate(SEL_FREE, (u64)gate_entry, SEL_CODE, 0x0c);
	check_eq("priv.call-gate.dpl", call_far(SEL_FREE | 3, false) << 32 | last.error,
		 VE(GP, SEL_FREE));
	put_call_gate(SEL_FREE, (u64)gate_entry, SEL_CODE32, 0x0c | GATE_DPL3);
	check_eq("priv.call-gate.code32", call_far(SEL_FREE | 3, false) << 32 | last.error,
		 VE(GP, SEL_CODE32));
	put_call_gate(SEL_FREE, (u64)gate_entry, SEL_CODE, 0x0c | GATE_DPL3);
	gdt[SEL_FREE / 8] &= ~(0x80ull << 40);
	check_eq("priv.call-gate.np", call_far(SEL_FREE | 3, false) << 32 | last.error,
		 VE(NP, SEL_FREE));
	check_eq("priv.far.inner-code", call_far(SEL_CODE, false) << 32 | last.error,
		 VE(GP, SEL_CODE));
	check_eq("priv.far.tss", call_far(SEL_TSS, false) << 32 | last.error, VE(GP, SEL_TSS));
}

/* ---- control registers and MSRs ---- */
static void test_control_registers(void)
{
	u64 cr0 = read_cr0(), cr4 = read_cr4();

	check_eq("cr.cr0.pg-without-pe", CATCH_ERR(write_cr0(cr0 & ~1ull)), VE(GP, 0));
	check_eq("cr.cr0.nw-without-cd", CATCH_ERR(write_cr0((cr0 | 1ull << 29) & ~(1ull << 30))),
		 VE(GP, 0));
	check_eq("cr.cr0.high", CATCH_ERR(write_cr0(cr0 | 1ull << 32)), VE(GP, 0));
	check_eq("cr.cr0.pg-off-in-64bit", CATCH_ERR(write_cr0(cr0 & ~(1ull << 31))), VE(GP, 0));
	check_eq("cr.cr0.unchanged", read_cr0(), cr0);
	check_eq("cr.cr4.reserved", CATCH_ERR(write_cr4(cr4 | 1ull << 31)), VE(GP, 0));
	check_eq("cr.cr4.pae-off", CATCH_ERR(write_cr4(cr4 & ~0x20ull)), VE(GP, 0));
	check_eq("cr.cr4.unchanged", read_cr4(), cr4);
	check_eq("cr.cr3.reserved", CATCH_ERR(write_cr3(read_cr3() | 1ull << 52)), VE(GP, 0));
	check_eq("cr.cr1", CATCH(__asm__ volatile(".byte 0x0f, 0x20, 0xc8")), UD);
	check_eq("cr.cr8",
		 CATCH(__asm__ volatile("mov %0, %%cr8; mov %%cr8, %0"
					:
					: "r"(5ull))),
		 NONE);
	check_eq("cr.cr8.reserved",
		 CATCH_ERR(__asm__ volatile("mov %0, %%cr8"
					    :
					    : "r"(0x10ull))),
		 VE(GP, 0));
	__asm__ volatile("mov %0, %%cr8" : : "r"(0ull));
	check_eq("cr.lmsw.set",
		 (({ __asm__ volatile("lmsw %w0"
				      :
				      : "r"(0xbu)); }), read_cr0() & 0xf), 0xb);
	check_eq("cr.lmsw.pe-stays",
		 (({ __asm__ volatile("lmsw %w0"
				      :
				      : "r"(0x2u)); }), read_cr0() & 0xf), 0x3);
	write_cr0(cr0);
}

static void test_msrs(void)
{
	check_eq("msr.unknown.read", CATCH_ERR((void)rdmsr(0x12345678)), VE(GP, 0));
	check_eq("msr.unknown.write", CATCH_ERR(wrmsr(0x12345678, 0)), VE(GP, 0));
	check_eq("msr.efer.reserved", CATCH_ERR(wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 2)), VE(GP, 0));
	check_eq("msr.efer.lme-off", CATCH_ERR(wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~0x100ull)),
		 VE(GP, 0));
	check_eq("msr.efer.lma", rdmsr(MSR_EFER) & 0x500, 0x500);
	check_eq("msr.fs-base.noncanonical", CATCH_ERR(wrmsr(MSR_FS_BASE, 0x800000000000)),
		 VE(GP, 0));
	wrmsr(MSR_FS_BASE, (u64)&far_pointer);
	far_pointer.off = 0x12345678;
	{
		u32 v;

		__asm__ volatile("mov %%fs:0, %0" : "=r"(v));
		check_eq("msr.fs-base", v, 0x12345678);
	}
	wrmsr(MSR_GS_BASE, 0x1111000);
	wrmsr(MSR_KERNEL_GS, 0x2222000);
	__asm__ volatile("swapgs");
	check_eq("msr.swapgs.gs", rdmsr(MSR_GS_BASE), 0x2222000);
	check_eq("msr.swapgs.kernel", rdmsr(MSR_KERNEL_GS), 0x1111000);
	check_eq("msr.rdfsbase-off", CATCH(__asm__ volatile("rdfsbase %%rax" : : : "rax")), UD);
	write_cr4(read_cr4() | 1ull << 16);
	{
		u64 v = 0;

		check_eq("msr.rdfsbase", CATCH(__asm__ volatile("rdfsbase %0" : "=r"(v))), NONE);
		check_eq("msr.wrgsbase.noncanonical",
			 CATCH_ERR(__asm__ volatile("wrgsbase %0"
						    :
						    : "r"(1ull << 47))),
			 VE(GP, 0));
		__asm__ volatile("wrgsbase %0; rdgsbase %1" : : "r"(0x3333000ull), "r"(v));
		check_eq("msr.wrgsbase", rdmsr(MSR_GS_BASE), 0x3333000);
	}
	write_cr4(read_cr4() & ~(1ull << 16));
	check_eq("msr.pat.bad-type", CATCH_ERR(wrmsr(0x277, 2)), VE(GP, 0));
	__asm__ volatile("mov %0, %%fs; mov %0, %%gs" : : "r"(0));
}

/* Machine version 2 has none. */
static bool has_xsave(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[2] >> 26 & 1;
}

static void test_xsave(void)
{
	u32 lo, hi;

	check_eq("xsave.xgetbv-off",
		 CATCH(__asm__ volatile("xgetbv"
					:
					: "c"(0)
					: "rax", "rdx")),
		 UD);
	write_cr4(read_cr4() | 1ull << 18);
	check_eq("xsave.xgetbv",
		 CATCH(__asm__ volatile("xgetbv"
					: "=a"(lo), "=d"(hi)
					: "c"(0))),
		 NONE);
	check_eq("xsave.xcr0-x87",
		 CATCH(__asm__ volatile("xsetbv"
					:
					: "c"(0), "a"(3), "d"(0))),
		 NONE);
	check_eq("xsave.xcr0-no-x87",
		 CATCH_ERR(__asm__ volatile("xsetbv"
					    :
					    : "c"(0), "a"(2), "d"(0))),
		 VE(GP, 0));
	check_eq("xsave.xcr0-reserved",
		 CATCH_ERR(__asm__ volatile("xsetbv"
					    :
					    : "c"(0), "a"(1), "d"(1u << 30))),
		 VE(GP, 0));
	check_eq("xsave.xcr1",
		 CATCH_ERR(__asm__ volatile("xsetbv"
					    :
					    : "c"(7), "a"(1), "d"(0))),
		 VE(GP, 0));
	write_cr4(read_cr4() & ~(1ull << 18));
}

int main(void)
{
	user_setup();
	test_privileged();
	test_user_flags();
	test_io_bitmap();
	test_syscall();
	test_sysenter();
	test_iret();
	test_call_gate();
	test_control_registers();
	test_msrs();
	if (has_xsave())
		test_xsave();
	finish();
}
