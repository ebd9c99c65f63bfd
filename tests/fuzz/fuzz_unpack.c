// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libFuzzer entry: the input is a kernel that may be compressed. Whatever comes, the image is left
 * as it was, or replaced by at most as many bytes as were allowed, or there is an error; nothing is
 * lost and nothing freed twice.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/unpack.h"

#define MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	struct boot_image image = { .name = "kernel", .data = copy, .len = size };
	struct err err = ERR_INIT;

	must(copy != NULL);
	if (size)
		memcpy(copy, data, size);
	if (image_unpack(&image, MAX, &err))
		must(err.code && err.text[0] && image.data == copy);
	else
		must(image.data == copy || image.len <= MAX);
	free((void *)(uintptr_t)image.data);
	return 0;
}
