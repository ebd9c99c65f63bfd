/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions: vectors, error codes, what is pushed, traps and faults, debug registers. SDM vol. 3,
 * ch. 6 and 17.
 */
#include "tests/guest/rt64.h"

#define CR0_MP 2ull
#define CR0_EM 4ull
#define CR0_TS 8ull
#define CR0_NE 0x20ull
#define CR0_AM 0x40000ull

static volatile u64 var ALIGNED;

#define CODE_LABEL(name) extern const u8 name[]

static void test_faults(void)
{
	CODE_LABEL(ud_here);
	CODE_LABEL(de_here);
	CODE_LABEL(int3_after);
	CODE_LABEL(int_after);

	check_eq("except.ud", CATCH(__asm__ volatile("ud_here: ud2")), UD);
	check_eq("except.ud.rip", last.rip, (u64)ud_here);
	check_eq("except.ud.rf", last.rflags & FL_RF,
		 FL_RF); /* pushed set by faults: SDM vol. 3, 17.3.1.1 */
	check_eq("except.de",
		 CATCH(__asm__ volatile("de_here: div %0"
					:
					: "r"(0ull), "a"(1), "d"(0))),
		 DE);
	check_eq("except.de.rip", last.rip, (u64)de_here);
	check_eq("except.de-overflow",
		 CATCH(__asm__ volatile("idiv %0"
					:
					: "r"(-1ll), "a"(0), "d"(1ull << 63))),
		 DE);
	check_eq("except.bp", CATCH(__asm__ volatile("int3; int3_after:")), BP);
	check_eq("except.bp.rip", last.rip, (u64)int3_after);
	check_eq("except.bp.rf", last.rflags & FL_RF, 0);
	check_eq("except.int", CATCH(__asm__ volatile("int $0x42; int_after:")), 0x42);
	check_eq("except.int.rip", last.rip, (u64)int_after);
	check_eq("except.int1", CATCH(__asm__ volatile(".byte 0xf1")), DB);
	check_eq("except.lock", CATCH(__asm__ volatile(".byte 0xf0, 0x90")), UD); /* lock nop */
	check_eq("except.lock-reg", CATCH(__asm__ volatile(".byte 0xf0, 0x01, 0xc0")),
		 UD); /* lock add eax, eax */
	check_eq("except.long-instruction", CATCH_ERR(__asm__ volatile(".fill 15, 1, 0x66; nop")),
		 VE(GP, 0)); /* more than 15 bytes */
	check_eq("except.in-64bit.push-es", CATCH(__asm__ volatile(".byte 0x06")), UD);
	check_eq("except.in-64bit.daa", CATCH(__asm__ volatile(".byte 0x27")), UD);
	check_eq("except.in-64bit.far-jmp-imm",
		 CATCH(__asm__ volatile(".byte 0xea, 0, 0, 0, 0, 0, 0")), UD);
}

static void test_selectors(void)
{
	/*
	 * A data segment that is not present, one with DPL 0 code, and a selector beyond the limit.
	 */
	gdt[SEL_FREE / 8] = 0x00cf130000000000 | 0xffff; /* P = 0 */
	check_eq("except.np",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ds"
					    :
					    : "r"(SEL_FREE))),
		 VE(NP, SEL_FREE));
	check_eq("except.ss-np",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ss"
					    :
					    : "r"(SEL_FREE))),
		 VE(SS, SEL_FREE));
	check_eq("except.gp-limit",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ds"
					    :
					    : "r"(0x1000))),
		 VE(GP, 0x1000));
	check_eq("except.gp-limit-rpl",
		 CATCH_ERR(__asm__ volatile("mov %0, %%fs"
					    :
					    : "r"(0x1003))),
		 VE(GP, 0x1000));
	check_eq("except.gp-ldt",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ds"
					    :
					    : "r"(0x0c))),
		 VE(GP, 0x0c));
	check_eq("except.gp-tss-as-data",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ds"
					    :
					    : "r"(SEL_TSS))),
		 VE(GP, SEL_TSS));
	check_eq("except.ss-code",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ss"
					    :
					    : "r"(SEL_CODE))),
		 VE(GP, SEL_CODE));
	check_eq("except.ss-rpl",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ss"
					    :
					    : "r"(SEL_UDATA))),
		 VE(GP, SEL_UDATA & ~3));
	check_eq("except.ss-null",
		 CATCH(__asm__ volatile("mov %0, %%ss; mov %1, %%ss"
					:
					: "r"(0), "r"(SEL_DATA))),
		 NONE);
	check_eq("except.cs-mov", CATCH(__asm__ volatile(".byte 0x8e, 0xc8")),
		 UD); /* mov cs, eax */
	check_eq("except.ltr-busy",
		 CATCH_ERR(__asm__ volatile("ltr %w0"
					    :
					    : "r"(SEL_TSS))),
		 VE(GP, SEL_TSS));
	check_eq("except.ltr-null", CATCH_ERR(__asm__ volatile("ltr %w0" : : "r"(0))), VE(GP, 0));
	check_eq("except.ltr-data",
		 CATCH_ERR(__asm__ volatile("ltr %w0"
					    :
					    : "r"(SEL_DATA))),
		 VE(GP, SEL_DATA));
	check_eq("except.lldt-data",
		 CATCH_ERR(__asm__ volatile("lldt %w0"
					    :
					    : "r"(SEL_DATA))),
		 VE(GP, SEL_DATA));
	check_eq("except.data-accessed", (gdt[SEL_DATA / 8] >> 40) & 1, 1);
	gdt[SEL_FREE / 8] = 0x00cf92000000ffff; /* not accessed yet */
	__asm__ volatile("mov %0, %%ds" : : "r"(SEL_FREE) : "memory");
	check_eq("except.load-sets-accessed", (gdt[SEL_FREE / 8] >> 40) & 1, 1);
	__asm__ volatile("mov %0, %%ds" : : "r"(SEL_DATA));
}

static void test_gates(void)
{
	u64 keep[2] = { idt[2 * 0x50], idt[2 * 0x50 + 1] };

	set_gate(0x50, (u64)(vectors + 16 * 0x50), SEL_DATA, GATE_INT, 0);
	check_eq("except.gate.data-selector", CATCH_ERR(__asm__ volatile("int $0x50")),
		 VE(GP, SEL_DATA));
	set_gate(0x50, (u64)(vectors + 16 * 0x50), 0, GATE_INT, 0);
	check_eq("except.gate.null-selector", CATCH_ERR(__asm__ volatile("int $0x50")), VE(GP, 0));
	set_gate(0x50, (u64)(vectors + 16 * 0x50), SEL_CODE32, GATE_INT, 0);
	check_eq("except.gate.code32", CATCH_ERR(__asm__ volatile("int $0x50")),
		 VE(GP, SEL_CODE32));
	reset_gate(0x50);
	idt[2 * 0x50] &= ~(0x80ull << 40);
	check_eq("except.gate.not-present", CATCH_ERR(__asm__ volatile("int $0x50")),
		 VE(NP, 0x50 * 8 + 2));
	set_gate(0x50, (u64)(vectors + 16 * 0x50), SEL_CODE, 0x05,
		 0); /* task gates do not exist here */
	check_eq("except.gate.type", CATCH_ERR(__asm__ volatile("int $0x50")),
		 VE(GP, 0x50 * 8 + 2));
	idt[2 * 0x50] = keep[0];
	idt[2 * 0x50 + 1] = keep[1];
	/* The gate of an exception is bad: EXT is set, and #GP comes instead of #UD. */
	idt[2 * UD] &= ~(0x80ull << 40);
	check_eq("except.gate.contributory", CATCH_ERR(__asm__ volatile("ud2")),
		 VE(NP, UD * 8 + 2 + 1));
	reset_gate(UD);
	{
		struct {
			u16 limit;
			u64 base;
		} __attribute__((packed)) small = { 0x50 * 16 - 1, (u64)idt },
					  all = { 4095, (u64)idt };

		__asm__ volatile("lidt %0" : : "m"(small));
		check_eq("except.gate.limit", CATCH_ERR(__asm__ volatile("int $0x50")),
			 VE(GP, 0x50 * 8 + 2));
		__asm__ volatile("lidt %0" : : "m"(all));
	}
	set_gate(0x51, (u64)(vectors + 16 * 0x51), SEL_CODE, GATE_TRAP, 0);
	__asm__ volatile("sti");
	check_eq("except.trap-gate", CATCH(__asm__ volatile("int $0x51")), 0x51);
	__asm__ volatile("cli");
	reset_gate(0x51);
}

static u64 seen_if[2];

static void note_if(struct frame *f)
{
	u64 fl;

	__asm__ volatile("pushf; pop %0" : "=r"(fl));
	seen_if[f->vector - 0x60] = fl & FL_IF;
}

static void test_if(void)
{
	irq_fn[0x60] = irq_fn[0x61] = note_if;
	set_gate(0x60, (u64)(vectors + 16 * 0x60), SEL_CODE, GATE_INT, 0);
	set_gate(0x61, (u64)(vectors + 16 * 0x61), SEL_CODE, GATE_TRAP, 0);
	__asm__ volatile("sti; int $0x60; int $0x61; cli");
	check_eq("except.interrupt-gate.if", seen_if[0], 0);
	check_eq("except.trap-gate.if", seen_if[1], FL_IF);
	irq_fn[0x60] = irq_fn[0x61] = NULL;
}

/* #PF while #PF is delivered, on a stack that is not there: #DF, on its IST. */
static void test_double_fault(void)
{
	map(TEST_BASE, NULL, 0);
	set_gate(DF, (u64)(vectors + 16 * DF), SEL_CODE, GATE_INT, 1);
	check_eq("except.double-fault",
		 CATCH_ERR(__asm__ volatile("mov %0, %%rsp; push %%rax"
					    :
					    : "r"(TEST_BASE + 4096))),
		 VE(DF, 0));
	check_eq("except.double-fault.ist", last_stack, (u64)ist_stack);
	/* #GP from a bad gate for #PF: contributory after page fault is a double fault too. */
	idt[2 * PF] &= ~(0x80ull << 40);
	check_eq("except.pf-then-np", CATCH_ERR((void)*(volatile u8 *)TEST_BASE), VE(DF, 0));
	reset_gate(PF);
	/* A benign exception followed by a contributory one is served in order. */
	idt[2 * BP] &= ~(0x80ull << 40);
	check_eq("except.bp-then-np", CATCH_ERR(__asm__ volatile("int3")), VE(NP, BP * 8 + 2));
	reset_gate(BP);
	reset_gate(DF);
}

static void test_fpu(void)
{
	u64 cr0 = read_cr0();
	u16 cw = 0x37b; /* division by zero unmasked */
	u32 mxcsr = 0x1d80, normal = 0x1f80;

	write_cr0(cr0 | CR0_TS);
	check_eq("except.nm.x87", CATCH(__asm__ volatile("fninit")), NM);
	check_eq("except.nm.sse", CATCH(__asm__ volatile("xorps %xmm0, %xmm0")), NM);
	check_eq("except.nm.wait", CATCH(__asm__ volatile("fwait")), NM); /* MP and TS */
	write_cr0((cr0 | CR0_TS) & ~CR0_MP);
	check_eq("except.nm.wait-no-mp", CATCH(__asm__ volatile("fwait")), NONE);
	__asm__ volatile("clts");
	check_eq("except.nm.clts", CATCH(__asm__ volatile("fninit")), NONE);
	write_cr0(cr0 | CR0_EM);
	check_eq("except.nm.em", CATCH(__asm__ volatile("fninit")), NM);
	check_eq("except.ud.sse-em", CATCH(__asm__ volatile("xorps %xmm0, %xmm0")), UD);
	check_eq("except.ud.mmx-em", CATCH(__asm__ volatile("emms")), UD);
	write_cr0(cr0);
	write_cr4(read_cr4() & ~0x200ull);
	check_eq("except.ud.sse-osfxsr", CATCH(__asm__ volatile("xorps %xmm0, %xmm0")), UD);
	write_cr4(read_cr4() | 0x200);
	/* x87: the division only notes the exception, the next waiting instruction raises it. */
	check_eq("except.mf.deferred",
		 CATCH(__asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp"
					:
					: "m"(cw))),
		 NONE);
	check_eq("except.mf", CATCH(__asm__ volatile("fwait")), MF);
	check_eq("except.mf.no-wait", CATCH(__asm__ volatile("fnclex")), NONE);
	__asm__ volatile("fninit");
	check_eq("except.xm",
		 CATCH(__asm__ volatile("ldmxcsr %0; xorps %%xmm0, %%xmm0; mov $0x3f800000, %%eax;"
					"movd %%eax, %%xmm1; divss %%xmm0, %%xmm1"
					:
					: "m"(mxcsr)
					: "rax")),
		 XM);
	write_cr4(read_cr4() & ~0x400ull);
	check_eq("except.xm-without-osxmmexcpt", CATCH(__asm__ volatile("divss %xmm0, %xmm1")), UD);
	write_cr4(read_cr4() | 0x400);
	__asm__ volatile("ldmxcsr %0" : : "m"(normal));
	check_eq("except.movaps-align",
		 CATCH_ERR(__asm__ volatile("movaps 1(%0), %%xmm0"
					    :
					    : "r"(&var))),
		 VE(GP, 0));
	check_eq("except.ldmxcsr-reserved", CATCH_ERR(({
			 u32 bad = 0x80000000;

			 __asm__ volatile("ldmxcsr %0" : : "m"(bad));
		 })),
		 VE(GP, 0));
}

SNIPPET(user_unaligned, "movl 1(%rdi), %eax; int $0x80");
SNIPPET(user_unaligned_push, "sub $2, %rsp; push %rax; int $0x80");

static void test_alignment(void)
{
	map(TEST_BASE, (void *)&var, PT_URW);
	user_setup();
	write_cr0(read_cr0() | CR0_AM);
	check_eq("except.ac",
		 run_user_at(SEL_UCODE, user_unaligned, user_unaligned_end, FL_AC, TEST_BASE, 0)
				 << 32 |
			 last.error,
		 VE(AC, 0));
	check_eq("except.ac.push",
		 run_user_at(SEL_UCODE, user_unaligned_push, user_unaligned_push_end, FL_AC,
			     TEST_BASE, 0),
		 AC);
	check_eq("except.ac.flag-off",
		 run_user_at(SEL_UCODE, user_unaligned, user_unaligned_end, 0, TEST_BASE, 0), 0x80);
	write_cr0(read_cr0() & ~CR0_AM);
	check_eq("except.ac.am-off",
		 run_user_at(SEL_UCODE, user_unaligned, user_unaligned_end, FL_AC, TEST_BASE, 0),
		 0x80);
	write_cr0(read_cr0() | CR0_AM);
	check_eq("except.ac.cpl0",
		 CATCH(__asm__ volatile("pushf; orl $0x40000, (%%rsp); popf; movl 1(%0), %%eax;"
					"pushf; andl $~0x40000, (%%rsp); popf"
					:
					: "r"(&var)
					: "rax")),
		 NONE);
	write_cr0(read_cr0() & ~CR0_AM);
}

/* ---- debug ---- */
static void test_single_step(void)
{
	CODE_LABEL(step_2);
	CODE_LABEL(step_int_after);

	write_dr6(0);
	check_eq("debug.tf",
		 CATCH(__asm__ volatile("pushf; orl $0x100, (%rsp); popf; nop; step_2: nop; nop")),
		 DB);
	check_eq("debug.tf.rip", last.rip,
		 (u64)step_2); /* the trap comes after the instruction behind POPF */
	check_eq("debug.tf.dr6", read_dr6() & 0x400f, 0x4000);
	check_eq("debug.tf.pushed", last.rflags & FL_TF, FL_TF);
	check_eq("debug.tf.int",
		 CATCH(__asm__ volatile(
			 "pushf; orl $0x100, (%rsp); popf; int $0x44; step_int_after: nop")),
		 0x44);
	check_eq("debug.tf.int.rip", last.rip,
		 (u64)step_int_after); /* INT clears TF: no trap in between */
	write_dr6(0);
}

#define MSR_DEBUGCTL 0x1d9
#define BTF	     2

static void test_branch_step(void)
{
	CODE_LABEL(btf_jmp);
	CODE_LABEL(btf_taken);
	CODE_LABEL(btf_call);

	write_dr6(0);
	wrmsr(MSR_DEBUGCTL, BTF);
	check_eq("debug.btf.read", rdmsr(MSR_DEBUGCTL), BTF);
	check_eq("debug.btf",
		 CATCH(__asm__ volatile(
			 "pushf; orl $0x100, (%rsp); popf; nop; jmp btf_jmp; nop; btf_jmp: nop")),
		 DB);
	check_eq("debug.btf.rip", last.rip, (u64)btf_jmp);
	check_eq("debug.btf.dr6", read_dr6() & 0x400f, 0x4000);
	check_eq("debug.btf.cleared", rdmsr(MSR_DEBUGCTL),
		 0); /* by the debug exception: SDM vol. 3, 17.4.3 */
	wrmsr(MSR_DEBUGCTL, BTF);
	check_eq("debug.btf.conditional",
		 CATCH(__asm__ volatile("pushf; orl $0x100, (%%rsp); popf; xor %%eax, %%eax; jnz "
					"1f; 1: jz btf_taken;"
					"btf_taken: nop"
					:
					:
					: "rax")),
		 DB);
	check_eq("debug.btf.conditional.rip", last.rip, (u64)btf_taken);
	wrmsr(MSR_DEBUGCTL, BTF);
	check_eq(
		"debug.btf.call",
		CATCH(__asm__ volatile(
			"pushf; orl $0x100, (%rsp); popf; nop; call btf_call; nop; btf_call: nop")),
		DB);
	check_eq("debug.btf.call.rip", last.rip, (u64)btf_call);
	wrmsr(MSR_DEBUGCTL, BTF);
	check_eq("debug.btf.without-tf", CATCH(__asm__ volatile("jmp 1f; 1: nop")), NONE);
	check_eq("debug.btf.int1", CATCH(__asm__ volatile(".byte 0xf1")), DB);
	check_eq("debug.btf.int1.cleared", rdmsr(MSR_DEBUGCTL), 0);
	check_eq("debug.debugctl.reserved", CATCH_ERR(wrmsr(MSR_DEBUGCTL, 0x40)), VE(GP, 0));
	write_dr6(0);
}

static void test_breakpoints(void)
{
	CODE_LABEL(bp_here);
	CODE_LABEL(wp_after);

	write_dr6(0);
	write_dr0((u64)bp_here);
	write_dr7(0x402); /* G0, execution */
	check_eq("debug.execute", CATCH(__asm__ volatile("nop; bp_here: nop; nop")), DB);
	check_eq("debug.execute.rip", last.rip, (u64)bp_here); /* a fault: before the instruction */
	check_eq("debug.execute.dr6", read_dr6() & 0x400f, 1);
	check_eq("debug.execute.rf", last.rflags & FL_RF,
		 0); /* SDM 17.3.1.1: not set for this one */
	write_dr6(0);
	write_dr0((u64)&var);
	write_dr7(0x402 | 1 << 16 | 3 << 18); /* write, 4 bytes */
	check_eq("debug.read-no-trap", CATCH((void)var), NONE);
	check_eq("debug.write",
		 CATCH(__asm__ volatile("movl $1, (%0); wp_after: nop"
					:
					: "r"(&var)
					: "memory")),
		 DB);
	check_eq("debug.write.rip", last.rip, (u64)wp_after); /* a trap: after the instruction */
	check_eq("debug.write.done", (u32)var, 1);
	check_eq("debug.write.dr6", read_dr6() & 0x400f, 1);
	write_dr6(0);
	check_eq("debug.write-byte", CATCH(((volatile u8 *)&var)[3] = 1), DB);
	write_dr6(0);
	check_eq("debug.write-outside", CATCH(((volatile u8 *)&var)[4] = 1), NONE);
	write_dr7(0x402 | 3 << 16 | 3 << 18); /* read or write */
	check_eq("debug.read", CATCH((void)*(volatile u32 *)&var), DB);
	write_dr6(0);
	write_dr1((u64)&var + 8);
	write_dr7(0x40a | 1 << 16 | 3 << 18 | 1 << 20 | 2 << 22); /* DR1: write, 8 bytes */
	check_eq("debug.dr1", CATCH(*(volatile u32 *)((u64)&var + 12) = 5), DB);
	check_eq("debug.dr1.dr6", read_dr6() & 0x400f, 2);
	write_dr7(0x400);
	write_dr6(0);
	check_eq("debug.off", CATCH(var = 3), NONE);
}

static void test_debug_registers(void)
{
	check_eq("debug.dr7-high", CATCH_ERR(write_dr7(1ull << 32)), VE(GP, 0));
	check_eq("debug.dr6-high", CATCH_ERR(write_dr6(1ull << 32)), VE(GP, 0));
	write_dr7(0x2400); /* GD */
	check_eq("debug.gd", CATCH((void)read_dr0()), DB);
	check_eq("debug.gd.dr6", read_dr6() & 0x2000, 0x2000);
	check_eq("debug.gd.cleared", read_dr7() & 0x2000,
		 0); /* delivery cleared GD, so this read works */
	write_dr7(0x400);
	write_dr6(0);
	check_eq("debug.dr7-fixed", read_dr7(), 0x400);
	check_eq("debug.dr6-fixed", read_dr6(), 0xffff0ff0);
	check_eq("debug.dr4", CATCH((void)({
			 u64 v;

			 __asm__ volatile("mov %%dr4, %0" : "=r"(v));
			 v;
		 })),
		 NONE); /* CR4.DE = 0: DR4 is DR6 */
	write_cr4(read_cr4() | 8);
	check_eq("debug.dr4-de", CATCH((void)({
			 u64 v;

			 __asm__ volatile("mov %%dr4, %0" : "=r"(v));
			 v;
		 })),
		 UD);
	write_cr4(read_cr4() & ~8ull);
}

int main(void)
{
	test_faults();
	test_selectors();
	test_gates();
	test_if();
	test_double_fault();
	test_fpu();
	test_alignment();
	test_single_step();
	test_branch_step();
	test_breakpoints();
	test_debug_registers();
	finish();
}
