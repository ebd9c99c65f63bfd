/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small guest, recorded and replayed by this very program, as a user would do it. */
#ifndef HOST_QUALIFY_REPLAY_H
#define HOST_QUALIFY_REPLAY_H

#include <stddef.h>

struct qualify_replay {
	unsigned rounds;       /* recordings whose replay agreed */
	unsigned long digests; /* compared in all of them */
	char why[200];	       /* empty, or why there are no more */
};

/*
 * Up to `rounds` times: half a second by the host's clock on the engine of that name, a digest
 * every 50 ms, and the replay on the same engine. Files go to a directory of their own in /tmp,
 * which is removed. One that takes longer than a minute is killed and is the last. SIGINT,
 * SIGTERM and SIGHUP end this process, once the child is killed and the files are removed.
 */
void qualify_replay(const char *engine, unsigned rounds, struct qualify_replay *r);

#endif
