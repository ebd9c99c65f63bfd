/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random access to one legacy device, driven by bytes: port reads and writes of all sizes, virtual
 * time in small and huge steps, events from outside, reset, save and restore (of a true image, and
 * of the input itself as a hostile one). After each step the state must survive a round trip, and
 * the device's own invariant must hold; a violation aborts.
 *
 * The same function serves the fuzzer (fuzz_<device>.c) and the short deterministic test
 * (test_legacy_fuzz.c).
 */
#ifndef TESTS_FUZZ_LEGACY_H
#define TESTS_FUZZ_LEGACY_H

#include "base/log.h"
#include "hypervisor/devices/acpi_pm.h"
#include "hypervisor/devices/debugport.h"
#include "hypervisor/devices/pvpanic.h"
#include "hypervisor/devices/i8254.h"
#include "hypervisor/devices/i8259.h"
#include "hypervisor/devices/reset.h"
#include "hypervisor/devices/rtc.h"
#include "hypervisor/devices/uart.h"
#include "tests/devices/rig.h"

struct legacy {
	struct rig rig;
	struct i8259 pic;
	struct i8254 pit;
	struct rtc rtc;
	struct uart uart;
	struct reset reset;
	struct debugport debugport;
	struct pvpanic pvpanic;
	struct acpi_pm pm;
	bool intr;
};

static inline void legacy_intr(void *ctx, bool level)
{
	struct legacy *l = ctx;

	must(level != l->intr); /* changes only */
	l->intr = level;
}

static inline void legacy_nothing(void *ctx)
{
}

static inline void legacy_exit(void *ctx, uint8_t code)
{
}

static inline void legacy_pic_init(struct legacy *l)
{
	i8259_init(&l->pic, &l->rig.bus, legacy_intr, l);
}

static inline void legacy_pic_event(struct legacy *l, uint8_t v)
{
	if (v & 0x20)
		i8259_ack(&l->pic);
	else
		i8259_set_irq(&l->pic, v & 15, v & 0x10);
	must(l->intr == i8259_pending(&l->pic));
}

static inline void legacy_pit_init(struct legacy *l)
{
	i8254_init(&l->pit, &l->rig.bus, &l->rig.clock, rig_irq(&l->rig));
}

static inline void legacy_rtc_init(struct legacy *l)
{
	rtc_init(&l->rtc, &l->rig.bus, &l->rig.clock, rig_irq(&l->rig), 1700000000, 1 << 28, 0);
}

static inline void legacy_uart_init(struct legacy *l)
{
	uart_init(&l->uart, &l->rig.bus, UART_COM1, &l->rig.clock, rig_irq(&l->rig), rig_tx,
		  &l->rig);
}

static inline void legacy_uart_event(struct legacy *l, uint8_t v)
{
	static const uint8_t data[256];

	uart_receive(&l->uart, data, v);
	must(uart_room(&l->uart) <= UART_QUEUE);
	l->rig.nout = 0;
}

static inline void legacy_reset_init(struct legacy *l)
{
	reset_init(&l->reset, &l->rig.bus, legacy_nothing, l);
}

static inline void legacy_reset_event(struct legacy *l, uint8_t v)
{
	reset_cf9_write(&l->reset, v);
	must(!(reset_cf9_read(&l->reset) & ~v));
}

static inline void legacy_debugport_init(struct legacy *l)
{
	debugport_init(&l->debugport, &l->rig.bus, legacy_exit, rig_tx, &l->rig);
}

static inline void legacy_panicked(void *ctx, uint8_t events)
{
	must(events && !(events & ~PVPANIC_EVENTS));
}

static inline void legacy_pvpanic_init(struct legacy *l)
{
	pvpanic_init(&l->pvpanic, &l->rig.bus, legacy_panicked, l);
}

static inline void legacy_acpi_pm_init(struct legacy *l)
{
	acpi_pm_init(&l->pm, &l->rig.bus, &l->rig.clock, rig_irq(&l->rig), legacy_nothing, l);
}

static inline void legacy_acpi_pm_event(struct legacy *l, uint8_t v)
{
	acpi_pm_press(&l->pm);
}

struct legacy_target {
	const struct device_ops *ops;
	size_t offset; /* of the device in struct legacy */
	void (*init)(struct legacy *l);
	void (*event)(struct legacy *l, uint8_t v); /* from outside; may be NULL */
	uint16_t port[8];			    /* index by three bits of the input */
};

enum legacy_device {
	LEGACY_I8259,
	LEGACY_I8254,
	LEGACY_RTC,
	LEGACY_UART,
	LEGACY_RESET,
	LEGACY_DEBUGPORT,
	LEGACY_ACPI_PM,
	LEGACY_PVPANIC,
	LEGACY_DEVICES
};

static const struct legacy_target legacy_target[LEGACY_DEVICES] = {
	[LEGACY_I8259] = { &i8259_ops,
			   offsetof(struct legacy, pic),
			   legacy_pic_init,
			   legacy_pic_event,
			   { 0x20, 0x21, 0xa0, 0xa1, 0x20, 0xa0, 0x4d0, 0x4d1 } },
	[LEGACY_I8254] = { &i8254_ops,
			   offsetof(struct legacy, pit),
			   legacy_pit_init,
			   NULL,
			   { 0x40, 0x41, 0x42, 0x43, 0x61, 0x43, 0x42, 0x40 } },
	[LEGACY_RTC] = { &rtc_ops,
			 offsetof(struct legacy, rtc),
			 legacy_rtc_init,
			 NULL,
			 { 0x70, 0x71, 0x70, 0x71, 0x70, 0x71, 0x70, 0x71 } },
	[LEGACY_UART] = { &uart_ops,
			  offsetof(struct legacy, uart),
			  legacy_uart_init,
			  legacy_uart_event,
			  { 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff } },
	[LEGACY_RESET] = { &reset_ops,
			   offsetof(struct legacy, reset),
			   legacy_reset_init,
			   legacy_reset_event,
			   { 0x60, 0x64, 0x92, 0x60, 0x64, 0x92, 0x60, 0x64 } },
	[LEGACY_DEBUGPORT] = { &debugport_ops,
			       offsetof(struct legacy, debugport),
			       legacy_debugport_init,
			       NULL,
			       { 0xe9, 0xf4, 0xe9, 0xf4, 0xe9, 0xf4, 0xe9, 0xf4 } },
	[LEGACY_ACPI_PM] = { &acpi_pm_ops,
			     offsetof(struct legacy, pm),
			     legacy_acpi_pm_init,
			     legacy_acpi_pm_event,
			     { 0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x608, 0x60b } },
	[LEGACY_PVPANIC] = { &pvpanic_ops,
			     offsetof(struct legacy, pvpanic),
			     legacy_pvpanic_init,
			     NULL,
			     { 0x504, 0x505, 0x506, 0x505, 0x505, 0x505, 0x505, 0x505 } },
};

/* save, restore, save again: the images agree, and nothing is left unread. */
static inline void legacy_round_trip(const struct legacy_target *t, void *dev)
{
	struct buf first = BUF_INIT, second = BUF_INIT;
	struct rd in;

	t->ops->save(dev, &first);
	if (!first.len)
		return;
	in = (struct rd)RD_INIT(first.data, first.len);
	must(t->ops->restore(dev, &in) == 0 && rd_left(&in) == 0);
	t->ops->save(dev, &second);
	must(first.len == second.len && !memcmp(first.data, second.data, first.len));
	buf_free(&first);
	buf_free(&second);
}

/* A true image with some bytes replaced: restored or refused, and usable after. */
static inline void legacy_hostile(const struct legacy_target *t, void *dev, struct rd *data)
{
	struct buf image = BUF_INIT;
	struct rd in;
	unsigned n = rd_u8(data) & 7;

	t->ops->save(dev, &image);
	if (!image.len)
		return;
	while (n--)
		image.data[rd_u16(data) % image.len] = rd_u8(data);
	in = (struct rd)RD_INIT(image.data, image.len);
	t->ops->restore(dev, &in);
	buf_free(&image);
}

static inline void legacy_step(struct legacy *l, const struct legacy_target *t, void *dev,
			       struct rd *data)
{
	uint8_t op = rd_u8(data);
	uint16_t port = t->port[op >> 3 & 7];
	unsigned size = 1u << ((op >> 6) % 3);

	switch (op & 7) {
	case 0:
	case 1:
		bus_write(&l->rig.bus, BUS_PORT, port, 1, rd_u8(data));
		break;
	case 2:
		must(bus_read(&l->rig.bus, BUS_PORT, port, size) <= UINT32_MAX);
		break;
	case 3:
		bus_write(&l->rig.bus, BUS_PORT, port, size, rd_u32(data));
		break;
	case 4:
		rig_jump(&l->rig, (uint64_t)rd_u8(data) << (op >> 3 & 31));
		break;
	case 5:
		if (t->event)
			t->event(l, rd_u8(data));
		break;
	case 6:
		legacy_round_trip(t, dev);
		break;
	default:
		if (op >> 3 == 0)
			t->ops->reset(dev);
		else
			legacy_hostile(t, dev, data);
	}
}

static inline int legacy_fuzz(enum legacy_device which, const uint8_t *bytes, size_t size)
{
	static struct legacy l;
	const struct legacy_target *t = &legacy_target[which];
	void *dev = (char *)&l + t->offset;
	struct rd data = RD_INIT(bytes, size);

	memset(&l, 0, sizeof(l));
	rig_init(&l.rig);
	t->init(&l);
	while (rd_left(&data) && l.rig.ns < INT64_MAX)
		legacy_step(&l, t, dev, &data);
	legacy_round_trip(t, dev);
	return 0;
}

#endif
