// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/msix.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/devices/lapic.h"

#define CAP_ID	     0x11u
#define CAP_SIZE     12u
#define CAP_CONTROL  2u /* its high byte, at 3, can be written */
#define CAP_TABLE    4u
#define CAP_PBA	     8u
#define CONTROL_MASK 0x40u /* in that byte: all vectors are masked */
#define CONTROL_ON   0x80u

#define ENTRY_SIZE   16u
#define ENTRY_MASKED 1u

static uint8_t control(const struct msix *x)
{
	return x->pci->config[x->cap + CAP_CONTROL + 1];
}

bool msix_enabled(const struct msix *x)
{
	return control(x) & CONTROL_ON;
}

static bool is_masked(const struct msix *x, unsigned vector)
{
	return (control(x) & (CONTROL_ON | CONTROL_MASK)) != CONTROL_ON ||
	       (x->entry[vector].control & ENTRY_MASKED);
}

/* Sends what is pending and no longer masked. */
static void flush(struct msix *x)
{
	for (unsigned i = 0; i < x->n; i++) {
		if (!(x->pending >> i & 1) || is_masked(x, i))
			continue;
		x->pending &= ~(1u << i);
		x->target.write(x->target.ctx, x->entry[i].address, x->entry[i].data);
	}
}

void msix_signal(struct msix *x, unsigned vector)
{
	if (vector >= x->n)
		return;
	x->pending |= 1u << vector;
	flush(x);
}

bool msix_may_nmi(const struct msix *x)
{
	for (unsigned i = 0; i < x->n; i++) {
		if (!is_masked(x, i) &&
		    apic_message_of_msi(x->entry[i].address, x->entry[i].data).mode == APIC_NMI)
			return true;
	}
	return false;
}

static uint32_t dword_read(const struct msix *x, uint64_t offset)
{
	const struct msix_entry *e = &x->entry[offset / ENTRY_SIZE % MSIX_VECTORS_MAX];

	if (offset == MSIX_PBA)
		return x->pending;
	if (offset >= x->n * (uint64_t)ENTRY_SIZE)
		return 0;
	switch (offset % ENTRY_SIZE) {
	case 0:
		return (uint32_t)e->address;
	case 4:
		return (uint32_t)(e->address >> 32);
	case 8:
		return e->data;
	default:
		return e->control;
	}
}

static void dword_write(struct msix *x, uint64_t offset, uint32_t v)
{
	struct msix_entry *e = &x->entry[offset / ENTRY_SIZE % MSIX_VECTORS_MAX];

	if (offset >= x->n * (uint64_t)ENTRY_SIZE)
		return;
	switch (offset % ENTRY_SIZE) {
	case 0:
		e->address = (e->address & ~0xffffffffull) | (v & ~3u);
		break;
	case 4:
		e->address = (uint32_t)e->address | (uint64_t)v << 32;
		break;
	case 8:
		e->data = v;
		break;
	default:
		e->control = v & ENTRY_MASKED;
	}
	flush(x);
}

/* Accesses are of aligned dwords or quadwords (6.8.2); others read parts and write nothing. */
uint64_t msix_read(const struct msix *x, uint64_t offset, unsigned size)
{
	uint64_t v = dword_read(x, offset & ~3ull);

	if (size == 8)
		v |= (uint64_t)dword_read(x, (offset & ~3ull) + 4) << 32;
	return v >> 8 * (offset & 3);
}

void msix_write(struct msix *x, uint64_t offset, unsigned size, uint64_t value)
{
	if (size < 4 || offset % size)
		return;
	dword_write(x, offset, (uint32_t)value);
	if (size == 8)
		dword_write(x, offset + 4, (uint32_t)(value >> 32));
}

bool msix_config_written(struct msix *x, unsigned offset, unsigned size)
{
	unsigned at = x->cap + CAP_CONTROL + 1;

	if (offset > at || offset + size <= at)
		return false;
	flush(x);
	return true;
}

void msix_init(struct msix *x, struct pci_device *pci, unsigned bar, unsigned n, bus_read_fn read,
	       bus_write_fn write, const struct msix_target *target)
{
	uint8_t cap[CAP_SIZE] = { 0 };

	must(n >= 1 && n <= MSIX_VECTORS_MAX);
	*x = (struct msix){ .pci = pci, .n = n, .target = *target };
	pci_config_put(cap, CAP_CONTROL, 2, n - 1);
	pci_config_put(cap, CAP_TABLE, 4, bar);
	pci_config_put(cap, CAP_PBA, 4, MSIX_PBA | bar);
	x->cap = pci_device_add_capability(pci, CAP_ID, cap, sizeof(cap));
	must(x->cap != 0);
	pci->wmask[x->cap + CAP_CONTROL + 1] = CONTROL_ON | CONTROL_MASK;
	pci_device_add_bar(pci, bar, MSIX_BAR_SIZE, read, write);
	msix_reset(x);
}

void msix_reset(struct msix *x)
{
	memset(x->entry, 0, sizeof(x->entry));
	for (unsigned i = 0; i < x->n; i++)
		x->entry[i].control = ENTRY_MASKED;
	x->pending = 0;
}

void msix_save(const struct msix *x, struct buf *out)
{
	buf_put_u32(out, x->pending);
	for (unsigned i = 0; i < x->n; i++) {
		buf_put_u64(out, x->entry[i].address);
		buf_put_u32(out, x->entry[i].data);
		buf_put_u32(out, x->entry[i].control);
	}
}

int msix_restore(struct msix *x, struct rd *in)
{
	bool ok = true;

	x->pending = rd_u32(in);
	for (unsigned i = 0; i < x->n; i++) {
		struct msix_entry *e = &x->entry[i];

		e->address = rd_u64(in);
		e->data = rd_u32(in);
		e->control = rd_u32(in);
		ok = ok && !(e->address & 3) && !(e->control & ~ENTRY_MASKED);
	}
	if (ok && !in->bad && !(x->pending >> x->n))
		return 0;
	msix_reset(x);
	return -EINVAL;
}
