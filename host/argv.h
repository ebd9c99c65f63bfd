/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command line that is put together for another process. */
#ifndef HOST_ARGV_H
#define HOST_ARGV_H

#include <stddef.h>

#include "host/options.h"

#define ARGV_MAX (OPTIONS_GIVEN + 24)

struct argv {
	char *arg[ARGV_MAX]; /* up to a NULL */
	size_t n;
};

void argv_add(struct argv *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "--NAME=VALUE", or "--NAME" of an option that takes none. */
void argv_add_option(struct argv *a, const struct option_row *row, const char *value);
void argv_free(struct argv *a);

#endif
