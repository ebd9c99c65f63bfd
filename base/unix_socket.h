/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets with a name in the file system, which only this user and root can connect to. */
#ifndef BASE_UNIX_SOCKET_H
#define BASE_UNIX_SOCKET_H

#include <sys/un.h>

#include "base/err.h"

/* The address of a path: 0, or -EINVAL and err for an empty one or one that is too long. */
int unix_socket_address(const char *path, struct sockaddr_un *sa, struct err *err);
/*
 * Makes the path free: a socket that a process has left behind is removed. -EADDRINUSE where a
 * process still listens, -EEXIST where there is something else of that name, another -errno where
 * it cannot be told whether a process listens (the socket stays then), and err.
 */
int unix_socket_vacate(const char *path, struct err *err);
/*
 * Removes the sockets in a directory whose names end in `suffix` and that processes have left
 * behind, and returns how many. One that is younger than age_s seconds stays: its process may be
 * about to listen. Nothing is removed while another process makes a socket there.
 */
unsigned unix_socket_sweep(const char *dir, const char *suffix, unsigned age_s);
/*
 * A socket that listens at the path, once it is free, for up to `backlog` connections that nobody
 * has taken yet. It does not block, and its file has mode 0600 from the start. The descriptor, or
 * -errno and err; then there is no file.
 */
int unix_socket_listen(const char *path, int backlog, struct err *err);

#endif
