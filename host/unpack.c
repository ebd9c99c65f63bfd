// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/unpack.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"

#define XZ_MEMORY (256ull << 20) /* of a dictionary */
#define ZLIB_GZIP (16 + MAX_WBITS)
#define LZ4_BLOCK (8 << 20) /* what a block of the legacy format holds, but for the last one */

/* The output so far, and its greatest length. */
struct unpacked {
	uint8_t *data;
	size_t len, cap, max;
};

/* Reader of a format: the rest of the image, and its library's state. */
struct unpacker {
	const uint8_t *in;
	size_t left;
	union {
		z_stream zlib;
		lzma_stream xz; /* of lzma too */
		bz_stream bzip2;
		ZSTD_DStream *zstd;
		LZ4F_dctx *lz4;
		struct {
			char *block;
			size_t from, to; /* of it that has not been given yet */
		} legacy;		 /* LZ4 */
	};
};

enum step { STEP_MORE, STEP_END, STEP_DAMAGED };

/* Each step takes some of the input and fills some of the n bytes at out; *n becomes how many. */
struct unpack_format {
	const char *name;
	size_t len;
	uint8_t magic[6];
	bool (*begin)(struct unpacker *u);
	enum step (*step)(struct unpacker *u, uint8_t *out, size_t *n);
	void (*end)(struct unpacker *u);
	const char *command; /* without functions: what reads it */
};

static bool gzip_begin(struct unpacker *u)
{
	u->zlib = (z_stream){ 0 };
	return inflateInit2(&u->zlib, ZLIB_GZIP) == Z_OK;
}

static enum step gzip_step(struct unpacker *u, uint8_t *out, size_t *n)
{
	z_stream *z = &u->zlib;
	int r;

	z->next_in = (uint8_t *)(uintptr_t)u->in;
	z->avail_in = u->left > 1 << 30 ? 1 << 30 : (unsigned)u->left;
	z->next_out = out;
	z->avail_out = (unsigned)*n;
	r = inflate(z, Z_NO_FLUSH);
	u->left -= (size_t)(z->next_in - u->in);
	u->in = z->next_in;
	*n -= z->avail_out;
	return r == Z_STREAM_END ? STEP_END : r == Z_OK ? STEP_MORE : STEP_DAMAGED;
}

static void gzip_end(struct unpacker *u)
{
	inflateEnd(&u->zlib);
}

static bool xz_begin(struct unpacker *u)
{
	u->xz = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_stream_decoder(&u->xz, XZ_MEMORY, 0) == LZMA_OK;
}

static bool lzma_begin(struct unpacker *u)
{
	u->xz = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_alone_decoder(&u->xz, XZ_MEMORY) == LZMA_OK;
}

static enum step xz_step(struct unpacker *u, uint8_t *out, size_t *n)
{
	lzma_stream *x = &u->xz;
	lzma_ret r;

	x->next_in = u->in;
	x->avail_in = u->left;
	x->next_out = out;
	x->avail_out = *n;
	r = lzma_code(x, u->left ? LZMA_RUN : LZMA_FINISH);
	u->in = x->next_in;
	u->left = x->avail_in;
	*n -= x->avail_out;
	return r == LZMA_STREAM_END ? STEP_END : r == LZMA_OK ? STEP_MORE : STEP_DAMAGED;
}

static void xz_end(struct unpacker *u)
{
	lzma_end(&u->xz);
}

static bool bzip2_begin(struct unpacker *u)
{
	u->bzip2 = (bz_stream){ 0 };
	return BZ2_bzDecompressInit(&u->bzip2, 0, 0) == BZ_OK;
}

static enum step bzip2_step(struct unpacker *u, uint8_t *out, size_t *n)
{
	bz_stream *b = &u->bzip2;
	unsigned given = u->left > 1 << 30 ? 1 << 30 : (unsigned)u->left;
	int r;

	b->next_in = (char *)(uintptr_t)u->in;
	b->avail_in = given;
	b->next_out = (char *)out;
	b->avail_out = (unsigned)*n;
	r = BZ2_bzDecompress(b);
	u->in += given - b->avail_in;
	u->left -= given - b->avail_in;
	*n -= b->avail_out;
	return r == BZ_STREAM_END ? STEP_END : r == BZ_OK ? STEP_MORE : STEP_DAMAGED;
}

static void bzip2_end(struct unpacker *u)
{
	BZ2_bzDecompressEnd(&u->bzip2);
}

static bool zstd_begin(struct unpacker *u)
{
	u->zstd = ZSTD_createDStream();
	return u->zstd && !ZSTD_isError(ZSTD_initDStream(u->zstd));
}

static enum step zstd_step(struct unpacker *u, uint8_t *out, size_t *n)
{
	ZSTD_inBuffer in = { .src = u->in, .size = u->left };
	ZSTD_outBuffer to = { .dst = out, .size = *n };
	size_t r = ZSTD_decompressStream(u->zstd, &to, &in);

	u->in += in.pos;
	u->left -= in.pos;
	*n = to.pos;
	return ZSTD_isError(r) ? STEP_DAMAGED : r == 0 ? STEP_END : STEP_MORE;
}

static void zstd_end(struct unpacker *u)
{
	ZSTD_freeDStream(u->zstd);
}

static bool lz4_begin(struct unpacker *u)
{
	return !LZ4F_isError(LZ4F_createDecompressionContext(&u->lz4, LZ4F_VERSION));
}

static enum step lz4_step(struct unpacker *u, uint8_t *out, size_t *n)
{
	size_t taken = u->left;
	size_t r = LZ4F_decompress(u->lz4, out, n, u->in, &taken, NULL);

	u->in += taken;
	u->left -= taken;
	return LZ4F_isError(r) ? STEP_DAMAGED : r == 0 ? STEP_END : STEP_MORE;
}

static void lz4_end(struct unpacker *u)
{
	LZ4F_freeDecompressionContext(u->lz4);
}

/*
 * The format of `lz4 -l`, in which Linux packs itself: behind the magic come blocks, each behind
 * its length in four bytes. The end is where the file's is, or where there are four bytes that are
 * another magic, 0, or that no block follows.
 */
static bool legacy_begin(struct unpacker *u)
{
	u->in += 4;
	u->left -= 4;
	u->legacy.from = u->legacy.to = 0;
	u->legacy.block = malloc(LZ4_BLOCK);
	return u->legacy.block != NULL;
}

static enum step legacy_read(struct unpacker *u)
{
	struct rd r = RD_INIT(u->in, u->left);
	uint32_t len = rd_u32(&r);
	int n;

	if (!u->left)
		return STEP_END;
	if (!r.bad && (!len || !rd_left(&r) || len > LZ4_COMPRESSBOUND(LZ4_BLOCK)))
		return STEP_END;
	if (r.bad || len > rd_left(&r))
		return STEP_DAMAGED;
	n = LZ4_decompress_safe((const char *)r.p, u->legacy.block, (int)len, LZ4_BLOCK);
	if (n <= 0)
		return STEP_DAMAGED;
	u->in = r.p + len;
	u->left = rd_left(&r) - len;
	u->legacy.from = 0;
	u->legacy.to = (size_t)n;
	return STEP_MORE;
}

static enum step legacy_step(struct unpacker *u, uint8_t *out, size_t *n)
{
	size_t room = *n, left;
	enum step step;

	*n = 0;
	if (u->legacy.from == u->legacy.to) {
		step = legacy_read(u);
		if (step != STEP_MORE)
			return step;
	}
	left = u->legacy.to - u->legacy.from;
	*n = left < room ? left : room;
	memcpy(out, u->legacy.block + u->legacy.from, *n);
	u->legacy.from += *n;
	return STEP_MORE;
}

static void legacy_end(struct unpacker *u)
{
	free(u->legacy.block);
}

static const struct unpack_format formats[] = {
	{ "gzip", 3, { 0x1f, 0x8b, 8 }, gzip_begin, gzip_step, gzip_end, NULL },
	{ "xz", 6, { 0xfd, '7', 'z', 'X', 'Z', 0 }, xz_begin, xz_step, xz_end, NULL },
	{ "zstd", 4, { 0x28, 0xb5, 0x2f, 0xfd }, zstd_begin, zstd_step, zstd_end, NULL },
	{ "bzip2", 3, "BZh", bzip2_begin, bzip2_step, bzip2_end, NULL },
	{ "lzma", 3, { 0x5d, 0, 0 }, lzma_begin, xz_step, xz_end, NULL },
	{ "LZ4", 4, { 0x04, 0x22, 0x4d, 0x18 }, lz4_begin, lz4_step, lz4_end, NULL },
	{ "LZ4", 4, { 0x02, 0x21, 0x4c, 0x18 }, legacy_begin, legacy_step, legacy_end, NULL },
	{ .name = "LZO", .len = 4, .magic = { 0x89, 'L', 'Z', 'O' }, .command = "lzop -d" },
	{ .name = "zip", .len = 4, .magic = { 'P', 'K', 3, 4 }, .command = "unzip" },
};

static bool begins_with(const struct unpack_format *f, const uint8_t *data, size_t len)
{
	return len >= f->len && !memcmp(data, f->magic, f->len);
}

static const struct unpack_format *find_format(const struct boot_image *image)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (begins_with(&formats[i], image->data, image->len))
			return &formats[i];
	}
	return NULL;
}

/* Makes room for more, twice as much as there was. */
static bool grow(struct unpacked *o)
{
	size_t cap = o->cap ? o->cap * 2 : 1 << 20;
	uint8_t *data;

	if (cap > o->max)
		cap = o->max;
	data = realloc(o->data, cap);
	if (!data)
		return false;
	o->data = data;
	o->cap = cap;
	return true;
}

static int unpack_stream(const struct unpack_format *f, struct unpacker *u, struct unpacked *o,
			 const struct boot_image *image, struct err *err)
{
	enum step step = STEP_MORE;

	while (step == STEP_MORE) {
		size_t left = u->left, n;

		if (o->len == o->max)
			return err_set(err, EINVAL,
				       "%s (%s) holds more than the %zu MiB that a kernel may have",
				       image->name, f->name, o->max >> 20);
		if (o->len == o->cap && !grow(o))
			return err_set(err, ENOMEM, "out of memory for what is in %s", image->name);
		n = o->cap - o->len;
		n = n > 1 << 30 ? 1 << 30 : n;
		step = f->step(u, o->data + o->len, &n);
		o->len += n;
		if (step == STEP_MORE && !n && left == u->left)
			step = STEP_DAMAGED; /* it wants more than there is */
	}
	if (step == STEP_DAMAGED)
		return err_set(err, EINVAL,
			       "%s is damaged or cut short: its %s data ends at offset 0x%zx of "
			       "0x%zx",
			       image->name, f->name, image->len - u->left, image->len);
	return 0;
}

/* Behind the last stream may be zeros, or the unpacked length, which Linux' build appends. */
static bool is_padding(const struct unpacker *u, const struct unpacked *o)
{
	struct rd r = RD_INIT(u->in, u->left);

	return !u->left || bytes_are_zero(u->in, u->left) ||
	       (u->left == 4 && rd_u32(&r) == (uint32_t)o->len);
}

/* One stream after the other: what each holds goes behind what the last one held. */
static int unpack_all(const struct unpack_format *f, struct unpacker *u, struct unpacked *o,
		      const struct boot_image *image, struct err *err)
{
	int r;

	do {
		if (!f->begin(u))
			return err_set(err, ENOMEM, "out of memory for unpacking %s", image->name);
		r = unpack_stream(f, u, o, image, err);
		f->end(u);
		if (r)
			return r;
	} while (begins_with(f, u->in, u->left));
	if (!is_padding(u, o))
		return err_set(err, EINVAL,
			       "%s is damaged or cut short: its %s data ends at offset 0x%zx of "
			       "0x%zx, and something else follows",
			       image->name, f->name, image->len - u->left, image->len);
	return 0;
}

int image_unpack(struct boot_image *image, size_t max, struct err *err)
{
	const struct unpack_format *f = find_format(image);
	struct unpacker u = { .in = image->data, .left = image->len };
	struct unpacked o = { .max = max };
	int r;

	if (!f)
		return 0;
	if (f->command)
		return err_set(err, EINVAL,
			       "%s is compressed with %s, which is not read here: unpack it (%s)",
			       image->name, f->name, f->command);
	r = unpack_all(f, &u, &o, image, err);
	if (r) {
		free(o.data);
		return r;
	}
	free((void *)(uintptr_t)image->data);
	image->data = o.data;
	image->len = o.len;
	return 0;
}
