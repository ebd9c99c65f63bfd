/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tick of 1 ms from the 8254, and COM1. */
#ifndef TESTS_VTX_GUEST_COM_H
#define TESTS_VTX_GUEST_COM_H

#include "tests/guest/rt64.h"

#define COM1 0x3f8
#define PIC1 0x20

static volatile u64 ticks;

static inline void on_tick(UNUSED struct frame *f)
{
	ticks++;
	outb(PIC1, 0x20);
}

static inline void com_put(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (u8)c);
}

/* In HLT between two ticks. */
static inline char com_wait(void)
{
	do
		__asm__ volatile("hlt");
	while (!(inb(COM1 + 5) & 1));
	return (char)inb(COM1);
}

static inline void start_timer(void)
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

#endif
