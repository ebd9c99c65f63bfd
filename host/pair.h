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

#endif
