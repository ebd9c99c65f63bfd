/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inputs of the I/O APIC: edges and levels, masks, remote IRR, destinations, NMIs. The serial
 * port's interrupt for an empty transmitter is the line: the program alone raises and lowers it.
 * Intel 82093AA datasheet, 3.2.
 */
#include "tests/guest/apic.h"

#define PIN	  4
#define ENTRY	  (0x10 + 2 * PIN)
#define IO_EOI	  0x40
#define LOGICAL	  0x800
#define REMOTE	  0x4000
#define LEVEL	  0x8000
#define MASKED	  0x10000
#define UART_IER  0x3f9
#define UART_MCR  0x3fc
#define MCR_OUT2  8
#define IER_EMPTY 2

static volatile u64 lower_at, remote_inside, tmr_inside;

static void line(bool up)
{
	outb(UART_IER, up ? IER_EMPTY : 0);
}

/* Lowers the line when it has come so many times. */
static void on_line(struct frame *f)
{
	got++;
	remote_inside = io_read(ENTRY) & REMOTE;
	tmr_inside = reg_has(REG_TMR, (unsigned)f->vector);
	if (got == lower_at)
		line(false);
	reg_write(REG_EOI, 0);
}

static void entry(u32 low, u32 dest)
{
	line(false);
	io_write(ENTRY, MASKED);
	io_write(ENTRY + 1, dest << 24);
	io_write(ENTRY, low | VECTOR);
	got = 0;
}

static void test_registers(void)
{
	check_eq("apic.io.entries", io_read(1) >> 16 & 0xff, 23);
	io_write(1, 0);
	check_eq("apic.io.version-stays", io_read(1) & 0xff, 0x20);
	io_write(0, 0xffffffff);
	check_eq("apic.io.id", io_read(0), 0x0f000000);
	io_write(0, 0);
	check_eq("apic.io.no-index", io_read(0x0f) | io_read(0x50), 0);
	entry(MASKED, 0);
	io_write(ENTRY, 0x1ffff);
	check_eq("apic.io.bits", io_read(ENTRY), 0x1afff); /* delivery status, remote IRR */
	io_write(ENTRY + 1, 0xffffffff);
	check_eq("apic.io.high-bits", io_read(ENTRY + 1), 0xff000000);
}

static void test_edge(void)
{
	entry(0, 0);
	line(true);
	window();
	check_eq("apic.edge.one", got, 1);
	check_eq("apic.edge.no-remote-irr", remote_inside | tmr_inside, 0);
	window();
	check_eq("apic.edge.no-more", got, 1);
	line(false);
	line(true);
	window();
	check_eq("apic.edge.again", got, 2);
	line(false);
	line(true);
	line(false);
	line(true);
	window();
	check_eq("apic.edge.two-that-wait-are-one", got, 3);
	entry(MASKED, 0);
	line(true);
	line(false);
	window();
	check_eq("apic.edge.masked", got, 0);
	io_write(ENTRY, VECTOR);
	window();
	check_eq("apic.edge.lost", got, 0);
	line(true);
	window();
	check_eq("apic.edge.unmasked", got, 1);
}

static void test_level(void)
{
	entry(LEVEL, 0);
	lower_at = 1;
	line(true);
	window();
	check_eq("apic.level.one", got, 1);
	check_eq("apic.level.remote-irr", remote_inside, REMOTE);
	check_eq("apic.level.tmr", tmr_inside, 1);
	check_eq("apic.level.ended", io_read(ENTRY) & REMOTE, 0);
	entry(LEVEL, 0);
	lower_at = 3;
	line(true);
	for (unsigned i = 0; i < 5; i++)
		window();
	check_eq("apic.level.again-until-lowered", got, 3);
	entry(MASKED | LEVEL, 0);
	lower_at = 1;
	line(true);
	window();
	check_eq("apic.level.masked", got, 0);
	io_write(ENTRY, LEVEL | VECTOR);
	window();
	check_eq("apic.level.unmasked", got, 1);
	/* Withdrawn before the processor has looked: the request stays. */
	entry(LEVEL, 0);
	line(true);
	line(false);
	window();
	check_eq("apic.level.withdrawn", got, 1);
}

/* An entry made edge-triggered forgets what is under way, and the EOI register ends it as well. */
static void test_remote_irr(void)
{
	entry(LEVEL, 0);
	lower_at = 0;
	line(true);
	check_eq("apic.remote.set", io_read(ENTRY) & REMOTE, REMOTE);
	line(false);
	io_write(ENTRY, MASKED | VECTOR);
	check_eq("apic.remote.edge", io_read(ENTRY) & REMOTE, 0);
	window();
	check_eq("apic.remote.served-once", got, 1);
	entry(LEVEL, 0);
	line(true);
	line(false);
	*(volatile u32 *)(IOAPIC + IO_EOI) = HIGHER;
	check_eq("apic.remote.other-eoi", io_read(ENTRY) & REMOTE, REMOTE);
	*(volatile u32 *)(IOAPIC + IO_EOI) = VECTOR;
	check_eq("apic.remote.eoi", io_read(ENTRY) & REMOTE, 0);
	window();
	check_eq("apic.remote.served", got, 1);
}

static u64 goes(u32 low, u32 dest)
{
	entry(low, dest);
	lower_at = 1;
	line(true);
	window();
	return got;
}

static void on_nmi(struct frame *f)
{
	(void)f;
	got += 0x100;
}

static void test_destinations(void)
{
	check_eq("apic.io.own-id", goes(0, 0), 1);
	check_eq("apic.io.other-id", goes(0, 1), 0);
	check_eq("apic.io.broadcast", goes(0, 0xff), 1);
	check_eq("apic.io.lowest", goes(MODE_LOWEST, 0), 1);
	reg_write(REG_LDR, 0x02000000);
	check_eq("apic.io.logical", goes(LOGICAL, 3), 1);
	check_eq("apic.io.logical-level", goes(LOGICAL | LEVEL | MODE_LOWEST, 2), 1);
	check_eq("apic.io.logical-others", goes(LOGICAL, 1), 0);
	check_eq("apic.io.nmi", goes(MODE_NMI, 0), 0x100);
	entry(MASKED, 0);
}

int main(void)
{
	map_apics();
	irq_fn[VECTOR] = on_line;
	irq_fn[NMI] = on_nmi;
	outb(UART_MCR, MCR_OUT2);
	test_registers();
	test_edge();
	test_level();
	test_remote_irr();
	test_destinations();
	return 0;
}
