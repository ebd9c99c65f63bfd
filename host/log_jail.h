/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jail of commands that only read logs. They run no guest, but whoever wrote the log may have
 * meant harm.
 */
#ifndef HOST_LOG_JAIL_H
#define HOST_LOG_JAIL_H

#include <stdbool.h>

#include "isolation/jail.h"

/* First of all. */
void log_jail_begin(enum jail_mode mode);
/* Closes the jail: after the logs are open, before anything in them is looked at. 0 or -errno. */
int log_jail_enter(enum jail_mode mode, struct err *err);
/* True: it is time to end, as a signal has come, or nothing reads the output any more. */
bool log_jail_stopped(void);
/* Comes last: the exit status, the given one if nothing went wrong. */
int log_jail_end(int status);

#endif
