/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timer interrupts and console input: echoes COM1 with the number of ticks so far, until it reads q. */
#include "tests/guest/rt64.h"

#define COM1 0x3f8
#define PIC1 0x20

static volatile u64 ticks;

static void on_tick(UNUSED struct frame *f)
{
	ticks++;
	outb(PIC1, 0x20);
}

static void com_put(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (u8)c);
}

static void start_timer(void)
{
	irq_fn[0x20] = on_tick;
	outb(PIC1, 0x11);
	outb(PIC1 + 1, 0x20);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	outb(PIC1 + 1, 0xfe);
	outb(0x43, 0x34);
	outb(0x40, 0xa9);
	outb(0x40, 0x04); /* 1 ms */
	__asm__ volatile("sti");
}

int main(void)
{
	char c = 0;

	start_timer();
	while (c != 'q') {
		__asm__ volatile("hlt");
		if (!(inb(COM1 + 5) & 1))
			continue;
		c = (char)inb(COM1);
		com_put(c);
		print("%x ", ticks);
	}
	check_eq("serial.ticks", ticks > 0, 1);
	finish();
}
