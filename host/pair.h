/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The supervisor of a pair of replicas on this host (`twinstep pair`). */
#ifndef HOST_PAIR_H
#define HOST_PAIR_H

#include "host/replica_opts.h"

/*
 * Runs the pair until its guest has ended. o: the options as replica a sees them; argc and argv:
 * the same as given, handed on to each replica. Says what went wrong; returns the exit status.
 */
int pair_run(const struct replica_opts *o, int argc, char **argv);
/* The text in which %r has become the replica's letter; free the result. */
char *pair_substitute(const char *text, char letter);

#endif
