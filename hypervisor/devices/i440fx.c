// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/i440fx.h"

#include <string.h>

#define INTEL	      0x8086u
#define HOST_BRIDGE   0x1237u
#define HOST_REVISION 2u
#define ISA_BRIDGE    0x7000u
#define CLASS_HOST    0x060000u
#define CLASS_ISA     0x060100u
/* By which SeaBIOS knows a machine with fw_cfg. */
#define SUBSYSTEM_VENDOR 0x1af4u
#define SUBSYSTEM	 0x1100u

#define PAM0	     0x59u /* the low half of the first is reserved */
#define PAM_COUNT    7u
#define PAM_ENABLED  0x33u /* both halves: read and write go to RAM */
#define SMRAM	     0x72u
#define SMRAM_CLOSED 0x02u /* the only legal base segment */

#define PIRQRC	     0x60u
#define PIRQRC_NONE  0x80u
#define PIRQRC_INPUT 0x0fu
/* Inputs that can be chosen (PIIX3 datasheet, 2.2.8); the others are reserved. */
#define PIRQRC_INPUTS 0xdef8u

static unsigned pirq_register(unsigned link)
{
	return PIRQRC + (link + PCI_LINKS - 1) % PCI_LINKS;
}

unsigned i440fx_route(const struct i440fx *b, unsigned link)
{
	uint8_t v = b->isa.config[pirq_register(link)];
	unsigned input = v & PIRQRC_INPUT;

	return v & PIRQRC_NONE || !(PIRQRC_INPUTS >> input & 1) ? I440FX_NO_IRQ : input;
}

static void isa_written(void *dev, unsigned offset, unsigned size)
{
	struct i440fx *b = dev;

	if (offset < PIRQRC + PCI_LINKS && offset + size > PIRQRC)
		b->rerouted(b->ctx);
}

static void identify(struct pci_device *d)
{
	pci_config_put(d->initial, PCI_SUBSYSTEM_VENDOR, 2, SUBSYSTEM_VENDOR);
	pci_config_put(d->initial, PCI_SUBSYSTEM, 2, SUBSYSTEM);
}

/* The shadow is there before firmware runs, so all of it is switched on. */
static void make_host_bridge(struct pci_device *d)
{
	pci_config_put(d->initial, PCI_VENDOR, 2, INTEL);
	pci_config_put(d->initial, PCI_DEVICE, 2, HOST_BRIDGE);
	pci_config_put(d->initial, PCI_REVISION, 1, HOST_REVISION);
	pci_config_put(d->initial, PCI_CLASS, 3, CLASS_HOST);
	identify(d);
	memset(d->initial + PAM0, PAM_ENABLED, PAM_COUNT);
	memset(d->wmask + PAM0, PAM_ENABLED, PAM_COUNT);
	d->initial[PAM0] &= 0xf0;
	d->wmask[PAM0] &= 0xf0;
	d->initial[SMRAM] = SMRAM_CLOSED;
	memcpy(d->config, d->initial, sizeof(d->config));
}

bool i440fx_init(struct i440fx *b, struct pci_host *host, void (*rerouted)(void *ctx), void *ctx)
{
	*b = (struct i440fx){ .rerouted = rerouted, .ctx = ctx };
	make_host_bridge(&host->bridge);
	pci_device_init(&b->isa, "isa-bridge", b, INTEL, ISA_BRIDGE, CLASS_ISA, 0);
	identify(&b->isa);
	b->isa.bridge = true;
	b->isa.config_after_write = isa_written;
	for (unsigned link = 0; link < PCI_LINKS; link++) {
		b->isa.initial[pirq_register(link)] = pci_link_irq[link];
		b->isa.wmask[pirq_register(link)] = PIRQRC_NONE | PIRQRC_INPUT;
	}
	return pci_add(host, PCI_SLOT_ISA, &b->isa);
}
