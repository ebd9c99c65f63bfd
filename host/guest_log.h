/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has happened to a guest on this host: the lines that `up` keeps. */
#ifndef HOST_GUEST_LOG_H
#define HOST_GUEST_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* Prints all of them, oldest first, for a person or as they are. -ENOENT: there are none. */
int guest_log_print(FILE *f, const char *name, bool json, struct err *err);

#endif
