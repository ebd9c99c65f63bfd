/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real mode and virtual-8086 mode. SDM vol. 3, chapter 21. */
#include "tests/guest/rt32.h"

#define CODE_AT	 0x7c00
#define RESULT	 0x7200
#define REAL(at) (*(volatile u16 *)(at))

/* 16-bit code, placed at 0000:7c00; position-independent but for its own base. */
#define SNIPPET16(name, code)                                                                 \
	extern const u8 name[], name##_end[];                                                 \
	__asm__(".section .rodata\n.code16\n" #name ":\n" code "\n" #name "_end:\n.code32\n." \
		"text\n")

static void place(u32 at, const u8 *code, const u8 *end)
{
	for (unsigned i = 0; code + i < end; i++)
		((volatile u8 *)at)[i] = code[i];
}

static void run16(const u8 *code, const u8 *end)
{
	place(CODE_AT, code, end);
	real_run(CODE_AT);
}
#define RUN16(name) run16(name, name##_end)

static void set_ivt(unsigned v, u16 seg, u16 off)
{
	REAL(4 * v) = off;
	REAL(4 * v + 2) = seg;
}

/* ---- real mode ---- */
SNIPPET16(r_add, "add %bx, %ax; lret");
SNIPPET16(r_segment, "mov $0x0720, %ax; mov %ax, %es; mov %es:2, %bx; movw $0xbeef, %es:4; lret");
SNIPPET16(r_int, "int $0x60; lret");
SNIPPET16(r_int_handler, "mov $0x1234, %cx; pushf; pop %dx; iret");
SNIPPET16(r_stack,
	  "mov $0x1111, %ax; push %ax; pushl $0x22223333; pop %bx; pop %cx; pop %dx; lret");
SNIPPET16(r_string, "cld; mov $0x7200, %si; mov $0x7210, %di; mov $4, %cx; rep movsw; lret");
SNIPPET16(r_addr32,
	  "mov $0x7200, %edx; mov 2(%edx), %ax; movzwl %ax, %ecx; mov (%edx,%ecx,1), %bx; lret");
SNIPPET16(r_far, "lcall $0, $0x7d00; lret");
SNIPPET16(r_far_target, "mov %cs, %ax; mov %sp, %bx; lret");
/* A word at offset ffff crosses the limit of 64 KiB. */
SNIPPET16(r_limit, "mov $0xffff, %bx; xor %cx, %cx; mov (%bx), %ax; lret");
/* The handler steps over the instruction (2 bytes) and says what it saw. */
SNIPPET16(r_gp_handler, "push %bp; mov %sp, %bp; addw $2, 2(%bp); mov $0x6d, %cx; pop %bp; iret");
SNIPPET16(r_ss_limit, "mov $0xffff, %bp; xor %cx, %cx; mov (%bp), %ax; nop; lret");
SNIPPET16(r_ss_handler, "push %bp; mov %sp, %bp; addw $3, 2(%bp); mov $0x5c, %cx; pop %bp; iret");
SNIPPET16(r_div, "xor %bx, %bx; mov $7, %ax; xor %dx, %dx; xor %cx, %cx; div %bx; lret");
SNIPPET16(r_ud_handler, "push %bp; mov %sp, %bp; addw $2, 2(%bp); mov $0x0d, %cx; pop %bp; iret");
SNIPPET16(r_wrap,
	  "mov $0xffff, %ax; mov %ax, %es; mov %es:0x10, %al; xor %ah, %ah; lret"); /* linear 100000
										     */
SNIPPET16(r_flags, "mov $0x7cd7, %ax; push %ax; popf; pushf; pop %bx; lret");
SNIPPET16(r_loop, "mov $5, %cx; xor %ax, %ax; 1: add %cx, %ax; loop 1b; lret");
SNIPPET16(r_cr0, "smsw %ax; lret");
SNIPPET16(r_ivt_limit, "lidt %cs:0x7e00; xor %cx, %cx; int $0x21; lret");
/* Big real mode: a limit of 4 GiB loaded in protected mode stays. */
SNIPPET16(r_big, "cli; lgdtl %cs:0x7e10; mov %cr0, %eax; or $1, %al; mov %eax, %cr0; jmp 1f; 1: "
		 "mov $0x10, %bx; mov %bx, %es;and $0xfe, %al; mov %eax, %cr0; jmp 2f; 2: xor %bx, "
		 "%bx; mov %bx, %es;mov %es:0x7e20, %edi; mov %es:(%edi), %eax; lret");

static volatile u32 high_word = 0x8badf00d;

static void test_real(void)
{
	real_regs[0] = 0x1200;
	real_regs[1] = 0x0034;
	RUN16(r_add);
	check_eq("real.add", real_regs[0], 0x1234);
	REAL(0x7202) = 0xabcd;
	RUN16(r_segment);
	check_eq("real.segment.read", real_regs[1], 0xabcd);
	check_eq("real.segment.write", REAL(0x7204), 0xbeef);
	place(0x7d00, r_int_handler, r_int_handler_end);
	set_ivt(0x60, 0, 0x7d00);
	RUN16(r_int);
	check_eq("real.int", real_regs[2], 0x1234);
	check_eq("real.int.if", real_regs[3] & 0x300, 0); /* IF and TF are clear in the handler */
	RUN16(r_stack);
	check_eq("real.push32.low", real_regs[1], 0x3333);
	check_eq("real.push32.high", real_regs[2], 0x2222);
	check_eq("real.push16", real_regs[3], 0x1111);
	for (unsigned i = 0; i < 4; i++)
		REAL(0x7200 + 2 * i) = (u16)(0x1000 + i);
	RUN16(r_string);
	check_eq("real.movs.last", REAL(0x7216), 0x1003);
	check_eq("real.movs.di", real_regs[5], 0x7218);
	REAL(0x7202) = 4;
	REAL(0x7204) = 0x7777;
	RUN16(r_addr32);
	check_eq("real.addr32", real_regs[1], 0x7777);
	place(0x7d00, r_far_target, r_far_target_end);
	RUN16(r_far);
	check_eq("real.far.cs", real_regs[0], 0);
	RUN16(r_loop);
	check_eq("real.loop", real_regs[0], 15);
	RUN16(r_cr0);
	check_eq("real.smsw.pe", real_regs[0] & 1, 0);
	RUN16(r_flags);
	check_eq("real.popf", real_regs[1] & 0x7000, 0x7000); /* NT and IOPL can be set */
	RUN16(r_wrap);
	check_eq("real.wrap", real_regs[0], *(volatile u8 *)0x100000); /* no A20 wrap */
}

static void test_real_faults(void)
{
	place(0x7d00, r_gp_handler, r_gp_handler_end);
	set_ivt(GP, 0, 0x7d00);
	RUN16(r_limit);
	check_eq("real.limit", real_regs[2], 0x6d); /* #GP, without an error code */
	place(0x7d40, r_ss_handler, r_ss_handler_end);
	set_ivt(SS, 0, 0x7d40);
	RUN16(r_ss_limit);
	check_eq("real.ss-limit", real_regs[2], 0x5c);
	place(0x7d80, r_ud_handler, r_ud_handler_end);
	set_ivt(DE, 0, 0x7d80);
	RUN16(r_div);
	check_eq("real.div", real_regs[2], 0x0d);
	/* An IDT that ends before vector 21h: #GP; its handler steps over INT 21h. */
	REAL(0x7e00) = 0x21 * 4 - 1;
	*(volatile u32 *)0x7e02 = 0;
	RUN16(r_ivt_limit);
	check_eq("real.ivt-limit", real_regs[2], 0x6d);
}

static void test_big_real(void)
{
	REAL(0x7e10) = 0xff;
	*(volatile u32 *)0x7e12 = (u32)gdt;
	*(volatile u32 *)0x7e20 = (u32)&high_word;
	RUN16(r_big);
	check_eq("real.big", real_regs[0], 0xf00d);
}

/* ---- virtual-8086 mode ---- */
SNIPPET16(v_int, "mov $0x4321, %ax; int $0x61");
SNIPPET16(v_hlt, "hlt");
SNIPPET16(v_cli, "cli");
SNIPPET16(v_pushf, "pushf; pop %ax; int $0x61");
SNIPPET16(v_segment, "mov $0x0720, %ax; mov %ax, %ds; mov 2, %bx; int $0x61");
SNIPPET16(v_limit, "mov $0xffff, %bx; mov (%bx), %ax");
SNIPPET16(v_far, "ljmp $0x07c0, $0x20");
SNIPPET16(v_in, "in $0xe9, %al; int $0x61");
SNIPPET16(v_lldt, "lldt %ax");
SNIPPET16(v_mov_cr0, "mov %cr0, %eax");
SNIPPET16(v_sti_iret, "pushf; push %cs; push $0x7c07; iret; nop; nop; mov %cs, %cx; int $0x61");

#define V86_DS 0x0123
#define V86_SP 0x6f00

__attribute__((noinline)) static void enter_v86(u32 eip, u32 eflags)
{
	__asm__ volatile("push $0x0444; push $0x0333; push %0; push $0x0222; push $0; push %1; "
			 "push %2; push $0; push %3;iret"
			 :
			 : "i"(V86_DS), "i"(V86_SP), "r"(eflags | FL_VM | 2), "r"(eip)
			 : "memory");
}

static u64 run_v86(const u8 *code, const u8 *end, u32 eflags)
{
	u64 v;

	place(CODE_AT, code, end);
	v = CATCH(enter_v86(CODE_AT, eflags));
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SEL_DATA));
	return v;
}
#define RUN_V86(name, flags)	 run_v86(name, name##_end, flags)
#define RUN_V86_ERR(name, flags) (RUN_V86(name, flags) << 32 | last.error)

#define IOPL3 0x3000u

static void test_v86(void)
{
	idt[0x61] = make_gate((u32)(vectors + 16 * 0x61), SEL_CODE, GATE_INT | GATE_DPL3, 0);
	check_eq("v86.int", RUN_V86(v_int, IOPL3), 0x61);
	check_eq("v86.int.ax", last.eax & 0xffff, 0x4321);
	check_eq("v86.int.vm", last.eflags & FL_VM, FL_VM);
	check_eq("v86.int.cs", last.cs, 0);
	check_eq("v86.int.ds", last.vm_ds, V86_DS);
	check_eq("v86.int.es", last.vm_es, 0x222);
	check_eq("v86.int.fs", last.vm_fs, 0x333);
	check_eq("v86.int.gs", last.vm_gs, 0x444);
	check_eq("v86.int.esp", last.esp, V86_SP);
	check_eq("v86.int.handler-fs", last.fs, 0); /* data segments are null in the handler */
	check_eq("v86.int.stack", last_stack, (u32)irq_stack - 9 * 4);
	check_eq("v86.int.iopl", RUN_V86_ERR(v_int, 0),
		 VE(GP, 0)); /* IOPL < 3: INT n is sensitive */
	check_eq("v86.hlt", RUN_V86_ERR(v_hlt, IOPL3), VE(GP, 0));
	check_eq("v86.cli.iopl0", RUN_V86_ERR(v_cli, 0), VE(GP, 0));
	check_eq("v86.pushf.iopl0", RUN_V86_ERR(v_pushf, 0), VE(GP, 0));
	check_eq("v86.pushf", RUN_V86(v_pushf, IOPL3), 0x61);
	check_eq("v86.pushf.value", last.eax & 0x7000, 0x3000);
	REAL(0x7202) = 0x9876;
	check_eq("v86.segment", RUN_V86(v_segment, IOPL3), 0x61);
	check_eq("v86.segment.value", last.ebx & 0xffff, 0x9876);
	check_eq("v86.limit", RUN_V86_ERR(v_limit, IOPL3), VE(GP, 0));
	place(0x7c20, v_int, v_int_end);
	check_eq("v86.far", RUN_V86(v_far, IOPL3), 0x61);
	check_eq("v86.far.cs", last.cs, 0x7c0);
	check_eq("v86.in.no-bitmap", RUN_V86_ERR(v_in, IOPL3),
		 VE(GP, 0)); /* the bitmap decides, not IOPL */
	check_eq("v86.lldt", RUN_V86(v_lldt, IOPL3), UD);
	check_eq("v86.mov-cr0", RUN_V86_ERR(v_mov_cr0, IOPL3), VE(GP, 0));
	check_eq("v86.iret", RUN_V86(v_sti_iret, IOPL3), 0x61);
	check_eq("v86.iret.vm", last.eflags & FL_VM, FL_VM);
	idt[0x61] = make_gate((u32)(vectors + 16 * 0x61), SEL_CODE, GATE_INT, 0);
	check_eq("v86.int.gate-dpl", RUN_V86_ERR(v_int, IOPL3), VE(GP, 0x61 * 8 + 2));
}

int main(void)
{
	test_real();
	test_real_faults();
	test_big_real();
	test_v86();
	finish();
}
