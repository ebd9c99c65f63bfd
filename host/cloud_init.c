// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Blocks of the volume, 2048 bytes each (ECMA-119):
 *
 *    0..15  zeros
 *   16      primary volume descriptor
 *   17      end of the descriptors
 *   18, 19  path tables, little and big endian
 *   20      the root directory
 *   21..    the files
 *
 * Names are in lower case and with a '-', as cloud-init wants them and Linux shows them; strictly
 * the standard has neither.
 */
#include "host/cloud_init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file_io.h"
#include "host/suboptions.h"

#define BLOCK	    2048u
#define BLOCK_ROOT  20u
#define BLOCK_FILES 21u
#define FILES	    3u
#define FOLDER	    2u /* flag of a directory record */

struct seed_file {
	const char *name;
	char *data; /* owned */
	size_t size;
	uint32_t block;
};

/* ---- options ---- */

int cloud_init_parse(struct cloud_init_opt *o, const char *name, const char *arg, struct err *err)
{
	char **const word[FILES] = { &o->user_data, &o->meta_data, &o->network_config };
	const char *rest = arg;

	if (o->user_data)
		return err_set(err, EINVAL, "%s %s: it is there twice", name, arg);
	for (unsigned i = 0; rest && i < FILES; i++) {
		*word[i] = suboptions_word(&rest);
		if (!*word[i])
			return err_set(err, ENOMEM, "out of memory");
		if (!**word[i]) {
			free(*word[i]);
			*word[i] = NULL;
		}
	}
	if (rest)
		return err_set(err, EINVAL,
			       "%s %s: there are three files at most, USER-DATA,META-DATA,"
			       "NETWORK-CONFIG (a comma that belongs to a name is written ,,)",
			       name, arg);
	return o->user_data ? 0 : err_set(err, EINVAL, "%s %s: no USER-DATA is named", name, arg);
}

void cloud_init_free(struct cloud_init_opt *o)
{
	free(o->user_data);
	free(o->meta_data);
	free(o->network_config);
	*o = (struct cloud_init_opt){ 0 };
}

/* ---- files ---- */

static int file_read(struct seed_file *f, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), ret;

	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	ret = file_read_whole(fd, path, CLOUD_INIT_MAX, &f->data, &f->size, err);
	close(fd);
	return ret;
}

/* cloud-init passes over what it does not know, and the guest would have neither user nor key. */
static bool is_user_data(const struct seed_file *f)
{
	static const char *const begins[] = { "#", "Content-Type", "From ", "MIME-Version",
					      "\x1f\x8b" /* gzip */ };

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		size_t n = strlen(begins[i]);

		if (f->size >= n && !memcmp(f->data, begins[i], n))
			return true;
	}
	return false;
}

/* An instance that is a new one whenever its user-data is. */
static int make_meta_data(struct seed_file *meta, const struct seed_file *user, struct err *err)
{
	int n = asprintf(&meta->data, "instance-id: twinstep-%016llx\n",
			 (unsigned long long)XXH3_64bits(user->data, user->size));

	if (n < 0) {
		meta->data = NULL;
		return err_set(err, ENOMEM, "out of memory");
	}
	meta->size = (size_t)n;
	return 0;
}

/* Fills file[] in the order of their names, which is the directory's; *n of them. */
static int read_files(const struct cloud_init_opt *o, struct seed_file file[FILES], unsigned *n,
		      struct err *err)
{
	struct seed_file *meta = &file[0], *user = &file[o->network_config ? 2 : 1];
	int ret = file_read(user, o->user_data, err);

	meta->name = "meta-data";
	file[1].name = "network-config";
	user->name = "user-data";
	*n = o->network_config ? 3 : 2;
	if (ret == 0 && !is_user_data(user))
		ret = err_set(err, EINVAL,
			      "%s is no user-data: cloud-init wants #cloud-config, #! or the like "
			      "in its first line",
			      o->user_data);
	if (ret == 0)
		ret = o->meta_data ? file_read(meta, o->meta_data, err)
				   : make_meta_data(meta, user, err);
	if (ret == 0 && o->network_config)
		ret = file_read(&file[1], o->network_config, err);
	if (ret == 0 && user->size + meta->size + (*n == 3 ? file[1].size : 0) > CLOUD_INIT_MAX)
		ret = err_set(err, EFBIG,
			      "%s and the files beside it are too large for cloud-init: at most "
			      "%u bytes",
			      o->user_data, CLOUD_INIT_MAX);
	return ret;
}

/* ---- the volume ---- */

static void put_be(struct buf *out, uint32_t v, unsigned bytes)
{
	while (bytes--)
		buf_put_u8(out, (uint8_t)(v >> (8 * bytes)));
}

/* A number in both byte orders. */
static void put_both16(struct buf *out, uint16_t v)
{
	buf_put_u16(out, v);
	put_be(out, v, 2);
}

static void put_both32(struct buf *out, uint32_t v)
{
	buf_put_u32(out, v);
	put_be(out, v, 4);
}

static void put_fill(struct buf *out, uint8_t byte, size_t n)
{
	void *p = buf_grow(out, n);

	if (p)
		memset(p, byte, n);
}

/* A string in a field of n bytes. */
static void put_text(struct buf *out, const char *s, size_t n)
{
	buf_put(out, s, strlen(s));
	put_fill(out, ' ', n - strlen(s));
}

/* Zeros up to the end of a block; start: where the volume begins in out. */
static void pad(struct buf *out, size_t start)
{
	put_fill(out, 0, (BLOCK - (out->len - start) % BLOCK) % BLOCK);
}

/* A directory record; a name of one byte 0 or 1 is the directory itself, or the one above. */
static void put_record(struct buf *out, const char *name, size_t len, uint32_t block, uint32_t size,
		       uint8_t flags)
{
	size_t padding = len % 2 ? 0 : 1;

	buf_put_u8(out, (uint8_t)(33 + len + padding));
	buf_put_u8(out, 0);
	put_both32(out, block);
	put_both32(out, size);
	put_fill(out, 0, 7); /* no date: the volume would differ each time */
	buf_put_u8(out, flags);
	buf_put_u16(out, 0);
	put_both16(out, 1);
	buf_put_u8(out, (uint8_t)len);
	buf_put(out, name, len);
	put_fill(out, 0, padding);
}

static void put_root(struct buf *out, const char *name)
{
	put_record(out, name, 1, BLOCK_ROOT, BLOCK, FOLDER);
}

static void put_descriptor(struct buf *out, uint32_t blocks)
{
	buf_put(out, "\1CD001\1", 8);
	put_fill(out, ' ', 32);
	put_text(out, "cidata", 32);
	put_fill(out, 0, 8);
	put_both32(out, blocks);
	put_fill(out, 0, 32);
	put_both16(out, 1);
	put_both16(out, 1);
	put_both16(out, BLOCK);
	put_both32(out, 10); /* bytes of a path table */
	buf_put_u32(out, 18);
	buf_put_u32(out, 0);
	put_be(out, 19, 4);
	put_be(out, 0, 4);
	put_root(out, "\0");
	put_fill(out, ' ', 4 * 128 + 3 * 37);
	for (unsigned i = 0; i < 4; i++) { /* dates: not given */
		put_fill(out, '0', 16);
		buf_put_u8(out, 0);
	}
	buf_put_u8(out, 1);
}

/* The path table's one entry, the root. */
static void put_path_table(struct buf *out, bool big)
{
	buf_put_u16(out, 1); /* a name of one byte, no extended attributes */
	if (big) {
		put_be(out, BLOCK_ROOT, 4);
		put_be(out, 1, 2);
	} else {
		buf_put_u32(out, BLOCK_ROOT);
		buf_put_u16(out, 1);
	}
	buf_put_u16(out, 0);
}

static void put_volume(struct buf *out, struct seed_file *file, unsigned n)
{
	size_t start = out->len;
	uint32_t blocks = BLOCK_FILES;

	for (unsigned i = 0; i < n; i++) {
		file[i].block = blocks;
		blocks += (uint32_t)((file[i].size + BLOCK - 1) / BLOCK);
	}
	put_fill(out, 0, 16 * BLOCK);
	put_descriptor(out, blocks);
	pad(out, start);
	buf_put(out,
		"\xff"
		"CD001\1",
		7);
	pad(out, start);
	put_path_table(out, false);
	pad(out, start);
	put_path_table(out, true);
	pad(out, start);
	put_root(out, "\0");
	put_root(out, "\1");
	for (unsigned i = 0; i < n; i++)
		put_record(out, file[i].name, strlen(file[i].name), file[i].block,
			   (uint32_t)file[i].size, 0);
	pad(out, start);
	for (unsigned i = 0; i < n; i++) {
		buf_put(out, file[i].data, file[i].size);
		pad(out, start);
	}
}

int cloud_init_make(const struct cloud_init_opt *o, struct buf *out, struct err *err)
{
	struct seed_file file[FILES] = { 0 };
	unsigned n = 0;
	int ret = read_files(o, file, &n, err);

	if (ret == 0) {
		put_volume(out, file, n);
		if (out->bad)
			ret = err_set(err, ENOMEM, "out of memory");
	}
	for (unsigned i = 0; i < FILES; i++)
		free(file[i].data);
	return ret;
}
