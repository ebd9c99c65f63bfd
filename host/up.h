/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `twinstep up`: keeps this host's replica of a guest going. It finds out which role the replica
 * has to take (up_role.h), starts it, starts it anew when it has ended otherwise than its guest,
 * and has its console and events.
 */
#ifndef HOST_UP_H
#define HOST_UP_H

#include "host/guest_conf.h"
#include "host/run_dir.h"

/* Runs until the guest has ended or a signal says so. Returns the exit status. */
int up_run(const struct options *o, struct guest_conf *g);

#endif
