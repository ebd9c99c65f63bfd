/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MC146818 real-time clock with 128 bytes of CMOS memory at ports 0x70/0x71. The date is the
 * configured epoch plus virtual time, until the guest sets another.
 */
#ifndef DEVICES_RTC_H
#define DEVICES_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/clock.h"
#include "hypervisor/device.h"

struct rtc {
	uint8_t cmos[128]; /* time bytes are valid while stopped only; alarm bytes always */
	uint8_t index;
	uint8_t a, b, flags; /* registers A (without UIP), B, C (without IRQF) */
	uint8_t weekday;     /* what the guest's day of week differs from the calendar's, 0 to 6 */
	int64_t base_sec;    /* seconds since 1970 at base_ns */
	uint64_t base_ns;    /* start of a second of the divider chain (mod 2^64) */
	uint64_t seen_ns;    /* events up to here are in flags */
	uint64_t epoch, low, high; /* configuration */
	struct clock *clock;
	struct timer timer;
	struct irq_line irq;
};

/*
 * epoch: seconds since 1970 at virtual time 0. low, high: bytes of RAM below the PCI hole and above
 * 4 GiB, shown in the CMOS bytes where firmware leaves them.
 */
void rtc_init(struct rtc *rtc, struct bus *bus, struct clock *clock, struct irq_line irq8,
	      uint64_t epoch, uint64_t low, uint64_t high);

extern const struct device_ops rtc_ops;

#endif
