/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `twinstep replay --gdb`: a recording that a debugger walks along, both ways. */
#ifndef HOST_REPLAY_GDB_H
#define HOST_REPLAY_GDB_H

#include "host/options.h"

/* Serves debuggers at o->gdb until one of them kills the target, or a signal. Exit status. */
int replay_gdb_run(const struct options *o);

#endif
