/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A UART. Transmission takes no time: a byte leaves when it is written, so the transmitter is
 * always empty. Received bytes wait in a bounded queue behind the 16-byte FIFO and enter it as the
 * guest reads.
 */
#ifndef DEVICES_UART_H
#define DEVICES_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/clock.h"
#include "hypervisor/device.h"

#define UART_COM1  0x3f8
#define UART_FIFO  16
#define UART_QUEUE 4096

struct uart {
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t lsr; /* error bits only; the others are computed */
	uint8_t msr;
	bool thre;    /* transmitter-empty interrupt is pending */
	bool timeout; /* receive timeout is pending */
	uint8_t fifo[UART_FIFO],
		err[UART_FIFO]; /* received bytes, oldest first, and their LSR error bits */
	unsigned nfifo;
	uint8_t queue[UART_QUEUE]; /* ring */
	unsigned qhead, qlen;
	struct clock *clock;
	struct timer timer;
	struct irq_line irq;
	void (*tx)(void *ctx, const uint8_t *data, size_t n);
	void *ctx;
};

/* base: first of 8 ports. tx(ctx, data, n) gets what the guest sends. */
void uart_init(struct uart *u, struct bus *bus, uint16_t base, struct clock *clock,
	       struct irq_line irq, void (*tx)(void *ctx, const uint8_t *data, size_t n),
	       void *ctx);
/* Bytes that uart_receive() takes now without losing any. */
size_t uart_room(const struct uart *u);
/* Bytes from outside; what does not fit is lost and sets the overrun bit. */
void uart_receive(struct uart *u, const uint8_t *data, size_t n);

extern const struct device_ops uart_ops;

#endif
