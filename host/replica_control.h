/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket of a replica: status, stop, balloon, and the test hook that damages a machine.
 */
#ifndef HOST_REPLICA_CONTROL_H
#define HOST_REPLICA_CONTROL_H

#include "host/replica_run.h"

/* Opens the socket that the options ask for; 0 also when they ask for none. */
int replica_control_open(struct replica_run *r, struct err *err);
void replica_control_close(struct replica_run *r);

#endif
