/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the replica of a pair on one host that has the newer disks, and so has to begin. */
#ifndef HOST_PAIR_DISKS_H
#define HOST_PAIR_DISKS_H

#include "base/err.h"
#include "host/machine_opts.h"

/*
 * By the metadata beside the images of replicas a and b. newer: 0, or the letter of the side that a
 * person has chosen, whatever the metadata says. *letter: 'a' or 'b', a where there is no
 * difference. -ESTALE and err: that cannot be told.
 */
int pair_disks_newer(const struct machine_opts *a, const struct machine_opts *b, char newer,
		     char *letter, struct err *err);

#endif
