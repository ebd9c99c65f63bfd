// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: frames that a guest sends, of which its addresses are learnt. What is learnt can be
 * announced, and an announcement is learnt as the same address.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/neighbor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[NEIGHBOR_FRAME_MAX], mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
	uint8_t *copy = malloc(size ? size : 1);
	struct neighbor n, again;

	must(copy);
	if (size)
		memcpy(copy, data, size);
	if (size >= 12)
		memcpy(mac, copy + 6, sizeof(mac));
	if (neighbor_learn(copy, size, mac, &n)) {
		size_t len = neighbor_announce(&n, mac, out);

		must(len <= sizeof(out) && neighbor_learn(out, len, mac, &again));
		must(neighbor_same(&n, &again));
	}
	free(copy);
	return 0;
}
