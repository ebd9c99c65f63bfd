/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Profile of a guest: RIP at every so many instructions of the count. So a profile is as repeatable
 * as the run, and changes nothing in it. It is written as folded stacks, which flame graph programs
 * take: "kernel;NAME SAMPLES" or "user;0xADDRESS SAMPLES" a line.
 */
#ifndef HOST_PROFILE_H
#define HOST_PROFILE_H

#include <stdint.h>

#include "base/err.h"
#include "hypervisor/engine.h"

struct profile;

/* A prime, which no loop of a guest's keeps step with. */
#define PROFILE_EVERY 100003

/*
 * Makes the file at path, empty, and opens symbols (NULL: none); path NULL is an error. A sample
 * every so many instructions. 0, or -errno and err.
 */
int profile_open(struct profile **p, const char *path, const char *symbols, uint64_t every,
		 struct err *err);
/* Reads the symbols, and begins to take samples of e; NULL: nothing. 0, or -errno and err. */
int profile_start(struct profile *p, struct engine *e, struct err *err);
/* Writes it. The engine does not run. 0, or -errno and err. */
int profile_write(struct profile *p, struct err *err);
void profile_close(struct profile *p);

#endif
