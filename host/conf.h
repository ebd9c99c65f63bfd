/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration files: lines `key = value` under sections `[KIND NAME]`; what stands before the
 * first section belongs to section 0. A line that begins with # or ; is a comment. A value is the
 * rest of its line without blanks around it, or what stands between double quotes; a key alone is a
 * flag.
 *
 * A file may have several faults, and all of them are told, each with its place: reading goes on
 * behind one.
 */
#ifndef HOST_CONF_H
#define HOST_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define CONF_ENTRIES  256
#define CONF_SECTIONS 16
#define CONF_FAULTS   16
#define CONF_BYTES    (1u << 18)

struct conf_section {
	const char *kind, *name; /* both "" of section 0 */
	unsigned line;
};

struct conf_entry {
	const char *key;
	const char *value; /* NULL: a flag */
	unsigned section;
	unsigned line, key_column, column; /* from 1; column: of the value */
};

struct conf {
	char *path, *text; /* what all strings point into */
	struct conf_section section[CONF_SECTIONS];
	unsigned nsections;
	struct conf_entry entry[CONF_ENTRIES];
	unsigned nentries;
	unsigned fault_line[CONF_FAULTS];
	char *fault[CONF_FAULTS]; /* by line: "FILE:LINE:COLUMN: what is wrong: what to do" */
	unsigned nfaults;	  /* further ones are not kept */
};

/*
 * Reads the file. -errno and err when it cannot be read at all; else 0, and c->nfaults says
 * whether it is right. conf_free() is due in both cases.
 */
int conf_load(struct conf *c, const char *path, struct err *err);
/* Parses a file's text; path is for messages. */
void conf_parse(struct conf *c, const char *path, const char *text, size_t len);
void conf_free(struct conf *c);
/* Notes a fault of the file. */
void conf_fault(struct conf *c, unsigned line, unsigned column, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
