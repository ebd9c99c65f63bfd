/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of a replica that are not its machine's. */
#ifndef HOST_REPLICA_OPTS_H
#define HOST_REPLICA_OPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "replica/replica.h"

struct replica_opts {
	const char *listen, *connect, *key_file, *arbiter, *events, *lineage;
	bool insecure, no_wait, force, rdma_clear;
	uint64_t sync_rate; /* bytes a second; 0: no bound */
	double scrub_days;
	uint64_t timeout_ms, max_timeout_ms; /* 0: not given; see replica_opts_timeout() */
	uint64_t hang_timeout_ms, max_lag_ms, epoch_ms, connect_wait_ms;
	uint64_t max_pause_ms, join_timeout_ms;
	uint64_t max_stall_ms; /* 0: not given */
	uint64_t min_speed;    /* percent */
	enum replica_survivor on_divergence;
	enum durability { DURABLE_LIVE, DURABLE_BOTH } durability;
	enum disk_trouble { DISK_ERROR_FAILOVER, DISK_ERROR_GUEST } on_disk_error;
};

void replica_opts_defaults(struct replica_opts *o);
/*
 * Bounds of the silence, in ms, after which a side counts as gone: at least and at most. Given
 * alone, --timeout is both; without it the pair adapts (replica/patience.h).
 */
uint64_t replica_opts_timeout(const struct replica_opts *o);
uint64_t replica_opts_max_timeout(const struct replica_opts *o);
/* Checks that a replica has what either role needs: key or --insecure, an arbiter. 0 or -EINVAL. */
int replica_opts_check(const struct replica_opts *o, struct err *err);

#endif
