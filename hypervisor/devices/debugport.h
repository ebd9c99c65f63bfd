/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug exit (port 0xf4) and debug console (port 0xe9), for test programs.
 *
 *   write v to 0xf4   ends the machine; its exit status is v (low 8 bits), unchanged
 *   read 0xf4         all ones
 *   write v to 0xe9   one byte of debug output
 *   read 0xe9         0xe9: "the console is there"
 *   0x402             the same for firmware, where the machine has any
 */
#ifndef DEVICES_DEBUGPORT_H
#define DEVICES_DEBUGPORT_H

#include <stddef.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"

struct debugport {
	void (*exit)(void *ctx, uint8_t code);
	void (*tx)(void *ctx, const uint8_t *data, size_t n);
	void (*firmware_tx)(void *ctx, const uint8_t *data, size_t n);
	void *ctx;
};

/* exit(ctx, code) is called inside the port write. */
void debugport_init(struct debugport *d, struct bus *bus, void (*exit)(void *ctx, uint8_t code),
		    void (*tx)(void *ctx, const uint8_t *data, size_t n), void *ctx);

/* Adds the firmware's console. */
void debugport_add_firmware(struct debugport *d, struct bus *bus,
			    void (*tx)(void *ctx, const uint8_t *data, size_t n));

extern const struct device_ops debugport_ops;

#endif
