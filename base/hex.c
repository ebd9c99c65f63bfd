// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/hex.h"

#include <stdint.h>

int hex_digit(char c, enum hex_letters letters)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return letters == HEX_ANY && c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool hex_get(const char *text, void *data, size_t n, enum hex_letters letters)
{
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(text[2 * i], letters);
		int low = high < 0 ? -1 : hex_digit(text[2 * i + 1], letters);

		if (low < 0)
			return false;
		((uint8_t *)data)[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void hex_put(char *text, const void *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[p[i] >> 4];
		text[2 * i + 1] = digits[p[i] & 15];
	}
	text[2 * n] = 0;
}
