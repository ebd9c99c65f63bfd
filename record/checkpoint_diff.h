/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of two checkpoints of a machine, the one that holds only what has changed from one to the other.
 */
#ifndef RECORD_CHECKPOINT_DIFF_H
#define RECORD_CHECKPOINT_DIFF_H

#include "record/checkpoint.h"

/* An open file, and its name for messages. */
struct checkpoint_file {
	int fd;
	const char *name;
};

/*
 * Writes what is to be restored on top of `below` for the state of `from`, both of which stand
 * alone, into an open, empty file. info gets what was written. 0; -EINVAL: they are not of one
 * machine, or do not stand alone; -EBADMSG: one is damaged; or what the disk said.
 */
int checkpoint_diff(const struct checkpoint_file *below, const struct checkpoint_file *from,
		    const struct checkpoint_file *to, struct checkpoint_info *info,
		    struct err *err);

#endif
