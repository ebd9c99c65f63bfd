/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio over PCI (virtio 1.2, 4.1), modern interface only. One 16 KiB memory BAR:
 *
 *   0x0000   common configuration
 *   0x1000   ISR
 *   0x2000   device configuration
 *   0x3000   notifications, 4 bytes a queue
 *
 * and a PCI configuration access capability as a window on it. All state is in struct virtio and in
 * the PCI configuration space, so the transport has no save and restore of its own: but for MSI-X,
 * with its table in a second BAR, whose state is virtio_pci_msix_save()'s.
 */
#ifndef HYPERVISOR_DEVICES_VIRTIO_PCI_H
#define HYPERVISOR_DEVICES_VIRTIO_PCI_H

#include "hypervisor/devices/msix.h"
#include "hypervisor/devices/pci.h"
#include "hypervisor/devices/virtio.h"

#define VIRTIO_PCI_BAR_SIZE 0x4000u
#define VIRTIO_PCI_COMMON   0x0000u
#define VIRTIO_PCI_ISR	    0x1000u
#define VIRTIO_PCI_CONFIG   0x2000u
#define VIRTIO_PCI_NOTIFY   0x3000u

struct virtio_pci {
	struct virtio *virtio;
	struct pci_device pci;
	unsigned window; /* offset of the configuration access capability */
	bool has_msix;
	struct msix msix;
	uint16_t vector[VIRTIO_QUEUES_MAX + 1]; /* of each queue, and of the configuration */
};

/*
 * Puts a virtio device (initialised before) into a slot; false when the slot is taken. target:
 * where its MSI-X messages go; NULL: it has none.
 */
bool virtio_pci_init(struct virtio_pci *t, struct virtio *v, struct pci_host *host, unsigned slot,
		     const struct msix_target *target);
/* The state of MSI-X, for a transport that has it. Restored after the PCI host's; 0 or -EINVAL. */
void virtio_pci_msix_reset(struct virtio_pci *t);
void virtio_pci_msix_save(const struct virtio_pci *t, struct buf *out);
int virtio_pci_msix_restore(struct virtio_pci *t, struct rd *in);

#endif
