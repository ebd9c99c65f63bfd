/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes as pairs of hexadecimal digits. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>

enum hex_letters {
	HEX_LOWER, /* only as hex_put() writes them, for text that this program wrote itself */
	HEX_ANY
};

/* The digit's value, or -1. */
int hex_digit(char c, enum hex_letters letters);
/* Turns 2 * n digits into n bytes; false: a digit is missing, or something else is among them. */
bool hex_get(const char *text, void *data, size_t n, enum hex_letters letters);
/* Turns n bytes into 2 * n lower-case digits and a final NUL. */
void hex_put(char *text, const void *data, size_t n);

#endif
