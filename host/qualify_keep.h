/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What other threads of this host hold in a processor while a guest runs on it. */
#ifndef HOST_QUALIFY_KEEP_H
#define HOST_QUALIFY_KEEP_H

#include <stdbool.h>

struct qualify_keep;

/*
 * A thread on the calling thread's CPUs that holds the whole of eight vector registers from now on.
 * NULL: no AVX here, or it cannot be started.
 */
struct qualify_keep *qualify_keep_begin(void);
/* Ends it: whether they are as they were. */
bool qualify_keep_end(struct qualify_keep *k);

/* May this process use a port that the kernel let it have? *asked: it let it. */
bool qualify_keep_port(bool *asked);

/*
 * Has the calling thread stop at writes to a place of its own, by a register of the processor, and
 * writes there; false: the kernel does not let it.
 */
bool qualify_keep_watch(void);
/* Writes there again, and ends it: was each write noticed, and nothing else? */
bool qualify_keep_watched(void);

#endif
