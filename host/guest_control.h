/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands for a machine that runs live in this process: status, stop, snapshot, balloon.
 */
#ifndef HOST_GUEST_CONTROL_H
#define HOST_GUEST_CONTROL_H

#include "record/hooks.h"
#include "host/control.h"
#include "host/guest_run.h"

struct guest_control;

/*
 * Opens the socket at --control or under --name; *gc is NULL when neither was given. Adds its
 * hooks to `hooks`. The machine must exist, the live source need not. kind: "run" or "record", for
 * the status.
 */
int guest_control_open(struct guest_control **gc, struct guest_run *g, const char *kind,
		       struct live_hooks_chain *hooks, struct err *err);
/* From here on requests are answered: the live source exists. 0 or -errno. NULL allowed. */
int guest_control_start(struct guest_control *gc, struct err *err);
/*
 * After the run: whoever waits is told that the machine has ended, and the socket goes. NULL
 * allowed.
 */
void guest_control_close(struct guest_control *gc);

#endif
