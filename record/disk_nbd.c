// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Disks at an NBD server, through libnbd. Servers such as nbdkit and qemu-nbd offer what is not a
 * raw file (qcow2, Ceph, iSCSI). Only a process that is given such a disk loads the library.
 *
 * The connection is made before the jail closes, and cannot be made again inside it. So if the
 * server goes away, the disk has failed: every later request ends with an error. If the server does
 * not answer, the disk hangs.
 */
#include "record/disk_image.h"

#include <errno.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>

#include "base/host_clock.h"
#include "base/library.h"
#include "base/log.h"
#include "hypervisor/devices/disk.h"

#define LIBRARY	    "libnbd.so.0"
#define REQUEST_MAX (4u << 20) /* bytes in a request, where the server takes so many */
#define ZERO_MAX    (1u << 30)
#define CONNECT_MS  30000 /* for a server to greet */

/* Functions of the library that are used, without the prefix nbd_. */
#define NBD_FUNCTIONS(F)            \
	F(create)                   \
	F(close)                    \
	F(get_error)                \
	F(get_errno)                \
	F(set_uri_allow_transports) \
	F(set_uri_allow_tls)        \
	F(aio_connect_uri)          \
	F(aio_is_connecting)        \
	F(aio_is_ready)             \
	F(aio_is_dead)              \
	F(aio_is_closed)            \
	F(poll)                     \
	F(get_size)                 \
	F(get_block_size)           \
	F(is_read_only)             \
	F(can_flush)                \
	F(can_zero)                 \
	F(pread)                    \
	F(pwrite)                   \
	F(zero)                     \
	F(flush)

static struct {
#define MEMBER(name) __typeof__(&nbd_##name) name;
	NBD_FUNCTIONS(MEMBER)
#undef MEMBER
} nbd;

struct image_nbd {
	struct disk_image image; /* first */
	struct nbd_handle *h;
	uint64_t request_max; /* bytes */
	bool flushes, zeroes;
};

static int load(struct err *err)
{
#define ROW(name) { "nbd_" #name, &nbd.name },
	static const struct library_function functions[] = { NBD_FUNCTIONS(ROW) };
#undef ROW
	static bool loaded;
	int ret = loaded ? 0
			 : library_load(LIBRARY, "a disk at an NBD server", "libnbd0", functions,
					sizeof(functions) / sizeof(*functions), err);

	loaded |= ret == 0;
	return ret;
}

/* ---- requests ---- */

static struct image_nbd *nbd_of(struct disk_image *i)
{
	return (struct image_nbd *)i;
}

/* The last error of libnbd on this thread, as a number: the guest and the metadata need one. */
static int last_error(void)
{
	int error = nbd.get_errno();

	return error > 0 && error < 4096 ? error : EIO;
}

/* Of a request. What libnbd says of one behind the connection's end is "invalid argument". */
static int request_error(const struct image_nbd *n)
{
	return nbd.aio_is_dead(n->h) > 0 || nbd.aio_is_closed(n->h) > 0 ? ENOTCONN : last_error();
}

static uint64_t part_of(uint64_t len, uint64_t max)
{
	return len < max ? len : max;
}

static int nbd_image_read(struct disk_image *i, void *data, uint64_t len, uint64_t offset)
{
	struct image_nbd *n = nbd_of(i);

	for (uint64_t done = 0, part; done < len; done += part) {
		part = part_of(len - done, n->request_max);
		if (nbd.pread(n->h, (uint8_t *)data + done, part, offset + done, 0) < 0)
			return request_error(n);
	}
	return 0;
}

static int nbd_image_write(struct disk_image *i, const void *data, uint64_t len, uint64_t offset)
{
	struct image_nbd *n = nbd_of(i);

	for (uint64_t done = 0, part; done < len; done += part) {
		part = part_of(len - done, n->request_max);
		if (nbd.pwrite(n->h, (const uint8_t *)data + done, part, offset + done, 0) < 0)
			return request_error(n);
	}
	return 0;
}

static int write_zeros(struct disk_image *i, uint64_t len, uint64_t offset)
{
	static const uint8_t zeros[65536];
	int error = 0;

	for (uint64_t done = 0, part; done < len && !error; done += part) {
		part = part_of(len - done, sizeof(zeros));
		error = nbd_image_write(i, zeros, part, offset + done);
	}
	return error;
}

/*
 * True: the server offered to write zeros but refuses to, or refuses so many; it is not asked
 * again.
 */
static bool zero_refused(struct image_nbd *n)
{
	int error = request_error(n);

	if (error == EINVAL || error == EOPNOTSUPP || error == EOVERFLOW)
		n->zeroes = false;
	return !n->zeroes;
}

static int nbd_image_zero(struct disk_image *i, uint64_t len, uint64_t offset)
{
	struct image_nbd *n = nbd_of(i);

	if (!n->zeroes)
		return write_zeros(i, len, offset);
	for (uint64_t done = 0, part; done < len; done += part) {
		part = part_of(len - done, ZERO_MAX);
		if (nbd.zero(n->h, part, offset + done, 0) < 0)
			return zero_refused(n) ? write_zeros(i, len - done, offset + done)
					       : request_error(n);
	}
	return 0;
}

static int nbd_image_flush(struct disk_image *i)
{
	struct image_nbd *n = nbd_of(i);

	return !n->flushes || nbd.flush(n->h, 0) == 0 ? 0 : request_error(n);
}

static void nbd_image_close(struct disk_image *i)
{
	struct image_nbd *n = nbd_of(i);

	if (n->h)
		nbd.close(n->h);
	free(n);
}

static const struct disk_image_ops nbd_image_ops = {
	.read = nbd_image_read,
	.write = nbd_image_write,
	.zero = nbd_image_zero,
	.flush = nbd_image_flush,
	.close = nbd_image_close,
	.own_thread = true,
};

/* ---- opening ---- */

/* nbd://..., nbd+unix://... as they are; behind nbd: any of them. */
static const char *uri_of(const char *name)
{
	return !strncmp(name, "nbd:", 4) && strncmp(name, "nbd://", 6) ? name + 4 : name;
}

static int cannot(const char *name, struct err *err)
{
	const char *why = nbd.get_error();

	return err_set(err, last_error(), "cannot open disk %s: %s", name,
		       why ? why : "the connection has failed");
}

/* Waits for the server's greeting, with a time limit, as a server that hangs never sends one. */
static int image_greet(struct image_nbd *n, const char *name, struct err *err)
{
	uint64_t end = host_mono_ns() + CONNECT_MS * 1000000ull;

	while (nbd.aio_is_connecting(n->h) > 0) {
		if (host_mono_ns() >= end)
			return err_set(err, ETIMEDOUT,
				       "cannot open disk %s: the server has not greeted for %u s",
				       name, CONNECT_MS / 1000);
		if (nbd.poll(n->h, 1000) < 0)
			return cannot(name, err);
	}
	return nbd.aio_is_ready(n->h) > 0 ? 0 : cannot(name, err);
}

/* Connects without TLS, which would read keys and randomness inside the jail. */
static int image_connect(struct image_nbd *n, const char *name, struct err *err)
{
	const char *uri = uri_of(name);

	if (!strncmp(uri, "nbds:", 5) || !strncmp(uri, "nbds+", 5))
		return err_set(
			err, EINVAL,
			"disk %s: NBD over TLS is not used here: run a server on this host "
			"that speaks it, such as `nbdkit nbd %s`, and give that one's socket",
			name, uri);
	n->h = nbd.create();
	if (!n->h || nbd.set_uri_allow_tls(n->h, LIBNBD_TLS_DISABLE) < 0 ||
	    nbd.set_uri_allow_transports(n->h, LIBNBD_ALLOW_TRANSPORT_TCP |
						       LIBNBD_ALLOW_TRANSPORT_UNIX) < 0 ||
	    nbd.aio_connect_uri(n->h, uri) < 0)
		return cannot(name, err);
	return image_greet(n, name, err);
}

static int check_size(struct image_nbd *n, const char *name, struct err *err)
{
	int64_t size = nbd.get_size(n->h);
	int64_t least = nbd.get_block_size(n->h, LIBNBD_SIZE_MINIMUM);
	int64_t most = nbd.get_block_size(n->h, LIBNBD_SIZE_MAXIMUM);

	if (size < 0)
		return cannot(name, err);
	if (size == 0 || size % DISK_SECTOR)
		return err_set(err, EINVAL,
			       "disk %s: its size (%lld bytes) must be a multiple of 512, not 0",
			       name, (long long)size);
	if (least > DISK_SECTOR || (most > 0 && most < DISK_SECTOR))
		return err_set(err, EINVAL,
			       "disk %s: the server takes requests of %lld bytes and more, and a "
			       "sector has 512: `nbdkit --filter=blocksize` stands between the two",
			       name, (long long)least);
	n->image.bytes = (uint64_t)size;
	n->request_max = most > 0 && most < REQUEST_MAX ? (uint64_t)most & ~(DISK_SECTOR - 1ull)
							: REQUEST_MAX;
	return 0;
}

static int check_export(struct image_nbd *n, const char *name, bool writable, struct err *err)
{
	int readonly = nbd.is_read_only(n->h), flushes = nbd.can_flush(n->h);
	int zeroes = nbd.can_zero(n->h);

	if (readonly < 0 || flushes < 0 || zeroes < 0)
		return cannot(name, err);
	if (readonly && writable)
		return err_set(err, EROFS,
			       "disk %s: the server lets nobody write: use ,ro or ,overlay", name);
	if (!flushes && writable)
		log_warn("disk %s: the server cannot flush: what the guest flushes is as safe as "
			 "what it writes",
			 name);
	n->flushes = flushes;
	n->zeroes = zeroes;
	return check_size(n, name, err);
}

struct disk_image *disk_image_open_nbd(const char *name, bool writable, struct err *err)
{
	struct image_nbd *n = calloc(1, sizeof(*n));

	if (!n) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	n->image.ops = &nbd_image_ops;
	if (load(err) < 0 || image_connect(n, name, err) < 0 ||
	    check_export(n, name, writable, err) < 0) {
		nbd_image_close(&n->image);
		return NULL;
	}
	return &n->image;
}
