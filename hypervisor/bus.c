// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/bus.h"

#include <string.h>

void bus_init(struct bus *b)
{
	memset(b, 0, sizeof(*b));
}

bool bus_add(struct bus *b, enum bus_space space, uint64_t base, uint64_t len, bus_read_fn read,
	     bus_write_fn write, void *dev, const char *name)
{
	struct bus_range *r = b->range[space];
	size_t i, n = b->n[space];

	if (n == BUS_RANGES || len == 0 || base + len < base)
		return false;
	for (i = 0; i < n && r[i].base < base; i++)
		;
	if (i > 0 && r[i - 1].base + r[i - 1].len > base)
		return false;
	if (i < n && base + len > r[i].base)
		return false;
	memmove(&r[i + 1], &r[i], (n - i) * sizeof(*r));
	r[i] = (struct bus_range){
		.base = base, .len = len, .read = read, .write = write, .dev = dev, .name = name
	};
	b->n[space]++;
	return true;
}

void bus_remove(struct bus *b, enum bus_space space, uint64_t base, void *dev)
{
	struct bus_range *r = b->range[space];

	for (size_t i = 0; i < b->n[space]; i++) {
		if (r[i].base != base || r[i].dev != dev)
			continue;
		b->n[space]--;
		memmove(&r[i], &r[i + 1], (b->n[space] - i) * sizeof(*r));
		return;
	}
}

static struct bus_range *bus_find(struct bus *b, enum bus_space space, uint64_t addr)
{
	size_t lo = 0, hi = b->n[space];

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		struct bus_range *r = &b->range[space][mid];

		if (addr < r->base)
			hi = mid;
		else if (addr - r->base >= r->len)
			lo = mid + 1;
		else
			return r;
	}
	b->unclaimed[space]++;
	return NULL;
}

static uint64_t size_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

uint64_t bus_read(struct bus *b, enum bus_space space, uint64_t addr, unsigned size)
{
	struct bus_range *r = bus_find(b, space, addr);

	if (!r)
		return size_mask(size);
	r->reads++;
	return r->read(r->dev, addr - r->base, size) & size_mask(size);
}

void bus_write(struct bus *b, enum bus_space space, uint64_t addr, unsigned size, uint64_t value)
{
	struct bus_range *r = bus_find(b, space, addr);

	if (!r)
		return;
	r->writes++;
	r->write(r->dev, addr - r->base, size, value & size_mask(size));
}
