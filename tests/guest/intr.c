/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * External interrupts: 8259 and 8254, HLT, the shadows of STI and of loads of SS, IF. SDM vol.
 * 3, 6.8.
 */
#include "tests/guest/rt64.h"

#define PIC1	 0x20
#define PIC2	 0xa0
#define IRQ_BASE 0x20

static volatile u64 ticks, tick_rip, tick_flags;

static void eoi(void)
{
	outb(PIC1, 0x20);
}

static void on_tick(struct frame *f)
{
	ticks++;
	tick_rip = f->rip;
	tick_flags = f->rflags;
	eoi();
}

static void init_pics(void)
{
	outb(PIC1, 0x11);
	outb(PIC1 + 1, IRQ_BASE);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	outb(PIC2, 0x11);
	outb(PIC2 + 1, IRQ_BASE + 8);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, 1);
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

/* Counter 0, mode 0: one interrupt after `count` ticks of 838 ns. */
static void one_shot(u16 count)
{
	outb(0x43, 0x30);
	outb(0x40, (u8)count);
	outb(0x40, (u8)(count >> 8));
}

/* The interrupt request is up, and IF is clear. */
static void arm_and_wait(void)
{
	ticks = 0;
	one_shot(20);
	for (;;) {
		outb(PIC1, 0x0a); /* read IRR */
		if (inb(PIC1) & 1)
			break;
	}
}

static void settle(void)
{
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	one_shot(0);
	ticks = 0;
}

static void test_hlt(void)
{
	ticks = 0;
	one_shot(1000);
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	check_eq("intr.hlt.wakes", ticks, 1);
	/* Requested before: STI; HLT does not lose it. */
	arm_and_wait();
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	check_eq("intr.hlt.pending", ticks, 1);
	settle();
}

extern const u8 sti_after_1[], sti_hlt_after[], popf_after[], ss_run[], ss_run_end[];

static void test_sti_shadow(void)
{
	arm_and_wait();
	check_eq("intr.if-clear", ticks, 0);
	/* One instruction after STI runs before the interrupt. */
	__asm__ volatile("xor %%eax, %%eax; sti; inc %%eax; sti_after_1: inc %%eax; inc %%eax; cli"
			 :
			 :
			 : "rax", "memory");
	check_eq("intr.sti-shadow", ticks, 1);
	check_eq("intr.sti-shadow.rip", tick_rip, (u64)sti_after_1);
	settle();
	/* STI; CLI: no window at all. */
	arm_and_wait();
	for (unsigned i = 0; i < 50; i++)
		__asm__ volatile("sti; cli" : : : "memory");
	check_eq("intr.sti-cli", ticks, 0);
	/* STI with IF set already casts no shadow. */
	settle();
	arm_and_wait();
	__asm__ volatile("sti; hlt; sti_hlt_after: cli" : : : "memory");
	check_eq("intr.sti-hlt.rip", tick_rip, (u64)sti_hlt_after);
	settle();
}

static void test_popf(void)
{
	arm_and_wait();
	__asm__ volatile("pushf; orl $0x200, (%%rsp); popf; popf_after: nop; nop; cli"
			 :
			 :
			 : "memory");
	check_eq("intr.popf", ticks, 1);
	check_eq("intr.popf.no-shadow", tick_rip, (u64)popf_after);
	check_eq("intr.pushed-if", tick_flags & FL_IF, FL_IF);
	settle();
}

static void test_ss_shadow(void)
{
	u64 ss = SEL_DATA;

	/*
	 * Wherever the interrupt falls in a run of pairs, it never falls between a load of SS and
	 * the NOP behind it.
	 */
	u64 between = 0;

	for (u16 count = 2; count < 120; count += 5) {
		ticks = 0;
		one_shot(count);
		__asm__ volatile("mov %0, %%ecx\n\t"
				 "sti\n\t"
				 "ss_run:\n\t"
				 ".rept 64; mov %k1, %%ss; nop; .endr\n\t"
				 "ss_run_end: cmpq $0, %2\n\t"
				 "jne 1f\n\tin $0x80, %%al\n\t" /* for engines whose time moves at
								   exits only */
				 "dec %%ecx\n\t"
				 "jnz ss_run\n\t"
				 "1:\n\t"
				 "cli"
				 :
				 : "i"(1000000), "r"(ss), "m"(ticks)
				 : "rax", "rcx", "memory");
		if (tick_rip >= (u64)ss_run && tick_rip < (u64)ss_run_end)
			between += (tick_rip - (u64)ss_run) % 3 == 2;
	}
	check_eq("intr.mov-ss-shadow.ticks", ticks, 1);
	check_eq("intr.mov-ss-shadow", between, 0);
	settle();
	/* A debug trap is held back as well: SDM vol. 3, 6.8.3. */
	{
		extern const u8 ss_step[];

		write_dr6(0);
		check_eq("intr.mov-ss-tf",
			 CATCH(__asm__ volatile("pushf; orl $0x100, (%%rsp); popf; mov %0, %%ss; "
						"nop; ss_step: nop; nop"
						:
						: "r"(ss))),
			 DB);
		check_eq("intr.mov-ss-tf.rip", last.rip, (u64)ss_step);
		write_dr6(0);
	}
}

static void test_iret_window(void)
{
	extern const u8 iret_to[];

	arm_and_wait();
	__asm__ volatile("mov %%rsp, %%rax; pushq %0; push %%rax; pushq $0x202; pushq %1; lea "
			 "iret_to(%%rip), %%rax;"
			 "push %%rax; iretq; iret_to: nop; cli"
			 :
			 : "i"(SEL_DATA), "i"(SEL_CODE)
			 : "rax", "memory");
	check_eq("intr.iret", ticks, 1);
	check_eq("intr.iret.rip", tick_rip, (u64)iret_to);
	settle();
}

static void test_during_rep(void)
{
	static u8 buffer[0x100000];
	u64 rcx, rdi;

	ticks = 0;
	one_shot(100); /* some 84 us */
	__asm__ volatile("sti; rep stosb; cli"
			 : "=c"(rcx), "=D"(rdi)
			 : "c"(sizeof(buffer)), "D"(buffer), "a"(0x3c)
			 : "memory");
	check_eq("intr.rep.rcx", rcx, 0);
	check_eq("intr.rep.rdi", rdi, (u64)buffer + sizeof(buffer));
	check_eq("intr.rep.last", buffer[sizeof(buffer) - 1], 0x3c);
	settle();
}

static void test_periodic(void)
{
	u64 n;

	ticks = 0;
	outb(0x43, 0x34); /* mode 2 */
	outb(0x40, 0xa9); /* 1193 counts: 1 ms */
	outb(0x40, 0x04);
	__asm__ volatile("sti" : : : "memory");
	while (ticks < 10)
		__asm__ volatile("hlt" : : : "memory");
	__asm__ volatile("cli" : : : "memory");
	n = ticks;
	check_eq("intr.periodic", n >= 10, 1);
	settle();
}

static void test_mask(void)
{
	ticks = 0;
	outb(PIC1 + 1, 0xff);
	one_shot(20);
	do
		outb(PIC1, 0x0a);
	while (!(inb(PIC1) & 1));
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	check_eq("intr.masked", ticks, 0);
	outb(PIC1 + 1, 0xfe);
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	check_eq("intr.unmasked", ticks, 1);
	settle();
}

static volatile u64 nested;

static void on_tick_no_eoi(struct frame *f)
{
	(void)f;
	ticks++;
	one_shot(20);
	do
		outb(PIC1, 0x0a);
	while (!(inb(PIC1) & 1));
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	nested = ticks; /* in service: the same line does not come again before the EOI */
	irq_fn[IRQ_BASE] = on_tick;
	eoi();
}

static void test_in_service(void)
{
	arm_and_wait();
	irq_fn[IRQ_BASE] = on_tick_no_eoi;
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	check_eq("intr.in-service", nested, 1);
	check_eq("intr.after-eoi", ticks, 2);
	settle();
}

int main(void)
{
	init_pics();
	irq_fn[IRQ_BASE] = on_tick;
	outb(PIC1 + 1, 0xfe);
	test_hlt();
	test_sti_shadow();
	test_popf();
	test_ss_shadow();
	test_iret_window();
	test_during_rep();
	test_periodic();
	test_mask();
	test_in_service();
	finish();
}
