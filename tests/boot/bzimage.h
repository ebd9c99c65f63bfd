/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small bzImage for tests: one setup sector, 4 KiB of kernel, boot protocol 2.15. */
#ifndef TESTS_BOOT_BZIMAGE_H
#define TESTS_BOOT_BZIMAGE_H

#include <stdint.h>
#include <string.h>

#define BZ_SETUP   1024 /* boot sector and one setup sector */
#define BZ_PAYLOAD 4096
#define BZ_LEN	   (BZ_SETUP + BZ_PAYLOAD)
#define BZ_LOAD	   0x1000000ull
#define BZ_INIT	   0x200000ull

static inline void bz_put(uint8_t *image, size_t at, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		image[at + i] = (uint8_t)(v >> (8 * i));
}

static inline void bz_make(uint8_t image[BZ_LEN])
{
	memset(image, 0, BZ_LEN);
	image[0x1f1] = 1;
	bz_put(image, 0x1f4, BZ_PAYLOAD / 16, 4);
	bz_put(image, 0x1fe, 0xaa55, 2);
	bz_put(image, 0x200, 0x6aeb, 2); /* jmp to 0x26c: the header's end */
	memcpy(image + 0x202, "HdrS", 4);
	bz_put(image, 0x206, 0x20f, 2);
	image[0x211] = 1;
	bz_put(image, 0x22c, 0x7fffffff, 4);
	bz_put(image, 0x230, 0x200000, 4);
	image[0x234] = 1;
	bz_put(image, 0x236, 0x1, 2);
	bz_put(image, 0x238, 2047, 4);
	bz_put(image, 0x24c, BZ_PAYLOAD - 16, 4);
	bz_put(image, 0x258, BZ_LOAD, 8);
	bz_put(image, 0x260, BZ_INIT, 4);
	for (size_t i = 0; i < BZ_PAYLOAD; i++)
		image[BZ_SETUP + i] = (uint8_t)(i * 7 + (i >> 8));
}

#endif
