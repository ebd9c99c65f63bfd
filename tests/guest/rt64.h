/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runtime of the 64-bit guest programs: exceptions that come back as values, page tables for the
 * tests, user mode.
 */
#ifndef TESTS_GUEST_RT64_H
#define TESTS_GUEST_RT64_H

#include "tests/guest/rt.h"

#define SEL_CODE32  0x08
#define SEL_CODE    0x10
#define SEL_DATA    0x18
#define SEL_UCODE32 0x23
#define SEL_UDATA   0x2b
#define SEL_UCODE   0x33
#define SEL_TSS	    0x40
#define SEL_FREE    0x50

/* ---- registers ---- */
#define REG_ACCESS(name)                                                        \
	static inline u64 read_##name(void)                                     \
	{                                                                       \
		u64 v;                                                          \
                                                                                \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(v) : : "memory"); \
		return v;                                                       \
	}                                                                       \
	static inline void write_##name(u64 v)                                  \
	{                                                                       \
		__asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory");     \
	}
REG_ACCESS(cr0)
REG_ACCESS(cr2)
REG_ACCESS(cr3)
REG_ACCESS(cr4)
REG_ACCESS(dr0)
REG_ACCESS(dr1)
REG_ACCESS(dr6)
REG_ACCESS(dr7)

static inline u64 rdmsr(u32 n)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(n) : "memory");
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 n, u64 v)
{
	__asm__ volatile("wrmsr" : : "a"((u32)v), "d"((u32)(v >> 32)), "c"(n) : "memory");
}

static inline void cpuid(u32 leaf, u32 sub, u32 r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"(leaf), "c"(sub));
}

static inline void invlpg(u64 lin)
{
	__asm__ volatile("invlpg (%0)" : : "r"(lin) : "memory");
}

static inline void flush_tlb(void)
{
	write_cr3(read_cr3());
}

/* ---- exceptions ---- */
struct frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

extern u8 vectors[];
extern u64 pml4[512], gdt[], idt[512], gdt_tss[2];
extern u8 tss[], main_stack[], irq_stack[], ist_stack[];

static volatile struct frame last;
static volatile u64 last_cr2;
static volatile u64 last_stack; /* where the frame was pushed */
static volatile bool armed;
static void *escape_buf[5];
static void (*irq_fn[256])(struct frame *f);

__attribute__((used, noinline)) void trap_entry(struct frame *f)
{
	if (irq_fn[f->vector]) {
		irq_fn[f->vector](f);
		return;
	}
	last = *f;
	last_cr2 = read_cr2();
	last_stack = (u64)(f + 1);
	if (!armed) {
		print("not ok trap: vector %x error %x at %x:%x cr2 %x\n", f->vector, f->error,
		      f->cs, f->rip, last_cr2);
		failures++;
		finish();
	}
	armed = false;
	__builtin_longjmp(escape_buf, 1);
}

/* Executes the statement; the vector that ended it, or NONE. Details are in `last`. */
#define CATCH(stmt)                                        \
	({                                                 \
		last.vector = NONE;                        \
		if (!__builtin_setjmp(escape_buf)) {       \
			armed = true;                      \
			__asm__ volatile("" ::: "memory"); \
			stmt;                              \
			__asm__ volatile("" ::: "memory"); \
		}                                          \
		armed = false;                             \
		(u64) last.vector;                         \
	})
/* Vector and error code in one value. */
#define CATCH_ERR(stmt)	  (CATCH(stmt) << 32 | (last.vector == NONE ? 0 : last.error))
#define VE(vector, error) ((u64)(vector) << 32 | (error))

/*
 * Of a register, for loops and for functions that call nothing else: a compiler sees no way back to
 * __builtin_setjmp() but out of a call that it knows nothing of.
 */
static void (*volatile wrmsr_call)(u32 n, u64 v) = wrmsr;
static u64 (*volatile rdmsr_call)(u32 n) = rdmsr;

UNUSED __attribute__((noinline)) static u64 catch_wrmsr(u32 n, u64 v)
{
	return CATCH_ERR(wrmsr_call(n, v));
}

UNUSED __attribute__((noinline)) static u64 catch_rdmsr(u32 n)
{
	return CATCH_ERR((void)rdmsr_call(n));
}

static void set_gate(unsigned v, u64 to, u16 sel, unsigned type_dpl, unsigned ist)
{
	idt[2 * v] = (to & 0xffff) | (u64)sel << 16 | (u64)ist << 32 |
		     (u64)(0x80 | type_dpl) << 40 | (to >> 16 & 0xffff) << 48;
	idt[2 * v + 1] = to >> 32;
}

#define GATE_INT  0x0e
#define GATE_TRAP 0x0f
#define GATE_DPL3 0x60

static void reset_gate(unsigned v)
{
	set_gate(v, (u64)(vectors + 16 * v), SEL_CODE,
		 GATE_INT | (v == BP || v == OF || v == 0x80 ? GATE_DPL3 : 0), 0);
}

__attribute__((used)) static void rt_init_c(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) idtr = { sizeof(idt) - 1, (u64)idt };
	u64 t = (u64)tss;

	outb(0x21, 0xff); /* no interrupts until a program wants them */
	outb(0xa1, 0xff);
	for (unsigned v = 0; v < 256; v++)
		reset_gate(v);
	*(u64 *)(tss + 4) = (u64)irq_stack;
	*(u64 *)(tss + 36) = (u64)ist_stack;
	*(u16 *)(tss + 102) = 104;
	gdt_tss[0] = 103 | (t & 0xffffff) << 16 | 0x89ull << 40 | (t >> 24 & 0xff) << 56;
	gdt_tss[1] = t >> 32;
	__asm__ volatile("lidt %0" : : "m"(idtr));
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

/* start.S calls a global symbol. */
__asm__(".globl rt_init\n"
	".type rt_init, @function\n"
	"rt_init: jmp rt_init_c\n");

/* ---- page tables of the tests: from 512 GiB on, 4 KiB pages ---- */
#define PT_P   1ull
#define PT_W   2ull
#define PT_U   4ull
#define PT_A   0x20ull
#define PT_D   0x40ull
#define PT_PS  0x80ull
#define PT_G   0x100ull
#define PT_NX  (1ull << 63)
#define PT_URW (PT_P | PT_W | PT_U)

#define TEST_BASE 0x8000000000ull

static u64 table_pool[16][512] ALIGNED;
static unsigned tables_used;

/*
 * Entry for lin at a level: 1 page table entry, 2 directory entry, 3, 4; upper levels are made as
 * needed, wide open.
 */
UNUSED static volatile u64 *pt_entry(u64 lin, int level)
{
	u64 *t = pml4;

	for (int l = 4; l > level; l--) {
		u64 *e = &t[lin >> (12 + 9 * (l - 1)) & 511];

		if (!(*e & PT_P))
			*e = (u64)table_pool[tables_used++] | PT_URW;
		t = (u64 *)(*e & 0xffffffffff000);
	}
	return &t[lin >> (12 + 9 * (level - 1)) & 511];
}

UNUSED static void map(u64 lin, const void *phys, u64 flags)
{
	*pt_entry(lin, 1) = (u64)phys | flags;
	invlpg(lin);
}

/* ---- user mode ---- */
#define USER_CODE_LIN  (TEST_BASE + 0x20000000)
#define USER_STACK_LIN (TEST_BASE + 0x20200000)
#define USER_STACK_TOP (USER_STACK_LIN + 4096)

static u8 user_code_page[4096] ALIGNED, user_stack_page[4096] ALIGNED;

/* Code for user mode, position-independent: SNIPPET(name, "instructions"). */
#define SNIPPET(name, code)                   \
	extern const u8 name[], name##_end[]; \
	__asm__(".section .rodata\n" #name ":\n" code "\n" #name "_end:\n.text\n")

__attribute__((noinline)) static void enter_user(u64 cs, u64 rip, u64 rsp, u64 rflags, u64 a, u64 b)
{
	__asm__ volatile("push %0\n\tpush %1\n\tpush %2\n\tpush %3\n\tpush %4\n\tiretq"
			 :
			 : "r"((u64)SEL_UDATA), "r"(rsp), "r"(rflags), "r"(cs), "r"(rip), "D"(a),
			   "S"(b)
			 : "memory");
}

UNUSED static void user_setup(void)
{
	map(USER_CODE_LIN, user_code_page, PT_P | PT_U);
	map(USER_STACK_LIN, user_stack_page, PT_URW | PT_NX);
}

/*
 * Runs a snippet at CPL 3 with RDI = a, RSI = b until it traps (int $0x80 to come back); the
 * vector.
 */
UNUSED static u64 run_user_at(u64 cs, const u8 *code, const u8 *end, u64 rflags, u64 a, u64 b)
{
	for (unsigned i = 0; code + i < end; i++)
		user_code_page[i] = code[i];
	return CATCH(enter_user(cs, USER_CODE_LIN, USER_STACK_TOP - 64, rflags | 2, a, b));
}

#define RUN_USER(name, a, b) run_user_at(SEL_UCODE, name, name##_end, 0, a, b)
/* Vector and error code in one value. */
#define RUN_USER_ERR(name, a, b) (RUN_USER(name, a, b) << 32 | last.error)

#endif
