/* SPDX-License-Identifier: GPL-2.0-or-later */
/* History of a guest on this host: the lines that `up` keeps. */
#ifndef HOST_GUEST_LOG_H
#define HOST_GUEST_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* Prints all of them, oldest first, for a person or as they are. -ENOENT: there are none. */
int guest_log_print(FILE *f, const char *name, bool json, struct err *err);
/* Prints them, and each new one as it comes, until stop(ctx), or until nothing reads f any more. */
int guest_log_watch(FILE *f, const char *name, bool json, bool (*stop)(void *ctx), void *ctx,
		    struct err *err);
/* Does so for one file, which need not be there yet and may be put aside for a new one. */
void guest_log_follow(FILE *f, const char *path, bool json, bool (*stop)(void *ctx), void *ctx);

#endif
