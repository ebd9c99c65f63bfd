// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reset logic and a keyboard controller without a keyboard.
 *
 * The controller's status reads as OBF set for good and IBF clear. A driver that looks for an i8042
 * flushes its output first, finds it never empty and gives up at once, without the half-second
 * timeouts of a controller that does not answer; code that only waits for IBF to write the reset
 * command does not wait.
 */
#include "hypervisor/devices/reset.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/devices/bytewide.h"

#define KBC_DATA	 0x60
#define KBC_STATUS	 0x64
#define KBC_STATUS_VALUE 0xfd /* all but IBF */
#define KBC_WRITE_OUTPUT 0xd1 /* the next data byte goes to the output port */
#define KBC_PULSE	 0xf0 /* low four bits: output lines that are not pulsed */
#define KBC_LINE_RESET	 0x01 /* active low */

#define PORT92_RESET 0x01
#define PORT92_A20   0x02

#define CF9_SYS_RST  0x02
#define CF9_RST_CPU  0x04
#define CF9_FULL_RST 0x08

static uint8_t data_read8(void *dev, unsigned reg)
{
	return 0xff;
}

static void data_write8(void *dev, unsigned reg, uint8_t v)
{
	struct reset *r = dev;
	bool reset = r->output_port && !(v & KBC_LINE_RESET);

	r->output_port = false;
	if (reset)
		r->reset(r->ctx);
}

static uint8_t status_read8(void *dev, unsigned reg)
{
	return KBC_STATUS_VALUE;
}

static void status_write8(void *dev, unsigned reg, uint8_t v)
{
	struct reset *r = dev;

	r->output_port = v == KBC_WRITE_OUTPUT;
	if ((v & KBC_PULSE) == KBC_PULSE && !(v & KBC_LINE_RESET))
		r->reset(r->ctx);
}

static uint8_t port92_read8(void *dev, unsigned reg)
{
	const struct reset *r = dev;

	return r->port92;
}

static void port92_write8(void *dev, unsigned reg, uint8_t v)
{
	struct reset *r = dev;
	bool rises = v & ~r->port92 & PORT92_RESET;

	r->port92 = v & (PORT92_RESET | PORT92_A20);
	if (rises)
		r->reset(r->ctx);
}

uint8_t reset_cf9_read(const struct reset *r)
{
	return r->cf9;
}

/*
 * The reset starts when RST_CPU rises; SYS_RST and FULL_RST choose between kinds that are one here.
 */
void reset_cf9_write(struct reset *r, uint8_t value)
{
	bool rises = value & ~r->cf9 & CF9_RST_CPU;

	r->cf9 = value & (CF9_SYS_RST | CF9_RST_CPU | CF9_FULL_RST);
	if (rises)
		r->reset(r->ctx);
}

#define PORT_BYTE(name)                                                                     \
	static uint64_t name##_read(void *dev, uint64_t offset, unsigned size)              \
	{                                                                                   \
		return bytewide_read(dev, offset, size, 1, name##_read8);                   \
	}                                                                                   \
	static void name##_write(void *dev, uint64_t offset, unsigned size, uint64_t value) \
	{                                                                                   \
		bytewide_write(dev, offset, size, value, 1, name##_write8);                 \
	}

PORT_BYTE(data)
PORT_BYTE(status)
PORT_BYTE(port92)

static void reset_reset(void *dev)
{
	struct reset *r = dev;

	r->port92 = PORT92_A20;
	r->cf9 = 0;
	r->output_port = false;
}

void reset_init(struct reset *r, struct bus *bus, void (*reset)(void *ctx), void *ctx)
{
	memset(r, 0, sizeof(*r));
	r->reset = reset;
	r->ctx = ctx;
	reset_reset(r);
	bus_add(bus, BUS_PORT, KBC_DATA, 1, data_read, data_write, r, "i8042");
	bus_add(bus, BUS_PORT, KBC_STATUS, 1, status_read, status_write, r, "i8042");
	bus_add(bus, BUS_PORT, 0x92, 1, port92_read, port92_write, r, "port92");
}

static void reset_save(const void *dev, struct buf *out)
{
	const struct reset *r = dev;

	buf_put_u8(out, r->port92);
	buf_put_u8(out, r->cf9);
	buf_put_u8(out, r->output_port);
}

static int reset_restore(void *dev, struct rd *in)
{
	struct reset *r = dev;
	uint8_t port92 = rd_u8(in), cf9 = rd_u8(in), output_port = rd_u8(in);

	reset_reset(r);
	if (in->bad || port92 & ~(PORT92_RESET | PORT92_A20) ||
	    cf9 & ~(CF9_SYS_RST | CF9_RST_CPU | CF9_FULL_RST) || output_port > 1)
		return -EINVAL;
	r->port92 = port92;
	r->cf9 = cf9;
	r->output_port = output_port;
	return 0;
}

const struct device_ops reset_ops = {
	.name = "reset",
	.reset = reset_reset,
	.save = reset_save,
	.restore = reset_restore,
};
