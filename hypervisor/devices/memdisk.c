// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/memdisk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"

static size_t memdisk_size(const struct memdisk *d)
{
	return (size_t)d->backend.sectors * DISK_SECTOR;
}

/* A read is done when it has begun. */
static void memdisk_start(struct disk_backend *backend, uint64_t id, enum disk_op op,
			  uint64_t sector, uint32_t sectors, void *data)
{
	const struct memdisk *d = (const struct memdisk *)backend;

	must(op == DISK_READ || op == DISK_FLUSH);
	if (op != DISK_READ || !sectors)
		return;
	must(sector < backend->sectors && sectors <= backend->sectors - sector);
	memcpy(data, d->data + sector * DISK_SECTOR, (size_t)sectors * DISK_SECTOR);
}

static int memdisk_finish(struct disk_backend *backend, uint64_t id)
{
	return 0;
}

static int memdisk_digest(struct disk_backend *backend, uint64_t *hash)
{
	const struct memdisk *d = (const struct memdisk *)backend;

	*hash = XXH3_64bits(d->data, memdisk_size(d));
	return 0;
}

static void memdisk_close(struct disk_backend *backend)
{
	memdisk_fini((struct memdisk *)backend);
}

static const struct disk_backend_ops memdisk_backend_ops = {
	.name = "memory",
	.start = memdisk_start,
	.finish = memdisk_finish,
	.digest = memdisk_digest,
	.close = memdisk_close,
};

int memdisk_init(struct memdisk *d, uint32_t sectors)
{
	*d = (struct memdisk){
		.backend = { .ops = &memdisk_backend_ops, .sectors = sectors, .readonly = true }
	};
	if (!sectors || sectors > MEMDISK_SECTORS_MAX)
		return -EINVAL;
	d->data = calloc(sectors, DISK_SECTOR);
	return d->data ? 0 : -ENOMEM;
}

void memdisk_fini(struct memdisk *d)
{
	free(d->data);
	d->data = NULL;
}

int memdisk_load(struct memdisk *d, const uint8_t *data, size_t size)
{
	if (size != memdisk_size(d))
		return -EINVAL;
	memcpy(d->data, data, size);
	return 0;
}

/* A medium, not a register: a reset leaves it. */
static void memdisk_reset(void *dev)
{
}

static void memdisk_save(const void *dev, struct buf *out)
{
	const struct memdisk *d = dev;

	buf_put_blob(out, d->data, memdisk_size(d));
}

static int memdisk_restore(void *dev, struct rd *in)
{
	struct memdisk *d = dev;
	size_t n;
	const uint8_t *data = rd_blob(in, memdisk_size(d), &n);

	return in->bad ? -EINVAL : memdisk_load(d, data, n);
}

const struct device_ops memdisk_ops = {
	.name = "memdisk",
	.reset = memdisk_reset,
	.save = memdisk_save,
	.restore = memdisk_restore,
};
