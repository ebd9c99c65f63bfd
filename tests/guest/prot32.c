/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Protected mode with 32 and 16 bits: segments, gates, privilege, tasks, paging without long mode.
 * SDM vol. 3, ch. 4-7.
 */
#include "tests/guest/rt32.h"

static volatile u8 area[8192] ALIGNED;

/* ---- segments ---- */
static inline u32 load_es(u32 off)
{
	u32 v;

	__asm__ volatile("movl %%es:(%1), %0" : "=r"(v) : "r"(off) : "memory");
	return v;
}

static inline void store_es(u32 off)
{
	__asm__ volatile("movl $0x5a5a5a5a, %%es:(%0)" : : "r"(off) : "memory");
}

static void set_es(unsigned sel)
{
	__asm__ volatile("mov %0, %%es" : : "r"(sel) : "memory");
}

static void test_limits(void)
{
	set_desc(SEL_FREE, (u32)area, 0xffb, 0x12, DESC_32); /* 4092 bytes, writable */
	set_es(SEL_FREE);
	check_eq("seg.limit.last", CATCH(load_es(0xff8)), NONE);
	check_eq("seg.limit.across", CATCH_ERR(load_es(0xff9)), VE(GP, 0));
	set_es(SEL_FREE);
	check_eq("seg.limit.write", CATCH_ERR(store_es(0xffc)), VE(GP, 0));
	set_es(SEL_FREE);
	check_eq("seg.limit.wrap", CATCH_ERR(load_es(0xfffffffe)), VE(GP, 0));
	set_desc(SEL_FREE, (u32)area, 1, 0x12, DESC_32 | DESC_4K); /* 2 pages */
	set_es(SEL_FREE);
	check_eq("seg.limit.granular", CATCH(load_es(0x1ffc)), NONE);
	check_eq("seg.limit.granular-across", CATCH_ERR(load_es(0x1ffd)), VE(GP, 0));
	set_desc(SEL_FREE, (u32)area, 0xfff, 0x16,
		 DESC_32); /* expand-down: valid above the limit */
	set_es(SEL_FREE);
	check_eq("seg.expand-down.below", CATCH_ERR(load_es(0xfff)), VE(GP, 0));
	set_es(SEL_FREE);
	check_eq("seg.expand-down.above", CATCH(load_es(0x1000)), NONE);
	set_desc(SEL_FREE, (u32)area, 0xfff, 0x16, 0); /* 16-bit: up to 64 KiB */
	set_es(SEL_FREE);
	check_eq("seg.expand-down16.last", CATCH(load_es(0xfffc)), NONE);
	check_eq("seg.expand-down16.beyond", CATCH_ERR(load_es(0xfffd)), VE(GP, 0));
	set_desc(SEL_FREE, (u32)area, 0xfff, 0x10, DESC_32); /* read-only */
	set_es(SEL_FREE);
	check_eq("seg.read-only.read", CATCH(load_es(0)), NONE);
	check_eq("seg.read-only.write", CATCH_ERR(store_es(0)), VE(GP, 0));
	set_desc(SEL_FREE, (u32)area, 0xfff, 0x18, DESC_32); /* execute-only */
	check_eq("seg.execute-only", CATCH_ERR(set_es(SEL_FREE)), VE(GP, SEL_FREE));
	set_desc(SEL_FREE, (u32)area, 0xfff, 0x1a, DESC_32); /* code, readable */
	set_es(SEL_FREE);
	check_eq("seg.code.read", CATCH(load_es(0)), NONE);
	check_eq("seg.code.write", CATCH_ERR(store_es(0)), VE(GP, 0));
	set_es(0);
	check_eq("seg.null", CATCH_ERR(load_es(0)), VE(GP, 0));
	set_es(SEL_DATA);
	check_eq("seg.cs-write",
		 CATCH_ERR(__asm__ volatile("movl $1, %%cs:(%0)"
					    :
					    : "r"(area)
					    : "memory")),
		 VE(GP, 0));
	check_eq("seg.string.limit", ({
			 set_desc(SEL_FREE, (u32)area, 9, 0x12, DESC_32);
			 set_es(SEL_FREE);
			 CATCH_ERR(__asm__ volatile("rep stosb" : : "D"(0), "c"(20), "a"(1)));
		 }),
		 VE(GP, 0));
	check_eq("seg.string.ecx", last.ecx, 10);
	set_es(SEL_DATA);
}

/* 16-bit stack segment: PUSH uses SP, the upper half of ESP stays. */
static void test_stack16(void)
{
	u32 esp;
	u16 pushed;

	__asm__ volatile("mov %%esp, %%ebx\n\t"
			 "mov $0xabcd7000, %%esp\n\t"
			 "mov %2, %%ss\n\t"
			 "pushw $0x1234\n\t"
			 "mov %%esp, %0\n\t"
			 "mov %3, %%ss\n\t"
			 "mov %%ebx, %%esp\n\t"
			 "movw 0x6ffe, %1"
			 : "=&r"(esp), "=&r"(pushed)
			 : "r"(SEL_DATA16), "r"(SEL_DATA)
			 : "ebx", "memory");
	check_eq("seg.stack16.esp", esp, 0xabcd6ffe);
	check_eq("seg.stack16.value", pushed, 0x1234);
	__asm__ volatile("mov %%esp, %%ebx\n\t"
			 "mov $0x1230001, %%esp\n\t"
			 "mov %1, %%ss\n\t"
			 "pop %%ax\n\t" /* wraps nothing: 0001 */
			 "mov %%esp, %0\n\t"
			 "mov %2, %%ss\n\t"
			 "mov %%ebx, %%esp"
			 : "=&r"(esp)
			 : "r"(SEL_DATA16), "r"(SEL_DATA)
			 : "eax", "ebx", "memory");
	check_eq("seg.stack16.pop", esp, 0x1230003);
}

/* ---- 16-bit code ---- */
extern const u8 code16[], code16_end[];
__asm__(".section .rodata\n"
	".code16\n"
	"code16: mov $0x11223344, %eax\n"
	"	mov $0x5566, %bx\n"
	"	add $0xffff, %bx\n"
	"	lretl\n"
	"code16_end:\n"
	".code32\n"
	".text\n");

static void test_code16(void)
{
	u32 eax, ebx = 0x99990000;
	struct {
		u32 off;
		u16 sel;
	} __attribute__((packed)) far = { 0x7c00, SEL_CODE16 };

	for (unsigned i = 0; code16 + i < code16_end; i++)
		((volatile u8 *)0x7c00)[i] = code16[i];
	__asm__ volatile("lcall *%2" : "=a"(eax), "+b"(ebx) : "m"(far) : "memory");
	check_eq("code16.eax", eax, 0x11223344);
	check_eq("code16.bx", ebx, 0x99995565);
	check_eq("code.limit", CATCH_ERR(({
			 set_desc(SEL_FREE, 0, 0xfff, 0x1a, DESC_32);
			 far.off = 0x1000;
			 far.sel = SEL_FREE;
			 __asm__ volatile("lcall *%0" : : "m"(far) : "memory");
		 })),
		 VE(GP, 0));
}

/* ---- CPL 3 ---- */
static u8 user_stack[4096] ALIGNED;

static void enter_user(u32 eip, u32 eflags)
{
	__asm__ volatile("push %0; push %1; push %2; push %3; push %4; iret"
			 :
			 : "r"(SEL_UDATA), "r"(user_stack + 4096), "r"(eflags | 2), "r"(SEL_UCODE),
			   "r"(eip)
			 : "memory");
}

extern const u8 user_gate_call[], user_hlt[], user_gate_back[], gate_target[], gate_return[],
	user_conforming[], conforming_target[], user_load_ds[], user_int80[];
__asm__("user_gate_call: push $0x1111; push $0x2222; lcall $0x58, $0; user_gate_back: int $0x80\n"
	"gate_target: int $0x70\n"
	"gate_return: lret $8\n"
	"user_hlt: hlt\n"
	"user_conforming: lcall $0x60, $0\n"
	"conforming_target: mov %cs, %eax; int $0x80\n"
	"user_load_ds: mov $0x10, %eax; mov %eax, %ds; int $0x80\n"
	"user_int80: int $0x80\n");

static void test_user(void)
{
	check_eq("user.hlt", CATCH_ERR(enter_user((u32)user_hlt, 0)), VE(GP, 0));
	check_eq("user.cs", last.cs, SEL_UCODE);
	check_eq("user.esp", last.esp, (u32)user_stack + 4096);
	check_eq("user.load-inner-data", CATCH_ERR(enter_user((u32)user_load_ds, 0)),
		 VE(GP, SEL_DATA));
	/* Returning outwards empties data segments of inner privilege. */
	__asm__ volatile("mov %0, %%fs; mov %1, %%gs" : : "r"(SEL_DATA), "r"(SEL_UDATA));
	check_eq("user.iret", CATCH(enter_user((u32)user_int80, 0)), 0x80);
	check_eq("user.iret.inner-fs", last.fs, 0);
	check_eq("user.iret.outer-gs", last.gs, SEL_UDATA);
	__asm__ volatile("mov %0, %%fs; mov %0, %%gs; mov %1, %%ds; mov %1, %%es"
			 :
			 : "r"(0), "r"(SEL_DATA));
}

static void test_call_gate(void)
{
	gdt[0x58 / 8] = make_gate((u32)gate_target, SEL_CODE, GATE_CALL | GATE_DPL3, 2);
	check_eq("gate.call", CATCH(enter_user((u32)user_gate_call, 0)), 0x70);
	check_eq("gate.call.cs", last.cs, SEL_CODE);
	/* The inner stack: return EIP, CS, two parameters, ESP, SS. */
	check_eq("gate.call.param-1", *(u32 *)(irq_stack - 16), 0x2222);
	check_eq("gate.call.param-2", *(u32 *)(irq_stack - 12), 0x1111);
	check_eq("gate.call.old-esp", *(u32 *)(irq_stack - 8), (u32)user_stack + 4096 - 8);
	check_eq("gate.call.return", *(u32 *)(irq_stack - 24), (u32)user_gate_back);
	gdt[0x58 / 8] = make_gate((u32)gate_return, SEL_CODE, GATE_CALL | GATE_DPL3, 2);
	check_eq("gate.lret", CATCH(enter_user((u32)user_gate_call, 0)), 0x80);
	check_eq("gate.lret.eip", last.eip, (u32)user_gate_back + 2);
	check_eq("gate.lret.esp", last.esp,
		 (u32)user_stack + 4096); /* RET 8 dropped the parameters on both stacks */
	set_desc(0x60, (u32)conforming_target, 0xfffff, 0x1e,
		 DESC_32 | DESC_4K); /* conforming, DPL 0 */
	check_eq("conforming", CATCH(enter_user((u32)user_conforming, 0)), 0x80);
	check_eq("conforming.cpl-stays", last.eax & 3, 3);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SEL_DATA));
}

/* ---- tasks ---- */
static struct tss32 task_a, task_df;
static u8 task_stack[8192] ALIGNED, df_stack[8192] ALIGNED;
static volatile u32 task_seen[8];

#define SEL_TASK_A 0x70
#define SEL_TASK_G 0x78
#define SEL_TASK_D 0x80

static u32 desc_busy(unsigned sel)
{
	return (u32)(gdt[sel / 8] >> 41 & 1);
}

/*
 * Runs as task A: notes how it came there, and goes back; the next switch enters behind the IRET or
 * JMP.
 */
extern const u8 task_entry[];
__asm__("task_entry:\n"
	"	str task_seen\n"
	"	pushf; pop task_seen + 4\n"
	"	mov %eax, task_seen + 8\n"
	"	mov task_a_tss, %eax; mov (%eax), %eax; mov %eax, task_seen + 12\n"
	"	mov %cr0, %eax; mov %eax, task_seen + 16\n"
	"	iret\n"
	"	incl task_seen + 20\n"
	"	ljmp $0x28, $0\n"
	"	jmp task_entry\n");
struct tss32 *task_a_tss __attribute__((used)) = &task_a;

static void task_init(struct tss32 *t, const void *entry, u8 *stack_top)
{
	*t = (struct tss32){ .eip = (u32)entry,
			     .eflags = 2,
			     .esp = (u32)stack_top,
			     .es = SEL_DATA,
			     .cs = SEL_CODE,
			     .ss = SEL_DATA,
			     .ds = SEL_DATA,
			     .eax = 0xcafe,
			     .cr3 = read_cr3(),
			     .iomap = 104 };
}

static void test_tasks(void)
{
	u32 before = 0x77, after;

	task_init(&task_a, task_entry, task_stack + 8192);
	set_desc(SEL_TASK_A, (u32)&task_a, 103, 9, 0);
	__asm__ volatile("lcall $0x70, $0" : "=b"(after) : "b"(before) : "memory");
	check_eq("task.call.tr", task_seen[0] & 0xffff, SEL_TASK_A);
	check_eq("task.call.nt", task_seen[1] & (u32)FL_NT, FL_NT);
	check_eq("task.call.eax", task_seen[2], 0xcafe);
	check_eq("task.call.link", task_seen[3] & 0xffff, SEL_TSS);
	check_eq("task.call.ts", task_seen[4] & 8, 8); /* CR0.TS is set by every switch */
	check_eq("task.call.ebx-back", after, before);
	check_eq("task.iret.busy-cleared", desc_busy(SEL_TASK_A), 0);
	check_eq("task.iret.own-busy", desc_busy(SEL_TSS), 1);
	__asm__ volatile("clts");
	/* JMP: goes on behind the IRET that left it; no link, no NT. */
	__asm__ volatile("ljmp $0x70, $0" : : : "memory");
	check_eq("task.jmp", task_seen[5], 1);
	check_eq("task.jmp.back-busy", desc_busy(SEL_TSS) | desc_busy(SEL_TASK_A) << 1, 1);
	__asm__ volatile("clts");
	/* Through a task gate in the GDT, and one in the IDT. */
	task_init(&task_a, task_entry, task_stack + 8192);
	set_desc(SEL_TASK_A, (u32)&task_a, 103, 9, 0);
	gdt[SEL_TASK_G / 8] = make_gate(0, SEL_TASK_A, GATE_TASK, 0);
	task_seen[0] = 0;
	__asm__ volatile("lcall $0x78, $0" : : : "memory");
	check_eq("task.gate", task_seen[0] & 0xffff, SEL_TASK_A);
	task_init(&task_a, task_entry, task_stack + 8192);
	idt[0x55] = make_gate(0, SEL_TASK_A, GATE_TASK, 0);
	task_seen[0] = 0;
	__asm__ volatile("int $0x55" : : : "memory");
	check_eq("task.int-gate", task_seen[0] & 0xffff, SEL_TASK_A);
	__asm__ volatile("clts");
	reset_gate(0x55);
	check_eq("task.busy", CATCH_ERR(__asm__ volatile("lcall $0x28, $0")), VE(GP, SEL_TSS));
	set_desc(SEL_TASK_A, (u32)&task_a, 102, 9, 0);
	check_eq("task.ts.limit", CATCH_ERR(__asm__ volatile("lcall $0x70, $0")),
		 VE(TS, SEL_TASK_A));
	set_desc(SEL_TASK_A, (u32)&task_a, 103, 9, 0);
	gdt[SEL_TASK_A / 8] &= ~(0x80ull << 40);
	check_eq("task.np", CATCH_ERR(__asm__ volatile("lcall $0x70, $0")), VE(NP, SEL_TASK_A));
}

/* Wrong selectors in the new task are found in its own context. */
static void test_task_errors(void)
{
	task_init(&task_a, task_entry, task_stack + 8192);
	task_a.ss = SEL_UDATA;
	set_desc(SEL_TASK_A, (u32)&task_a, 103, 9, 0);
	/*
	 * The handler of #TS runs in the new task; its stack segment is not usable, so it needs a
	 * task gate itself.
	 */
	task_init(&task_df, vectors + 16 * TS, df_stack + 8192);
	set_desc(SEL_TASK_D, (u32)&task_df, 103, 9, 0);
	idt[TS] = make_gate(0, SEL_TASK_D, GATE_TASK, 0);
	check_eq("task.ts.ss", CATCH(__asm__ volatile("ljmp $0x70, $0")), TS);
	check_eq("task.ts.ss.error", last.error, SEL_UDATA & ~3);
	check_eq("task.ts.ss.tr", last_tr, SEL_TASK_D);
	check_eq("task.ts.ss.link", task_df.link & 0xffff, SEL_TASK_A);
	reset_gate(TS);
	__asm__ volatile("clts");
}

/* Back from a handler that ran as a task of its own. */
static void leave_task(unsigned vector)
{
	reset_gate(vector);
	__asm__ volatile("pushf; andl $~0x4000, (%esp); popf; clts");
	set_desc(SEL_TSS, (u32)&tss, 103, 9, 0);
	__asm__ volatile("ltr %w0; mov %1, %%ss" : : "r"(SEL_TSS), "r"(SEL_DATA));
}

/* #DF through a task gate, when the stack is no good. */
static void test_double_fault_task(void)
{
	set_desc(SEL_TSS, (u32)&tss, 103, 9, 0);
	__asm__ volatile("pushf; andl $~0x4000, (%%esp); popf; ltr %w0" : : "r"(SEL_TSS));
	task_init(&task_df, vectors + 16 * DF, df_stack + 8192);
	set_desc(SEL_TASK_D, (u32)&task_df, 103, 9, 0);
	idt[DF] = make_gate(0, SEL_TASK_D, GATE_TASK, 0);
	set_desc(SEL_FREE, (u32)area, 0x7ff, 0x12, DESC_32);
	check_eq("task.double-fault",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ss; mov $0x1000, %%esp; push %%eax"
					    :
					    : "r"(SEL_FREE)
					    : "memory")),
		 VE(DF, 0));
	check_eq("task.double-fault.tr", last_tr, SEL_TASK_D);
	check_eq("task.double-fault.old-ss", tss.ss & 0xffff, SEL_FREE);
	leave_task(DF);
}

/*
 * A stack segment whose limit is short: #SS for EBP as base and for POP; the handler needs a task
 * for a good stack.
 */
static void test_stack_segment(void)
{
	task_init(&task_df, vectors + 16 * SS, df_stack + 8192);
	set_desc(SEL_TASK_D, (u32)&task_df, 103, 9, 0);
	set_desc(SEL_FREE, (u32)area, 0xfff, 0x12, DESC_32);
	idt[SS] = make_gate(0, SEL_TASK_D, GATE_TASK, 0);
	check_eq("seg.ss.ebp",
		 CATCH_ERR(__asm__ volatile(
			 "mov %0, %%ss; mov $0x800, %%esp; mov $0xffd, %%ebp; mov (%%ebp), %%eax"
			 :
			 : "r"(SEL_FREE)
			 : "memory", "eax")),
		 VE(SS, 0));
	leave_task(SS);
	task_init(&task_df, vectors + 16 * SS, df_stack + 8192);
	set_desc(SEL_TASK_D, (u32)&task_df, 103, 9, 0);
	idt[SS] = make_gate(0, SEL_TASK_D, GATE_TASK, 0);
	check_eq("seg.ss.pop",
		 CATCH_ERR(__asm__ volatile("mov %0, %%ss; mov $0xffd, %%esp; pop %%eax"
					    :
					    : "r"(SEL_FREE)
					    : "memory", "eax")),
		 VE(SS, 0));
	check_eq("seg.ss.pop.esp", tss.esp, 0xffd); /* unchanged */
	leave_task(SS);
}

/* ---- paging ---- */
static u32 page_dir[1024] ALIGNED, page_table[1024] ALIGNED;
static u64 pae_pdpt[4] __attribute__((aligned(32))), pae_dir[512] ALIGNED, pae_table[512] ALIGNED;

#define LIN 0x40000000u

static void test_paging32(void)
{
	u32 cr0 = read_cr0(), cr4 = read_cr4();

	page_dir[0] = 0x83; /* 4 MiB page, one to one */
	page_dir[LIN >> 22] = (u32)page_table | 7;
	page_table[0] = (u32)area | 1;
	write_cr4(cr4 | 0x10);
	write_cr3((u32)page_dir);
	write_cr0(cr0 | 0x80010000);
	check_eq("paging32.read", CATCH((void)*(volatile u8 *)LIN), NONE);
	check_eq("paging32.accessed", page_table[0] & 0x60, 0x20);
	check_eq("paging32.write-wp", CATCH_ERR(*(volatile u8 *)LIN = 1), VE(PF, 3));
	check_eq("paging32.cr2", last_cr2, LIN);
	check_eq("paging32.not-present", CATCH_ERR((void)*(volatile u8 *)(LIN + 0x1000)),
		 VE(PF, 0));
	check_eq("paging32.fetch-no-nx", CATCH_ERR(((void (*)(void))(LIN + 0x1000))()),
		 VE(PF, 0)); /* no I/D bit */
	page_table[0] = (u32)area | 3;
	__asm__ volatile("invlpg (%0)" : : "r"(LIN) : "memory");
	*(volatile u8 *)(LIN + 5) = 0x66;
	check_eq("paging32.write", area[5], 0x66);
	check_eq("paging32.dirty", page_table[0] & 0x60, 0x60);
	check_eq("paging32.4m.dirty", page_dir[0] & 0x60, 0x60);
	page_dir[2] = 0x83 | 1u << 21; /* reserved bit of a 4 MiB page */
	check_eq("paging32.4m.reserved", CATCH_ERR((void)*(volatile u8 *)0x800000), VE(PF, 9));
	write_cr0(cr0);
	write_cr4(cr4);
}

static void test_paging_pae(void)
{
	u32 cr0 = read_cr0(), cr4 = read_cr4();

	pae_pdpt[0] = (u32)pae_dir | 1;
	pae_pdpt[1] = (u32)pae_dir | 1; /* LIN sees the same directory */
	pae_dir[0] = 0x83;
	pae_dir[1] = 0x200083;
	pae_dir[2] = (u32)pae_table | 7;
	pae_table[0] = (u32)area | 1ull << 63 | 3;
	write_cr4(cr4 | 0x20);
	write_cr3((u32)pae_pdpt);
	__asm__ volatile("rdmsr; or $0x800, %%eax; wrmsr" : : "c"(0xc0000080) : "eax", "edx");
	write_cr0(cr0 | 0x80010000);
	check_eq("pae.read", CATCH((void)*(volatile u8 *)(LIN + 0x400000)), NONE);
	check_eq("pae.2m", *(volatile u32 *)(LIN + (u32)gdtr), *(volatile u32 *)gdtr);
	check_eq("pae.nx", CATCH_ERR(((void (*)(void))(LIN + 0x400000))()), VE(PF, 0x11));
	check_eq("pae.pdpte-not-present", CATCH_ERR((void)*(volatile u8 *)0x80000000), VE(PF, 0));
	pae_table[1] = 1ull << 52 | (u32)area | 3;
	check_eq("pae.reserved", CATCH_ERR((void)*(volatile u8 *)(LIN + 0x401000)), VE(PF, 9));
	pae_pdpt[2] = (u32)pae_dir | 1; /* loaded with CR3 only: SDM vol. 3, 4.4.1 */
	check_eq("pae.pdpte-cached", CATCH_ERR((void)*(volatile u8 *)0x80000000), VE(PF, 0));
	write_cr3((u32)pae_pdpt);
	check_eq("pae.pdpte-loaded", CATCH((void)*(volatile u8 *)0x80100000), NONE);
	pae_pdpt[3] = 1ull << 63 | 1;
	check_eq("pae.pdpte-reserved", CATCH_ERR(write_cr3((u32)pae_pdpt)), VE(GP, 0));
	write_cr0(cr0);
	write_cr4(cr4);
}

/* ---- instructions that 64-bit mode does not have ---- */
static void test_legacy(void)
{
	u32 eax, bounds[2] = { 5, 9 };

	__asm__ volatile("mov $0x0f, %%eax; add $1, %%al; daa" : "=a"(eax));
	check_eq("legacy.daa", eax & 0xff, 0x16);
	__asm__ volatile("mov $0x0205, %%eax; aad" : "=a"(eax));
	check_eq("legacy.aad", eax & 0xffff, 25);
	__asm__ volatile("mov $57, %%eax; aam" : "=a"(eax));
	check_eq("legacy.aam", eax & 0xffff, 0x0507);
	check_eq("legacy.aam-0", CATCH(__asm__ volatile(".byte 0xd4, 0" : : "a"(1))), DE);
	check_eq("legacy.bound-in",
		 CATCH(__asm__ volatile("bound %0, %1"
					:
					: "r"(7), "m"(bounds))),
		 NONE);
	check_eq("legacy.bound-out",
		 CATCH(__asm__ volatile("bound %0, %1"
					:
					: "r"(10), "m"(bounds))),
		 BR);
	check_eq("legacy.into",
		 CATCH(__asm__ volatile("mov $0x7fffffff, %%eax; inc %%eax; into"
					:
					:
					: "eax")),
		 OF);
	check_eq("legacy.into-clear",
		 CATCH(__asm__ volatile("xor %%eax, %%eax; into"
					:
					:
					: "eax")),
		 NONE);
	set_desc(SEL_FREE, 0, 0xfffff, 0x72, DESC_32 | DESC_4K); /* DPL 3 */
	__asm__ volatile("mov $0x40, %%eax; mov $3, %%ecx; arpl %%cx, %%ax"
			 : "=a"(eax)
			 :
			 : "ecx", "cc");
	check_eq("legacy.arpl", eax & 0xffff, 0x43);
	__asm__ volatile("stc; .byte 0xd6" : "=a"(eax) : "a"(0x1200));
	check_eq("legacy.salc", eax, 0x12ff);
	__asm__ volatile("xor %%eax, %%eax; lar %1, %%eax" : "=&a"(eax) : "r"(SEL_FREE));
	check_eq("legacy.lar", eax & 0xf000, 0xf000);
	__asm__ volatile("lsl %1, %0" : "=r"(eax) : "r"(SEL_FREE));
	check_eq("legacy.lsl", eax, 0xffffffff);
	{
		u8 zf;

		__asm__ volatile("verw %w1; setz %0" : "=q"(zf) : "r"(SEL_CODE));
		check_eq("legacy.verw-code", zf, 0);
		__asm__ volatile("verr %w1; setz %0" : "=q"(zf) : "r"(SEL_CODE));
		check_eq("legacy.verr-code", zf, 1);
	}
}

int main(void)
{
	test_limits();
	test_stack16();
	test_code16();
	test_user();
	test_call_gate();
	test_tasks();
	test_task_errors();
	test_double_fault_task();
	test_paging32();
	test_paging_pae();
	test_legacy();
	test_stack_segment();
	finish();
}
