/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon: the guest hands pages back. An inflated page reads as zeros from then on, in
 * every replica; giving the host its memory back is the business of an optional effect.
 */
#ifndef HYPERVISOR_DEVICES_VIRTIO_BALLOON_H
#define HYPERVISOR_DEVICES_VIRTIO_BALLOON_H

#include "hypervisor/devices/virtio.h"

#define VIRTIO_BALLOON_PFNS_MAX 1024u /* page numbers taken from one chain */

struct virtio_balloon_effects {
	/*
	 * The guest does not use [gpa, gpa + len) any more (it has been zeroed), or does again. May
	 * be NULL.
	 */
	void (*inflated)(void *ctx, uint64_t gpa, uint64_t len);
	void (*deflated)(void *ctx, uint64_t gpa, uint64_t len);
	void *ctx;
};

struct virtio_balloon {
	struct virtio virtio; /* first */
	struct virtio_balloon_effects fx;
	uint32_t target;		  /* pages of 4 KiB asked for */
	uint32_t actual;		  /* as the driver says */
	uint64_t inflated, deflated, bad; /* statistics, pages */
	struct virtq_chain chain;	  /* working memory of one call */
};

/* fx may be NULL. */
void virtio_balloon_init(struct virtio_balloon *b, struct memory *mem,
			 const struct virtio_balloon_effects *fx);
/* Asks the guest to give `pages` pages of 4 KiB in all. */
void virtio_balloon_set_target(struct virtio_balloon *b, uint32_t pages);

extern const struct device_ops virtio_balloon_ops;

#endif
