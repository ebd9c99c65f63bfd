/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X of a PCI function (PCI Local Bus Specification 3.0, 6.8): table and pending bits in a
 * memory BAR of one page, the table at 0, the pending bits at MSIX_PBA.
 *
 * The capability's message control lies in the function's configuration space and is saved there;
 * msix_ops holds the rest.
 */
#ifndef HYPERVISOR_DEVICES_MSIX_H
#define HYPERVISOR_DEVICES_MSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/devices/pci.h"

#define MSIX_VECTORS_MAX 5
#define MSIX_BAR_SIZE	 0x1000u
#define MSIX_PBA	 0x800u

/* Destination of messages: each is a write of `data` to an address in memory space. */
struct msix_target {
	void (*write)(void *ctx, uint64_t address, uint32_t data);
	void *ctx;
};

struct msix_entry {
	uint64_t address;
	uint32_t data, control;
};

struct msix {
	struct pci_device *pci;
	unsigned cap; /* offset of the capability */
	unsigned n;   /* vectors */
	struct msix_entry entry[MSIX_VECTORS_MAX];
	uint32_t pending;
	struct msix_target target;
};

/*
 * Adds the capability, which has to be the function's last, and the BAR, whose accesses come to
 * `read` and `write`: for msix_read() and msix_write(). n: 1 to MSIX_VECTORS_MAX.
 */
void msix_init(struct msix *x, struct pci_device *pci, unsigned bar, unsigned n, bus_read_fn read,
	       bus_write_fn write, const struct msix_target *target);
/* The driver has switched it on: the function's INTx is silent then. */
bool msix_enabled(const struct msix *x);
/* Sends the message of a vector, or keeps it pending while that is masked. */
void msix_signal(struct msix *x, unsigned vector);
/* True: a vector that is not masked is an NMI of the processor's. */
bool msix_may_nmi(const struct msix *x);
uint64_t msix_read(const struct msix *x, uint64_t offset, unsigned size);
void msix_write(struct msix *x, uint64_t offset, unsigned size, uint64_t value);
/* Configuration bytes [offset, offset + size) were written. True: message control was. */
bool msix_config_written(struct msix *x, unsigned offset, unsigned size);

void msix_reset(struct msix *x);
void msix_save(const struct msix *x, struct buf *out);
/* 0 or -EINVAL, then reset. */
int msix_restore(struct msix *x, struct rd *in);

#endif
