/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Directories of `twinstep up` for a guest on this host.
 *
 *   run     /run/twinstep/NAME, for others than root $XDG_RUNTIME_DIR/twinstep/NAME; gone after a
 *           reboot: lock, state (what it does now), console, messages
 *   state   /var/lib/twinstep/NAME, or ~/.local/state/twinstep/NAME; outlives reboots: lineage,
 *           events
 */
#ifndef HOST_RUN_DIR_H
#define HOST_RUN_DIR_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct run_dir {
	char *run, *state;
	int lock; /* -1: not held */
};

/* Paths of both, which are made, and the lock. -EBUSY: `up` runs there already. 0 or -errno. */
int run_dir_open(struct run_dir *d, const char *name, struct err *err);
/* Fills in the paths alone; nothing is made or locked. */
int run_dir_find(struct run_dir *d, const char *name, struct err *err);
void run_dir_close(struct run_dir *d);
/* Process that holds the lock; 0: none does. */
pid_t run_dir_holder(const struct run_dir *d);

/* Path of a file in either directory. Never NULL; free it. */
char *run_dir_file(const char *dir, const char *file);
/* Writes and reads the file `state`, one JSON object; whole or not at all. NULL: there is none. */
void run_dir_put_state(const struct run_dir *d, const json_t *state);
json_t *run_dir_get_state(const struct run_dir *d);

#endif
