/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI bus behind configuration mechanism 1 (ports 0xcf8 and 0xcfc), with a host bridge in slot
 * 0.
 *
 * A struct pci_device is the PCI face of a device: its configuration space, of which `wmask` says
 * what the guest may change, and memory BARs. There is no firmware, so reset leaves things as
 * firmware would: BARs assigned and decoded, interrupt lines filled in.
 *
 * The mappings are a pure function of the configuration spaces: after each write that could matter
 * all BARs are unmapped and mapped again in slot order; a BAR that overlaps an earlier one, or
 * something else on the bus, is not mapped. So a restored machine decodes as the saved one did,
 * whatever the order of the guest's writes was.
 *
 * INTA# of slot n drives link n % PCI_LINKS; devices on one link share it (wired OR). Links are
 * level-triggered.
 */
#ifndef HYPERVISOR_DEVICES_PCI_H
#define HYPERVISOR_DEVICES_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/bus.h"
#include "hypervisor/device.h"

#define PCI_SLOTS 32
#define PCI_BARS  6
#define PCI_LINKS 4

/* Firmware's choice of addresses: BAR 0 of slot n at PCI_MMIO_BASE + n * PCI_MMIO_STRIDE. */
#define PCI_MMIO_BASE	0xfe000000u
#define PCI_MMIO_STRIDE 0x10000u

/*
 * ISA interrupt of each link; the machine wires link i to this input and makes it level-triggered
 * (ELCR).
 */
extern const uint8_t pci_link_irq[PCI_LINKS];

/*
 * Fixed slots: the first NIC, disk, console and rng sit on links of their own. Version 1 has four
 * NICs and disks; those of version 2 that do not fit there follow behind the balloon.
 */
enum pci_slot {
	PCI_SLOT_HOST = 0,
	PCI_SLOT_ISA = 1, /* from machine version 2 on */
	PCI_SLOT_CONSOLE = 2,
	PCI_SLOT_RNG = 3,
	PCI_SLOT_NET = 4, /* and following */
	PCI_SLOT_AGENT = 8,
	PCI_SLOT_DISK = 9, /* and following */
	PCI_SLOT_BALLOON = 15,
	PCI_SLOT_MORE_NETS = 16,  /* and following, */
	PCI_SLOT_MORE_DISKS = 20, /* to the last */
};

/* Registers of the configuration header (PCI Local Bus Specification 3.0, 6.1). */
enum {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, /* three bytes */
	PCI_CACHE_LINE = 0x0c,
	PCI_LATENCY = 0x0d,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
	PCI_HEADER_SIZE = 0x40,
};

#define PCI_COMMAND_MEMORY	 0x0002u
#define PCI_COMMAND_MASTER	 0x0004u
#define PCI_COMMAND_PARITY	 0x0040u
#define PCI_COMMAND_SERR	 0x0100u
#define PCI_COMMAND_INTX_DISABLE 0x0400u
#define PCI_STATUS_INTX		 0x0008u
#define PCI_STATUS_CAPABILITIES	 0x0010u

struct pci_host;

struct pci_bar {
	uint32_t size; /* power of two from 16; 0: no such BAR */
	bus_read_fn read;
	bus_write_fn write;
	bool mapped;
	uint32_t at; /* where, while mapped */
};

struct pci_device {
	const char *name;
	void *dev; /* handed to the BAR functions and the hooks */
	uint8_t config[256];
	uint8_t initial[256]; /* after reset */
	uint8_t wmask[256];   /* bits that the guest may write */
	struct pci_bar bar[PCI_BARS];
	bool intx;   /* the device asserts its interrupt */
	bool bridge; /* it has none */
	/*
	 * Optional hooks around an access to configuration bytes [offset, offset + size), all at or
	 * above 0x40.
	 */
	void (*config_before_read)(void *dev, unsigned offset, unsigned size);
	void (*config_after_write)(void *dev, unsigned offset, unsigned size);
	struct pci_host *host;
	unsigned slot;
};

struct pci_host {
	struct bus *bus;
	struct irq_line link[PCI_LINKS];
	uint32_t address; /* 0xcf8 */
	struct pci_device *slot[PCI_SLOTS];
	struct pci_device bridge;
	/*
	 * The reset control register hides at port 0xcf9, among ours: byte accesses there go to its
	 * owner, if any.
	 */
	uint8_t (*cf9_read)(void *ctx);
	void (*cf9_write)(void *ctx, uint8_t value);
	void *cf9_ctx;
};

/* Registers ports 0xcf8 to 0xcff. False when they are taken. */
bool pci_init(struct pci_host *h, struct bus *bus, const struct irq_line link[PCI_LINKS]);

/* Identity of a device before pci_add(); class is base class, subclass, interface as 0xBBSSII. */
void pci_device_init(struct pci_device *d, const char *name, void *dev, uint16_t vendor,
		     uint16_t device, uint32_t class, uint8_t revision);
/* Appends a capability of len bytes (the first two, id and next, are filled in here). Returns its
 * offset, 0: no room.
 */
unsigned pci_device_add_capability(struct pci_device *d, uint8_t id, const void *body,
				   unsigned len);
/* Declares a 32-bit memory BAR. */
void pci_device_add_bar(struct pci_device *d, unsigned n, uint32_t size, bus_read_fn read,
			bus_write_fn write);
/*
 * Puts the device in its slot, with firmware's settings, and maps it. False when the slot is taken
 * or absurd.
 */
bool pci_add(struct pci_host *h, unsigned slot, struct pci_device *d);

/* Drives all links again, as their interrupts go to other inputs now. */
void pci_drive_links(struct pci_host *h);
/* The device's INTA# level. */
void pci_device_set_intx(struct pci_device *d, bool level);

/* Little-endian fields of a configuration space. */
uint32_t pci_config_get(const uint8_t *config, unsigned offset, unsigned size);
void pci_config_put(uint8_t *config, unsigned offset, unsigned size, uint32_t value);

/* Verbs of the host (dev = struct pci_host): address register and every configuration space. */
extern const struct device_ops pci_ops;

#endif
