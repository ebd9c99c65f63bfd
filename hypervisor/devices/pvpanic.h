/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port by which a guest says that it has panicked, as QEMU's pvpanic for the ISA bus (its
 * docs/specs/pvpanic): Linux' driver pvpanic-mmio finds it by ACPI, as QEMU0001.
 *
 *   read           the events that can be told: PVPANIC_EVENTS
 *   write events   PVPANIC_PANICKED      the guest has panicked
 *                  PVPANIC_CRASH_LOADED  the same, and its crash kernel takes over
 */
#ifndef DEVICES_PVPANIC_H
#define DEVICES_PVPANIC_H

#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"

#define PVPANIC_PORT	     0x505u
#define PVPANIC_PANICKED     0x01u
#define PVPANIC_CRASH_LOADED 0x02u
#define PVPANIC_EVENTS	     (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)

struct pvpanic {
	void (*event)(void *ctx, uint8_t events);
	void *ctx;
};

/* event(ctx, events) is called inside the port write, with at least one of PVPANIC_EVENTS. */
void pvpanic_init(struct pvpanic *p, struct bus *bus, void (*event)(void *ctx, uint8_t events),
		  void *ctx);

extern const struct device_ops pvpanic_ops;

#endif
