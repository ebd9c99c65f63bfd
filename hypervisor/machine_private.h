/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of struct machine, for the files machine*.c alone. */
#ifndef HYPERVISOR_MACHINE_PRIVATE_H
#define HYPERVISOR_MACHINE_PRIVATE_H

#include "hypervisor/bus.h"
#include "hypervisor/clock.h"
#include "hypervisor/device.h"
#include "hypervisor/devices/debugport.h"
#include "hypervisor/devices/i8254.h"
#include "hypervisor/devices/i8259.h"
#include "hypervisor/devices/reset.h"
#include "hypervisor/devices/rtc.h"
#include "hypervisor/devices/uart.h"
#include "hypervisor/generator.h"
#include "hypervisor/machine.h"

struct memdisk;

#define MACHINE_DEVICES 48

struct machine_device {
	const struct device_ops *ops;
	void *dev;
	char name[24]; /* ops->name, with a number where there are several */
};

/* A virtio device's port number, so that its output says where it comes from. */
struct machine_port {
	struct machine *m;
	uint8_t port;
};

struct machine {
	struct machine_config config;
	struct memory memory;
	struct bus bus;
	struct clock clock;
	struct generator generator;
	struct engine *engine;
	struct output_sink sink;

	struct i8259 pic;
	struct intc intc; /* what the CPU takes interrupts from */
	struct i8254 pit;
	struct rtc rtc;
	struct uart uart;
	struct reset reset;
	struct debugport debugport;
	struct machine_v2 *v2;	       /* the chips of version 2, else NULL: machine_v2.c */
	struct machine_virtio *virtio; /* PCI and everything on it: machine_virtio.c */

	struct machine_device device[MACHINE_DEVICES];
	size_t ndevices;

	uint16_t level_irqs; /* inputs that firmware makes level-triggered */
	bool wants_end;	     /* `end` says how: debug exit, reset */
	bool halted;	     /* for good */
	enum machine_end end;
	unsigned exit_code;
	uint64_t deadline; /* earliest timer when the engine was last entered */

	uint64_t digest; /* last one: the chain */
	struct digest_part part[MACHINE_DEVICES + 4];
	size_t nparts;
	void (*on_dirty)(void *ctx, uint64_t offset, const void *page, uint64_t hash);
	void *on_dirty_ctx;
	struct buf scratch;

	uint64_t exits[ENGINE_EXIT_COUNT_];
	uint64_t syncs, injected, lost_interrupts;
	bool lose_interrupt; /* at the end of the sync point that is applied */
};

/*
 * Registers a device for reset, save, restore and digest; the order is part of the machine version.
 */
void machine_device_add(struct machine *m, const struct device_ops *ops, void *dev,
			unsigned number);
/* The CPU, which can take an interrupt, gets what the controller answers. */
void machine_inject(struct machine *m);
void machine_output(struct machine *m, enum output_kind kind, uint8_t port, const uint8_t *data,
		    size_t len);
/* Called by the controller: its request for an interrupt of the CPU has come or gone. */
void machine_intr(void *m, bool level);
/* An input of the interrupt controller. */
struct irq_line machine_irq(struct machine *m, unsigned line);
/* Ends the run after the instruction under way. */
void machine_end_soon(struct machine *m, enum machine_end end);

/* machine_v2.c: the board of machine version 2 */
int machine_v2_init(struct machine *m, struct err *err);
/* Puts the chip set's bridges on a PCI bus; false: their slots are taken already. */
struct pci_host;
bool machine_v2_bridges(struct machine *m, struct pci_host *pci);
/* Puts firmware into its socket: 0, -EINVAL (a size that it cannot have), -ENOMEM. */
int machine_v2_load_firmware(struct machine *m, const uint8_t *image, size_t size);
/* The ROM that boots from a network card; without firmware NULL. */
struct memdisk *machine_v2_rom(const struct machine *m, enum machine_carried which);
/* After all other devices. */
void machine_v2_add_controllers(struct machine *m);
void machine_v2_fini(struct machine *m);
/* The CPU's way to the local APIC. */
void machine_v2_engine_bus(struct engine_bus *bus);
/* Sets the APICs up as firmware leaves them. */
void machine_v2_firmware(struct machine *m);
/* An input of the board: ISA interrupt `line`, or PCI link `link`. */
struct irq_line machine_v2_irq(struct machine *m, unsigned line);
struct irq_line machine_v2_link(struct machine *m, unsigned link);
/* True: gpa belongs to the local APIC. */
bool machine_v2_decodes(const struct machine *m, uint64_t gpa);
uint64_t machine_v2_mmio_read(struct machine *m, uint64_t gpa, unsigned size);
void machine_v2_mmio_write(struct machine *m, uint64_t gpa, unsigned size, uint64_t value);
/* A device's write of a message-signalled interrupt; one to another address goes nowhere. */
void machine_v2_message(struct machine *m, uint64_t address, uint32_t data);
void machine_v2_power_button(struct machine *m);
/* True: a device, as it is set up now, can give the CPU an NMI. */
bool machine_v2_may_nmi(const struct machine *m);

/* machine_virtio.c */
bool machine_virtio_may_nmi(const struct machine *m);
/* PCI slots of the n-th disk and network card. */
unsigned machine_disk_slot(unsigned n);
unsigned machine_nic_slot(unsigned n);
/* cloud-init's disk. */
struct memdisk *machine_virtio_cidata(const struct machine *m);
int machine_virtio_init(struct machine *m, struct disk_backend *const *disks, struct err *err);
void machine_virtio_fini(struct machine *m);
void machine_virtio_net_rx(struct machine *m, unsigned port, const uint8_t *frame, size_t len);
/* port: CONSOLE_VIRTIO or CONSOLE_AGENT. -EINVAL: the machine has none. */
int machine_virtio_console_rx(struct machine *m, unsigned port, const uint8_t *data, size_t len);
/* 0: it takes none now, or the machine has none. */
size_t machine_virtio_console_room(const struct machine *m, unsigned port);
/*
 * -EIO when a disk's host I/O failed and no input said so: what the guest was told is not what its
 * image holds.
 */
int machine_virtio_disk_check(const struct machine *m, struct err *err);
int machine_virtio_disk_error(struct machine *m, unsigned port, uint64_t request, int error);
int machine_virtio_control(struct machine *m, enum control_command cmd, unsigned port,
			   uint64_t arg);
/* The machine's configuration says from now on what sizes its disks have. */
void machine_virtio_note_sizes(struct machine *m);
/* CONTROL_POWER, of all disks. */
int machine_virtio_power(struct machine *m, uint64_t seed);

#endif
