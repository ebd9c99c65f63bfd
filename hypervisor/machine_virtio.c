// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The machine's PCI bus and the virtio devices on it: wiring, and the inputs that are meant for
 * them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/devices/memdisk.h"
#include "hypervisor/devices/pci.h"
#include "hypervisor/devices/virtio_balloon.h"
#include "hypervisor/devices/virtio_blk.h"
#include "hypervisor/devices/virtio_console.h"
#include "hypervisor/devices/virtio_net.h"
#include "hypervisor/devices/virtio_pci.h"
#include "hypervisor/devices/virtio_rng.h"
#include "hypervisor/machine_private.h"

struct machine_virtio {
	struct pci_host pci;
	struct machine_port netport[MACHINE_NICS];
	struct virtio_net net[MACHINE_NICS];
	struct virtio_pci net_pci[MACHINE_NICS];
	struct virtio_blk blk[MACHINE_DISKS];
	struct virtio_pci blk_pci[MACHINE_DISKS];
	unsigned nblk; /* initialised ones */
	struct memdisk cidata;
	struct virtio_console console;
	struct virtio_pci console_pci;
	struct virtio_console agent;
	struct virtio_pci agent_pci;
	struct virtio_rng rng;
	struct virtio_pci rng_pci;
	struct virtio_balloon balloon;
	struct virtio_pci balloon_pci;
	struct msix_target target; /* of MSI-X, where the machine has it */
};

/* NULL: no device has MSI-X. */
static const struct msix_target *messages(const struct machine *m)
{
	return m->v2 ? &m->virtio->target : NULL;
}

/* Between a device and its transport: what its rings are in this machine version. */
static struct virtio *sized(const struct machine *m, struct virtio *v)
{
	if (m->v2)
		virtio_set_limit(v, VIRTQ_SIZE_MAX);
	return v;
}

static void message_write(void *ctx, uint64_t address, uint32_t data)
{
	machine_v2_message(ctx, address, data);
}

static void net_tx(void *ctx, const uint8_t *frame, size_t len)
{
	struct machine_port *p = ctx;

	machine_output(p->m, OUTPUT_NET_TX, p->port, frame, len);
}

static void console_tx(void *ctx, const uint8_t *data, size_t len)
{
	machine_output(ctx, OUTPUT_CONSOLE, CONSOLE_VIRTIO, data, len);
}

static void agent_tx(void *ctx, const uint8_t *data, size_t len)
{
	machine_output(ctx, OUTPUT_CONSOLE, CONSOLE_AGENT, data, len);
}

static uint64_t rng_random(void *ctx)
{
	return generator_next(&((struct machine *)ctx)->generator);
}

unsigned machine_nic_slot(unsigned n)
{
	return n < MACHINE_V1_DEVICES ? PCI_SLOT_NET + n
				      : PCI_SLOT_MORE_NETS + n - MACHINE_V1_DEVICES;
}

unsigned machine_disk_slot(unsigned n)
{
	return n < MACHINE_V1_DEVICES ? PCI_SLOT_DISK + n
				      : PCI_SLOT_MORE_DISKS + n - MACHINE_V1_DEVICES;
}

_Static_assert(PCI_SLOT_MORE_NETS + MACHINE_NICS - MACHINE_V1_DEVICES <= PCI_SLOT_MORE_DISKS &&
		       PCI_SLOT_MORE_DISKS + MACHINE_DISKS - MACHINE_V1_DEVICES <= PCI_SLOTS,
	       "every device has a slot of its own");

static bool add_nics(struct machine *m)
{
	struct machine_virtio *v = m->virtio;

	for (unsigned i = 0; i < m->config.nnics; i++) {
		struct virtio_net_effects fx = { .tx = net_tx, .ctx = &v->netport[i] };

		v->netport[i] = (struct machine_port){ .m = m, .port = (uint8_t)i };
		virtio_net_init(&v->net[i], &m->memory, m->config.mac[i], &fx);
		if (!virtio_pci_init(&v->net_pci[i], sized(m, &v->net[i].virtio), &v->pci,
				     machine_nic_slot(i), messages(m)))
			return false;
		machine_device_add(m, &virtio_net_ops, &v->net[i], i);
	}
	return true;
}

static bool add_disk(struct machine *m, struct disk_backend *disk, const char *serial)
{
	struct machine_virtio *v = m->virtio;
	unsigned i = v->nblk++;

	virtio_blk_init(&v->blk[i], &m->memory, &m->clock, disk, serial);
	if (!virtio_pci_init(&v->blk_pci[i], sized(m, &v->blk[i].virtio), &v->pci,
			     machine_disk_slot(i), messages(m)))
		return false;
	machine_device_add(m, &virtio_blk_ops, &v->blk[i], i);
	return true;
}

static bool add_disks(struct machine *m, struct disk_backend *const *disks)
{
	for (unsigned i = 0; i < m->config.ndisks; i++) {
		char serial[32];

		snprintf(serial, sizeof(serial), "twinstep-disk%u", i);
		if (!add_disk(m, disks[i], serial))
			return false;
	}
	return true;
}

/* Adds the disk for cloud-init, if the configuration has one. */
static int add_cidata(struct machine *m, struct err *err)
{
	struct memdisk *d = &m->virtio->cidata;
	uint32_t sectors = m->config.carried_sectors[CARRIED_CIDATA];
	int ret = sectors ? memdisk_init(d, sectors) : 0;

	if (ret < 0)
		return err_set(err, -ret, "a disk of cloud-init's cannot have %u sectors", sectors);
	if (!sectors)
		return 0;
	machine_device_add(m, &memdisk_ops, d, 0);
	return add_disk(m, &d->backend, "twinstep-cidata")
		       ? 0
		       : err_set(err, EBUSY, "a PCI slot is taken twice");
}

struct memdisk *machine_virtio_cidata(const struct machine *m)
{
	return &m->virtio->cidata;
}

static bool add_console(struct machine *m)
{
	struct machine_virtio *v = m->virtio;
	struct virtio_console_effects fx = { .tx = console_tx, .ctx = m };

	if (!m->config.virtio_console)
		return true;
	virtio_console_init(&v->console, &m->memory, &fx);
	machine_device_add(m, &virtio_console_ops, &v->console, 0);
	return virtio_pci_init(&v->console_pci, sized(m, &v->console.virtio), &v->pci,
			       PCI_SLOT_CONSOLE, messages(m));
}

/* The name is that under which Debian's and others' packages of QEMU's guest agent look for it. */
static bool add_agent(struct machine *m)
{
	struct machine_virtio *v = m->virtio;
	struct virtio_console_effects fx = { .tx = agent_tx, .ctx = m };

	if (!m->config.agent)
		return true;
	virtio_console_init_port(&v->agent, &m->memory, "org.qemu.guest_agent.0", &fx);
	machine_device_add(m, &virtio_console_ops, &v->agent, 1);
	return virtio_pci_init(&v->agent_pci, sized(m, &v->agent.virtio), &v->pci, PCI_SLOT_AGENT,
			       messages(m));
}

static bool add_rng_and_balloon(struct machine *m)
{
	struct machine_virtio *v = m->virtio;

	virtio_rng_init(&v->rng, &m->memory, rng_random, m);
	machine_device_add(m, &virtio_rng_ops, &v->rng, 0);
	virtio_balloon_init(&v->balloon, &m->memory, NULL);
	machine_device_add(m, &virtio_balloon_ops, &v->balloon, 0);
	return virtio_pci_init(&v->rng_pci, sized(m, &v->rng.virtio), &v->pci, PCI_SLOT_RNG,
			       messages(m)) &&
	       virtio_pci_init(&v->balloon_pci, sized(m, &v->balloon.virtio), &v->pci,
			       PCI_SLOT_BALLOON, messages(m));
}

static void machine_cf9_write(void *ctx, uint8_t value)
{
	reset_cf9_write(&((struct machine *)ctx)->reset, value);
}

static uint8_t machine_cf9_read(void *ctx)
{
	return reset_cf9_read(&((struct machine *)ctx)->reset);
}

/* ---- MSI-X of all transports, as one device ---- */

/* The transport in a slot; NULL: none, or something else. */
static struct virtio_pci *transport_at(const struct machine_virtio *v, unsigned slot)
{
	const struct pci_device *d = v->pci.slot[slot];

	return d && !d->bridge ? d->dev : NULL;
}

static void transports_reset(void *dev)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct virtio_pci *t = transport_at(dev, slot);

		if (t)
			virtio_pci_msix_reset(t);
	}
}

static void transports_save(const void *dev, struct buf *out)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		const struct virtio_pci *t = transport_at(dev, slot);

		if (t)
			virtio_pci_msix_save(t, out);
	}
}

static int transports_restore(void *dev, struct rd *in)
{
	int ret = 0;

	for (unsigned slot = 0; slot < PCI_SLOTS && ret == 0; slot++) {
		struct virtio_pci *t = transport_at(dev, slot);

		if (t)
			ret = virtio_pci_msix_restore(t, in);
	}
	if (ret < 0)
		transports_reset(dev);
	return ret;
}

bool machine_virtio_may_nmi(const struct machine *m)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		const struct virtio_pci *t = transport_at(m->virtio, slot);

		if (t && t->has_msix && msix_may_nmi(&t->msix))
			return true;
	}
	return false;
}

static const struct device_ops msix_ops = {
	.name = "msix",
	.reset = transports_reset,
	.save = transports_save,
	.restore = transports_restore,
};

int machine_virtio_init(struct machine *m, struct disk_backend *const *disks, struct err *err)
{
	struct irq_line link[PCI_LINKS];
	struct machine_virtio *v = calloc(1, sizeof(*v));

	if (!v)
		return err_set(err, ENOMEM, "out of memory");
	m->virtio = v;
	for (unsigned i = 0; i < PCI_LINKS; i++) {
		link[i] = m->v2 ? machine_v2_link(m, i) : machine_irq(m, pci_link_irq[i]);
		m->level_irqs |= (uint16_t)(1u << pci_link_irq[i]);
	}
	if (!pci_init(&v->pci, &m->bus, link))
		return err_set(err, EBUSY, "the ports of the PCI bus are taken");
	v->pci.cf9_read = machine_cf9_read;
	v->pci.cf9_write = machine_cf9_write;
	v->pci.cf9_ctx = m;
	machine_device_add(m, &pci_ops, &v->pci, 0);
	if (m->v2 && !machine_v2_bridges(m, &v->pci))
		return err_set(err, EBUSY, "the slot of the ISA bridge is taken");
	v->target = (struct msix_target){ .write = message_write, .ctx = m };
	if (!add_nics(m) || !add_disks(m, disks))
		return err_set(err, EBUSY, "a PCI slot is taken twice");
	if (add_cidata(m, err) < 0)
		return -err->code;
	if (!add_console(m) || !add_agent(m) || !add_rng_and_balloon(m))
		return err_set(err, EBUSY, "a PCI slot is taken twice");
	if (m->v2)
		machine_device_add(m, &msix_ops, v, 0);
	return 0;
}

void machine_virtio_fini(struct machine *m)
{
	for (unsigned i = 0; m->virtio && i < m->virtio->nblk; i++)
		virtio_blk_fini(&m->virtio->blk[i]);
	if (m->virtio)
		memdisk_fini(&m->virtio->cidata);
	free(m->virtio);
	m->virtio = NULL;
}

void machine_virtio_net_rx(struct machine *m, unsigned port, const uint8_t *frame, size_t len)
{
	virtio_net_receive(&m->virtio->net[port], frame, len);
}

bool machine_wants_frame(const struct machine *m, unsigned port, const uint8_t *frame, size_t len)
{
	return port < m->config.nnics && virtio_net_wants(&m->virtio->net[port], frame, len);
}

const uint8_t *machine_nic_mac(const struct machine *m, unsigned port)
{
	return m->virtio->net[port].present_mac;
}

static struct virtio_console *console_at(const struct machine *m, unsigned port)
{
	if (port == CONSOLE_VIRTIO && m->config.virtio_console)
		return &m->virtio->console;
	return port == CONSOLE_AGENT && m->config.agent ? &m->virtio->agent : NULL;
}

int machine_virtio_console_rx(struct machine *m, unsigned port, const uint8_t *data, size_t len)
{
	struct virtio_console *c = console_at(m, port);

	if (!c)
		return -EINVAL;
	virtio_console_input(c, data, len);
	return 0;
}

size_t machine_virtio_console_room(const struct machine *m, unsigned port)
{
	const struct virtio_console *c = console_at(m, port);

	return c ? virtio_console_room(c) : 0;
}

int machine_virtio_disk_error(struct machine *m, unsigned port, uint64_t request, int error)
{
	return port < m->virtio->nblk ? virtio_blk_set_error(&m->virtio->blk[port], request, error)
				      : -EINVAL;
}

bool machine_disk_request(const struct machine *m, unsigned disk, uint64_t *number)
{
	return disk < m->virtio->nblk && virtio_blk_request(&m->virtio->blk[disk], number);
}

void machine_virtio_note_sizes(struct machine *m)
{
	for (unsigned i = 0; i < m->config.ndisks; i++)
		m->config.disk_sectors[i] = m->virtio->blk[i].disk->sectors;
}

static int disk_grow(struct machine *m, unsigned disk, uint64_t sectors)
{
	int ret =
		disk < m->config.ndisks ? virtio_blk_grow(&m->virtio->blk[disk], sectors) : -EINVAL;

	machine_virtio_note_sizes(m);
	return ret;
}

static int disk_control(struct virtio_blk *b, enum control_command cmd, uint64_t arg)
{
	if (cmd == CONTROL_DISK_LATE)
		return virtio_blk_delay(b, arg);
	return cmd == CONTROL_DISK_ROT ? virtio_blk_rot(b, arg) : virtio_blk_spoil(b, arg);
}

int machine_virtio_control(struct machine *m, enum control_command cmd, unsigned port, uint64_t arg)
{
	struct machine_virtio *v = m->virtio;

	if (cmd == CONTROL_BALLOON) {
		if (arg > m->memory.pages)
			return -EINVAL;
		virtio_balloon_set_target(&v->balloon, (uint32_t)arg);
		return 0;
	}
	if (cmd == CONTROL_DISK_GROW)
		return disk_grow(m, port, arg);
	if (cmd == CONTROL_DISK_LATE || cmd == CONTROL_DISK_WRITES || cmd == CONTROL_DISK_ROT)
		return port < v->nblk ? disk_control(&v->blk[port], cmd, arg) : -EINVAL;
	if (port >= m->config.nnics)
		return -EINVAL;
	if (cmd == CONTROL_LINK)
		virtio_net_set_link(&v->net[port], arg != 0);
	else
		virtio_net_announce(&v->net[port]);
	return 0;
}

int machine_virtio_power(struct machine *m, uint64_t seed)
{
	int ret = 0;

	for (unsigned i = 0; i < m->virtio->nblk && ret == 0; i++)
		ret = virtio_blk_power(&m->virtio->blk[i], seed ? seed + i : 0);
	return ret;
}

size_t machine_disk_errors(struct machine *m, uint64_t ns, struct input *in, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < m->virtio->nblk; i++) {
		uint64_t number;
		int error;

		while (n < max && (error = virtio_blk_next_error(&m->virtio->blk[i], ns, &number)))
			in[n++] = (struct input){ .kind = INPUT_DISK_ERROR,
						  .port = (uint8_t)i,
						  .a = number,
						  .b = (uint64_t)error };
	}
	return n;
}

int machine_virtio_disk_check(const struct machine *m, struct err *err)
{
	for (unsigned i = 0; i < m->virtio->nblk; i++) {
		int error = m->virtio->blk[i].host_fault;

		if (error)
			return err_set(err, EIO,
				       "disk %u: the host's I/O failed (%s) where the record has "
				       "no error: its image is no copy any more",
				       i, strerror(error));
	}
	return 0;
}
