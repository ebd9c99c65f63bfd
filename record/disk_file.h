/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images on the host: a raw file, and a copy-on-write overlay that keeps changes in memory.
 * Both execute requests in order on a thread of their own, so the vCPU waits for the host only when
 * a request falls due too early.
 */
#ifndef RECORD_DISK_FILE_H
#define RECORD_DISK_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/devices/disk.h"

/*
 * Opens a raw image (regular file or block device, a multiple of 512 bytes); it stays locked
 * (flock) while open.
 */
struct disk_backend *disk_file_open(const char *path, bool readonly, struct err *err);
/* The same image as a base that is never written; changes live in memory. */
struct disk_backend *disk_overlay_open(const char *path, struct err *err);
/* A disk of zeros that exists in memory only. */
struct disk_backend *disk_memory_open(uint64_t sectors, struct err *err);

/* Whether its changes live in memory. */
bool disk_has_overlay(const struct disk_backend *d);
/*
 * Changed blocks as a blob for a checkpoint, and back (replaces all changes). -EINVAL for a backend
 * without overlay.
 */
int disk_overlay_export(struct disk_backend *d, struct buf *out, struct err *err);
int disk_overlay_import(struct disk_backend *d, struct rd *in, struct err *err);

/* Waits for everything under way and frees the backend. NULL is allowed. */
void disk_close(struct disk_backend *d);

#endif
