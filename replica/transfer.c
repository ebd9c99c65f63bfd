// SPDX-License-Identifier: GPL-2.0-or-later
/* The machine's state to a backup that joins. The guest stands still; vCPU thread. */
#include "replica/replica_private.h"

/* Disks that were told to follow a session after it was lost part from it now. */
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
