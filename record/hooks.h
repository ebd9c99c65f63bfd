/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several users of a live source's one set of hooks: a recorder, a control socket, a printer of
 * digests.
 */
#ifndef RECORD_HOOKS_H
#define RECORD_HOOKS_H

#include "record/live.h"

#define LIVE_HOOKS_USERS 4

/* Zeroed: nobody. Must outlive the live source that has its hooks. */
struct live_hooks_chain {
	struct live_hooks user[LIVE_HOOKS_USERS];
	size_t n;
};

/*
 * Users are called in the order in which they were added. More than LIVE_HOOKS_USERS is a mistake
 * of ours.
 */
void live_hooks_chain_add(struct live_hooks_chain *c, const struct live_hooks *h);
/*
 * The hooks of all of them: every one is told of a sync point, and it fails when it fails for one;
 * inputs come one user's after the other's, one flush of the TLB for all; a sync point is wanted
 * when anybody wants it.
 */
struct live_hooks live_hooks_chain_ops(struct live_hooks_chain *c);

#endif
