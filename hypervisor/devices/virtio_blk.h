/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk over a struct disk_backend.
 *
 * A request falls due at a virtual time that depends on its size and on the requests before it
 * only: the disk transfers one byte a nanosecond, one request after the other, and answers
 * VIRTIO_BLK_LATENCY later. At that time the host's I/O must be done; the device waits for it if
 * need be. Success is the rule; a host error is an input that enters by virtio_blk_set_error() at a
 * sync point not later than the request's due time. What a host's own I/O returned never decides
 * what the guest sees: an error that no input announced sets host_fault, and the machine has to
 * stop.
 */
#ifndef HYPERVISOR_DEVICES_VIRTIO_BLK_H
#define HYPERVISOR_DEVICES_VIRTIO_BLK_H

#include "hypervisor/clock.h"
#include "hypervisor/devices/disk.h"
#include "hypervisor/devices/virtio.h"
#include "hypervisor/sync.h"

#define VIRTIO_BLK_LATENCY   50000u /* ns */
#define VIRTIO_BLK_SEG_MAX   254u
#define VIRTIO_BLK_SIZE_MAX  16384u					/* bytes in a segment */
#define VIRTIO_BLK_BYTES_MAX (VIRTIO_BLK_SEG_MAX * VIRTIO_BLK_SIZE_MAX) /* bytes in a request */
#define VIRTIO_BLK_ZERO_MAX  32768u					/* sectors in a discard */
/* bytes of buffers for requests under way; more wait in the ring */
#define VIRTIO_BLK_HELD_MAX (8u << 20)

struct blk_request;

struct virtio_blk {
	struct virtio virtio; /* first */
	struct clock *clock;
	struct timer timer;
	struct disk_backend *disk;
	char serial[20];
	bool writeback;
	uint8_t spoil;			  /* enum disk_spoil, of the next write */
	uint64_t next_number;		  /* of the next request, from 1, never reused */
	uint64_t busy_until;		  /* ns: the transfer before is done */
	uint64_t written;		  /* XXH3 chain over everything that changed the disk */
	struct blk_request *first, *last; /* under way, in order of due time */
	unsigned underway;
	uint64_t held;	/* bytes of their buffers */
	int host_fault; /* errno of the first host error that no input announced; not state */
	uint64_t host_fault_number;
	uint64_t reads, writes, flushes, discards, bytes_read, bytes_written,
		errors;		  /* statistics */
	struct virtq_chain chain; /* working memory of one call */
};

/* serial: at most 20 bytes, shown by GET_ID. Registers a timer. */
void virtio_blk_init(struct virtio_blk *b, struct memory *mem, struct clock *clock,
		     struct disk_backend *disk, const char *serial);
/* Waits for what is under way and frees it. */
void virtio_blk_fini(struct virtio_blk *b);

/*
 * For the live source, before the machine gets to virtual time ns: waits for the host I/O of the
 * requests that fall due by then, up to the first error that it has not been told yet. Returns that
 * positive errno, which has to enter as INPUT_DISK_ERROR for request *number, or 0: there is none.
 */
int virtio_blk_next_error(struct virtio_blk *b, uint64_t ns, uint64_t *number);
/* Number of the oldest request under way that has no error yet; false: none. */
bool virtio_blk_request(const struct virtio_blk *b, uint64_t *number);
/* The request will complete with an error. 0, or -ENOENT: no such request is under way; -EINVAL:
 * error is not 1..4095.
 */
int virtio_blk_set_error(struct virtio_blk *b, uint64_t number, int error);

/*
 * Faults that a campaign makes; each is an input. 0, or -EINVAL: there is no such fault of this
 * disk.
 */
/* Requests from now on wait for a transfer that takes ns, an hour at most. */
int virtio_blk_delay(struct virtio_blk *b, uint64_t ns);
/* spoil: enum disk_spoil. */
int virtio_blk_spoil(struct virtio_blk *b, uint64_t spoil);
/*
 * seed 0: writes are in a cache from now on, until the guest flushes them; else the power of the
 * disk fails (disk.h). A disk that is not written does not mind.
 */
int virtio_blk_power(struct virtio_blk *b, uint64_t seed);
/*
 * The disk has this many sectors from now on, and its driver is told so (virtio 1.2, 5.2.5.2).
 * Nothing where it has as many already. 0, or -EINVAL: too many, or this disk never grows. A
 * backend that cannot sets host_fault.
 */
int virtio_blk_grow(struct virtio_blk *b, uint64_t sectors);
/* A bit of the disk's content flips, under whatever the guest keeps of it. */
int virtio_blk_rot(struct virtio_blk *b, uint64_t bit);

extern const struct device_ops virtio_blk_ops;

#endif
