/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes as pairs of hexadecimal digits. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>

enum hex_letters {
	HEX_LOWER, /* as hex_put() writes them: nobody else has written it */
	HEX_ANY
};

/* The digit's value, or -1. */
int hex_digit(char c, enum hex_letters letters);
/* 2 * n digits, of which none may be missing, into n bytes; false: something else was among them.
 */
bool hex_get(const char *text, void *data, size_t n, enum hex_letters letters);
/* n bytes into 2 * n lower-case digits and a 0. */
void hex_put(char *text, const void *data, size_t n);

#endif
