/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes, of two checkpoints of a machine, one that holds only what has changed between them. */
#ifndef RECORD_CHECKPOINT_DIFF_H
#define RECORD_CHECKPOINT_DIFF_H

#include "record/checkpoint.h"

/* An open file, and its name for messages. */
struct checkpoint_file {
	int fd;
	const char *name;
};

/*
 * Writes to `to`, an open, empty file, the checkpoint that turns the state of `below` into that of
 * `from` when restored on top of it. `below` and `from` stand alone. info: what was written. 0;
 * -EINVAL and err: they are of different machines, or one does not stand alone; -EBADMSG and err:
 * one is damaged; another -errno and err: writing failed.
 */
int checkpoint_diff(const struct checkpoint_file *below, const struct checkpoint_file *from,
		    const struct checkpoint_file *to, struct checkpoint_info *info,
		    struct err *err);

#endif
