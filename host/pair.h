/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The supervisor of a pair of replicas on this host (`twinstep pair`). */
#ifndef HOST_PAIR_H
#define HOST_PAIR_H

#include "host/options.h"

/*
 * Runs the pair until its guest has ended. o: the options as replica a sees them; what was given is
 * handed on. live: 'a' or 'b', the one to begin with. Says what went wrong; returns the exit
 * status.
 */
int pair_run(const struct options *o, char live);

#define PAIR_DIR_LEN 64
/*
 * Makes a directory of mode 0700 with a key ("key") and a file arbiter ("arbiter") for one pair,
 * and removes those of pairs that were killed. *lock: a descriptor that says that it is in use, as
 * long as it is open; -1: none. 0; or -errno and err, where dir may be there all the same (not
 * empty).
 */
int pair_dir_make(char dir[PAIR_DIR_LEN], int *lock, struct err *err);
void pair_dir_remove(const char *dir);

#endif
