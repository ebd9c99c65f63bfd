// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/pci.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define PORT_ADDRESS 0xcf8u
#define PORT_RESET   1u /* offset of 0xcf9 */
#define PORT_DATA    4u /* offset of 0xcfc */

/* Configuration address register (PCI 3.0, 3.2.2.3.2):
 *
 *    31   30..24  23..16  15..11  10..8    7..2     1..0
 *  enable   0      bus    device  function register   0
 */
#define ADDRESS_ENABLE	 0x80000000u
#define ADDRESS_BUS(a)	 (((a) >> 16) & 0xffu)
#define ADDRESS_SLOT(a)	 (((a) >> 11) & 0x1fu)
#define ADDRESS_FUNC(a)	 (((a) >> 8) & 7u)
#define ADDRESS_REG(a)	 ((a)&0xfcu)
#define ADDRESS_WRITABLE 0x80fffffcu

const uint8_t pci_link_irq[PCI_LINKS] = { 10, 11, 9, 5 };

uint32_t pci_config_get(const uint8_t *config, unsigned offset, unsigned size)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint32_t)config[offset + i] << (8 * i);
	return v;
}

void pci_config_put(uint8_t *config, unsigned offset, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++)
		config[offset + i] = (uint8_t)(value >> (8 * i));
}

static uint16_t pci_command(const struct pci_device *d)
{
	return (uint16_t)pci_config_get(d->config, PCI_COMMAND, 2);
}

/*
 * Levels of the links follow from the devices; the interrupt status bit shows a device's own level
 * (PCI 3.0, 6.2.3).
 */
static void pci_update_link(struct pci_host *h, unsigned link)
{
	bool level = false;

	for (unsigned s = link; s < PCI_SLOTS; s += PCI_LINKS) {
		const struct pci_device *d = h->slot[s];

		if (d && d->intx && !(pci_command(d) & PCI_COMMAND_INTX_DISABLE))
			level = true;
	}
	irq_set(&h->link[link], level);
}

static void pci_update_status(struct pci_device *d)
{
	uint16_t status = (uint16_t)pci_config_get(d->config, PCI_STATUS, 2);

	status = (uint16_t)((status & ~PCI_STATUS_INTX) | (d->intx ? PCI_STATUS_INTX : 0));
	pci_config_put(d->config, PCI_STATUS, 2, status);
}

void pci_device_set_intx(struct pci_device *d, bool level)
{
	if (d->intx == level)
		return;
	d->intx = level;
	pci_update_status(d);
	if (d->host)
		pci_update_link(d->host, d->slot % PCI_LINKS);
}

static void pci_unmap(struct pci_device *d)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		if (d->bar[i].mapped)
			bus_remove(d->host->bus, BUS_MMIO, d->bar[i].at, d->dev);
		d->bar[i].mapped = false;
	}
}

static void pci_map(struct pci_device *d)
{
	if (!(pci_command(d) & PCI_COMMAND_MEMORY))
		return;
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &d->bar[i];

		if (!bar->size)
			continue;
		bar->at = pci_config_get(d->config, PCI_BAR0 + 4 * i, 4) & ~15u;
		bar->mapped = bus_add(d->host->bus, BUS_MMIO, bar->at, bar->size, bar->read,
				      bar->write, d->dev, d->name);
	}
}

/* See the top of pci.h for why everything is mapped anew. */
static void pci_remap(struct pci_host *h)
{
	for (unsigned s = 0; s < PCI_SLOTS; s++)
		if (h->slot[s])
			pci_unmap(h->slot[s]);
	for (unsigned s = 0; s < PCI_SLOTS; s++)
		if (h->slot[s])
			pci_map(h->slot[s]);
}

void pci_drive_links(struct pci_host *h)
{
	for (unsigned i = 0; i < PCI_LINKS; i++)
		pci_update_link(h, i);
}

static void pci_refresh(struct pci_host *h)
{
	for (unsigned s = 0; s < PCI_SLOTS; s++)
		if (h->slot[s])
			pci_update_status(h->slot[s]);
	pci_drive_links(h);
	pci_remap(h);
}

static uint32_t device_config_read(struct pci_device *d, unsigned offset, unsigned size)
{
	if (offset >= PCI_HEADER_SIZE && d->config_before_read)
		d->config_before_read(d->dev, offset, size);
	return pci_config_get(d->config, offset, size);
}

static void device_config_write(struct pci_device *d, unsigned offset, unsigned size,
				uint32_t value)
{
	uint8_t before[PCI_HEADER_SIZE];

	memcpy(before, d->config, sizeof(before));
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = d->wmask[offset + i];
		uint8_t v = (uint8_t)(value >> (8 * i));

		d->config[offset + i] = (uint8_t)((d->config[offset + i] & ~mask) | (v & mask));
	}
	if (offset >= PCI_HEADER_SIZE) {
		if (d->config_after_write)
			d->config_after_write(d->dev, offset, size);
		return;
	}
	if (!memcmp(before, d->config, sizeof(before)))
		return;
	if (offset < PCI_STATUS || (offset >= PCI_BAR0 && offset < PCI_BAR0 + 4 * PCI_BARS))
		pci_remap(d->host);
	pci_update_link(d->host, d->slot % PCI_LINKS);
}

/* The device that the address register selects, or NULL. */
static struct pci_device *pci_selected(const struct pci_host *h)
{
	uint32_t a = h->address;

	if (!(a & ADDRESS_ENABLE) || ADDRESS_BUS(a) != 0 || ADDRESS_FUNC(a) != 0)
		return NULL;
	return h->slot[ADDRESS_SLOT(a)];
}

static uint64_t pci_port_read(void *dev, uint64_t offset, unsigned size)
{
	struct pci_host *h = dev;
	struct pci_device *d = pci_selected(h);
	unsigned byte = (unsigned)offset - PORT_DATA, n;

	if (offset == 0 && size == 4)
		return h->address;
	if (offset == PORT_RESET && size == 1 && h->cf9_read)
		return h->cf9_read(h->cf9_ctx);
	if (offset < PORT_DATA || !d)
		return UINT64_MAX;
	n = size < 4 - byte ? size : 4 - byte;
	if (n == 4)
		return device_config_read(d, ADDRESS_REG(h->address), 4);
	return device_config_read(d, ADDRESS_REG(h->address) + byte, n) | ~0ull << (8 * n);
}

static void pci_port_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_host *h = dev;
	struct pci_device *d = pci_selected(h);
	unsigned byte = (unsigned)offset - PORT_DATA;

	/*
	 * Only a dword access reaches the address register; Linux probes for that with a byte write
	 * at 0xcfb.
	 */
	if (offset == 0 && size == 4)
		h->address = (uint32_t)value & ADDRESS_WRITABLE;
	else if (offset == PORT_RESET && size == 1 && h->cf9_write)
		h->cf9_write(h->cf9_ctx, (uint8_t)value);
	else if (offset >= PORT_DATA && d)
		device_config_write(d, ADDRESS_REG(h->address) + byte,
				    size < 4 - byte ? size : 4 - byte, (uint32_t)value);
}

void pci_device_init(struct pci_device *d, const char *name, void *dev, uint16_t vendor,
		     uint16_t device, uint32_t class, uint8_t revision)
{
	*d = (struct pci_device){ .name = name, .dev = dev };
	pci_config_put(d->initial, PCI_VENDOR, 2, vendor);
	pci_config_put(d->initial, PCI_DEVICE, 2, device);
	pci_config_put(d->initial, PCI_REVISION, 1, revision);
	pci_config_put(d->initial, PCI_CLASS, 3, class);
	pci_config_put(d->wmask, PCI_COMMAND, 2,
		       PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			       PCI_COMMAND_INTX_DISABLE);
	d->wmask[PCI_CACHE_LINE] = 0xff;
	d->wmask[PCI_LATENCY] = 0xff;
	d->wmask[PCI_INTERRUPT_LINE] = 0xff;
}

unsigned pci_device_add_capability(struct pci_device *d, uint8_t id, const void *body, unsigned len)
{
	unsigned at = PCI_HEADER_SIZE, link = PCI_CAPABILITIES;

	while (d->initial[link]) {
		at = d->initial[link];
		link = at + 1;
		at += d->initial[at + 2]; /* vendor capabilities hold their length there */
	}
	at = (at + 3) & ~3u;
	if (len < 3 || at + len > sizeof(d->initial))
		return 0;
	memcpy(d->initial + at, body, len);
	d->initial[at] = id;
	d->initial[at + 1] = 0;
	d->initial[link] = (uint8_t)at;
	d->initial[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	return at;
}

void pci_device_add_bar(struct pci_device *d, unsigned n, uint32_t size, bus_read_fn read,
			bus_write_fn write)
{
	must(n < PCI_BARS && size >= 16 && (size & (size - 1)) == 0);
	d->bar[n] = (struct pci_bar){ .size = size, .read = read, .write = write };
	pci_config_put(d->wmask, PCI_BAR0 + 4 * n, 4, ~(size - 1));
	d->wmask[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	d->initial[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
}

/*
 * Sets the device up as firmware would have: BARs next to each other from the start of the slot's
 * stretch, interrupt line.
 */
static void pci_assign(struct pci_device *d)
{
	uint32_t at = PCI_MMIO_BASE + d->slot * PCI_MMIO_STRIDE;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		uint32_t size = d->bar[i].size;

		if (!size)
			continue;
		at = (at + size - 1) & ~(size - 1);
		pci_config_put(d->initial, PCI_BAR0 + 4 * i, 4, at);
		at += size;
	}
	if (d->bridge)
		return;
	d->initial[PCI_INTERRUPT_PIN] = 1;
	d->initial[PCI_INTERRUPT_LINE] = pci_link_irq[d->slot % PCI_LINKS];
}

bool pci_add(struct pci_host *h, unsigned slot, struct pci_device *d)
{
	if (slot >= PCI_SLOTS || h->slot[slot])
		return false;
	d->host = h;
	d->slot = slot;
	h->slot[slot] = d;
	pci_assign(d);
	memcpy(d->config, d->initial, sizeof(d->config));
	pci_remap(h);
	return true;
}

bool pci_init(struct pci_host *h, struct bus *bus, const struct irq_line link[PCI_LINKS])
{
	memset(h, 0, sizeof(*h));
	h->bus = bus;
	memcpy(h->link, link, sizeof(h->link));
	pci_device_init(&h->bridge, "pci-host", &h->bridge, 0x1b36, 0x0008, 0x060000, 0);
	h->bridge.bridge = true;
	return pci_add(h, PCI_SLOT_HOST, &h->bridge) &&
	       bus_add(bus, BUS_PORT, PORT_ADDRESS, 8, pci_port_read, pci_port_write, h, "pci");
}

static void pci_reset(void *dev)
{
	struct pci_host *h = dev;

	h->address = 0;
	for (unsigned s = 0; s < PCI_SLOTS; s++) {
		struct pci_device *d = h->slot[s];

		if (!d)
			continue;
		memcpy(d->config, d->initial, sizeof(d->config));
		d->intx = false;
	}
	pci_refresh(h);
}

static void pci_save(const void *dev, struct buf *out)
{
	const struct pci_host *h = dev;

	buf_put_u32(out, h->address);
	for (unsigned s = 0; s < PCI_SLOTS; s++) {
		const struct pci_device *d = h->slot[s];

		if (!d)
			continue;
		buf_put_u8(out, (uint8_t)s);
		buf_put_u8(out, d->intx);
		buf_put(out, d->config, sizeof(d->config));
	}
}

static int pci_device_restore(struct pci_device *d, struct rd *in)
{
	uint8_t slot = rd_u8(in), intx = rd_u8(in);

	rd_get(in, d->config, sizeof(d->config));
	if (in->bad || slot != d->slot || intx > 1)
		return -EINVAL;
	d->intx = intx;
	pci_update_status(d);
	for (unsigned i = 0; i < sizeof(d->config); i++) {
		uint8_t fixed = (uint8_t)~d->wmask[i];

		if (i == PCI_STATUS)
			fixed &= (uint8_t)~PCI_STATUS_INTX;
		if ((d->config[i] ^ d->initial[i]) & fixed)
			return -EINVAL;
	}
	return 0;
}

static int pci_restore(void *dev, struct rd *in)
{
	struct pci_host *h = dev;

	h->address = rd_u32(in);
	for (unsigned s = 0; s < PCI_SLOTS; s++)
		if (h->slot[s] && pci_device_restore(h->slot[s], in))
			goto bad;
	if (in->bad || (h->address & ~ADDRESS_WRITABLE))
		goto bad;
	pci_refresh(h);
	return 0;
bad:
	pci_reset(h);
	return -EINVAL;
}

const struct device_ops pci_ops = {
	.name = "pci",
	.reset = pci_reset,
	.save = pci_save,
	.restore = pci_restore,
};
