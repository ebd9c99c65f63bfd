/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telling processes apart: ids are used again, but id and start time together never are. */
#ifndef ISOLATION_PROCESS_H
#define ISOLATION_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Returns the start time of a process, in clock ticks since the host booted; 0: there is no such
 * process, or it has ended.
 */
uint64_t process_start(pid_t pid);

#endif
