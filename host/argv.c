// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/argv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

void argv_add(struct argv *a, const char *fmt, ...)
{
	va_list ap;

	must(a->n < ARGV_MAX - 1);
	va_start(ap, fmt);
	must(vasprintf(&a->arg[a->n++], fmt, ap) >= 0);
	va_end(ap);
}

void argv_add_option(struct argv *a, const struct option_row *row, const char *value)
{
	if (value)
		argv_add(a, "--%s=%s", row->name, value);
	else
		argv_add(a, "--%s", row->name);
}

void argv_free(struct argv *a)
{
	while (a->n)
		free(a->arg[--a->n]);
	*a = (struct argv){ 0 };
}
