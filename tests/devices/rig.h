/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bus, a clock whose time the test sets, and one interrupt line that counts its edges: what a
 * device core needs.
 */
#ifndef TESTS_DEVICES_RIG_H
#define TESTS_DEVICES_RIG_H

#include <string.h>

#include "hypervisor/bus.h"
#include "hypervisor/clock.h"
#include "hypervisor/device.h"

struct rig {
	struct bus bus;
	struct clock clock;
	uint64_t ns;
	bool level;
	unsigned edges; /* rising */
	uint8_t out[256];
	size_t nout;
};

static inline uint64_t rig_count(void *ctx)
{
	return ((struct rig *)ctx)->ns;
}

static inline void rig_set_irq(void *ctx, unsigned line, bool level)
{
	struct rig *r = ctx;

	r->edges += level && !r->level;
	r->level = level;
}

static inline struct irq_line rig_irq(struct rig *r)
{
	return (struct irq_line){ .set = rig_set_irq, .ctx = r };
}

static inline void rig_tx(void *ctx, const uint8_t *data, size_t n)
{
	struct rig *r = ctx;

	for (size_t i = 0; i < n && r->nout < sizeof(r->out); i++)
		r->out[r->nout++] = data[i];
}

static inline void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	bus_init(&r->bus);
	clock_init(&r->clock);
	r->clock.count = rig_count;
	r->clock.count_ctx = r;
}

static inline uint8_t rig_in(struct rig *r, uint16_t port)
{
	return (uint8_t)bus_read(&r->bus, BUS_PORT, port, 1);
}

static inline void rig_out(struct rig *r, uint16_t port, uint8_t v)
{
	bus_write(&r->bus, BUS_PORT, port, 1, v);
}

/* Lets ns pass; every timer fires at its deadline. */
static inline void rig_pass(struct rig *r, uint64_t ns)
{
	uint64_t end = r->ns + ns, next;

	while ((next = clock_next_deadline(&r->clock)) <= end) {
		if (next > r->ns)
			r->ns = next;
		clock_expire(&r->clock);
	}
	r->ns = end;
}

/* Lets ns pass at once: timers fire late. */
static inline void rig_jump(struct rig *r, uint64_t ns)
{
	r->ns += ns;
	clock_expire(&r->clock);
}

/* Saves dev, clobbers it with a reset, restores: the second image equals the first. */
static inline bool rig_round_trip(const struct device_ops *ops, void *dev)
{
	struct buf first = BUF_INIT, second = BUF_INIT;
	bool same;

	ops->save(dev, &first);
	ops->reset(dev);
	{
		struct rd in = RD_INIT(first.data, first.len);

		same = ops->restore(dev, &in) == 0 && rd_left(&in) == 0;
	}
	ops->save(dev, &second);
	same = same && first.len == second.len &&
	       (!first.len || !memcmp(first.data, second.data, first.len));
	buf_free(&first);
	buf_free(&second);
	return same;
}

/* Every truncation of an image is refused. */
static inline bool rig_refuses_short(const struct device_ops *ops, void *dev)
{
	struct buf image = BUF_INIT;
	bool refused = true;

	ops->save(dev, &image);
	for (size_t n = 0; n < image.len; n++) {
		struct rd in = RD_INIT(image.data, n);

		refused = refused && ops->restore(dev, &in) == -22; /* EINVAL */
	}
	buf_free(&image);
	return refused;
}

#endif
