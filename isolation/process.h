/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which process a process id means: ids are used again, id and start time together are not. */
#ifndef ISOLATION_PROCESS_H
#define ISOLATION_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* When a process began, in clock ticks since the host did; 0: there is none, or it has ended. */
uint64_t process_start(pid_t pid);

#endif
