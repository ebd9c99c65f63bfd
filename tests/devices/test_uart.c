// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/uart.h"
#include "tests/devices/rig.h"
#include "tests/unit.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct rig rig;
static struct uart uart;

static void setup(void)
{
	rig_init(&rig);
	uart_init(&uart, &rig.bus, UART_COM1, &rig.clock, rig_irq(&rig), rig_tx, &rig);
}

static uint8_t get(unsigned reg)
{
	return rig_in(&rig, UART_COM1 + reg);
}

static void put(unsigned reg, uint8_t v)
{
	rig_out(&rig, UART_COM1 + reg, v);
}

static void receive(const char *s)
{
	uart_receive(&uart, (const uint8_t *)s, strlen(s));
}

/* 115200 8N1, FIFOs with trigger level 8, interrupts through OUT2. */
static void open_port(uint8_t ier)
{
	put(LCR, 0x83);
	put(DATA, 1);
	put(IER, 0);
	put(LCR, 0x03);
	put(IIR, 0x87);
	put(MCR, 0x0b);
	put(IER, ier);
}

START_TEST(after_reset)
{
	ck_assert_uint_eq(get(IER), 0);
	ck_assert_uint_eq(get(IIR), 0x01);
	ck_assert_uint_eq(get(LCR), 0);
	ck_assert_uint_eq(get(MCR), 0);
	ck_assert_uint_eq(get(LSR), 0x60);
	ck_assert_uint_eq(get(MSR), 0xb0);
}
END_TEST

START_TEST(divisor_latch)
{
	put(LCR, 0x80);
	put(DATA, 0x34);
	put(IER, 0x12);
	ck_assert_uint_eq(get(DATA), 0x34);
	ck_assert_uint_eq(get(IER), 0x12);
	ck_assert_uint_eq(rig.nout, 0);
	put(LCR, 0);
	ck_assert_uint_eq(get(IER), 0);
	put(SCR, 0xa5);
	ck_assert_uint_eq(get(SCR), 0xa5);
	put(IER, 0xff);
	ck_assert_uint_eq(get(IER), 0x0f);
	put(MCR, 0xff);
	ck_assert_uint_eq(get(MCR), 0x1f);
}
END_TEST

START_TEST(transmit)
{
	open_port(0);
	put(DATA, 'h');
	put(DATA, 'i');
	ck_assert_uint_eq(rig.nout, 2);
	ck_assert_mem_eq(rig.out, "hi", 2);
	ck_assert_uint_eq(get(LSR), 0x60);
	ck_assert(!rig.level);
}
END_TEST

START_TEST(transmitter_empty_interrupt)
{
	open_port(2);
	ck_assert(rig.level);		   /* enabling it while empty */
	ck_assert_uint_eq(get(IIR), 0xc2); /* reading it clears it */
	ck_assert(!rig.level);
	ck_assert_uint_eq(get(IIR), 0xc1);
	for (unsigned i = 0; i < 16; i++)
		put(DATA, 'x');
	ck_assert(rig.level);
	ck_assert_uint_eq(rig.edges, 2); /* one a burst */
	ck_assert_uint_eq(get(IIR), 0xc2);
	put(IER, 0);
	put(IER, 2); /* Linux's test for a UART that does not raise it again */
	ck_assert_uint_eq(get(IIR), 0xc2);
}
END_TEST

START_TEST(interrupts_need_out2)
{
	open_port(2);
	put(MCR, 0x03);
	ck_assert(!rig.level);
	ck_assert_uint_eq(get(IIR) & 0x0f, 0x02);
}
END_TEST

START_TEST(receive_without_fifos)
{
	put(MCR, 0x08);
	put(IER, 1);
	receive("abc");
	ck_assert(rig.level);
	ck_assert_uint_eq(get(IIR), 0x04);
	ck_assert_uint_eq(get(LSR), 0x61);
	ck_assert_uint_eq(get(DATA), 'a');
	ck_assert_uint_eq(get(DATA), 'b');
	ck_assert(rig.level);
	ck_assert_uint_eq(get(DATA), 'c');
	ck_assert(!rig.level);
	ck_assert_uint_eq(get(LSR), 0x60);
	ck_assert_uint_eq(get(IIR), 0x01);
}
END_TEST

START_TEST(trigger_level_and_timeout)
{
	open_port(1);
	receive("1234567");
	ck_assert(!rig.level);
	ck_assert_uint_eq(get(LSR), 0x61); /* polling sees them at once */
	rig_pass(&rig, 347222 - 1);	   /* 4 characters of 10 bits at 115200 baud */
	ck_assert(!rig.level);
	rig_pass(&rig, 1);
	ck_assert(rig.level);
	ck_assert_uint_eq(get(IIR), 0xcc);
	ck_assert_uint_eq(get(DATA), '1'); /* ends the timeout and starts another */
	ck_assert(!rig.level);
	rig_pass(&rig, 347222);
	ck_assert(rig.level);
	receive("89"); /* reaches the level of 8 */
	ck_assert_uint_eq(get(IIR), 0xc4);
	ck_assert_uint_eq(get(DATA), '2');
	ck_assert(!rig.level);
	for (unsigned i = 0; i < 7; i++)
		get(DATA);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
	ck_assert_uint_eq(get(LSR), 0x60);
}
END_TEST

START_TEST(timeout_follows_the_line_settings)
{
	open_port(1);
	put(LCR, 0x80 | 0x1f); /* 8 bits, parity, 2 stop bits: 12 */
	put(DATA, 12);
	put(LCR, 0x1f);
	receive("x");
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), 1000000000ull * 4 * 12 * 12 / 115200);
	put(IER, 0);
	ck_assert_uint_eq(clock_next_deadline(&rig.clock), CLOCK_NEVER);
}
END_TEST

START_TEST(queue_is_bounded_and_refills)
{
	static uint8_t data[UART_QUEUE + 100];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	open_port(1);
	ck_assert_uint_eq(uart_room(&uart), UART_QUEUE);
	uart_receive(&uart, data, 100);
	ck_assert_uint_eq(uart_room(&uart), UART_QUEUE - 84);
	uart_receive(&uart, data + 100, uart_room(&uart));
	ck_assert_uint_eq(uart_room(&uart), 0);
	ck_assert_uint_eq(get(LSR), 0x61);
	for (size_t i = 0; i < UART_QUEUE + 16; i++) {
		ck_assert(rig.level == (i <= UART_QUEUE + 16 - 8));
		ck_assert_uint_eq(get(DATA), data[i]);
	}
	ck_assert_uint_eq(get(LSR), 0x60);
	uart_receive(&uart, data, sizeof(data));
	ck_assert_uint_eq(get(LSR) & 0x02, 0x02); /* more than uart_room() */
}
END_TEST

START_TEST(fifo_control)
{
	open_port(0);
	receive("abcd");
	put(IIR, 0x83); /* clears the receiver */
	ck_assert_uint_eq(get(LSR), 0x60);
	receive("efgh");
	put(IIR, 0x00); /* so does switching the FIFOs */
	ck_assert_uint_eq(get(LSR), 0x60);
	ck_assert_uint_eq(get(IIR), 0x01);
	put(IIR, 0x46); /* without bit 0 nothing else counts */
	ck_assert_uint_eq(get(IIR), 0x01);
}
END_TEST

START_TEST(loopback_modem_lines)
{
	open_port(8);
	ck_assert_uint_eq(get(MSR), 0xb0);
	put(MCR, 0x10 | 0x0a);			  /* RTS, OUT2 */
	ck_assert_uint_eq(get(MSR), 0x90 | 0x02); /* CTS and DCD stay, DSR fell */
	ck_assert_uint_eq(get(MSR), 0x90);
	put(MCR, 0x10 | 0x04);			  /* OUT1 */
	ck_assert_uint_eq(get(MSR), 0x40 | 0x09); /* RI rising has no delta bit */
	put(MCR, 0x10);
	ck_assert_uint_eq(get(MSR), 0x04); /* falling has */
	put(MCR, 0x08);
	ck_assert(rig.level); /* the lines came back */
	ck_assert_uint_eq(get(IIR), 0xc0);
	ck_assert_uint_eq(get(MSR), 0xbb);
	ck_assert(!rig.level);
}
END_TEST

START_TEST(loopback_data)
{
	open_port(0);
	put(MCR, 0x1b);
	receive("outside"); /* disconnected */
	for (unsigned i = 0; i < 17; i++)
		put(DATA, (uint8_t)(0x40 + i));
	ck_assert_uint_eq(rig.nout, 0);
	ck_assert_uint_eq(get(LSR), 0x63); /* the 17th was an overrun */
	ck_assert_uint_eq(get(LSR), 0x61);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(get(DATA), 0x40 + i);
	ck_assert_uint_eq(get(LSR), 0x60);
	put(MCR, 0x0b);
	ck_assert_uint_eq(get(DATA), 'o');
}
END_TEST

START_TEST(break_and_priorities)
{
	open_port(0x0f);
	get(IIR); /* transmitter empty */
	put(MCR, 0x1b);
	put(DATA, 'a');
	put(LCR, 0x43);
	ck_assert_uint_eq(get(LSR), 0xe1); /* an error waits in the FIFO */
	ck_assert_uint_eq(get(DATA), 'a');
	ck_assert_uint_eq(get(IIR), 0xc6); /* line status comes first */
	ck_assert_uint_eq(get(LSR), 0x71);
	for (unsigned i = 0; i < 8; i++)
		put(DATA, 'x');
	ck_assert_uint_eq(get(IIR), 0xc4);
	for (unsigned i = 0; i < 9; i++)
		get(DATA);
	ck_assert_uint_eq(get(IIR), 0xc2);
	put(MCR, 0x10);
	ck_assert_uint_eq(get(IIR), 0xc0);
	get(MSR);
	ck_assert_uint_eq(get(IIR), 0xc1);
}
END_TEST

START_TEST(state_round_trip)
{
	struct buf image = BUF_INIT;

	open_port(0x0f);
	receive("some bytes that do not fit into the FIFO");
	get(DATA);
	ck_assert(rig_round_trip(&uart_ops, &uart));
	ck_assert_uint_eq(get(DATA), 'o');
	uart_ops.save(&uart, &image);
	ck_assert(rig_refuses_short(&uart_ops, &uart));
	ck_assert_uint_eq(get(LSR), 0x60);
	image.data[9] = 2; /* thre is no boolean */
	{
		struct rd in = RD_INIT(image.data, image.len);

		ck_assert_int_eq(uart_ops.restore(&uart, &in), -22);
	}
	buf_free(&image);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, after_reset);
	tcase_add_test(tc, divisor_latch);
	tcase_add_test(tc, transmit);
	tcase_add_test(tc, transmitter_empty_interrupt);
	tcase_add_test(tc, interrupts_need_out2);
	tcase_add_test(tc, receive_without_fifos);
	tcase_add_test(tc, trigger_level_and_timeout);
	tcase_add_test(tc, timeout_follows_the_line_settings);
	tcase_add_test(tc, queue_is_bounded_and_refills);
	tcase_add_test(tc, fifo_control);
	tcase_add_test(tc, loopback_modem_lines);
	tcase_add_test(tc, loopback_data);
	tcase_add_test(tc, break_and_priorities);
	tcase_add_test(tc, state_round_trip);
}

UNIT_MAIN("uart", add_tests)
