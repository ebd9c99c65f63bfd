/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps a guest's file systems frozen, by its agent, for as long as somebody needs it, and no
 * longer: a process of its own thaws them when this one ends, however it does.
 */
#ifndef HOST_GUEST_FREEZE_H
#define HOST_GUEST_FREEZE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct guest_freeze {
	const char *where; /* socket of --guest-agent; NULL: nothing is frozen */
	uint64_t patience_ms;
	pid_t keeper;
	int fd; /* to it */
	int64_t filesystems;
	uint64_t since_ns; /* host_mono_ns() */
};

/*
 * Freezes, by the agent at socket `where`, which may take patience_ms to answer. 0, or -errno and
 * err: then nothing is frozen, or a thaw waits in the agent's line.
 */
int guest_freeze_begin(struct guest_freeze *f, const char *where, uint64_t patience_ms,
		       struct err *err);
/* Thaws what is frozen. 0, also where nothing is, or -errno and err: it may be frozen still. */
int guest_freeze_end(struct guest_freeze *f, struct err *err);

#endif
