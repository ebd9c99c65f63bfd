// SPDX-License-Identifier: GPL-2.0-or-later
/* Symbols of a profile: whatever is taken has names that end, in the order of their addresses. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct symbols s;
	char *copy = malloc(size + 1);

	memcpy(copy, data, size);
	if (symbols_parse(&s, copy, size, "fuzz", &err) < 0)
		return 0;
	for (size_t i = 0; i < s.n; i++) {
		must(s.list[i].name >= s.text &&
		     strlen(s.list[i].name) <= size - (size_t)(s.list[i].name - s.text));
		must(!i || s.list[i - 1].address <= s.list[i].address);
		must(symbols_find(&s, s.list[i].address));
	}
	symbols_free(&s);
	return 0;
}
