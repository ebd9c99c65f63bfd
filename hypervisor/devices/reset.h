/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ways to reset a PC: keyboard controller (ports 0x60/0x64: pulse of the reset line), port 0x92
 * (fast reset and A20) and register 0xcf9. The A20 line is always on; its bits only read back as
 * written.
 *
 * 0xcf9 lies inside the PCI configuration ports, which belong to the PCI host: it passes one-byte
 * accesses to 0xcf9 on to reset_cf9_read() and reset_cf9_write().
 */
#ifndef DEVICES_RESET_H
#define DEVICES_RESET_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"

struct reset {
	uint8_t port92, cf9;
	bool output_port; /* the next byte to port 0x60 goes to the keyboard controller's output
			     port */
	void (*reset)(void *ctx);
	void *ctx;
};

/*
 * reset(ctx): the guest asked for a reset of the machine. Called inside a port write; must not
 * reset at once.
 */
void reset_init(struct reset *r, struct bus *bus, void (*reset)(void *ctx), void *ctx);
uint8_t reset_cf9_read(const struct reset *r);
void reset_cf9_write(struct reset *r, uint8_t value);

extern const struct device_ops reset_ops;

#endif
