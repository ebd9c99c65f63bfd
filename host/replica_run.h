/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process of one replica: what `primary` and `backup` have in common. */
#ifndef HOST_REPLICA_RUN_H
#define HOST_REPLICA_RUN_H

#include <stdbool.h>

#include "host/bringup.h"
#include "host/control.h"
#include "host/lineage.h"
#include "host/options.h"
#include "replica/dialler.h"
#include "replica/replica.h"

struct replica_run {
	const struct options *o;
	bool backup;
	struct panic_watch panic;
	struct replica_config cfg;
	struct dialler dialler;	      /* a backup's: dials again when its join is cut */
	struct keeper_post dial_post; /* ... from outside of the jail */
	struct keeper_post post;      /* asks the arbiter for a replica in a jail */
	struct peer_key *key;
	struct bringup up;
	struct replica *replica;
	struct control *control;
	struct lineage lineage;
	enum machine_end end;
	uint64_t started_ns, started_count; /* when its vCPU began */
};

/* The replica's whole life, from its options on. Says what went wrong; returns the exit status. */
int replica_run_live(struct replica_run *r);

#endif
