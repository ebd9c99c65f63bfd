/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lets several users share the one set of hooks of a live source: a recorder, a control socket, a
 * printer of digests.
 */
#ifndef RECORD_HOOKS_H
#define RECORD_HOOKS_H

#include "record/live.h"

#define LIVE_HOOKS_USERS 4

/* All zeros: no users. Must outlive the live source that has its hooks. */
struct live_hooks_chain {
	struct live_hooks user[LIVE_HOOKS_USERS];
	size_t n;
};

/*
 * Adds a user; users are called in the order in which they were added. More than LIVE_HOOKS_USERS
 * are a bug.
 */
void live_hooks_chain_add(struct live_hooks_chain *c, const struct live_hooks *h);
/*
 * Returns hooks that call those of all users. Each user is told of a sync point, and one failure is
 * a failure of all. Inputs of the users follow one another, with a single flush of the TLB for all.
 * A sync point is wanted when any user wants one.
 */
struct live_hooks live_hooks_chain_ops(struct live_hooks_chain *c);

#endif
