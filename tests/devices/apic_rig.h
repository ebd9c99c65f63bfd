/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC, I/O APIC and the 8259 pair wired as in machine version 2, with a clock that the test
 * sets. */
#ifndef TESTS_DEVICES_APIC_RIG_H
#define TESTS_DEVICES_APIC_RIG_H

#include "base/log.h"
#include "hypervisor/devices/i8259.h"
#include "hypervisor/devices/ioapic.h"
#include "hypervisor/devices/lapic.h"
#include "tests/devices/rig.h"

struct apic_rig {
	struct rig rig;
	struct lapic lapic;
	struct ioapic ioapic;
	struct i8259 pic;
	bool intr;
	unsigned nmis, eois;
	uint8_t last_eoi;
};

static inline void apic_rig_intr(void *ctx, bool level)
{
	struct apic_rig *a = ctx;

	must(level != a->intr); /* changes only */
	a->intr = level;
}

static inline void apic_rig_nmi(void *ctx)
{
	((struct apic_rig *)ctx)->nmis++;
}

static inline void apic_rig_eoi(void *ctx, uint8_t vector)
{
	struct apic_rig *a = ctx;

	a->eois++;
	a->last_eoi = vector;
	ioapic_eoi(&a->ioapic, vector);
}

static inline uint8_t apic_rig_extint(void *ctx)
{
	return i8259_ack(&((struct apic_rig *)ctx)->pic);
}

static inline void apic_rig_pic(void *ctx, bool level)
{
	lapic_set_lint(&((struct apic_rig *)ctx)->lapic, 0, level);
}

static inline bool apic_rig_send(void *ctx, const struct apic_message *msg)
{
	return lapic_receive(&((struct apic_rig *)ctx)->lapic, msg);
}

static inline void apic_rig_init(struct apic_rig *a)
{
	const struct lapic_effects fx = { apic_rig_intr, apic_rig_nmi, apic_rig_eoi,
					  apic_rig_extint, a };

	memset(a, 0, sizeof(*a));
	rig_init(&a->rig);
	lapic_init(&a->lapic, &a->rig.clock, &fx);
	ioapic_init(&a->ioapic, &a->rig.bus, apic_rig_send, a);
	i8259_init(&a->pic, &a->rig.bus, apic_rig_pic, a);
}

static inline uint32_t apic_get(struct apic_rig *a, unsigned offset)
{
	return (uint32_t)lapic_mmio_read(&a->lapic, offset, 4);
}

static inline void apic_put(struct apic_rig *a, unsigned offset, uint32_t v)
{
	lapic_mmio_write(&a->lapic, offset, 4, v);
}

#endif
