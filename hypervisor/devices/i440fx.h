/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chip set that a PC BIOS knows: host bridge 440FX (Intel datasheet 290549) and ISA bridge
 * PIIX3 (290550), as far as this machine has what they stand for.
 *
 *   host bridge, slot 0    59h to 5Fh PAM: which parts of C0000h to FFFFFh are RAM. They always
 *                          are, and can be written; the registers only remember. SMRAM (72h) is
 *                          closed: the machine has no SMM.
 *   ISA bridge, slot 1     60h to 63h PIRQRC: the 8259 input of each link, bit 7: none. The link
 *                          that a PC calls A is the one of slots 1, 5, 9...: pci.h's link 1.
 *
 * There is no PIIX4 power management function, though ACPI's ports are in its places: firmware that
 * finds one asks for SMM.
 */
#ifndef DEVICES_I440FX_H
#define DEVICES_I440FX_H

#include "hypervisor/devices/pci.h"

#define I440FX_NO_IRQ 0xff

struct i440fx {
	struct pci_device isa;
	void (*rerouted)(void *ctx);
	void *ctx;
};

/* rerouted(ctx): i440fx_route() may say something else now. False when slot 1 is taken. */
bool i440fx_init(struct i440fx *b, struct pci_host *host, void (*rerouted)(void *ctx), void *ctx);
/* The 8259 input of a link; I440FX_NO_IRQ: none. */
unsigned i440fx_route(const struct i440fx *b, unsigned link);

#endif
