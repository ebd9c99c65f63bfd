// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/debugport.h"

#define DEBUG_CONSOLE 0xe9
#define DEBUG_EXIT    0xf4
#define FIRMWARE_LOG  0x402

static uint64_t console_read(void *dev, uint64_t offset, unsigned size)
{
	return ~(uint64_t)0xff | DEBUG_CONSOLE;
}

static void console_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct debugport *d = dev;
	uint8_t v = (uint8_t)value;

	d->tx(d->ctx, &v, 1);
}

static uint64_t exit_read(void *dev, uint64_t offset, unsigned size)
{
	return UINT64_MAX;
}

static void exit_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct debugport *d = dev;

	d->exit(d->ctx, (uint8_t)value);
}

void debugport_init(struct debugport *d, struct bus *bus, void (*exit)(void *ctx, uint8_t code),
		    void (*tx)(void *ctx, const uint8_t *data, size_t n), void *ctx)
{
	*d = (struct debugport){ .exit = exit, .tx = tx, .ctx = ctx };
	bus_add(bus, BUS_PORT, DEBUG_CONSOLE, 1, console_read, console_write, d, "debugcon");
	bus_add(bus, BUS_PORT, DEBUG_EXIT, 1, exit_read, exit_write, d, "debugexit");
}

static void firmware_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct debugport *d = dev;
	uint8_t v = (uint8_t)value;

	d->firmware_tx(d->ctx, &v, 1);
}

void debugport_add_firmware(struct debugport *d, struct bus *bus,
			    void (*tx)(void *ctx, const uint8_t *data, size_t n))
{
	d->firmware_tx = tx;
	bus_add(bus, BUS_PORT, FIRMWARE_LOG, 1, console_read, firmware_write, d, "firmware-log");
}

/* The ports have no state. */
static void debugport_reset(void *dev)
{
}

static void debugport_save(const void *dev, struct buf *out)
{
}

static int debugport_restore(void *dev, struct rd *in)
{
	return 0;
}

const struct device_ops debugport_ops = {
	.name = "debugport",
	.reset = debugport_reset,
	.save = debugport_save,
	.restore = debugport_restore,
};
