/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions that every device offers, and effects that a device core is given. A core knows its
 * registers and nothing of the machine, the host or the other devices: it raises an irq_line, sets
 * a timer, emits an output.
 *
 * Each chip is a pair of files in devices/ with a function
 *
 *     void <chip>_init(struct <chip> *, ...injected effects...);
 *
 * that registers its bus ranges and timers, where it has any, and a `const struct device_ops
 * <chip>_ops` with the verbs below.
 */
#ifndef HYPERVISOR_DEVICE_H
#define HYPERVISOR_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct device_ops {
	const char *name; /* "i8259", "i8254", "rtc", "uart", "reset", "pci", "virtio-net", ... */
	void (*reset)(void *dev);
	/*
	 * All state that the guest can see or that decides later behaviour; the digest is a hash of
	 * these bytes.
	 */
	void (*save)(const void *dev, struct buf *out);
	/*
	 * 0, or -EINVAL: the bytes are not a state of this device; then the device is as after
	 * reset.
	 */
	int (*restore)(void *dev, struct rd *in);
};

/*
 * An interrupt line with a level. The level must be kept by whoever drives it; set() is idempotent.
 */
struct irq_line {
	void (*set)(void *ctx, unsigned line, bool level);
	void *ctx;
	unsigned line;
};

/*
 * An interrupt controller, as the machine sees it from the CPU's side. Its creator gives it
 * intr(ctx, level), which the controller calls whenever the answer of `pending` changes.
 */
struct intc_ops {
	/* True: the controller asks the CPU for an interrupt. */
	bool (*pending)(const void *dev);
	/*
	 * The CPU takes the interrupt: returns its vector, which is in service from then on. Where
	 * nothing is pending, returns that of a spurious interrupt, which never is in service.
	 */
	uint8_t (*acknowledge)(void *dev);
	/* A fault of hardware: the pending interrupt is forgotten; the device is not told. */
	void (*drop)(void *dev);
	/* Level at an input; usable as irq_line.set. */
	void (*set_irq)(void *dev, unsigned line, bool level);
};

struct intc {
	const struct intc_ops *ops;
	void *dev;
};

static inline void irq_set(const struct irq_line *irq, bool level)
{
	if (irq->set)
		irq->set(irq->ctx, irq->line, level);
}

#endif
