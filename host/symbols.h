/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of a guest's code: a System.map, the output of nm, or the symbols of a 64-bit ELF file. */
#ifndef HOST_SYMBOLS_H
#define HOST_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct symbol {
	uint64_t address;
	const char *name; /* into symbols.text */
};

struct symbols {
	char *text;
	struct symbol *list; /* of code, by address; of several at one the first name */
	size_t n;
};

/*
 * Takes the symbols out of the n bytes of a file. data is the heap's and s's from then on; path is
 * for messages. 0, or -EINVAL, -ENOMEM and err.
 */
int symbols_parse(struct symbols *s, char *data, size_t n, const char *path, struct err *err);
/* Reads the symbols of an open file, of at most SYMBOLS_MAX bytes. */
int symbols_read(struct symbols *s, int fd, const char *path, struct err *err);
#define SYMBOLS_MAX (1ull << 30)
/* The code at an address; NULL: it has no name, or none within SYMBOLS_REACH bytes in front. */
const char *symbols_find(const struct symbols *s, uint64_t address);
#define SYMBOLS_REACH (1ull << 20)
/*
 * A name, and what is in front of the next one: *end is behind that, UINT64_MAX where none comes.
 * False: there is no such name.
 */
bool symbols_named(const struct symbols *s, const char *name, uint64_t *address, uint64_t *end);
void symbols_free(struct symbols *s);

#endif
