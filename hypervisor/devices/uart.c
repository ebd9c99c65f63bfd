// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 16550A, after National Semiconductor's PC16550D datasheet.
 *
 * Baud rate and line settings are kept, but bytes move at once; only the receive timeout (four
 * character times without activity while the FIFO is below its trigger level) takes virtual time.
 * The bytes that wait in the queue refill the FIFO when the guest reads, so an overrun happens in
 * loopback only, or when the feeder ignores uart_room().
 *
 * The interrupt output passes through OUT2, as in every PC, so nothing interrupts before the guest
 * sets that bit.
 */
#include "hypervisor/devices/uart.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/devices/bytewide.h"

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, REGS };

#define IER_RX	  0x01
#define IER_TX	  0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08

#define IIR_NONE    0x01
#define IIR_MODEM   0x00
#define IIR_TX	    0x02
#define IIR_RX	    0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO    0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_KEPT     0xc9 /* enable, DMA mode, trigger level */

#define LCR_BREAK 0x40
#define LCR_DLAB  0x80

#define MCR_DTR	 0x01
#define MCR_RTS	 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DR	    0x01
#define LSR_OVERRUN 0x02
#define LSR_BREAK   0x10
#define LSR_ERRORS  0x1e
#define LSR_EMPTY   0x60 /* THRE and TEMT */
#define LSR_IN_FIFO 0x80

#define MSR_CTS	   0x10
#define MSR_DSR	   0x20
#define MSR_RI	   0x40
#define MSR_DCD	   0x80
#define MSR_LEVELS 0xf0
#define MSR_DELTAS 0x0f
#define MSR_RI_OFF 0x04 /* delta bit that only a falling RI sets */

#define NS_PER_SEC   1000000000ull
#define CLOCK_BAUD   115200u /* at divisor 1 */
#define TIMEOUT_CHAR 4

static bool uart_fifos(const struct uart *u)
{
	return u->fcr & FCR_ENABLE;
}

static unsigned uart_capacity(const struct uart *u)
{
	return uart_fifos(u) ? UART_FIFO : 1;
}

static unsigned uart_trigger(const struct uart *u)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return uart_fifos(u) ? level[u->fcr >> 6] : 1;
}

/* Four characters with start, parity and stop bits, in ns. */
static uint64_t uart_timeout_ns(const struct uart *u)
{
	unsigned divisor = u->dll | (unsigned)u->dlm << 8;
	unsigned bits = 1 + 5 + (u->lcr & 3) + (u->lcr & 8 ? 1 : 0) + (u->lcr & 4 ? 2 : 1);

	return NS_PER_SEC * TIMEOUT_CHAR * bits * (divisor ? divisor : 1) / CLOCK_BAUD;
}

static uint8_t uart_lsr(const struct uart *u)
{
	uint8_t v = u->lsr | LSR_EMPTY;

	if (u->nfifo)
		v |= LSR_DR;
	for (unsigned i = 0; uart_fifos(u) && i < u->nfifo; i++)
		v |= u->err[i] ? LSR_IN_FIFO : 0;
	return v;
}

/* The most urgent interrupt. */
static uint8_t uart_source(const struct uart *u)
{
	if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->nfifo >= uart_trigger(u))
		return IIR_RX;
	if ((u->ier & IER_RX) && u->timeout)
		return IIR_TIMEOUT;
	if ((u->ier & IER_TX) && u->thre)
		return IIR_TX;
	if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
		return IIR_MODEM;
	return IIR_NONE;
}

static void uart_update(struct uart *u)
{
	irq_set(&u->irq,
		uart_source(u) != IIR_NONE && (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2);
}

/* Starts the timeout over, after a byte came or was read; stops it where it cannot matter. */
static void uart_restart_timeout(struct uart *u)
{
	u->timeout = false;
	if (uart_fifos(u) && (u->ier & IER_RX) && u->nfifo && u->nfifo < uart_trigger(u))
		timer_set(u->clock, &u->timer, clock_now(u->clock) + uart_timeout_ns(u));
	else
		timer_stop(u->clock, &u->timer);
}

static void uart_fire(void *dev)
{
	struct uart *u = dev;

	u->timeout = uart_fifos(u) && u->nfifo;
	uart_update(u);
}

/* A byte becomes the oldest one: its errors show in the LSR. */
static void uart_show_errors(struct uart *u)
{
	if (!u->nfifo)
		return;
	u->lsr |= u->err[0];
	u->err[0] = 0;
}

static void uart_push(struct uart *u, uint8_t v, uint8_t err)
{
	if (u->nfifo == uart_capacity(u)) {
		u->lsr |= LSR_OVERRUN;
		if (uart_fifos(u))
			return;
		u->nfifo = 0; /* without FIFOs the new byte replaces the old one */
	}
	u->fifo[u->nfifo] = v;
	u->err[u->nfifo++] = err;
	if (u->nfifo == 1)
		uart_show_errors(u);
}

/* Moves waiting bytes into the FIFO. In loopback the receiver is disconnected from outside. */
static void uart_refill(struct uart *u)
{
	while (u->qlen && u->nfifo < uart_capacity(u) && !(u->mcr & MCR_LOOP)) {
		uart_push(u, u->queue[u->qhead], 0);
		u->queue[u->qhead] = 0;
		u->qhead = (u->qhead + 1) % UART_QUEUE;
		u->qlen--;
	}
}

size_t uart_room(const struct uart *u)
{
	return UART_QUEUE - u->qlen;
}

void uart_receive(struct uart *u, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (u->qlen == UART_QUEUE) {
			u->lsr |= LSR_OVERRUN;
			break;
		}
		u->queue[(u->qhead + u->qlen++) % UART_QUEUE] = data[i];
	}
	uart_refill(u);
	uart_restart_timeout(u);
	uart_update(u);
}

/* ---- registers ---- */
static uint8_t uart_read_data(struct uart *u)
{
	uint8_t v = u->fifo[0];

	if (u->lcr & LCR_DLAB)
		return u->dll;
	if (u->nfifo) {
		u->nfifo--;
		memmove(u->fifo, u->fifo + 1, UART_FIFO - 1);
		memmove(u->err, u->err + 1, UART_FIFO - 1);
		u->fifo[UART_FIFO - 1] = u->err[UART_FIFO - 1] = 0;
		if (!u->nfifo)
			u->fifo[0] = v; /* an empty receiver shows its last byte again */
		uart_show_errors(u);
	}
	uart_refill(u);
	uart_restart_timeout(u);
	return v;
}

static void uart_write_data(struct uart *u, uint8_t v)
{
	if (u->lcr & LCR_DLAB) {
		u->dll = v;
		return;
	}
	u->thre = true; /* the byte is gone at once */
	if (!(u->mcr & MCR_LOOP)) {
		u->tx(u->ctx, &v, 1);
		return;
	}
	uart_push(u, v, 0);
	uart_restart_timeout(u);
}

static uint8_t uart_read_ier(struct uart *u)
{
	return u->lcr & LCR_DLAB ? u->dlm : u->ier;
}

static void uart_write_ier(struct uart *u, uint8_t v)
{
	if (u->lcr & LCR_DLAB) {
		u->dlm = v;
		return;
	}
	if ((v & IER_TX) && !(u->ier & IER_TX))
		u->thre = true; /* enabling the interrupt while empty raises it */
	u->ier = v & 0x0f;
	if (!u->timeout || !(v & IER_RX))
		uart_restart_timeout(u);
}

static uint8_t uart_read_iir(struct uart *u)
{
	uint8_t source = uart_source(u);

	if (source == IIR_TX)
		u->thre = false;
	return source | (uart_fifos(u) ? IIR_FIFO : 0);
}

static void uart_write_fcr(struct uart *u, uint8_t v)
{
	bool toggled = (v ^ u->fcr) & FCR_ENABLE;

	u->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	if (toggled || (v & (FCR_ENABLE | FCR_CLEAR_RX)) == (FCR_ENABLE | FCR_CLEAR_RX)) {
		memset(u->fifo, 0, sizeof(u->fifo));
		memset(u->err, 0, sizeof(u->err));
		u->nfifo = 0;
		uart_refill(u);
	}
	uart_restart_timeout(u);
}

static uint8_t uart_read_lcr(struct uart *u)
{
	return u->lcr;
}

static void uart_write_lcr(struct uart *u, uint8_t v)
{
	bool starts = (v & ~u->lcr) & LCR_BREAK;

	u->lcr = v;
	if (starts && (u->mcr & MCR_LOOP)) {
		uart_push(u, 0, LSR_BREAK);
		uart_restart_timeout(u);
	}
}

/* Modem inputs: a peer that is always there, or in loopback the own outputs. */
static uint8_t uart_modem_lines(const struct uart *u)
{
	uint8_t m = u->mcr;

	if (!(m & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (m & MCR_RTS ? MSR_CTS : 0) | (m & MCR_DTR ? MSR_DSR : 0) |
	       (m & MCR_OUT1 ? MSR_RI : 0) | (m & MCR_OUT2 ? MSR_DCD : 0);
}

static void uart_modem_update(struct uart *u)
{
	uint8_t now = uart_modem_lines(u), changed = (now ^ u->msr) & MSR_LEVELS;
	uint8_t deltas = changed >> 4;

	if (now & MSR_RI)
		deltas &= (uint8_t)~MSR_RI_OFF;
	u->msr = now | (u->msr & MSR_DELTAS) | deltas;
}

static uint8_t uart_read_mcr(struct uart *u)
{
	return u->mcr;
}

static void uart_write_mcr(struct uart *u, uint8_t v)
{
	u->mcr = v & 0x1f;
	uart_modem_update(u);
	uart_refill(u);
	uart_restart_timeout(u);
}

static uint8_t uart_read_lsr(struct uart *u)
{
	uint8_t v = uart_lsr(u);

	u->lsr = 0;
	return v;
}

static uint8_t uart_read_msr(struct uart *u)
{
	uint8_t v = u->msr;

	u->msr &= MSR_LEVELS;
	return v;
}

static uint8_t uart_read_scr(struct uart *u)
{
	return u->scr;
}

static void uart_write_scr(struct uart *u, uint8_t v)
{
	u->scr = v;
}

static const struct {
	uint8_t (*read)(struct uart *u);
	void (*write)(struct uart *u, uint8_t v); /* NULL: writes do nothing */
} uart_reg[REGS] = {
	[REG_DATA] = { uart_read_data, uart_write_data },
	[REG_IER] = { uart_read_ier, uart_write_ier },
	[REG_IIR] = { uart_read_iir, uart_write_fcr },
	[REG_LCR] = { uart_read_lcr, uart_write_lcr },
	[REG_MCR] = { uart_read_mcr, uart_write_mcr },
	[REG_LSR] = { uart_read_lsr, NULL },
	[REG_MSR] = { uart_read_msr, NULL },
	[REG_SCR] = { uart_read_scr, uart_write_scr },
};

static uint8_t uart_read8(void *dev, unsigned reg)
{
	uint8_t v = uart_reg[reg].read(dev);

	uart_update(dev);
	return v;
}

static void uart_write8(void *dev, unsigned reg, uint8_t v)
{
	if (!uart_reg[reg].write)
		return;
	uart_reg[reg].write(dev, v);
	uart_update(dev);
}

static uint64_t uart_read(void *dev, uint64_t offset, unsigned size)
{
	return bytewide_read(dev, offset, size, REGS, uart_read8);
}

static void uart_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	bytewide_write(dev, offset, size, value, REGS, uart_write8);
}

/* Bytes from outside that the guest has not taken are lost with a reset. */
static void uart_reset(void *dev)
{
	struct uart *u = dev;

	u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->dlm = u->lsr = 0;
	u->dll = 12; /* 9600 baud */
	u->thre = u->timeout = false;
	memset(u->fifo, 0, sizeof(u->fifo));
	memset(u->err, 0, sizeof(u->err));
	memset(u->queue, 0, sizeof(u->queue));
	u->nfifo = u->qhead = u->qlen = 0;
	u->msr = uart_modem_lines(u);
	timer_stop(u->clock, &u->timer);
	uart_update(u);
}

void uart_init(struct uart *u, struct bus *bus, uint16_t base, struct clock *clock,
	       struct irq_line irq, void (*tx)(void *ctx, const uint8_t *data, size_t n), void *ctx)
{
	memset(u, 0, sizeof(*u));
	u->clock = clock;
	u->irq = irq;
	u->tx = tx;
	u->ctx = ctx;
	timer_init(clock, &u->timer, "uart", uart_fire, u);
	uart_reset(u);
	bus_add(bus, BUS_PORT, base, REGS, uart_read, uart_write, u, "uart");
}

static void uart_save(const void *dev, struct buf *out)
{
	const struct uart *u = dev;
	const uint8_t reg[] = { u->ier, u->fcr, u->lcr, u->mcr,	 u->scr,    u->dll,
				u->dlm, u->lsr, u->msr, u->thre, u->timeout };

	buf_put(out, reg, sizeof(reg));
	buf_put(out, u->fifo, sizeof(u->fifo));
	buf_put(out, u->err, sizeof(u->err));
	buf_put_u8(out, (uint8_t)u->nfifo);
	buf_put_u16(out, (uint16_t)u->qlen);
	for (unsigned i = 0; i < u->qlen; i++) /* where the ring starts is nobody's business */
		buf_put_u8(out, u->queue[(u->qhead + i) % UART_QUEUE]);
	buf_put_u64(out, u->timer.deadline);
}

static bool uart_valid(const struct uart *u)
{
	uint8_t errors = 0;

	for (unsigned i = 0; i < UART_FIFO; i++)
		errors |= u->err[i];
	return u->ier <= 0x0f && !(u->fcr & ~FCR_KEPT) && (!u->fcr || uart_fifos(u)) &&
	       u->mcr <= 0x1f && !(u->lsr & ~LSR_ERRORS) && !(errors & ~LSR_ERRORS) &&
	       u->nfifo <= uart_capacity(u) && (u->msr & MSR_LEVELS) == uart_modem_lines(u);
}

static int uart_restore(void *dev, struct rd *in)
{
	struct uart *u = dev;
	uint8_t *const reg[] = { &u->ier, &u->fcr, &u->lcr, &u->mcr, &u->scr,
				 &u->dll, &u->dlm, &u->lsr, &u->msr };
	uint64_t deadline;
	uint8_t thre, timeout;

	uart_reset(u);
	for (unsigned i = 0; i < sizeof(reg) / sizeof(reg[0]); i++)
		*reg[i] = rd_u8(in);
	thre = rd_u8(in);
	timeout = rd_u8(in);
	u->thre = thre == 1;
	u->timeout = timeout == 1;
	rd_get(in, u->fifo, sizeof(u->fifo));
	rd_get(in, u->err, sizeof(u->err));
	u->nfifo = rd_u8(in);
	u->qlen = rd_u16(in);
	if (u->qlen <= UART_QUEUE)
		rd_get(in, u->queue, u->qlen);
	deadline = rd_u64(in);
	if (in->bad || u->qlen > UART_QUEUE || thre > 1 || timeout > 1 || !uart_valid(u)) {
		uart_reset(u);
		return -EINVAL;
	}
	timer_set(u->clock, &u->timer, deadline);
	return 0;
}

const struct device_ops uart_ops = {
	.name = "uart",
	.reset = uart_reset,
	.save = uart_save,
	.restore = uart_restore,
};
