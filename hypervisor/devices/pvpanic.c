// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/pvpanic.h"

static uint64_t pvpanic_read(void *dev, uint64_t offset, unsigned size)
{
	return ~(uint64_t)0xff | PVPANIC_EVENTS;
}

static void pvpanic_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	const struct pvpanic *p = dev;
	uint8_t events = (uint8_t)(value & PVPANIC_EVENTS);

	if (events)
		p->event(p->ctx, events);
}

void pvpanic_init(struct pvpanic *p, struct bus *bus, void (*event)(void *ctx, uint8_t events),
		  void *ctx)
{
	*p = (struct pvpanic){ .event = event, .ctx = ctx };
	bus_add(bus, BUS_PORT, PVPANIC_PORT, 1, pvpanic_read, pvpanic_write, p, "pvpanic");
}

/* The port has no state. */
static void pvpanic_reset(void *dev)
{
}

static void pvpanic_save(const void *dev, struct buf *out)
{
}

static int pvpanic_restore(void *dev, struct rd *in)
{
	return 0;
}

const struct device_ops pvpanic_ops = {
	.name = "pvpanic",
	.reset = pvpanic_reset,
	.save = pvpanic_save,
	.restore = pvpanic_restore,
};
