// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 8259A pair, after Intel's datasheet (order number 231468).
 *
 * The request register is not stored: in level mode it is the input itself, in edge mode the latch,
 * which a falling input clears again ("the request must stay until the first INTA"). A request that
 * is gone by the time of INTA is answered with IR7, without a bit in the in-service register: the
 * spurious interrupt.
 *
 * The slave's INT output is the master's input 2. It falls during INTA, so that a further request
 * of the slave makes a new edge there.
 */
#include "hypervisor/devices/i8259.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/devices/bytewide.h"

enum { MASTER, SLAVE };

#define ICW1_SELECT 0x10
#define ICW1_LEVEL  0x08
#define ICW1_SINGLE 0x02
#define ICW1_ICW4   0x01
#define ICW4_NESTED 0x10
#define ICW4_AEOI   0x02
#define OCW3_SELECT 0x08
#define OCW3_ESMM   0x40
#define OCW3_SMM    0x20
#define OCW3_POLL   0x04
#define OCW3_RR	    0x02
#define OCW3_RIS    0x01
#define SPURIOUS    7

static uint8_t chip_levels(const struct i8259_chip *c)
{
	return c->level_mode ? 0xff : c->elcr;
}

static uint8_t chip_irr(const struct i8259_chip *c)
{
	uint8_t levels = chip_levels(c);

	return (uint8_t)((c->line & levels) | (c->edge & ~levels));
}

/* Rank of the most urgent bit in mask: 0 is the highest priority, 8 means none. */
static unsigned chip_rank(const struct i8259_chip *c, uint8_t mask)
{
	for (unsigned rank = 0; rank < 8; rank++) {
		if (mask & (1u << ((c->lowest + 1 + rank) & 7)))
			return rank;
	}
	return 8;
}

static unsigned chip_input(const struct i8259_chip *c, unsigned rank)
{
	return (c->lowest + 1 + rank) & 7;
}

/* Input to be served next, or -1. */
static int chip_request(const struct i8259_chip *c)
{
	uint8_t serving = c->isr;
	unsigned rank;

	if (!c->ready || c->step)
		return -1;
	if (c->special_mask)
		serving &= (uint8_t)~c->imr;
	if (c->nested) /* the slave may interrupt its own service */
		serving &= (uint8_t)~c->cascade;
	rank = chip_rank(c, chip_irr(c) & (uint8_t)~c->imr);
	return rank < chip_rank(c, serving) ? (int)chip_input(c, rank) : -1;
}

static void chip_set_line(struct i8259_chip *c, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)(1u << input);

	if (!level) {
		c->line &= (uint8_t)~bit;
		c->edge &= (uint8_t)~bit;
	} else if (!(c->line & bit)) {
		c->line |= bit;
		c->edge |= bit;
	}
}

/* Carries a change through the cascade to the CPU. */
static void pic_update(struct i8259 *pic)
{
	bool out;

	chip_set_line(&pic->chip[MASTER], I8259_CASCADE, chip_request(&pic->chip[SLAVE]) >= 0);
	out = chip_request(&pic->chip[MASTER]) >= 0;
	if (out == pic->out)
		return;
	pic->out = out;
	pic->intr(pic->ctx, out);
}

static void chip_start_service(struct i8259_chip *c, unsigned input)
{
	uint8_t bit = (uint8_t)(1u << input);

	c->edge &= (uint8_t)~bit;
	if (!c->aeoi)
		c->isr |= bit;
	else if (c->rotate_aeoi)
		c->lowest = (uint8_t)input;
}

/* INTA or a poll on one chip: the input now in service, or -1. */
static int chip_ack(struct i8259_chip *c)
{
	int input = chip_request(c);

	if (input >= 0)
		chip_start_service(c, (unsigned)input);
	return input;
}

uint8_t i8259_ack(struct i8259 *pic)
{
	struct i8259_chip *master = &pic->chip[MASTER], *slave = &pic->chip[SLAVE];
	int input = chip_ack(master);
	uint8_t vector = master->base + (uint8_t)(input < 0 ? SPURIOUS : input);

	if (input == I8259_CASCADE && !master->single) {
		input = chip_ack(slave);
		vector = slave->base + (uint8_t)(input < 0 ? SPURIOUS : input);
		chip_set_line(master, I8259_CASCADE, false);
	}
	pic_update(pic);
	return vector;
}

static void chip_drop(struct i8259_chip *c)
{
	int input = chip_request(c);
	uint8_t bit = input < 0 ? 0 : (uint8_t)(1u << input);

	c->edge &= (uint8_t)~bit;
	c->line &= (uint8_t) ~(bit & chip_levels(c));
}

void i8259_drop(struct i8259 *pic)
{
	struct i8259_chip *master = &pic->chip[MASTER], *slave = &pic->chip[SLAVE];
	bool cascaded = chip_request(master) == I8259_CASCADE && !master->single;

	chip_drop(cascaded ? slave : master);
	pic_update(pic);
}

bool i8259_pending(const struct i8259 *pic)
{
	return pic->out;
}

void i8259_set_irq(void *i8259, unsigned irq, bool level)
{
	struct i8259 *pic = i8259;

	if (irq >= I8259_IRQS || irq == I8259_CASCADE)
		return;
	chip_set_line(&pic->chip[irq / 8], irq % 8, level);
	pic_update(pic);
}

/* ICW1: inputs in edge mode need a new edge, everything else goes to its defaults. */
static void chip_icw1(struct i8259_chip *c, uint8_t v)
{
	c->edge = c->imr = c->isr = 0;
	c->lowest = 7;
	c->special_mask = c->read_isr = c->poll = c->rotate_aeoi = c->aeoi = c->nested = false;
	c->level_mode = v & ICW1_LEVEL;
	c->single = v & ICW1_SINGLE;
	c->want_icw4 = v & ICW1_ICW4;
	c->step = 2;
	c->ready = true;
}

static void chip_icw(struct i8259_chip *c, uint8_t v)
{
	switch (c->step) {
	case 2:
		c->base = v & 0xf8;
		c->step = !c->single ? 3 : c->want_icw4 ? 4 : 0;
		break;
	case 3:
		c->icw3 = v;
		c->step = c->want_icw4 ? 4 : 0;
		break;
	default:
		c->aeoi = v & ICW4_AEOI;
		c->nested = v & ICW4_NESTED;
		c->step = 0;
	}
}

/*
 * Input whose service a non-specific EOI ends, or -1. Masked ones do not count in special mask
 * mode.
 */
static int chip_serving(const struct i8259_chip *c)
{
	uint8_t serving = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;
	unsigned rank = chip_rank(c, serving);

	return rank < 8 ? (int)chip_input(c, rank) : -1;
}

/* Bits 7 to 5: rotate, specific, EOI. */
static void chip_ocw2(struct i8259_chip *c, uint8_t v)
{
	bool rotate = v & 0x80, specific = v & 0x40, eoi = v & 0x20;
	int input = specific ? v & 7 : eoi ? chip_serving(c) : -1;

	if (!specific && !eoi) {
		c->rotate_aeoi = rotate;
		return;
	}
	if (input < 0)
		return;
	if (eoi)
		c->isr &= (uint8_t) ~(1u << input);
	if (rotate)
		c->lowest = (uint8_t)input;
}

static void chip_ocw3(struct i8259_chip *c, uint8_t v)
{
	c->poll = v & OCW3_POLL;
	if (v & OCW3_RR)
		c->read_isr = v & OCW3_RIS;
	if (v & OCW3_ESMM)
		c->special_mask = v & OCW3_SMM;
}

static void chip_write(struct i8259_chip *c, unsigned a0, uint8_t v)
{
	if (!a0 && (v & ICW1_SELECT))
		chip_icw1(c, v);
	else if (!a0 && (v & OCW3_SELECT))
		chip_ocw3(c, v);
	else if (!a0)
		chip_ocw2(c, v);
	else if (c->step)
		chip_icw(c, v);
	else
		c->imr = v;
}

/* A read after the poll command acknowledges like INTA, whichever port is read. */
static uint8_t chip_poll(struct i8259_chip *c)
{
	int input;

	c->poll = false;
	input = chip_ack(c);
	return input < 0 ? 0 : (uint8_t)(0x80 | input);
}

static uint8_t chip_read(struct i8259_chip *c, unsigned a0)
{
	if (c->poll)
		return chip_poll(c);
	if (a0)
		return c->imr;
	return c->read_isr ? c->isr : chip_irr(c);
}

static uint8_t pic_read(struct i8259 *pic, unsigned which, unsigned a0)
{
	bool poll = pic->chip[which].poll;
	uint8_t v = chip_read(&pic->chip[which], a0);

	if (poll) {
		if (which == SLAVE)
			chip_set_line(&pic->chip[MASTER], I8259_CASCADE, false);
		pic_update(pic);
	}
	return v;
}

static void pic_write(struct i8259 *pic, unsigned which, unsigned a0, uint8_t v)
{
	chip_write(&pic->chip[which], a0, v);
	pic_update(pic);
}

static uint8_t master_read8(void *dev, unsigned reg)
{
	return pic_read(dev, MASTER, reg);
}

static void master_write8(void *dev, unsigned reg, uint8_t v)
{
	pic_write(dev, MASTER, reg, v);
}

static uint8_t slave_read8(void *dev, unsigned reg)
{
	return pic_read(dev, SLAVE, reg);
}

static void slave_write8(void *dev, unsigned reg, uint8_t v)
{
	pic_write(dev, SLAVE, reg, v);
}

static uint8_t elcr_read8(void *dev, unsigned reg)
{
	const struct i8259 *pic = dev;

	return pic->chip[reg].elcr;
}

static void elcr_write8(void *dev, unsigned reg, uint8_t v)
{
	struct i8259 *pic = dev;
	struct i8259_chip *c = &pic->chip[reg];
	uint8_t old = c->elcr;

	c->elcr = v & c->elcr_mask;
	c->edge &= (uint8_t) ~(old ^ c->elcr); /* no edge is remembered across a change of mode */
	pic_update(pic);
}

#define PORT_PAIR(name)                                                                     \
	static uint64_t name##_read(void *dev, uint64_t offset, unsigned size)              \
	{                                                                                   \
		return bytewide_read(dev, offset, size, 2, name##_read8);                   \
	}                                                                                   \
	static void name##_write(void *dev, uint64_t offset, unsigned size, uint64_t value) \
	{                                                                                   \
		bytewide_write(dev, offset, size, value, 2, name##_write8);                 \
	}

PORT_PAIR(master)
PORT_PAIR(slave)
PORT_PAIR(elcr)

static void i8259_reset(void *dev)
{
	/* IRQ 0, 1, 2, 8 and 13 are edge-triggered for good */
	static const struct i8259_chip fresh[2] = {
		[MASTER] = { .elcr_mask = 0xf8, .lowest = 7, .cascade = 1u << I8259_CASCADE },
		[SLAVE] = { .elcr_mask = 0xde, .lowest = 7 },
	};
	struct i8259 *pic = dev;

	for (unsigned i = 0; i < 2; i++)
		pic->chip[i] = fresh[i];
	pic_update(pic);
}

void i8259_init(struct i8259 *pic, struct bus *bus, void (*intr)(void *ctx, bool level), void *ctx)
{
	memset(pic, 0, sizeof(*pic));
	pic->intr = intr;
	pic->ctx = ctx;
	i8259_reset(pic);
	bus_add(bus, BUS_PORT, 0x20, 2, master_read, master_write, pic, "i8259");
	bus_add(bus, BUS_PORT, 0xa0, 2, slave_read, slave_write, pic, "i8259");
	bus_add(bus, BUS_PORT, 0x4d0, 2, elcr_read, elcr_write, pic, "elcr");
}

static bool *chip_bool(struct i8259_chip *c, unsigned i)
{
	bool *const field[] = { &c->want_icw4, &c->single,	&c->level_mode,	  &c->aeoi,
				&c->nested,    &c->rotate_aeoi, &c->special_mask, &c->read_isr,
				&c->poll,      &c->ready };

	return i < sizeof(field) / sizeof(field[0]) ? field[i] : NULL;
}

static void i8259_save(const void *dev, struct buf *out)
{
	const struct i8259 *pic = dev;

	for (unsigned i = 0; i < 2; i++) {
		struct i8259_chip c = pic->chip[i];
		const uint8_t byte[] = { c.line, c.edge, c.imr,	   c.isr, c.elcr,
					 c.base, c.icw3, c.lowest, c.step };

		buf_put(out, byte, sizeof(byte));
		for (unsigned k = 0; chip_bool(&c, k); k++)
			buf_put_u8(out, *chip_bool(&c, k));
	}
}

static bool chip_restore(struct i8259_chip *c, struct rd *in)
{
	uint8_t *const byte[] = { &c->line, &c->edge, &c->imr,	  &c->isr, &c->elcr,
				  &c->base, &c->icw3, &c->lowest, &c->step };
	bool good = true;

	for (unsigned k = 0; k < sizeof(byte) / sizeof(byte[0]); k++)
		*byte[k] = rd_u8(in);
	for (unsigned k = 0; chip_bool(c, k); k++) {
		uint8_t v = rd_u8(in);

		good = good && v <= 1;
		*chip_bool(c, k) = v == 1;
	}
	return good && !in->bad && !(c->edge & ~c->line) && !(c->elcr & ~c->elcr_mask) &&
	       !(c->base & 7) && c->lowest <= 7 && c->step <= 4 && c->step != 1;
}

static int i8259_restore(void *dev, struct rd *in)
{
	struct i8259 *pic = dev;

	i8259_reset(pic);
	if (!chip_restore(&pic->chip[MASTER], in) || !chip_restore(&pic->chip[SLAVE], in)) {
		i8259_reset(pic);
		return -EINVAL;
	}
	pic_update(pic);
	return 0;
}

const struct device_ops i8259_ops = {
	.name = "i8259",
	.reset = i8259_reset,
	.save = i8259_save,
	.restore = i8259_restore,
};

static bool intc_pending(const void *dev)
{
	return i8259_pending(dev);
}

static uint8_t intc_acknowledge(void *dev)
{
	return i8259_ack(dev);
}

static void intc_drop(void *dev)
{
	i8259_drop(dev);
}

const struct intc_ops i8259_intc_ops = {
	.pending = intc_pending,
	.acknowledge = intc_acknowledge,
	.drop = intc_drop,
	.set_irq = i8259_set_irq,
};
