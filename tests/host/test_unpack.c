// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/unpack.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit.h"

#define LEN   3000000u		 /* more than the first room for it */
#define ROOM  (LEN + (1u << 16)) /* for what does not get smaller */
#define FORMS 7

static uint8_t *kernel, *packed;
static size_t packed_len;
static struct err err;

static size_t pack_gzip(uint8_t *out, size_t max)
{
	z_stream z = {
		.next_in = kernel, .avail_in = LEN, .next_out = out, .avail_out = (uInt)max
	};

	ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return max - z.avail_out;
}

static size_t pack_xz(uint8_t *out, size_t max)
{
	size_t n = 0;

	ck_assert_int_eq(
		lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, kernel, LEN, out, &n, max),
		LZMA_OK);
	return n;
}

static size_t pack_zstd(uint8_t *out, size_t max)
{
	return ZSTD_compress(out, max, kernel, LEN, 1);
}

static size_t pack_bzip2(uint8_t *out, size_t max)
{
	unsigned n = (unsigned)max;

	ck_assert_int_eq(BZ2_bzBuffToBuffCompress((char *)out, &n, (char *)kernel, LEN, 1, 0, 0),
			 BZ_OK);
	return n;
}

static size_t pack_lzma(uint8_t *out, size_t max)
{
	lzma_stream x = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	ck_assert(!lzma_lzma_preset(&options, 0));
	ck_assert_int_eq(lzma_alone_encoder(&x, &options), LZMA_OK);
	x.next_in = kernel;
	x.avail_in = LEN;
	x.next_out = out;
	x.avail_out = max;
	ck_assert_int_eq(lzma_code(&x, LZMA_FINISH), LZMA_STREAM_END);
	lzma_end(&x);
	return max - x.avail_out;
}

static size_t pack_lz4(uint8_t *out, size_t max)
{
	LZ4F_preferences_t how = LZ4F_INIT_PREFERENCES;
	size_t n;

	how.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
	n = LZ4F_compressFrame(out, max, kernel, LEN, &how);
	ck_assert(!LZ4F_isError(n));
	return n;
}

/* One block of the legacy format. */
static size_t put_block(uint8_t *out, size_t max, const uint8_t *data, size_t len)
{
	int n = LZ4_compress_default((const char *)data, (char *)out + 4, (int)len, (int)max - 4);

	ck_assert_int_gt(n, 0);
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(n >> 8 * i);
	return 4 + (size_t)n;
}

static size_t pack_lz4_legacy(uint8_t *out, size_t max)
{
	memcpy(out, "\2\x21\x4c\x18", 4);
	return 4 + put_block(out + 4, max - 4, kernel, LEN);
}

static size_t (*const pack[FORMS])(uint8_t *out,
				   size_t max) = { pack_gzip, pack_xz,	pack_zstd,	pack_bzip2,
						   pack_lzma, pack_lz4, pack_lz4_legacy };

static void setup(void)
{
	err = (struct err)ERR_INIT;
	kernel = malloc(LEN);
	packed = malloc(2 * ROOM + 8);
	ck_assert(kernel && packed);
	for (size_t i = 0; i < LEN; i++)
		kernel[i] = (uint8_t)(i * i >> 9);
}

static void teardown(void)
{
	free(kernel);
	free(packed);
}

/* Of the first n bytes of what was packed. */
static int unpack(size_t n, size_t max, struct boot_image *image)
{
	uint8_t *data = malloc(n + 1);

	ck_assert_ptr_nonnull(data);
	memcpy(data, packed, n);
	*image = (struct boot_image){ .name = "xen.gz", .data = data, .len = n };
	return image_unpack(image, max, &err);
}

static void drop(struct boot_image *image)
{
	free((void *)(uintptr_t)image->data);
}

START_TEST(gives_what_was_packed)
{
	struct boot_image image;

	packed_len = pack[_i](packed, ROOM);
	ck_assert_msg(unpack(packed_len, LEN + 1, &image) == 0, "%s", err.text);
	ck_assert_uint_eq(image.len, LEN);
	ck_assert_int_eq(memcmp(image.data, kernel, LEN), 0);
	ck_assert_str_eq(image.name, "xen.gz");
	drop(&image);
}
END_TEST

START_TEST(refuses_what_is_cut_short_or_too_large)
{
	struct boot_image image;

	packed_len = pack[_i](packed, ROOM);
	for (size_t n = 8; n < packed_len; n += packed_len / 7) {
		ck_assert_int_eq(unpack(n, LEN + 1, &image), -EINVAL);
		ck_assert_msg(strstr(err.text, "xen.gz is damaged or cut short") != NULL, "%s",
			      err.text);
		drop(&image);
	}
	ck_assert_int_eq(unpack(packed_len, 2 << 20, &image), -EINVAL);
	ck_assert_msg(strstr(err.text, "more than the 2 MiB") != NULL, "%s", err.text);
	drop(&image);
}
END_TEST

START_TEST(joins_several_streams)
{
	struct boot_image image;

	packed_len = pack[_i](packed, ROOM);
	memcpy(packed + packed_len, packed, packed_len);
	memset(packed + 2 * packed_len, 0, 8);
	ck_assert_msg(unpack(2 * packed_len + 8, 2 * LEN + 1, &image) == 0, "%s", err.text);
	ck_assert_uint_eq(image.len, 2 * LEN);
	ck_assert_int_eq(memcmp(image.data, kernel, LEN), 0);
	ck_assert_int_eq(memcmp(image.data + LEN, kernel, LEN), 0);
	drop(&image);
	ck_assert_int_eq(unpack(2 * packed_len, 2 * LEN - 1, &image), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "holds more than"));
	drop(&image);
	ck_assert_int_eq(unpack(2 * packed_len - 20, 2 * LEN + 1, &image), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "is damaged or cut short"));
	drop(&image);
}
END_TEST

/* Linux' build appends the length to what goes into a bzImage. */
START_TEST(takes_the_length_behind_and_nothing_else)
{
	struct boot_image image;
	char where[40];

	packed_len = pack[_i](packed, ROOM);
	for (int i = 0; i < 4; i++)
		packed[packed_len + i] = (uint8_t)(LEN >> 8 * i);
	ck_assert_msg(unpack(packed_len + 4, LEN + 1, &image) == 0, "%s", err.text);
	ck_assert_uint_eq(image.len, LEN);
	drop(&image);
	packed[packed_len] ^= 1;
	ck_assert_int_eq(unpack(packed_len + 4, LEN + 1, &image), -EINVAL);
	snprintf(where, sizeof(where), "ends at offset 0x%zx of 0x%zx", packed_len, packed_len + 4);
	ck_assert_msg(strstr(err.text, where) != NULL, "%s", err.text);
	drop(&image);
}
END_TEST

/* Blocks of 8 MiB, and a last one that is shorter; a block may not hold more. */
START_TEST(reads_blocks_of_legacy_lz4)
{
	static uint8_t zeros[(8 << 20) + 1];
	struct boot_image image;
	size_t n = 4;

	memcpy(packed, "\2\x21\x4c\x18", 4);
	n += put_block(packed + n, ROOM, zeros, 8 << 20);
	n += put_block(packed + n, ROOM, kernel, LEN / 2);
	ck_assert_msg(unpack(n, 64 << 20, &image) == 0, "%s", err.text);
	ck_assert_uint_eq(image.len, (8 << 20) + LEN / 2);
	ck_assert_int_eq(memcmp(image.data, zeros, 8 << 20), 0);
	ck_assert_int_eq(memcmp(image.data + (8 << 20), kernel, LEN / 2), 0);
	drop(&image);
	ck_assert_int_eq(unpack(n - 1, 64 << 20, &image), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "is damaged or cut short"));
	drop(&image);
	n = 4 + put_block(packed + 4, ROOM, zeros, sizeof(zeros));
	ck_assert_int_eq(unpack(n, 64 << 20, &image), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "LZ4 data ends at offset 0x4 of"));
	drop(&image);
}
END_TEST

START_TEST(leaves_others_or_says_how)
{
	struct boot_image image;

	memcpy(packed,
	       "\x7f"
	       "ELF1234",
	       8);
	ck_assert_int_eq(unpack(8, LEN, &image), 0);
	ck_assert_uint_eq(image.len, 8);
	drop(&image);
	ck_assert_int_eq(unpack(0, LEN, &image), 0);
	drop(&image);
	memcpy(packed, "\x89LZO\0\r\n\x1a", 8);
	ck_assert_int_eq(unpack(8, LEN, &image), -EINVAL);
	ck_assert_msg(strstr(err.text, "(lzop -d)") != NULL, "%s", err.text);
	drop(&image);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, gives_what_was_packed, 0, FORMS);
	tcase_add_loop_test(tc, refuses_what_is_cut_short_or_too_large, 0, FORMS);
	tcase_add_loop_test(tc, joins_several_streams, 0, FORMS);
	tcase_add_loop_test(tc, takes_the_length_behind_and_nothing_else, 0, FORMS);
	tcase_add_test(tc, reads_blocks_of_legacy_lz4);
	tcase_add_test(tc, leaves_others_or_says_how);
}

UNIT_MAIN("unpack", add)
