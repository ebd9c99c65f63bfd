// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/replica_opts.h"

#include <errno.h>
#include <string.h>

/* docs/performance.md has the figures. */
#define TIMEOUT_MS     400
#define MAX_TIMEOUT_MS 2000

void replica_opts_defaults(struct replica_opts *o)
{
	*o = (struct replica_opts){
		.hang_timeout_ms = 5000,
		.max_lag_ms = 50,
		.min_speed = 10,
		.max_pause_ms = 50,
		.join_timeout_ms = 60000,
		.epoch_ms = 100,
		.connect_wait_ms = 10000,
		.on_divergence = SURVIVOR_PRIMARY,
	};
}

uint64_t replica_opts_timeout(const struct replica_opts *o)
{
	if (o->timeout_ms)
		return o->timeout_ms;
	return o->max_timeout_ms && o->max_timeout_ms < TIMEOUT_MS ? o->max_timeout_ms : TIMEOUT_MS;
}

uint64_t replica_opts_max_timeout(const struct replica_opts *o)
{
	if (o->max_timeout_ms)
		return o->max_timeout_ms;
	return o->timeout_ms ? o->timeout_ms : MAX_TIMEOUT_MS;
}

static bool is_rdma(const char *address)
{
	return address && !strncmp(address, "rdma:", 5);
}

int replica_opts_check(const struct replica_opts *o, struct err *err)
{
	if (!o->key_file && !o->insecure)
		return err_set(err, EINVAL,
			       "no key: use --key-file FILE (`twinstep keygen FILE` makes one), or "
			       "--insecure");
	if (o->key_file && o->insecure)
		return err_set(err, EINVAL, "--key-file and --insecure exclude each other");
	if (o->rdma_clear && !is_rdma(o->listen) && !is_rdma(o->connect))
		return err_set(err, EINVAL, "--rdma-clear is for addresses that begin with rdma:");
	if (replica_opts_max_timeout(o) < replica_opts_timeout(o))
		return err_set(err, EINVAL,
			       "--max-timeout %llu is shorter than --timeout %llu: silence cannot "
			       "last at least and at most so long",
			       (unsigned long long)replica_opts_max_timeout(o),
			       (unsigned long long)replica_opts_timeout(o));
	if (!o->arbiter)
		return err_set(
			err, EINVAL,
			"no arbiter: use --arbiter ARBITER: etcd://..., witness:..., or file:DIR, "
			"a directory that both replicas see");
	return 0;
}
