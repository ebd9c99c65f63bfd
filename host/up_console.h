/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console of a guest that is up: what the guest writes is kept (the last 64 KiB), and handed
 * to whoever is attached at a socket; what they type goes to the guest. A client that does not
 * read loses output; nobody waits for it. One that has closed its sending side gets what is kept,
 * and is hung up on.
 */
#ifndef HOST_UP_CONSOLE_H
#define HOST_UP_CONSOLE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define UP_CONSOLE_CLIENTS 4
#define UP_CONSOLE_KEPT	   65536
#define UP_CONSOLE_FDS	   (2 + UP_CONSOLE_CLIENTS)

struct up_console {
	char *path;
	int listener, guest; /* -1: none */
	int client[UP_CONSOLE_CLIENTS];
	char kept[UP_CONSOLE_KEPT];
	size_t n;
};

int up_console_open(struct up_console *c, const char *path, struct err *err);
void up_console_close(struct up_console *c);
/* A new process of the guest: *fd is what becomes its standard input and output. 0 or -errno. */
int up_console_plug(struct up_console *c, int *fd);
/* Its process is gone; what it wrote last is read. */
void up_console_unplug(struct up_console *c);
/* Fill in the descriptors to wait for, and serve those that are ready. */
void up_console_poll(const struct up_console *c, struct pollfd fd[UP_CONSOLE_FDS]);
void up_console_serve(struct up_console *c, const struct pollfd fd[UP_CONSOLE_FDS]);

#endif
