// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/ioapic.h"

#include <errno.h>
#include <string.h>

#define WINDOW_SELECT 0x00u
#define WINDOW_DATA   0x10u
#define WINDOW_EOI    0x40u
#define WINDOW_SIZE   0x1000u

enum { INDEX_ID, INDEX_VERSION, INDEX_ARBITRATION, INDEX_ENTRY = 0x10 };

#define ID_BITS 0x0f000000u
#define VERSION (0x20u | (IOAPIC_PINS - 1u) << 16)

#define ENTRY_LOGICAL	 (1ull << 11)
#define ENTRY_STATUS	 (1ull << 12)
#define ENTRY_REMOTE_IRR (1ull << 14)
#define ENTRY_LEVEL	 (1ull << 15)
#define ENTRY_MASKED	 (1ull << 16)
#define ENTRY_BITS	 0xff0000000001afffull

static bool pin_send(struct ioapic *io, unsigned pin)
{
	uint64_t e = io->entry[pin];
	const struct apic_message msg = {
		.dest = (uint32_t)(e >> 56),
		.logical = e & ENTRY_LOGICAL,
		.level = e & ENTRY_LEVEL,
		.mode = e >> 8 & 7,
		.vector = (uint8_t)e,
	};

	return io->send(io->ctx, &msg);
}

/* A level-triggered input asks while it is asserted, once until it has been served. */
static void pin_level(struct ioapic *io, unsigned pin)
{
	uint64_t e = io->entry[pin];

	if (!(io->lines >> pin & 1) || !(e & ENTRY_LEVEL) ||
	    (e & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
		return;
	/* Set before: the interrupt may end while it is being sent. */
	io->entry[pin] |= ENTRY_REMOTE_IRR;
	if (!pin_send(io, pin))
		io->entry[pin] &= ~ENTRY_REMOTE_IRR;
}

/* An edge at a masked input is lost, as the datasheet says. */
void ioapic_set_irq(void *ioapic, unsigned pin, bool level)
{
	struct ioapic *io = ioapic;
	uint32_t bit;
	bool rises;

	if (pin >= IOAPIC_PINS)
		return;
	bit = 1u << pin;
	rises = level && !(io->lines & bit);
	io->lines = level ? io->lines | bit : io->lines & ~bit;
	if (io->entry[pin] & ENTRY_LEVEL)
		pin_level(io, pin);
	else if (rises && !(io->entry[pin] & ENTRY_MASKED))
		pin_send(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(io->entry[pin] & ENTRY_REMOTE_IRR) || (uint8_t)io->entry[pin] != vector)
			continue;
		io->entry[pin] &= ~ENTRY_REMOTE_IRR;
		pin_level(io, pin);
	}
}

bool ioapic_may_nmi(const struct ioapic *io)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(io->entry[pin] & ENTRY_MASKED) && (io->entry[pin] >> 8 & 7) == APIC_NMI)
			return true;
	}
	return false;
}

static uint32_t index_read(const struct ioapic *io)
{
	unsigned n = io->select - INDEX_ENTRY;

	if (io->select == INDEX_ID || io->select == INDEX_ARBITRATION)
		return io->id;
	if (io->select == INDEX_VERSION)
		return VERSION;
	if (io->select < INDEX_ENTRY || n >= 2 * IOAPIC_PINS)
		return 0;
	return (uint32_t)(io->entry[n / 2] >> 32 * (n & 1));
}

static void index_write(struct ioapic *io, uint32_t v)
{
	unsigned n = io->select - INDEX_ENTRY, shift = 32 * (n & 1);
	uint64_t mask, *e;

	if (io->select == INDEX_ID)
		io->id = v & ID_BITS;
	if (io->select < INDEX_ENTRY || n >= 2 * IOAPIC_PINS)
		return;
	e = &io->entry[n / 2];
	mask = 0xffffffffull << shift & ENTRY_BITS;
	*e = (*e & ~mask) | ((uint64_t)v << shift & mask);
	/* Drivers turn an entry to edge and back to forget an interrupt that is under way. */
	if (!(*e & ENTRY_LEVEL))
		*e &= ~ENTRY_REMOTE_IRR;
	pin_level(io, n / 2);
}

static uint64_t window_read(void *dev, uint64_t offset, unsigned size)
{
	const struct ioapic *io = dev;

	if ((offset & ~3ull) == WINDOW_SELECT)
		return io->select >> 8 * (offset & 3);
	if ((offset & ~3ull) == WINDOW_DATA)
		return index_read(io) >> 8 * (offset & 3);
	return 0;
}

/* The data register is written as a whole, in 32 bits. */
static void window_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct ioapic *io = dev;

	if (offset == WINDOW_SELECT)
		io->select = (uint8_t)value;
	else if (offset == WINDOW_DATA && size == 4)
		index_write(io, (uint32_t)value);
	else if (offset == WINDOW_EOI)
		ioapic_eoi(io, (uint8_t)value);
}

static void ioapic_reset(void *dev)
{
	struct ioapic *io = dev;

	io->id = io->select = io->lines = 0;
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		io->entry[i] = ENTRY_MASKED;
}

void ioapic_init(struct ioapic *io, struct bus *bus,
		 bool (*send)(void *ctx, const struct apic_message *msg), void *ctx)
{
	memset(io, 0, sizeof(*io));
	io->send = send;
	io->ctx = ctx;
	ioapic_reset(io);
	bus_add(bus, BUS_MMIO, IOAPIC_BASE, WINDOW_SIZE, window_read, window_write, io, "ioapic");
}

static void ioapic_save(const void *dev, struct buf *out)
{
	const struct ioapic *io = dev;

	buf_put_u32(out, io->id);
	buf_put_u32(out, io->select);
	buf_put_u32(out, io->lines);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		buf_put_u64(out, io->entry[i]);
}

static int ioapic_restore(void *dev, struct rd *in)
{
	struct ioapic *io = dev;
	bool ok = true;

	io->id = rd_u32(in);
	io->select = rd_u32(in);
	io->lines = rd_u32(in);
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		uint64_t e = io->entry[i] = rd_u64(in);

		ok = ok && !(e & ~(ENTRY_BITS | ENTRY_REMOTE_IRR)) &&
		     ((e & ENTRY_LEVEL) || !(e & ENTRY_REMOTE_IRR));
	}
	if (ok && !in->bad && !(io->id & ~ID_BITS) && io->select <= 0xff &&
	    !(io->lines >> IOAPIC_PINS))
		return 0;
	ioapic_reset(io);
	return -EINVAL;
}

const struct device_ops ioapic_ops = {
	.name = "ioapic",
	.reset = ioapic_reset,
	.save = ioapic_save,
	.restore = ioapic_restore,
};
