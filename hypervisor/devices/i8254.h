/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8254 interval timer at ports 0x40-0x43, and port 0x61 (gate and output of channel 2, speaker bit,
 * refresh toggle). Channel 0 drives IRQ0. The input clock has exactly 1193182 Hz of virtual time.
 */
#ifndef DEVICES_I8254_H
#define DEVICES_I8254_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/clock.h"
#include "hypervisor/device.h"

#define I8254_HZ 1193182u
/*
 * Periodic edges of channel 0 closer than this coalesce: what one guest can ask of timers is
 * bounded.
 */
#define I8254_MIN_REARM_NS 50000u

struct i8254_channel {
	uint8_t mode; /* M2..M0 as written in the control word */
	uint8_t rw;   /* 1 low byte, 2 high byte, 3 both, low first */
	bool bcd;
	bool gate;
	bool armed;	 /* a count was loaded (modes 1 and 5: triggered) */
	bool written;	 /* a count was written since the control word */
	bool frozen;	 /* GATE is low in modes 0, 2, 3, 4: counting is suspended */
	uint32_t count;	 /* N in force: 1 to 65536 */
	uint32_t reload; /* N written last, for the next trigger or period */
	int64_t start;	/* clock at which `count` was loaded; while frozen: clocks counted before */
	bool pending;	/* `reload` replaces `count` ... */
	int64_t change; /* ... at this clock (modes 2, 3) */
	uint8_t low;	/* first byte of a two-byte write */
	bool write_high; /* ... was written, the second follows */
	bool read_high;
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct i8254 {
	struct i8254_channel ch[3];
	uint8_t port61; /* bits 0 to 3 as written */
	struct clock *clock;
	struct timer timer;
	struct irq_line irq;
	bool out; /* level on the IRQ line */
};

/* irq0: driven by OUT of channel 0. */
void i8254_init(struct i8254 *pit, struct bus *bus, struct clock *clock, struct irq_line irq0);

extern const struct device_ops i8254_ops;

#endif
