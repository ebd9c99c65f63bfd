/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O APIC with 24 inputs (82093AA datasheet, order number 290566; EOI register as in later ones,
 * whose version number it shows): index and data window at FEC00000h.
 *
 * An input is asserted or it is not: the polarity bit of an entry says how a wire would show that,
 * and is only kept.
 */
#ifndef DEVICES_IOAPIC_H
#define DEVICES_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"
#include "hypervisor/devices/lapic.h"

#define IOAPIC_BASE 0xfec00000ull
#define IOAPIC_PINS 24

struct ioapic {
	uint32_t id, select;
	uint64_t entry[IOAPIC_PINS];
	uint32_t lines; /* levels at the inputs */
	/* Sends a message to the processor; false: not taken. */
	bool (*send)(void *ctx, const struct apic_message *msg);
	void *ctx;
};

void ioapic_init(struct ioapic *io, struct bus *bus,
		 bool (*send)(void *ctx, const struct apic_message *msg), void *ctx);
/* Level at an input; usable as irq_line.set. */
void ioapic_set_irq(void *ioapic, unsigned pin, bool level);
/* A local APIC has ended a level-triggered interrupt of this vector. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

/* True: an input that is not masked gives the processor an NMI. */
bool ioapic_may_nmi(const struct ioapic *io);

extern const struct device_ops ioapic_ops;

#endif
