/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket to which a debugger on this host connects. */
#ifndef HOST_GDB_LISTEN_H
#define HOST_GDB_LISTEN_H

#include "base/err.h"

/*
 * Listens at "unix:PATH", or at PORT of a loopback address: "127.0.0.1:PORT", "[::1]:PORT",
 * "localhost:PORT". Nobody on another host can connect. A descriptor that does not block, with
 * *path (in text) where a socket file has to be removed, else NULL; or -errno.
 */
int gdb_listen(const char *text, const char **path, struct err *err);

#endif
