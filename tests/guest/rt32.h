/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runtime of the 32-bit guest programs: exceptions that come back as values, descriptors, real
 * mode.
 */
#ifndef TESTS_GUEST_RT32_H
#define TESTS_GUEST_RT32_H

#include "tests/guest/rt.h"

#define SEL_CODE   0x08
#define SEL_DATA   0x10
#define SEL_UCODE  0x1b
#define SEL_UDATA  0x23
#define SEL_TSS	   0x28
#define SEL_CODE16 0x30
#define SEL_DATA16 0x38
#define SEL_FREE   0x40
#define FL_VM	   0x20000u

#define REG_ACCESS(name)                                                        \
	UNUSED static inline u32 read_##name(void)                              \
	{                                                                       \
		u32 v;                                                          \
                                                                                \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(v) : : "memory"); \
		return v;                                                       \
	}                                                                       \
	UNUSED static inline void write_##name(u32 v)                           \
	{                                                                       \
		__asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory");     \
	}
REG_ACCESS(cr0)
REG_ACCESS(cr2)
REG_ACCESS(cr3)
REG_ACCESS(cr4)
REG_ACCESS(dr6)

/* ---- exceptions ---- */
struct frame {
	u32 gs, fs, es, ds, edi, esi, ebp, esp_in_handler, ebx, edx, ecx, eax;
	u32 vector, error, eip, cs, eflags, esp, ss;
	u32 vm_es, vm_ds, vm_fs, vm_gs; /* pushed when virtual-8086 mode was interrupted */
};

struct tss32 {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp,
		esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
};

extern u8 vectors[], main_stack[], irq_stack[], idtr[], gdtr[];
extern volatile u64 gdt[], idt[256];
extern struct tss32 tss;
extern volatile u16 real_regs[6];
void real_run(u32 entry);

static volatile struct frame last;
static volatile u32 last_cr2, last_tr, last_stack;
static volatile bool armed;
static void *escape_buf[5];
static void (*irq_fn[256])(struct frame *f);

void trap_entry(struct frame *f);
__attribute__((used, noinline)) void trap_entry(struct frame *f)
{
	u16 tr;

	if (irq_fn[f->vector]) {
		irq_fn[f->vector](f);
		return;
	}
	__asm__ volatile("str %0" : "=r"(tr));
	last = *f;
	last_tr = tr;
	last_cr2 = read_cr2();
	last_stack = (u32)&f->eip;
	if (!armed) {
		print("not ok trap: vector %x error %x at %x:%x cr2 %x\n", (u64)f->vector,
		      (u64)f->error, (u64)f->cs, (u64)f->eip, (u64)last_cr2);
		failures++;
		finish();
	}
	armed = false;
	__builtin_longjmp(escape_buf, 1);
}

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
#define CATCH_ERR(stmt)	  (CATCH(stmt) << 32 | (last.vector == NONE ? 0 : last.error))
#define VE(vector, error) ((u64)(vector) << 32 | (error))

/* ---- descriptors ---- */
#define DESC_DPL3 0x60u
#define DESC_32	  0x4u /* flags nibble: D/B */
#define DESC_4K	  0x8u

/* type: the access byte without P; flags: the upper nibble of byte 6. */
static void set_desc(unsigned sel, u32 base, u32 limit, unsigned type, unsigned flags)
{
	gdt[sel / 8] = (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(0x80 | type) << 40 |
		       (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

#define GATE_INT  0x0e
#define GATE_TRAP 0x0f
#define GATE_TASK 0x05
#define GATE_CALL 0x0c
#define GATE_DPL3 0x60

UNUSED static u64 make_gate(u32 to, u16 sel, unsigned type_dpl, unsigned params)
{
	return (to & 0xffff) | (u64)sel << 16 | (u64)params << 32 | (u64)(0x80 | type_dpl) << 40 |
	       (u64)(to >> 16) << 48;
}

static void reset_gate(unsigned v)
{
	idt[v] = make_gate((u32)(vectors + 16 * v), SEL_CODE,
			   GATE_INT | (v == BP || v == OF || v == 0x80 ? GATE_DPL3 : 0), 0);
}

__attribute__((used)) static void rt_init_c(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	for (unsigned v = 0; v < 256; v++)
		reset_gate(v);
	tss.ss0 = SEL_DATA;
	tss.esp0 = (u32)irq_stack;
	tss.iomap = 104;
	set_desc(SEL_TSS, (u32)&tss, 103, 9, 0);
	__asm__ volatile("lidt idtr; ltr %w0" : : "r"(SEL_TSS) : "memory");
}

__asm__(".globl rt_init\n"
	"rt_init: jmp rt_init_c\n");

#endif
