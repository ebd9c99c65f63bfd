// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/unpack.h"

#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit.h"

#define LEN   3000000u /* more than the first room for it */
#define FORMS 5

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

static size_t (*const pack[FORMS])(uint8_t *out, size_t max) = { pack_gzip, pack_xz, pack_zstd,
								 pack_bzip2, pack_lzma };

static void setup(void)
{
	err = (struct err)ERR_INIT;
	kernel = malloc(LEN);
	packed = malloc(2 * LEN + 8);
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

	packed_len = pack[_i](packed, LEN);
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

	packed_len = pack[_i](packed, LEN);
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

	packed_len = pack[_i](packed, LEN);
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

	packed_len = pack[_i](packed, LEN);
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
	memcpy(packed,
	       "\2\x21\x4c\x18"
	       "1234",
	       8);
	ck_assert_int_eq(unpack(8, LEN, &image), -EINVAL);
	ck_assert_msg(strstr(err.text, "(unlz4)") != NULL, "%s", err.text);
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
	tcase_add_test(tc, leaves_others_or_says_how);
}

UNIT_MAIN("unpack", add)
