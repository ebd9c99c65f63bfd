// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hands the machine's state over to a joining backup, on the vCPU thread, while the guest stands
 * still.
 */
#include "replica/replica_private.h"

/* If the session was lost meanwhile, takes back that the other side's disks follow. */
static void part_if_lost(struct replica *r, const struct session *s)
{
	pthread_mutex_lock(&r->link.lock);
	if (r->link.session != s)
		disks_part(r);
	pthread_mutex_unlock(&r->link.lock);
}

void link_transfer(struct replica *r, struct session *s, uint64_t seq)
{
	struct err err = ERR_INIT;

	batch_restart(&r->batch);
	if (joining_finish(s->joining, seq, &err) < 0)
		link_lost(s, err.text);
	part_if_lost(r, s);
	link_rest(&r->link, s);
}
