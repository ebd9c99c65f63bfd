/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives a virtio device with a byte script: register, configuration and guest memory writes,
 * notifications, the rings of a well-behaved driver as a starting point, inputs from outside, save
 * and restore. Each fuzz_virtio_<device>.c gives the device and what is special to it.
 *
 * What must hold: nothing crashes, every call ends, and a state that was saved restores to the same
 * bytes.
 */
#ifndef TESTS_FUZZ_VIRTIO_FUZZ_H
#define TESTS_FUZZ_VIRTIO_FUZZ_H

#include "base/log.h"
#include "tests/devices/virtio_rig.h"

struct fuzz_device {
	const struct device_ops *ops;
	void *dev;
	/* Something from outside happens, steered by in. May be NULL. */
	void (*input)(struct rig *r, struct rd *in);
	/* A request that the device can carry out, steered by in: at most 4 parts, with what they
	 * hold put into memory; their number. May be NULL. */
	unsigned (*request)(struct rig *r, struct rd *in, unsigned *q, struct rig_part part[4]);
};

#define FUZZ_STEPS 400

/*
 * Something that goes on beside the script, as long as the rig's memory is there:
 * tests/fuzz/fuzz_virtio_race.c.
 */
struct fuzz_company {
	void (*join)(struct rig *r);
	void (*leave)(void);
};
static const struct fuzz_company *fuzz_company;

/* An address that is mostly near the rings and buffers, sometimes anywhere. */
static inline uint64_t fuzz_gpa(struct rd *in)
{
	uint8_t kind = rd_u8(in);
	uint16_t v = rd_u16(in);

	if (kind < 200)
		return RIG_DESC(0) + v * 4ull;
	if (kind < 240)
		return RIG_MEMORY - (v & 0xffu);
	return rd_u64(in);
}

static inline void fuzz_mmio_write(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	static const unsigned base[] = { 0, 0, VIRTIO_PCI_CONFIG, VIRTIO_PCI_NOTIFY };
	unsigned offset = base[rd_u8(in) & 3] + (rd_u8(in) & 0x7fu);

	rig_write(r, offset, 1u << (rd_u8(in) & 3), rd_u32(in));
}

static inline void fuzz_mmio_read(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	rig_read(r, rd_u16(in) & 0x3fffu, 1u << (rd_u8(in) & 3));
}

static inline void fuzz_config_write(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	static const unsigned base[] = { 0x04, 0x10, 0x70, 0x80, 0x90, 0x00, 0x40, 0xc0 };
	unsigned reg = (base[rd_u8(in) & 7] + (rd_u8(in) & 0x1fu)) & 0xffu;

	rig_config_write(r, RIG_SLOT, reg, 1u << (rd_u8(in) % 3), rd_u32(in));
	rig_config_read(r, RIG_SLOT, reg, 4);
}

static inline void fuzz_port(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	uint8_t port = rd_u8(in);

	if (port & 8)
		bus_write(&r->bus, BUS_PORT, 0xcf8 + (port & 7u), 1u << (port >> 4) % 3,
			  rd_u32(in));
	else
		bus_read(&r->bus, BUS_PORT, 0xcf8 + (port & 7u), 1u << (port >> 4) % 3);
}

static inline void fuzz_memory(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	uint8_t data[32];
	uint64_t gpa = fuzz_gpa(in);
	unsigned n = rd_u8(in) % sizeof(data);

	rd_get(in, data, n);
	memory_write(&r->mem, gpa, data, n);
}

static inline void fuzz_start(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	r->size = (uint16_t)(1u << rd_u8(in) % 9);
	rig_start(r, rd_u64(in) | 0xffffffffull * (rd_u8(in) & 1));
}

static inline void fuzz_desc(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	unsigned q = rd_u8(in) % VIRTIO_QUEUES_MAX, i = rd_u8(in) % r->size;
	uint64_t addr = fuzz_gpa(in);
	uint32_t len = rd_u8(in) < 224 ? rd_u16(in) : rd_u32(in);

	rig_desc(r, q, i, addr, len, rd_u8(in) & 7, rd_u8(in) % r->size);
}

static inline void fuzz_avail(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	unsigned q = rd_u8(in) % VIRTIO_QUEUES_MAX;

	rig_avail(r, q, rd_u8(in) % r->size);
	rig_kick(r, q);
}

/* A chain as a real driver would make it: header, data, something to write to. */
static inline void fuzz_chain(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	unsigned q = rd_u8(in) % VIRTIO_QUEUES_MAX;
	uint8_t head[16];
	struct rig_part part[3] = { { RIG_HEAP, rd_u8(in) & 31u, false },
				    { RIG_HEAP + 256, rd_u16(in), rd_u8(in) & 1 },
				    { RIG_HEAP + 0x20000, rd_u8(in), true } };

	rd_get(in, head, sizeof(head));
	memory_write(&r->mem, RIG_HEAP, head, sizeof(head));
	if (r->size >= 4)
		rig_add(r, q, part + (rd_u8(in) & 1), 2);
	rig_kick(r, q);
}

static inline void fuzz_request(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	struct rig_part part[4];
	unsigned q = 0, n = f->request ? f->request(r, in, &q, part) : 0;

	if (!n || r->size < n)
		return;
	rig_add(r, q, part, n);
	rig_kick(r, q);
}

static inline void fuzz_time(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	rig_run(r, rd_u16(in) * 4ull);
}

static inline void fuzz_input(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	if (f->input)
		f->input(r, in);
}

static inline void fuzz_round_trip(const struct device_ops *ops, void *dev)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct rd in;

	ops->save(dev, &a);
	in = (struct rd)RD_INIT(a.data, a.len);
	must(ops->restore(dev, &in) == 0 && rd_left(&in) == 0);
	ops->save(dev, &b);
	must(a.len == b.len && !memcmp(a.data, b.data, a.len));
	buf_free(&a);
	buf_free(&b);
}

static inline void fuzz_save_restore(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	fuzz_round_trip(f->ops, f->dev);
	fuzz_round_trip(&pci_ops, &r->pci);
}

/* A state with a few bytes changed, or cut short. */
static inline void fuzz_restore_bad(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	struct buf a = BUF_INIT;
	struct rd state;
	bool pci = rd_u8(in) & 1;

	(pci ? &pci_ops : f->ops)->save(pci ? &r->pci : f->dev, &a);
	for (unsigned n = rd_u8(in) & 3; n && a.len; n--) {
		size_t at = rd_u16(in) % a.len;

		a.data[at] = rd_u8(in);
	}
	if (rd_u8(in) & 1)
		a.len = rd_u16(in) % (a.len + 1);
	state = (struct rd)RD_INIT(a.data, a.len);
	(pci ? &pci_ops : f->ops)->restore(pci ? &r->pci : f->dev, &state);
	buf_free(&a);
}

static inline void fuzz_reset(struct rig *r, const struct fuzz_device *f, struct rd *in)
{
	f->ops->reset(f->dev);
	pci_ops.reset(&r->pci);
}

static void (*const fuzz_step[])(struct rig *r, const struct fuzz_device *f, struct rd *in) = {
	fuzz_mmio_write, fuzz_mmio_read,    fuzz_config_write, fuzz_port,    fuzz_memory,
	fuzz_start,	 fuzz_desc,	    fuzz_avail,	       fuzz_chain,   fuzz_time,
	fuzz_input,	 fuzz_save_restore, fuzz_restore_bad,  fuzz_reset,   fuzz_request,
	fuzz_request,	 fuzz_chain,	    fuzz_input,	       fuzz_request, fuzz_time,
	fuzz_avail,
};

static inline void fuzz_run(struct rig *r, const struct fuzz_device *f, const uint8_t *data,
			    size_t size)
{
	struct rd in = RD_INIT(data, size);

	rig_start(r, ~0ull);
	if (fuzz_company)
		fuzz_company->join(r);
	for (unsigned n = 0; n < FUZZ_STEPS && rd_left(&in); n++)
		fuzz_step[rd_u8(&in) % (sizeof(fuzz_step) / sizeof(fuzz_step[0]))](r, f, &in);
	if (fuzz_company)
		fuzz_company->leave();
	fuzz_round_trip(f->ops, f->dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
