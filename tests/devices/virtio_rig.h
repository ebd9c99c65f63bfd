/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine for one virtio device: memory, bus, clock and PCI without a CPU, and a small driver
 * that works through ports and MMIO as a guest's driver would.
 */
#ifndef TESTS_DEVICES_VIRTIO_RIG_H
#define TESTS_DEVICES_VIRTIO_RIG_H

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/bus.h"
#include "hypervisor/clock.h"
#include "hypervisor/devices/disk.h"
#include "hypervisor/devices/pci.h"
#include "hypervisor/devices/virtio_pci.h"
#include "hypervisor/memory.h"

#define RIG_SLOT   4u
#define RIG_MEMORY (1u << 20)
#define RIG_BAR	   (PCI_MMIO_BASE + RIG_SLOT * PCI_MMIO_STRIDE)
/* Rings of queue n, and a heap for buffers behind them. */
#define RIG_DESC(n)  (0x10000u + (n)*0x4000u)
#define RIG_AVAIL(n) (RIG_DESC(n) + 0x1000u)
#define RIG_USED(n)  (RIG_DESC(n) + 0x2000u)
#define RIG_HEAP     0x40000u

enum { RIG_NEXT = 1, RIG_WRITE = 2, RIG_INDIRECT = 4 };

struct rig {
	struct memory mem;
	struct bus bus;
	struct clock clock;
	struct pci_host pci;
	struct virtio_pci transport;
	struct virtio *virtio;
	const struct msix_target *messages; /* set before the device: it has MSI-X */
	bool level[PCI_LINKS];
	unsigned edges; /* rising edges of any link */
	uint64_t count; /* stands for retired instructions; 1 ns each */
	uint16_t avail_idx[VIRTIO_QUEUES_MAX], used_seen[VIRTIO_QUEUES_MAX],
		next_desc[VIRTIO_QUEUES_MAX];
	uint16_t size;
	uint64_t heap;
	uint64_t features; /* negotiated */
};

static inline void rig_irq(void *ctx, unsigned line, bool level)
{
	struct rig *r = ctx;

	if (level && !r->level[line])
		r->edges++;
	r->level[line] = level;
}

static inline uint64_t rig_count(void *ctx)
{
	return ((struct rig *)ctx)->count;
}

/* Everything but the device, which is set up next and then given to rig_attach(). */
static inline void rig_init(struct rig *r)
{
	struct irq_line link[PCI_LINKS];

	if (r->mem.base)
		memory_fini(&r->mem);
	memset(r, 0, sizeof(*r));
	must(!memory_init(&r->mem, RIG_MEMORY, NULL));
	bus_init(&r->bus);
	clock_init(&r->clock);
	r->clock.count = rig_count;
	r->clock.count_ctx = r;
	for (unsigned i = 0; i < PCI_LINKS; i++)
		link[i] = (struct irq_line){ .set = rig_irq, .ctx = r, .line = i };
	must(pci_init(&r->pci, &r->bus, link));
	r->size = 16;
	r->heap = RIG_HEAP;
}

static inline void rig_attach(struct rig *r, struct virtio *v)
{
	r->virtio = v;
	must(virtio_pci_init(&r->transport, v, &r->pci, RIG_SLOT, r->messages));
}

static inline void rig_fini(struct rig *r)
{
	memory_fini(&r->mem);
}

/* --- registers --- */

static inline void rig_address(struct rig *r, unsigned slot, unsigned reg)
{
	bus_write(&r->bus, BUS_PORT, 0xcf8, 4, 0x80000000u | slot << 11 | (reg & 0xfcu));
}

static inline uint32_t rig_config_read(struct rig *r, unsigned slot, unsigned reg, unsigned size)
{
	rig_address(r, slot, reg);
	return (uint32_t)bus_read(&r->bus, BUS_PORT, 0xcfc + (reg & 3), size);
}

static inline void rig_config_write(struct rig *r, unsigned slot, unsigned reg, unsigned size,
				    uint32_t value)
{
	rig_address(r, slot, reg);
	bus_write(&r->bus, BUS_PORT, 0xcfc + (reg & 3), size, value);
}

static inline uint64_t rig_read(struct rig *r, unsigned offset, unsigned size)
{
	return bus_read(&r->bus, BUS_MMIO, RIG_BAR + offset, size);
}

static inline void rig_write(struct rig *r, unsigned offset, unsigned size, uint64_t value)
{
	bus_write(&r->bus, BUS_MMIO, RIG_BAR + offset, size, value);
}

static inline uint8_t rig_status(struct rig *r)
{
	return (uint8_t)rig_read(r, 20, 1);
}

static inline uint64_t rig_offered(struct rig *r)
{
	uint64_t f;

	rig_write(r, 0, 4, 0);
	f = rig_read(r, 4, 4);
	rig_write(r, 0, 4, 1);
	return f | rig_read(r, 4, 4) << 32;
}

/* --- start as in virtio 1.2, 3.1.1 --- */

static inline bool rig_negotiate(struct rig *r, uint64_t features)
{
	rig_write(r, 20, 1, 0);
	rig_write(r, 20, 1, VIRTIO_STATUS_ACKNOWLEDGE);
	rig_write(r, 20, 1, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	rig_write(r, 8, 4, 0);
	rig_write(r, 12, 4, (uint32_t)features);
	rig_write(r, 8, 4, 1);
	rig_write(r, 12, 4, features >> 32);
	rig_write(r, 20, 1, rig_status(r) | VIRTIO_STATUS_FEATURES_OK);
	r->features = features;
	return rig_status(r) & VIRTIO_STATUS_FEATURES_OK;
}

static inline void rig_put64(struct rig *r, unsigned offset, uint64_t value)
{
	rig_write(r, offset, 4, (uint32_t)value);
	rig_write(r, offset + 4, 4, value >> 32);
}

static inline void rig_queue(struct rig *r, unsigned n)
{
	rig_write(r, 22, 2, n);
	rig_write(r, 24, 2, r->size);
	rig_put64(r, 32, RIG_DESC(n));
	rig_put64(r, 40, RIG_AVAIL(n));
	rig_put64(r, 48, RIG_USED(n));
	memory_zero(&r->mem, RIG_DESC(n), 0x3000);
	rig_write(r, 28, 2, 1);
	r->avail_idx[n] = r->used_seen[n] = r->next_desc[n] = 0;
}

static inline void rig_driver_ok(struct rig *r)
{
	rig_write(r, 20, 1, rig_status(r) | VIRTIO_STATUS_DRIVER_OK);
}

/* The whole start: all queues, given features that the device offers, VERSION_1 among them. */
static inline bool rig_start(struct rig *r, uint64_t features)
{
	if (!rig_negotiate(r, (features & rig_offered(r)) | VIRTIO_F_VERSION_1))
		return false;
	for (unsigned i = 0; i < rig_read(r, 18, 2) && i < VIRTIO_QUEUES_MAX; i++)
		rig_queue(r, i);
	rig_driver_ok(r);
	return rig_status(r) & VIRTIO_STATUS_DRIVER_OK;
}

/* --- rings --- */

static inline void rig_put16(struct rig *r, uint64_t gpa, uint16_t v)
{
	must(memory_write(&r->mem, gpa, &v, sizeof(v)));
}

static inline uint16_t rig_get16(struct rig *r, uint64_t gpa)
{
	uint16_t v;

	must(memory_read(&r->mem, gpa, &v, sizeof(v)));
	return v;
}

static inline void rig_desc_at(struct rig *r, uint64_t table, unsigned i, uint64_t addr,
			       uint32_t len, uint16_t flags, uint16_t next)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} d = { addr, len, flags, next };

	must(memory_write(&r->mem, table + 16ull * i, &d, sizeof(d)));
}

static inline void rig_desc(struct rig *r, unsigned q, unsigned i, uint64_t addr, uint32_t len,
			    uint16_t flags, uint16_t next)
{
	rig_desc_at(r, RIG_DESC(q), i, addr, len, flags, next);
}

static inline void rig_avail(struct rig *r, unsigned q, uint16_t head)
{
	rig_put16(r, RIG_AVAIL(q) + 4 + 2u * (r->avail_idx[q] % r->size), head);
	r->avail_idx[q]++;
	rig_put16(r, RIG_AVAIL(q) + 2, r->avail_idx[q]);
}

static inline void rig_kick(struct rig *r, unsigned q)
{
	rig_write(r, VIRTIO_PCI_NOTIFY + 4 * q, 2, q);
}

/* Room in the heap, filled with 0xee. */
static inline uint64_t rig_alloc(struct rig *r, uint64_t len)
{
	uint64_t at = r->heap;

	r->heap += (len + 15) & ~15ull;
	must(r->heap <= RIG_MEMORY);
	for (uint64_t i = 0; at + i < r->heap; i++)
		memory_write(&r->mem, at + i, "\xee", 1);
	return at;
}

struct rig_part {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

/*
 * Offers a chain (descriptors are used round and round; the caller keeps count). Returns its head.
 */
static inline uint16_t rig_add(struct rig *r, unsigned q, const struct rig_part *part, unsigned n)
{
	uint16_t head = r->next_desc[q] % r->size;

	for (unsigned i = 0; i < n; i++) {
		uint16_t d = r->next_desc[q]++ % r->size;
		uint16_t flags =
			(uint16_t)((part[i].write ? RIG_WRITE : 0) | (i + 1 < n ? RIG_NEXT : 0));

		rig_desc(r, q, d, part[i].gpa, part[i].len, flags, (uint16_t)((d + 1) % r->size));
	}
	rig_avail(r, q, head);
	return head;
}

/* Takes the next used element; false: none. */
static inline bool rig_used(struct rig *r, unsigned q, uint32_t *id, uint32_t *len)
{
	uint32_t elem[2];

	if (rig_get16(r, RIG_USED(q) + 2) == r->used_seen[q])
		return false;
	must(memory_read(&r->mem, RIG_USED(q) + 4 + 8u * (r->used_seen[q] % r->size), elem,
			 sizeof(elem)));
	r->used_seen[q]++;
	if (id)
		*id = elem[0];
	if (len)
		*len = elem[1];
	return true;
}

static inline void rig_used_event(struct rig *r, unsigned q, uint16_t v)
{
	rig_put16(r, RIG_AVAIL(q) + 4 + 2u * r->size, v);
}

static inline uint16_t rig_avail_event(struct rig *r, unsigned q)
{
	return rig_get16(r, RIG_USED(q) + 4 + 8u * r->size);
}

/* Reads the interrupt causes, as an interrupt handler does. */
static inline uint8_t rig_isr(struct rig *r)
{
	return (uint8_t)rig_read(r, VIRTIO_PCI_ISR, 1);
}

static inline bool rig_level(const struct rig *r)
{
	return r->level[RIG_SLOT % PCI_LINKS];
}

/* Lets virtual time pass, as the machine does at a sync point. */
static inline void rig_run(struct rig *r, uint64_t ns)
{
	r->count += ns;
	clock_expire(&r->clock);
}

/* --- a disk in memory that does its work at once --- */

struct rig_disk {
	struct disk_backend backend;
	uint8_t *data;
	uint64_t id[512];
	int error[512], next_error; /* what the next request ends with */
	unsigned n, flushes;
};

static inline void rig_disk_start(struct disk_backend *b, uint64_t id, enum disk_op op,
				  uint64_t sector, uint32_t sectors, void *data)
{
	struct rig_disk *d = (struct rig_disk *)b;
	uint8_t *at = d->data + sector * DISK_SECTOR;
	size_t len = (size_t)sectors * DISK_SECTOR;

	must(d->n < 512 && sector <= b->sectors && sectors <= b->sectors - sector);
	d->flushes += op == DISK_FLUSH;
	if (op == DISK_READ)
		memcpy(data, at, len);
	else if (op == DISK_WRITE)
		memcpy(at, data, len);
	else if (op == DISK_ZERO)
		memset(at, 0, len);
	d->id[d->n] = id;
	d->error[d->n++] = d->next_error;
	d->next_error = 0;
}

static inline int rig_disk_finish(struct disk_backend *b, uint64_t id)
{
	struct rig_disk *d = (struct rig_disk *)b;

	for (unsigned i = 0; i < d->n; i++) {
		int error = d->error[i];

		if (d->id[i] != id)
			continue;
		d->n--;
		d->id[i] = d->id[d->n];
		d->error[i] = d->error[d->n];
		return error;
	}
	must(!"finish of a request that was not started");
	return 0;
}

static inline int rig_disk_grow(struct disk_backend *b, uint64_t sectors)
{
	struct rig_disk *d = (struct rig_disk *)b;
	uint8_t *data;

	if (d->next_error)
		return d->next_error;
	data = realloc(d->data, sectors * DISK_SECTOR);
	must(data != NULL);
	memset(data + b->sectors * DISK_SECTOR, 0, (sectors - b->sectors) * DISK_SECTOR);
	d->data = data;
	b->sectors = sectors;
	return 0;
}

static const struct disk_backend_ops rig_disk_ops = {
	.name = "rig", .start = rig_disk_start, .finish = rig_disk_finish, .grow = rig_disk_grow
};

static inline void rig_disk_init(struct rig_disk *d, uint64_t sectors, bool readonly)
{
	memset(d, 0, sizeof(*d));
	d->backend = (struct disk_backend){ .ops = &rig_disk_ops,
					    .sectors = sectors,
					    .readonly = readonly };
	d->data = calloc(sectors, DISK_SECTOR);
	must(d->data != NULL);
}

static inline void rig_disk_fini(struct rig_disk *d)
{
	must(d->n == 0);
	free(d->data);
}

#endif
