/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A busy host, for checks of what must not depend on that. */
#ifndef HOST_QUALIFY_LOAD_H
#define HOST_QUALIFY_LOAD_H

struct qualify_load;

/*
 * A thread for each CPU that is online, 64 at most, which writes all over more memory than caches
 * hold. *threads: how many do that when this returns, less where a thread or memory is refused;
 * *cpus: how many there should be. NULL: none.
 */
struct qualify_load *qualify_load_begin(unsigned *threads, unsigned *cpus);
/* Ends them; NULL is allowed. */
void qualify_load_end(struct qualify_load *l);

#endif
