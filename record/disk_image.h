/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the content of a disk is stored: a file or block device on this host, or an NBD server.
 * Only one thread at a time may use an image. Errors are positive errnos.
 */
#ifndef RECORD_DISK_IMAGE_H
#define RECORD_DISK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct disk_image;

/* Ranges lie inside the image, and begin and end at sectors. */
struct disk_image_ops {
	int (*read)(struct disk_image *i, void *data, uint64_t len, uint64_t offset);
	int (*write)(struct disk_image *i, const void *data, uint64_t len, uint64_t offset);
	/* The range reads as zeros from now on; its space may be given back. */
	int (*zero)(struct disk_image *i, uint64_t len, uint64_t offset);
	/* Puts all that was written on stable storage. */
	int (*flush)(struct disk_image *i);
	void (*close)(struct disk_image *i);
	/* True: the image is known never to have been written. NULL: that is never known. */
	bool (*blank)(struct disk_image *i);
	/*
	 * Grows the image to `bytes`, a multiple of 512; the new part reads as zeros. A block
	 * device must have that size already (ENXIO). On success i->bytes is the new size. NULL:
	 * the image cannot grow.
	 */
	int (*grow)(struct disk_image *i, uint64_t bytes);
	/* True: the image can be made shorter. NULL: it cannot. */
	bool (*shrinks)(const struct disk_image *i);
	/*
	 * Undoes a growth, also a failed one: the image has `bytes` again. NULL where grow is NULL.
	 */
	void (*cut)(struct disk_image *i, uint64_t bytes);
	/* In the jail, only the disk's own thread and the main thread may use the image. */
	bool own_thread;
};

struct disk_image {
	const struct disk_image_ops *ops;
	uint64_t bytes; /* a multiple of 512, not 0 */
};

/* True: the name is that of an NBD server's export: nbd:URI. */
bool disk_image_is_nbd(const char *name);
/*
 * Opens an image by its name, before the jail closes. A file stays locked while it is open. NULL
 * and err on failure.
 */
struct disk_image *disk_image_open(const char *name, bool writable, struct err *err);
/* The same for each kind of image. */
struct disk_image *disk_image_open_file(const char *path, bool writable, struct err *err);
struct disk_image *disk_image_open_nbd(const char *name, bool writable, struct err *err);

#endif
