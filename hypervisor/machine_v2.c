// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The board of machine version 2: where version 1 has the 8259 pair at the CPU's INTR pin, this one
 * has a local APIC with the 8259 pair at its LINT0, an I/O APIC beside it, ACPI power management,
 * and bridges that a PC BIOS knows. With firmware: its ROM, and the device that it asks about the
 * machine.
 *
 *   ISA interrupt n    8259 input n, I/O APIC input n; the 8254's, 0, at input 2 of the latter
 *   PCI link n         8259 input as the ISA bridge says, I/O APIC input 16 + n
 *   SCI                8259 input 9, I/O APIC input 9
 *
 * An input of the 8259 that several drive is asserted while one of them asserts it.
 *
 * The controllers come last among the devices: what others do to their inputs while a state is
 * restored is overwritten by their own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/boot/acpi.h"
#include "hypervisor/boot/image.h"
#include "hypervisor/devices/acpi_pm.h"
#include "hypervisor/devices/fw_cfg.h"
#include "hypervisor/devices/i440fx.h"
#include "hypervisor/devices/ioapic.h"
#include "hypervisor/devices/lapic.h"
#include "hypervisor/devices/memdisk.h"
#include "hypervisor/devices/pci.h"
#include "hypervisor/devices/pvpanic.h"
#include "hypervisor/devices/rom.h"
#include "hypervisor/machine_private.h"

#define PIN_TIMER 2u
#define PIN_LINKS 16u

/* The sources that may drive an input of the 8259. */
enum { DRIVER_ISA, DRIVER_SCI, DRIVER_LINK };

struct machine_v2 {
	struct lapic lapic;
	struct ioapic ioapic;
	struct acpi_pm pm;
	struct pvpanic pvpanic;
	struct i440fx bridges;
	struct pci_host *pci;
	struct rom rom;
	struct fw_cfg fw_cfg;
	struct memdisk net_rom, cd_rom;
	uint8_t driven[I8259_IRQS]; /* by whom */
};

/* ---- lines ---- */

static void pic_drive(struct machine *m, unsigned irq, unsigned driver, bool level)
{
	uint8_t *d = &m->v2->driven[irq];

	*d = (uint8_t)(level ? *d | 1u << driver : *d & ~(1u << driver));
	i8259_set_irq(&m->pic, irq, *d != 0);
}

static void isa_set(void *ctx, unsigned line, bool level)
{
	struct machine *m = ctx;

	pic_drive(m, line, DRIVER_ISA, level);
	ioapic_set_irq(&m->v2->ioapic, line == 0 ? PIN_TIMER : line, level);
}

static void sci_set(void *ctx, unsigned line, bool level)
{
	struct machine *m = ctx;

	pic_drive(m, line, DRIVER_SCI, level);
	ioapic_set_irq(&m->v2->ioapic, line, level);
}

static void link_set(void *ctx, unsigned link, bool level)
{
	struct machine *m = ctx;

	unsigned irq = i440fx_route(&m->v2->bridges, link);

	if (irq != I440FX_NO_IRQ)
		pic_drive(m, irq, DRIVER_LINK + link, level);
	ioapic_set_irq(&m->v2->ioapic, PIN_LINKS + link, level);
}

/* The links go to other inputs of the 8259 now. */
static void links_rerouted(void *ctx)
{
	struct machine *m = ctx;

	for (unsigned irq = 0; irq < I8259_IRQS; irq++) {
		for (unsigned link = 0; link < PCI_LINKS; link++) {
			if (m->v2->driven[irq] >> (DRIVER_LINK + link) & 1)
				pic_drive(m, irq, DRIVER_LINK + link, false);
		}
	}
	pci_drive_links(m->v2->pci);
}

bool machine_v2_bridges(struct machine *m, struct pci_host *pci)
{
	m->v2->pci = pci;
	return i440fx_init(&m->v2->bridges, pci, links_rerouted, m);
}

struct irq_line machine_v2_irq(struct machine *m, unsigned line)
{
	return (struct irq_line){ .set = isa_set, .ctx = m, .line = line };
}

struct irq_line machine_v2_link(struct machine *m, unsigned link)
{
	return (struct irq_line){ .set = link_set, .ctx = m, .line = link };
}

/* ---- between the controllers ---- */

static void pic_output(void *ctx, bool level)
{
	struct machine *m = ctx;

	lapic_set_lint(&m->v2->lapic, 0, level);
}

static uint8_t pic_acknowledge(void *ctx)
{
	return i8259_ack(&((struct machine *)ctx)->pic);
}

static void apic_nmi(void *ctx)
{
	struct machine *m = ctx;

	m->engine->ops->inject_nmi(m->engine);
}

static void apic_eoi(void *ctx, uint8_t vector)
{
	ioapic_eoi(&((struct machine *)ctx)->v2->ioapic, vector);
}

static bool apic_send(void *ctx, const struct apic_message *msg)
{
	return lapic_receive(&((struct machine *)ctx)->v2->lapic, msg);
}

void machine_v2_message(struct machine *m, uint64_t address, uint32_t data)
{
	const struct apic_message msg = apic_message_of_msi(address, data);

	if (address >> 20 == LAPIC_BASE >> 20)
		lapic_receive(&m->v2->lapic, &msg);
}

static bool intc_pending(const void *dev)
{
	return lapic_pending(dev);
}

static uint8_t intc_acknowledge(void *dev)
{
	return lapic_acknowledge(dev);
}

static void intc_drop(void *dev)
{
	struct lapic *l = dev;

	if (!lapic_drop(l))
		i8259_drop(&((struct machine *)l->fx.ctx)->pic);
}

static const struct intc_ops apic_intc_ops = {
	.pending = intc_pending,
	.acknowledge = intc_acknowledge,
	.drop = intc_drop,
};

/* ---- what the CPU asks of its APIC ---- */

static bool apic_read(void *ctx, uint32_t msr, uint64_t *v)
{
	return lapic_msr_read(&((struct machine *)ctx)->v2->lapic, msr, v);
}

static bool apic_write(void *ctx, uint32_t msr, uint64_t v)
{
	return lapic_msr_write(&((struct machine *)ctx)->v2->lapic, msr, v);
}

static uint64_t cr8_read(void *ctx)
{
	return lapic_cr8(&((struct machine *)ctx)->v2->lapic);
}

static void cr8_write(void *ctx, uint64_t v)
{
	lapic_set_cr8(&((struct machine *)ctx)->v2->lapic, v);
}

static void tsc_changed(void *ctx, uint64_t offset)
{
	lapic_set_tsc_offset(&((struct machine *)ctx)->v2->lapic, offset);
}

void machine_v2_engine_bus(struct engine_bus *bus)
{
	bus->apic_read = apic_read;
	bus->apic_write = apic_write;
	bus->cr8_read = cr8_read;
	bus->cr8_write = cr8_write;
	bus->tsc_changed = tsc_changed;
}

bool machine_v2_decodes(const struct machine *m, uint64_t gpa)
{
	return m->v2 && lapic_decodes(&m->v2->lapic, gpa);
}

uint64_t machine_v2_mmio_read(struct machine *m, uint64_t gpa, unsigned size)
{
	return lapic_mmio_read(&m->v2->lapic, gpa & (PAGE_SIZE - 1), size);
}

void machine_v2_mmio_write(struct machine *m, uint64_t gpa, unsigned size, uint64_t value)
{
	lapic_mmio_write(&m->v2->lapic, gpa & (PAGE_SIZE - 1), size, value);
}

/* ---- power ---- */

static void soft_off(void *ctx)
{
	machine_end_soon(ctx, MACHINE_POWEROFF);
}

void machine_v2_power_button(struct machine *m)
{
	acpi_pm_press(&m->v2->pm);
}

static void guest_panicked(void *ctx, uint8_t events)
{
	machine_output(ctx, OUTPUT_PANIC, 0, &events, 1);
}

bool machine_v2_may_nmi(const struct machine *m)
{
	return ioapic_may_nmi(&m->v2->ioapic) || lapic_may_nmi(&m->v2->lapic) ||
	       machine_virtio_may_nmi(m);
}

/* ---- the wires as a device ---- */

static void board_reset(void *dev)
{
	struct machine_v2 *v = dev;

	memset(v->driven, 0, sizeof(v->driven));
}

static void board_save(const void *dev, struct buf *out)
{
	const struct machine_v2 *v = dev;

	buf_put(out, v->driven, sizeof(v->driven));
}

static int board_restore(void *dev, struct rd *in)
{
	struct machine_v2 *v = dev;

	rd_get(in, v->driven, sizeof(v->driven));
	for (unsigned i = 0; i < I8259_IRQS; i++) {
		if (v->driven[i] >> (DRIVER_LINK + PCI_LINKS))
			in->bad = true;
	}
	if (in->bad)
		board_reset(v);
	return in->bad ? -EINVAL : 0;
}

static const struct device_ops board_ops = {
	.name = "board",
	.reset = board_reset,
	.save = board_save,
	.restore = board_restore,
};

/* ---- firmware ---- */

int machine_v2_load_firmware(struct machine *m, const uint8_t *image, size_t size)
{
	return rom_load(&m->v2->rom, image, size);
}

/* Entries of etc/e820: address, length, type; 20 bytes each. */
static bool add_memory_map(struct machine *m)
{
	const struct boot_map_entry map[] = {
		{ 0, m->memory.low_size, BOOT_MAP_RAM },
		{ MEMORY_HOLE_END, m->memory.high_size, BOOT_MAP_RAM },
	};
	struct buf b = BUF_INIT;
	bool ok;

	for (unsigned i = 0; i < 2 && map[i].len; i++) {
		buf_put_u64(&b, map[i].base);
		buf_put_u64(&b, map[i].len);
		buf_put_u32(&b, map[i].type);
	}
	ok = !b.bad && fw_cfg_add_file(&m->v2->fw_cfg, "etc/e820", b.data, b.len);
	buf_free(&b);
	return ok;
}

#define CD_ROM_FILE "genroms/cdrom.rom"

/*
 * A CD's image or network cards where there is a ROM for them, then disks in their order, named as
 * SeaBIOS looks for them, and nothing else.
 */
static bool add_boot_order(struct machine *m)
{
	char text[64 * (1 + MACHINE_DISKS + MACHINE_NICS) + 8] = "";
	size_t n = 0;

	if (m->config.carried_sectors[CARRIED_CD_ROM])
		n += (size_t)snprintf(text + n, sizeof(text) - n, "/rom@" CD_ROM_FILE "\n");

	for (unsigned i = 0; m->config.carried_sectors[CARRIED_NET_ROM] && i < m->config.nnics; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "/pci@i0cf8/ethernet@%x/ethernet-phy@0\n",
				      machine_nic_slot(i));
	for (unsigned i = 0; i < m->config.ndisks; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "/pci@i0cf8/scsi@%x/disk@0,0\n",
				      machine_disk_slot(i));
	n += (size_t)snprintf(text + n, sizeof(text) - n, "HALT");
	return fw_cfg_add_file(&m->v2->fw_cfg, "bootorder", text, n + 1);
}

static bool add_acpi(struct machine *m)
{
	struct fw_cfg *f = &m->v2->fw_cfg;
	struct acpi_rom rom;

	acpi_make_rom(&rom);
	return fw_cfg_add_file(f, ACPI_ROM_TABLES, rom.tables, rom.ntables) &&
	       fw_cfg_add_file(f, "etc/table-loader", rom.script, rom.nscript);
}

struct memdisk *machine_v2_rom(const struct machine *m, enum machine_carried which)
{
	if (!m->v2)
		return NULL;
	return which == CARRIED_CD_ROM ? &m->v2->cd_rom : &m->v2->net_rom;
}

/* Adds an option ROM that it has, by the name that SeaBIOS asks for. */
static bool add_rom(struct machine *m, enum machine_carried which, const char *name)
{
	uint32_t sectors = m->config.carried_sectors[which];
	struct memdisk *d = machine_v2_rom(m, which);

	if (!sectors)
		return true;
	if (memdisk_init(d, sectors) < 0)
		return false;
	machine_device_add(m, &memdisk_ops, d, which);
	return fw_cfg_add_view(&m->v2->fw_cfg, name, d->data, (size_t)sectors * DISK_SECTOR);
}

/*
 * Adds the firmware's devices, with SeaBIOS's settings: its text goes to COM1, and without anything
 * to boot it waits for good.
 */
static int add_firmware_devices(struct machine *m, struct err *err)
{
	struct fw_cfg *f = &m->v2->fw_cfg;

	rom_init(&m->v2->rom, &m->bus, &m->memory);
	fw_cfg_init(f, &m->bus, &m->memory);
	if (!add_memory_map(m) || !add_boot_order(m) || !add_acpi(m) ||
	    !add_rom(m, CARRIED_NET_ROM, "pci1af4,1041.rom") ||
	    !add_rom(m, CARRIED_CD_ROM, CD_ROM_FILE) ||
	    !fw_cfg_add_number(f, "etc/sercon-port", UART_COM1, 2) ||
	    !fw_cfg_add_number(f, "etc/show-boot-menu", 0, 2) ||
	    !fw_cfg_add_number(f, "etc/boot-fail-wait", UINT32_MAX, 4))
		return err_set(err, ENOMEM, "out of memory");
	machine_device_add(m, &rom_ops, &m->v2->rom, 0);
	machine_device_add(m, &fw_cfg_ops, f, 0);
	return 0;
}

/* ---- creation ---- */

int machine_v2_init(struct machine *m, struct err *err)
{
	const struct lapic_effects fx = { .intr = machine_intr,
					  .nmi = apic_nmi,
					  .eoi = apic_eoi,
					  .extint = pic_acknowledge,
					  .ctx = m };
	const struct irq_line sci = { .set = sci_set, .ctx = m, .line = ACPI_SCI_IRQ };

	m->v2 = calloc(1, sizeof(*m->v2));
	if (!m->v2)
		return err_set(err, ENOMEM, "out of memory");
	lapic_init(&m->v2->lapic, &m->clock, &fx);
	ioapic_init(&m->v2->ioapic, &m->bus, apic_send, m);
	i8259_init(&m->pic, &m->bus, pic_output, m);
	acpi_pm_init(&m->v2->pm, &m->bus, &m->clock, sci, soft_off, m);
	m->intc = (struct intc){ .ops = &apic_intc_ops, .dev = &m->v2->lapic };
	m->level_irqs |= 1u << ACPI_SCI_IRQ;
	machine_device_add(m, &acpi_pm_ops, &m->v2->pm, 0);
	pvpanic_init(&m->v2->pvpanic, &m->bus, guest_panicked, m);
	machine_device_add(m, &pvpanic_ops, &m->v2->pvpanic, 0);
	return m->config.firmware ? add_firmware_devices(m, err) : 0;
}

void machine_v2_add_controllers(struct machine *m)
{
	machine_device_add(m, &board_ops, m->v2, 0);
	machine_device_add(m, &i8259_ops, &m->pic, 0);
	machine_device_add(m, &ioapic_ops, &m->v2->ioapic, 0);
	machine_device_add(m, &lapic_ops, &m->v2->lapic, 0);
}

void machine_v2_fini(struct machine *m)
{
	if (!m->v2)
		return;
	fw_cfg_fini(&m->v2->fw_cfg);
	rom_fini(&m->v2->rom);
	memdisk_fini(&m->v2->net_rom);
	memdisk_fini(&m->v2->cd_rom);
	free(m->v2);
	m->v2 = NULL;
}

void machine_v2_firmware(struct machine *m)
{
	lapic_firmware(&m->v2->lapic);
}
