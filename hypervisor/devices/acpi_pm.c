// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/acpi_pm.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/devices/bytewide.h"

#define PM1_TIMER	 0x0001u
#define PM1_GLOBAL	 0x0020u
#define PM1_POWER_BUTTON 0x0100u
#define PM1_SLEEP_BUTTON 0x0200u
#define PM1_RTC		 0x0400u
#define PM1_ENABLE_BITS	 (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC)
#define PM1_STATUS_BITS	 (PM1_TIMER | PM1_POWER_BUTTON) /* those that can come */

#define CNT_SCI_EN   0x0001u
#define CNT_BITS     0x1c02u /* SLP_TYP, BM_RLD */
#define CNT_SLP_TYP  0x1c00u
#define CNT_SLP_EN   0x2000u
#define CNT_SOFT_OFF 0x0000u /* SLP_TYP of S5 */

#define TIMER_MASK 0xffffffu
#define TIMER_HALF 23 /* TMR_STS: bit 23 changes */

static uint64_t pm_clocks(const struct acpi_pm *pm)
{
	return (uint64_t)((unsigned __int128)clock_now(pm->clock) * ACPI_PM_HZ / 1000000000u);
}

/* Virtual time at which clock k starts. */
static uint64_t clock_start(uint64_t k)
{
	return (uint64_t)(((unsigned __int128)k * 1000000000u + ACPI_PM_HZ - 1) / ACPI_PM_HZ);
}

/* Brings TMR_STS up to now, and the interrupt with it. */
static void pm_update(struct acpi_pm *pm)
{
	uint64_t half = pm_clocks(pm) >> TIMER_HALF;

	if (half != pm->seen)
		pm->status |= PM1_TIMER;
	pm->seen = half;
	timer_set(pm->clock, &pm->timer,
		  pm->enable & PM1_TIMER ? clock_start((half + 1) << TIMER_HALF) : CLOCK_NEVER);
	irq_set(&pm->sci, pm->status & pm->enable);
}

static void pm_timer(void *dev)
{
	pm_update(dev);
}

void acpi_pm_press(struct acpi_pm *pm)
{
	pm->status |= PM1_POWER_BUTTON;
	pm_update(pm);
}

static uint8_t pm_read8(void *dev, unsigned reg)
{
	struct acpi_pm *pm = dev;
	uint32_t v;

	pm_update(pm);
	if (reg >= ACPI_PM_TIMER)
		v = (uint32_t)pm_clocks(pm) & TIMER_MASK;
	else if (reg >= ACPI_PM1_CNT)
		v = pm->control | CNT_SCI_EN;
	else
		v = pm->status | (uint32_t)pm->enable << 16;
	return (uint8_t)(v >> 8 * (reg & 3));
}

/* Status bits go when a one is written; SLP_EN acts and reads as zero. */
static void pm_write8(void *dev, unsigned reg, uint8_t byte)
{
	struct acpi_pm *pm = dev;
	unsigned shift = 8 * (reg & 1);
	uint16_t v = (uint16_t)(byte << shift), mask = (uint16_t)(0xff << shift);

	pm_update(pm);
	if (reg < 2) {
		pm->status &= (uint16_t)~v;
	} else if (reg < 4) {
		pm->enable = (uint16_t)((pm->enable & ~mask) | (v & PM1_ENABLE_BITS));
	} else if (reg < 6) {
		pm->control = (uint16_t)((pm->control & ~mask) | (v & CNT_BITS));
		if ((v & CNT_SLP_EN) && (pm->control & CNT_SLP_TYP) == CNT_SOFT_OFF)
			pm->power_off(pm->ctx);
	}
	pm_update(pm);
}

static uint64_t pm_read(void *dev, uint64_t offset, unsigned size)
{
	return bytewide_read(dev, offset, size, ACPI_PM_PORTS, pm_read8);
}

static void pm_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	bytewide_write(dev, offset, size, value, ACPI_PM_PORTS, pm_write8);
}

static void acpi_pm_reset(void *dev)
{
	struct acpi_pm *pm = dev;

	pm->status = pm->enable = pm->control = 0;
	pm->seen = pm_clocks(pm) >> TIMER_HALF;
	pm_update(pm);
}

void acpi_pm_init(struct acpi_pm *pm, struct bus *bus, struct clock *clock, struct irq_line sci,
		  void (*power_off)(void *ctx), void *ctx)
{
	memset(pm, 0, sizeof(*pm));
	pm->clock = clock;
	pm->sci = sci;
	pm->power_off = power_off;
	pm->ctx = ctx;
	timer_init(clock, &pm->timer, "acpi-pm", pm_timer, pm);
	bus_add(bus, BUS_PORT, ACPI_PM_PORT, ACPI_PM_PORTS, pm_read, pm_write, pm, "acpi-pm");
}

static void acpi_pm_save(const void *dev, struct buf *out)
{
	const struct acpi_pm *pm = dev;

	buf_put_u16(out, pm->status);
	buf_put_u16(out, pm->enable);
	buf_put_u16(out, pm->control);
	buf_put_u64(out, pm->seen);
}

static int acpi_pm_restore(void *dev, struct rd *in)
{
	struct acpi_pm *pm = dev;

	pm->status = rd_u16(in);
	pm->enable = rd_u16(in);
	pm->control = rd_u16(in);
	pm->seen = rd_u64(in);
	if (in->bad || (pm->status & ~PM1_STATUS_BITS) || (pm->enable & ~PM1_ENABLE_BITS) ||
	    (pm->control & ~CNT_BITS)) {
		acpi_pm_reset(pm);
		return -EINVAL;
	}
	irq_set(&pm->sci, pm->status & pm->enable);
	return 0;
}

const struct device_ops acpi_pm_ops = {
	.name = "acpi-pm",
	.reset = acpi_pm_reset,
	.save = acpi_pm_save,
	.restore = acpi_pm_restore,
};
