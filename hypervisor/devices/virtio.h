/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio devices (virtio 1.2), without the transport: state, feature negotiation and split
 * virtqueues.
 *
 * A device embeds a struct virtio as its first member and describes itself by a struct
 * virtio_class. The transport (virtio_pci.h) turns register accesses into the calls below. The
 * device takes descriptor chains with virtq_pop() and gives them back with virtq_push();
 * virtq_signal() then decides about the interrupt.
 *
 * Rings belong to the guest and are hostile. Whatever cannot be right (an index out of range, a
 * loop, memory that does not exist) sets DEVICE_NEEDS_RESET; from then on the device does nothing
 * until the driver resets it.
 */
#ifndef HYPERVISOR_DEVICES_VIRTIO_H
#define HYPERVISOR_DEVICES_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/device.h"
#include "hypervisor/memory.h"

#define VIRTIO_QUEUES_MAX 4
#define VIRTIO_MSI_CONFIG VIRTIO_QUEUES_MAX
#define VIRTQ_SIZE_MAX	  1024 /* of any machine version */
#define VIRTQ_SIZE	  256  /* what a device has unless virtio_set_limit() says more */

/* Device status (2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER	  0x02u
#define VIRTIO_STATUS_DRIVER_OK	  0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED	  0x80u

/* Feature bits of every device (6). */
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX     (1ull << 29)
#define VIRTIO_F_VERSION_1     (1ull << 32)

/* Causes in the ISR register (4.1.4.5). */
#define VIRTIO_ISR_QUEUE  0x01u
#define VIRTIO_ISR_CONFIG 0x02u

enum virtio_id {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_RNG = 4,
	VIRTIO_ID_BALLOON = 5
};

struct virtio;

struct virtio_class {
	const char *name;
	enum virtio_id id;
	uint32_t pci_class; /* 0xBBSSII */
	unsigned nqueues;
	unsigned config_size; /* bytes of device configuration, at most VIRTIO_CONFIG_MAX */
	/* Writes the present device configuration, config_size bytes. */
	void (*config_get)(struct virtio *v, uint8_t *config);
	/* The driver wrote one configuration field. May be NULL: read-only. */
	void (*config_put)(struct virtio *v, unsigned offset, unsigned size, uint32_t value);
	/*
	 * The queue may hold new buffers; called only while the device is live and the queue
	 * enabled.
	 */
	void (*notify)(struct virtio *v, unsigned queue);
	/* The driver reset the device; queues are reset by the caller. May be NULL. */
	void (*reset)(struct virtio *v);
};

#define VIRTIO_CONFIG_MAX 64

struct virtq {
	uint16_t size;
	bool enabled;
	uint64_t desc, avail, used; /* guest physical */
	uint16_t last_avail;	    /* chains taken */
	uint16_t used_idx;	    /* chains given back */
	uint16_t signalled;	    /* used_idx at the last interrupt decision */
};

struct virtio {
	const struct virtio_class *class;
	struct memory *mem;
	struct irq_line irq; /* set by the transport */
	/*
	 * Set by the transport, or NULL: interrupts by messages. The message of a queue, or of the
	 * configuration (VIRTIO_MSI_CONFIG); false: they are off, the line is used.
	 */
	bool (*msi)(void *ctx, unsigned queue);
	void *msi_ctx;
	uint64_t offered;  /* features; VERSION_1, INDIRECT_DESC and EVENT_IDX are added by
			      virtio_init() */
	uint64_t accepted; /* by the driver */
	unsigned limit;	   /* entries of a ring, links of a chain; constant */
	uint8_t status;
	uint8_t isr;
	uint8_t generation;
	/* Selectors of the transport's common configuration. */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	struct virtq queue[VIRTIO_QUEUES_MAX];
	/* Statistics; not state. */
	uint64_t notifications, interrupts, broken;
};

void virtio_init(struct virtio *v, const struct virtio_class *class, struct memory *mem,
		 uint64_t features);
/*
 * Before the transport is added: rings of up to `limit` entries, a power of two up to
 * VIRTQ_SIZE_MAX.
 */
void virtio_set_limit(struct virtio *v, unsigned limit);
/* Resets the device like the driver's write of 0 to the device status. */
void virtio_reset(struct virtio *v);
/* Status register write: negotiation, start, reset. */
void virtio_set_status(struct virtio *v, uint8_t status);
/* The driver works with the device: DRIVER_OK and nothing broken. */
bool virtio_live(const struct virtio *v);
bool virtio_has(const struct virtio *v, uint64_t feature);
void virtio_notify(struct virtio *v, unsigned queue);
/* Device configuration changed: new generation, and an interrupt when the driver listens. */
void virtio_config_changed(struct virtio *v);
/* The driver broke the rules: DEVICE_NEEDS_RESET. */
void virtio_break(struct virtio *v);
/* Reads and clears the interrupt causes (transport's ISR register). */
uint8_t virtio_isr_take(struct virtio *v);
/* Sets the ring addresses in force. False (and nothing done) when they cannot be right. */
bool virtq_enable(struct virtio *v, unsigned queue);

void virtio_save(const struct virtio *v, struct buf *out);
/* 0 or -EINVAL, then reset. Sets the interrupt level. */
int virtio_restore(struct virtio *v, struct rd *in);

/* --- descriptor chains --- */

struct virtq_seg {
	uint64_t gpa;
	uint32_t len;
};

/* Readable segments first, then writable ones. */
struct virtq_chain {
	uint16_t head;
	unsigned nread, nwrite;
	uint64_t read_len, write_len; /* sums; at most 4 GiB */
	struct virtq_seg seg[VIRTQ_SIZE_MAX];
};

/*
 * Next chain of the queue: true, and *c is filled in. False: nothing there, or the device is (now)
 * broken.
 */
bool virtq_pop(struct virtio *v, unsigned queue, struct virtq_chain *c);
/* Takes the last n pops back: those chains stay available. */
void virtq_unpop(struct virtio *v, unsigned queue, unsigned n);
/* Gives chain `head` back with `written` bytes written. */
void virtq_push(struct virtio *v, unsigned queue, uint16_t head, uint32_t written);
/* Interrupts the driver if it wants to hear of what was pushed since the last call. */
void virtq_signal(struct virtio *v, unsigned queue);
/*
 * Asks to be notified of the next buffer (event index). Not needed on queues where buffers are
 * picked up on demand.
 */
void virtq_listen(struct virtio *v, unsigned queue);

/* Copy between a chain's readable (writable) bytes and host memory; false when a byte is outside
 * the chain or the guest's memory; then the device is broken. */
bool virtq_read(struct virtio *v, const struct virtq_chain *c, uint64_t offset, void *data,
		uint64_t len);
bool virtq_write(struct virtio *v, const struct virtq_chain *c, uint64_t offset, const void *data,
		 uint64_t len);

#endif
