// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_pci.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define VENDOR	      0x1af4u
#define DEVICE_BASE   0x1040u
#define SUBSYSTEM     0x1100u /* not below 0x40: not a transitional device (4.1.2.1) */
#define REVISION      1u
#define CAP_VENDOR    0x09u
#define NOTIFY_STRIDE 4u
#define NO_VECTOR     0xffffu
#define MSIX_BAR      1u

/* struct virtio_pci_cap.cfg_type (4.1.4) */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };

/* Layout of struct virtio_pci_cap */
enum {
	CAP_LEN_AT = 2,
	CAP_TYPE_AT = 3,
	CAP_BAR_AT = 4,
	CAP_OFFSET_AT = 8,
	CAP_LENGTH_AT = 12,
	CAP_SIZE = 16,
	CAP_EXTRA_AT = 16, /* notify_off_multiplier, or pci_cfg_data */
	CAP_SIZE_LONG = 20,
};

/* struct virtio_pci_common_cfg (4.1.4.3) */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0,
	COMMON_DEVICE_FEATURE = 4,
	COMMON_DRIVER_FEATURE_SELECT = 8,
	COMMON_DRIVER_FEATURE = 12,
	COMMON_CONFIG_VECTOR = 16,
	COMMON_NUM_QUEUES = 18,
	COMMON_STATUS = 20,
	COMMON_GENERATION = 21,
	COMMON_QUEUE_SELECT = 22,
	COMMON_QUEUE_SIZE = 24,
	COMMON_QUEUE_VECTOR = 26,
	COMMON_QUEUE_ENABLE = 28,
	COMMON_QUEUE_NOTIFY_OFF = 30,
	COMMON_QUEUE_DESC = 32,
	COMMON_QUEUE_DRIVER = 40,
	COMMON_QUEUE_DEVICE = 48,
	COMMON_SIZE = 56,
};

static void put64(uint8_t *p, uint64_t v)
{
	pci_config_put(p, 0, 4, (uint32_t)v);
	pci_config_put(p, 4, 4, (uint32_t)(v >> 32));
}

static uint32_t half(uint64_t v, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(v >> (32 * select));
}

/* Image of the selected queue's registers; zeros, so size 0, when there is no such queue. */
static void common_image_queue(const struct virtio_pci *t, uint8_t *image)
{
	const struct virtio *v = t->virtio;
	const struct virtq *q;

	pci_config_put(image, COMMON_QUEUE_VECTOR, 2, NO_VECTOR);
	if (v->queue_select >= v->class->nqueues)
		return;
	pci_config_put(image, COMMON_QUEUE_VECTOR, 2, t->vector[v->queue_select]);
	q = &v->queue[v->queue_select];
	pci_config_put(image, COMMON_QUEUE_SIZE, 2, q->size);
	pci_config_put(image, COMMON_QUEUE_ENABLE, 2, q->enabled);
	pci_config_put(image, COMMON_QUEUE_NOTIFY_OFF, 2, v->queue_select);
	put64(image + COMMON_QUEUE_DESC, q->desc);
	put64(image + COMMON_QUEUE_DRIVER, q->avail);
	put64(image + COMMON_QUEUE_DEVICE, q->used);
}

static void common_image(const struct virtio_pci *t, uint8_t image[COMMON_SIZE])
{
	const struct virtio *v = t->virtio;

	memset(image, 0, COMMON_SIZE);
	pci_config_put(image, COMMON_DEVICE_FEATURE_SELECT, 4, v->device_feature_select);
	pci_config_put(image, COMMON_DEVICE_FEATURE, 4, half(v->offered, v->device_feature_select));
	pci_config_put(image, COMMON_DRIVER_FEATURE_SELECT, 4, v->driver_feature_select);
	pci_config_put(image, COMMON_DRIVER_FEATURE, 4,
		       half(v->accepted, v->driver_feature_select));
	pci_config_put(image, COMMON_CONFIG_VECTOR, 2, t->vector[VIRTIO_MSI_CONFIG]);
	pci_config_put(image, COMMON_NUM_QUEUES, 2, v->class->nqueues);
	pci_config_put(image, COMMON_STATUS, 1, v->status);
	pci_config_put(image, COMMON_GENERATION, 1, v->generation);
	pci_config_put(image, COMMON_QUEUE_SELECT, 2, v->queue_select);
	common_image_queue(t, image);
}

static uint64_t bytes_of(const uint8_t *image, size_t len, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		if (offset + i < len)
			v |= (uint64_t)image[offset + i] << (8 * i);
	return v;
}

static void write_driver_feature(struct virtio *v, uint64_t value)
{
	unsigned shift = 32 * v->driver_feature_select;

	if ((v->status & VIRTIO_STATUS_FEATURES_OK) || v->driver_feature_select > 1)
		return;
	v->accepted = (v->accepted & ~(0xffffffffull << shift)) | value << shift;
}

static void write_queue_size(const struct virtio *v, struct virtq *q, uint64_t value)
{
	if (value >= 1 && value <= v->limit && (value & (value - 1)) == 0)
		q->size = (uint16_t)value;
}

/* Writes a half, or all, of a 64-bit register (4.1.3.1: two 32-bit accesses). */
static void write_part(uint64_t *reg, unsigned byte, unsigned size, uint64_t value)
{
	uint64_t mask = size == 8 ? UINT64_MAX : 0xffffffffull << (8 * byte);

	*reg = (*reg & ~mask) | (value << (8 * byte) & mask);
}

/* A queue that is enabled keeps its settings until the device is reset. */
static void queue_write(struct virtio *v, unsigned offset, unsigned size, uint64_t value)
{
	struct virtq *q;

	if (v->queue_select >= v->class->nqueues)
		return;
	q = &v->queue[v->queue_select];
	if (q->enabled)
		return;
	if (offset == COMMON_QUEUE_SIZE && size == 2)
		write_queue_size(v, q, value);
	else if (offset == COMMON_QUEUE_ENABLE && size == 2 && value == 1)
		virtq_enable(v, v->queue_select);
	else if (offset < COMMON_QUEUE_DESC || size < 4 || offset % size ||
		 offset + size > COMMON_SIZE)
		return;
	else if (offset < COMMON_QUEUE_DRIVER)
		write_part(&q->desc, offset - COMMON_QUEUE_DESC, size, value);
	else if (offset < COMMON_QUEUE_DEVICE)
		write_part(&q->avail, offset - COMMON_QUEUE_DRIVER, size, value);
	else
		write_part(&q->used, offset - COMMON_QUEUE_DEVICE, size, value);
}

static void vectors_reset(struct virtio_pci *t)
{
	for (unsigned i = 0; i <= VIRTIO_MSI_CONFIG; i++)
		t->vector[i] = NO_VECTOR;
}

/* A vector that there is not reads back as none (4.1.5.1.2.1). */
static void vector_write(struct virtio_pci *t, unsigned which, uint64_t value)
{
	if (t->has_msix)
		t->vector[which] = value < t->msix.n ? (uint16_t)value : NO_VECTOR;
}

static void status_write(struct virtio_pci *t, uint8_t value)
{
	virtio_set_status(t->virtio, value);
	if (value == 0)
		vectors_reset(t);
}

/* Fields take effect when they are written in their own width; other accesses are dropped. */
static void common_write(struct virtio_pci *t, unsigned offset, unsigned size, uint64_t value)
{
	struct virtio *v = t->virtio;

	if (offset == COMMON_DEVICE_FEATURE_SELECT && size == 4)
		v->device_feature_select = (uint32_t)value;
	else if (offset == COMMON_DRIVER_FEATURE_SELECT && size == 4)
		v->driver_feature_select = (uint32_t)value;
	else if (offset == COMMON_DRIVER_FEATURE && size == 4)
		write_driver_feature(v, value);
	else if (offset == COMMON_STATUS && size == 1)
		status_write(t, (uint8_t)value);
	else if (offset == COMMON_CONFIG_VECTOR && size == 2)
		vector_write(t, VIRTIO_MSI_CONFIG, value);
	else if (offset == COMMON_QUEUE_VECTOR && size == 2 && v->queue_select < v->class->nqueues)
		vector_write(t, v->queue_select, value);
	else if (offset == COMMON_QUEUE_SELECT && size == 2)
		v->queue_select = (uint16_t)value;
	else
		queue_write(v, offset, size, value);
}

static uint64_t config_read(struct virtio *v, uint64_t offset, unsigned size)
{
	uint8_t image[VIRTIO_CONFIG_MAX] = { 0 };

	if (v->class->config_get)
		v->class->config_get(v, image);
	return bytes_of(image, v->class->config_size, offset, size);
}

static uint64_t virtio_pci_read(void *dev, uint64_t offset, unsigned size)
{
	struct virtio *v = ((struct virtio_pci *)dev)->virtio;
	uint8_t image[COMMON_SIZE];

	if (offset < COMMON_SIZE) {
		common_image(dev, image);
		return bytes_of(image, sizeof(image), offset, size);
	}
	if (offset == VIRTIO_PCI_ISR)
		return virtio_isr_take(v);
	if (offset >= VIRTIO_PCI_CONFIG && offset < VIRTIO_PCI_CONFIG + v->class->config_size)
		return config_read(v, offset - VIRTIO_PCI_CONFIG, size);
	return 0;
}

static void virtio_pci_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio *v = ((struct virtio_pci *)dev)->virtio;

	if (offset >= VIRTIO_PCI_NOTIFY)
		virtio_notify(v, (unsigned)(offset - VIRTIO_PCI_NOTIFY) / NOTIFY_STRIDE);
	else if (offset < COMMON_SIZE)
		common_write(dev, (unsigned)offset, size, value);
	else if (offset >= VIRTIO_PCI_CONFIG && size <= 4 && v->class->config_put &&
		 offset + size <= VIRTIO_PCI_CONFIG + v->class->config_size)
		v->class->config_put(v, (unsigned)(offset - VIRTIO_PCI_CONFIG), size,
				     (uint32_t)value);
}

/* --- configuration access capability (4.1.4.9) --- */

/* Offset and length that the window looks at; false: the driver's settings are not allowed. */
static bool window_target(const struct virtio_pci *t, uint32_t *offset, uint32_t *len)
{
	const uint8_t *cap = t->pci.config + t->window;

	*offset = pci_config_get(cap, CAP_OFFSET_AT, 4);
	*len = pci_config_get(cap, CAP_LENGTH_AT, 4);
	return cap[CAP_BAR_AT] == 0 && (*len == 1 || *len == 2 || *len == 4) &&
	       *offset % *len == 0 && *offset < VIRTIO_PCI_BAR_SIZE;
}

static bool window_touched(const struct virtio_pci *t, unsigned offset, unsigned size)
{
	unsigned data = t->window + CAP_EXTRA_AT;

	return offset < data + 4 && offset + size > data;
}

/* ---- interrupts ---- */

/* The line is silent while messages are on. */
static void line_update(struct virtio_pci *t)
{
	pci_device_set_intx(&t->pci, t->virtio->isr && !(t->has_msix && msix_enabled(&t->msix)));
}

static void virtio_pci_irq(void *ctx, unsigned line, bool level)
{
	line_update(ctx);
}

static bool virtio_pci_msi(void *ctx, unsigned queue)
{
	struct virtio_pci *t = ctx;

	if (!msix_enabled(&t->msix))
		return false;
	msix_signal(&t->msix, t->vector[queue]);
	return true;
}

static uint64_t table_read(void *dev, uint64_t offset, unsigned size)
{
	return msix_read(&((struct virtio_pci *)dev)->msix, offset, size);
}

static void table_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	msix_write(&((struct virtio_pci *)dev)->msix, offset, size, value);
}

/* A vector for each queue, and one for the configuration. */
static void add_msix(struct virtio_pci *t, const struct msix_target *target)
{
	t->has_msix = true;
	msix_init(&t->msix, &t->pci, MSIX_BAR, t->virtio->class->nqueues + 1, table_read,
		  table_write, target);
	t->virtio->msi = virtio_pci_msi;
	t->virtio->msi_ctx = t;
}

void virtio_pci_msix_reset(struct virtio_pci *t)
{
	msix_reset(&t->msix);
	vectors_reset(t);
}

/*
 * What of vector[] is in a state: those of its queues and of the configuration. Each state has at
 * least three queues', as all had while no device had more.
 */
static bool vector_is_saved(const struct virtio_pci *t, unsigned i)
{
	return i < 3 || i < t->virtio->class->nqueues || i == VIRTIO_MSI_CONFIG;
}

void virtio_pci_msix_save(const struct virtio_pci *t, struct buf *out)
{
	msix_save(&t->msix, out);
	for (unsigned i = 0; i <= VIRTIO_MSI_CONFIG; i++) {
		if (vector_is_saved(t, i))
			buf_put_u16(out, t->vector[i]);
	}
}

int virtio_pci_msix_restore(struct virtio_pci *t, struct rd *in)
{
	int ret = msix_restore(&t->msix, in);

	for (unsigned i = 0; i <= VIRTIO_MSI_CONFIG; i++) {
		t->vector[i] = vector_is_saved(t, i) ? rd_u16(in) : NO_VECTOR;
		if (in->bad || (t->vector[i] >= t->msix.n && t->vector[i] != NO_VECTOR))
			ret = -EINVAL;
	}
	if (ret < 0)
		virtio_pci_msix_reset(t);
	return ret;
}

/* --- the window --- */

static void virtio_pci_before_read(void *dev, unsigned offset, unsigned size)
{
	struct virtio_pci *t = dev;
	uint32_t at, len;

	if (window_touched(t, offset, size) && window_target(t, &at, &len))
		pci_config_put(t->pci.config, t->window + CAP_EXTRA_AT, len,
			       (uint32_t)virtio_pci_read(t, at, len));
}

static void virtio_pci_after_write(void *dev, unsigned offset, unsigned size)
{
	struct virtio_pci *t = dev;
	uint32_t at, len;

	if (t->has_msix && msix_config_written(&t->msix, offset, size))
		line_update(t);
	if (window_touched(t, offset, size) && window_target(t, &at, &len))
		virtio_pci_write(t, at, len,
				 pci_config_get(t->pci.config, t->window + CAP_EXTRA_AT, len));
}

static unsigned add_capability(struct virtio_pci *t, uint8_t type, uint32_t offset, uint32_t length,
			       unsigned size, uint32_t extra)
{
	uint8_t cap[CAP_SIZE_LONG] = { [CAP_LEN_AT] = (uint8_t)size, [CAP_TYPE_AT] = type };
	unsigned at;

	pci_config_put(cap, CAP_OFFSET_AT, 4, offset);
	pci_config_put(cap, CAP_LENGTH_AT, 4, length);
	pci_config_put(cap, CAP_EXTRA_AT, 4, extra);
	at = pci_device_add_capability(&t->pci, CAP_VENDOR, cap, size);
	must(at != 0);
	return at;
}

static void add_capabilities(struct virtio_pci *t)
{
	uint8_t *wmask = t->pci.wmask;

	add_capability(t, CAP_COMMON, VIRTIO_PCI_COMMON, COMMON_SIZE, CAP_SIZE, 0);
	add_capability(t, CAP_NOTIFY, VIRTIO_PCI_NOTIFY, NOTIFY_STRIDE * t->virtio->class->nqueues,
		       CAP_SIZE_LONG, NOTIFY_STRIDE);
	add_capability(t, CAP_ISR, VIRTIO_PCI_ISR, 1, CAP_SIZE, 0);
	if (t->virtio->class->config_size)
		add_capability(t, CAP_DEVICE, VIRTIO_PCI_CONFIG, t->virtio->class->config_size,
			       CAP_SIZE, 0);
	t->window = add_capability(t, CAP_WINDOW, 0, 0, CAP_SIZE_LONG, 0);
	wmask[t->window + CAP_BAR_AT] = 0xff;
	memset(wmask + t->window + CAP_OFFSET_AT, 0xff, CAP_SIZE_LONG - CAP_OFFSET_AT);
}

bool virtio_pci_init(struct virtio_pci *t, struct virtio *v, struct pci_host *host, unsigned slot,
		     const struct msix_target *target)
{
	*t = (struct virtio_pci){ .virtio = v };
	pci_device_init(&t->pci, v->class->name, t, VENDOR, (uint16_t)(DEVICE_BASE + v->class->id),
			v->class->pci_class, REVISION);
	pci_config_put(t->pci.initial, PCI_SUBSYSTEM_VENDOR, 2, VENDOR);
	pci_config_put(t->pci.initial, PCI_SUBSYSTEM, 2, SUBSYSTEM);
	pci_device_add_bar(&t->pci, 0, VIRTIO_PCI_BAR_SIZE, virtio_pci_read, virtio_pci_write);
	add_capabilities(t);
	vectors_reset(t);
	if (target)
		add_msix(t, target);
	t->pci.config_before_read = virtio_pci_before_read;
	t->pci.config_after_write = virtio_pci_after_write;
	v->irq = (struct irq_line){ .set = virtio_pci_irq, .ctx = t };
	return pci_add(host, slot, &t->pci);
}
