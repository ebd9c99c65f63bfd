/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the content of a disk lies: a file or block device here, or an NBD server. One thread at a
 * time asks an image. Errors are positive errnos.
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
	/* True: it is known that nothing was ever written to the image. NULL: it never is. */
	bool (*blank)(struct disk_image *i);
	/*
	 * Makes the image bytes long, more than it is and a multiple of 512; what is new reads as
	 * zeros. A block device must have that size already (ENXIO). 0: i->bytes is that. NULL: it
	 * cannot grow.
	 */
	int (*grow)(struct disk_image *i, uint64_t bytes);
	/* The image may be made shorter, and stays so. NULL: it may not. */
	bool (*shrinks)(const struct disk_image *i);
	/* Takes a growth back, also one that failed: as long as before. NULL where grow is. */
	void (*cut)(struct disk_image *i, uint64_t bytes);
	/* In the jail only the disk's own thread, and main, may ask it. */
	bool own_thread;
};

struct disk_image {
	const struct disk_image_ops *ops;
	uint64_t bytes; /* a multiple of 512, not 0 */
};

/* True: the name is that of an NBD server's export: nbd:URI. */
bool disk_image_is_nbd(const char *name);
/*
 * Opens an image by its name; it stays locked while open, where it is a file. Before the jail
 * closes. NULL and err.
 */
struct disk_image *disk_image_open(const char *name, bool writable, struct err *err);
/* The two kinds of it. */
struct disk_image *disk_image_open_file(const char *path, bool writable, struct err *err);
struct disk_image *disk_image_open_nbd(const char *name, bool writable, struct err *err);

#endif
