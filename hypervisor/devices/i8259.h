/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two cascaded 8259A interrupt controllers as in a PC: ports 0x20/0x21 (master), 0xa0/0xa1 (slave
 * on IR2) and the ELCR (edge/level control) at 0x4d0/0x4d1.
 */
#ifndef DEVICES_I8259_H
#define DEVICES_I8259_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"

#define I8259_IRQS    16
#define I8259_CASCADE 2 /* the master's input that the slave drives */

struct i8259_chip {
	uint8_t line; /* levels at the inputs */
	uint8_t edge; /* latched rising edges of inputs in edge mode */
	uint8_t imr, isr, elcr;
	uint8_t elcr_mask; /* bits of the ELCR that can be set; constant */
	uint8_t cascade;   /* bit of the input that a slave drives; constant */
	uint8_t base;	   /* ICW2: first vector */
	uint8_t icw3;
	uint8_t lowest; /* input of the lowest priority */
	uint8_t step;	/* next initialisation word expected: 0 (none), 2, 3, 4 */
	bool want_icw4, single, level_mode;
	bool aeoi, nested, rotate_aeoi; /* ICW4 AEOI and SFNM; OCW2 rotation in AEOI mode */
	bool special_mask, read_isr, poll;
	bool ready; /* initialised at least once */
};

struct i8259 {
	struct i8259_chip chip[2]; /* master, slave */
	void (*intr)(void *ctx, bool level);
	void *ctx;
	bool out; /* last level given to intr() */
};

/* intr(ctx, level) is called when the INT output of the master changes. */
void i8259_init(struct i8259 *pic, struct bus *bus, void (*intr)(void *ctx, bool level), void *ctx);
/* Level at input 0..15 (input 2 is the cascade and ignored). Usable as irq_line.set. */
void i8259_set_irq(void *i8259, unsigned irq, bool level);
/* An interrupt is requested: the INT output. */
bool i8259_pending(const struct i8259 *pic);
/*
 * The INTA sequence: returns the vector; the spurious one (IR7 of the chip) when the request is
 * gone.
 */
uint8_t i8259_ack(struct i8259 *pic);

/*
 * A fault: the request that would be acknowledged next is forgotten. An input in level mode counts
 * as low until it has been low.
 */
void i8259_drop(struct i8259 *pic);

extern const struct device_ops i8259_ops;
extern const struct intc_ops i8259_intc_ops;

#endif
