/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI power management: the fixed hardware of ACPI 6.4, 4.8.3, at ports 600h to 60Bh, in the
 * places and with the sleep types of the PIIX4 (datasheet 290562): PM1 status, enable and control,
 * the 24-bit timer at 3579545 Hz of virtual time, the power button, soft off. There is no legacy
 * mode to switch from: SCI_EN is always set.
 */
#ifndef DEVICES_ACPI_PM_H
#define DEVICES_ACPI_PM_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/clock.h"
#include "hypervisor/device.h"

#define ACPI_PM_PORT	0x600u
#define ACPI_PM1_STATUS 0x0u /* offsets of the register blocks */
#define ACPI_PM1_CNT	0x4u
#define ACPI_PM_TIMER	0x8u
#define ACPI_PM_PORTS	0xcu
#define ACPI_PM_HZ	3579545u
#define ACPI_SCI_IRQ	9u

struct acpi_pm {
	uint16_t status, enable, control;
	uint64_t seen; /* halves of the timer's period that are in `status` */
	struct clock *clock;
	struct timer timer;
	struct irq_line sci;
	void (*power_off)(void *ctx);
	void *ctx;
};

/*
 * power_off(ctx): the guest asked for S5. Called inside a port write; must not end the machine at
 * once.
 */
void acpi_pm_init(struct acpi_pm *pm, struct bus *bus, struct clock *clock, struct irq_line sci,
		  void (*power_off)(void *ctx), void *ctx);
/* Somebody presses the power button. */
void acpi_pm_press(struct acpi_pm *pm);

extern const struct device_ops acpi_pm_ops;

#endif
