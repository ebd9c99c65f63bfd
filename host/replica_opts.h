/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `primary`, `backup` and `pair` have in common: options, and the process of one replica. */
#ifndef HOST_REPLICA_OPTS_H
#define HOST_REPLICA_OPTS_H

#include "replica/replica.h"
#include "host/machine_host.h"
#include "host/machine_opts.h"

enum {
	OPT_LISTEN = OPT_COMMAND,
	OPT_CONNECT,
	OPT_KEY_FILE,
	OPT_INSECURE,
	OPT_ARBITER,
	OPT_TIMEOUT,
	OPT_HANG_TIMEOUT,
	OPT_MAX_LAG,
	OPT_EPOCH,
	OPT_ON_DIVERGENCE,
	OPT_NO_WAIT,
	OPT_CONNECT_WAIT,
	OPT_EVENTS,
	OPT_NAME,
	OPT_CONTROL,
	OPT_STATS,
	OPT_JSON,
	OPT_REPLICA_END,
};

#define REPLICA_OPTIONS                                                          \
	{ "listen", required_argument, NULL, OPT_LISTEN },                       \
		{ "connect", required_argument, NULL, OPT_CONNECT },             \
		{ "key-file", required_argument, NULL, OPT_KEY_FILE },           \
		{ "insecure", no_argument, NULL, OPT_INSECURE },                 \
		{ "arbiter", required_argument, NULL, OPT_ARBITER },             \
		{ "timeout", required_argument, NULL, OPT_TIMEOUT },             \
		{ "hang-timeout", required_argument, NULL, OPT_HANG_TIMEOUT },   \
		{ "max-lag", required_argument, NULL, OPT_MAX_LAG },             \
		{ "epoch", required_argument, NULL, OPT_EPOCH },                 \
		{ "on-divergence", required_argument, NULL, OPT_ON_DIVERGENCE }, \
		{ "no-wait", no_argument, NULL, OPT_NO_WAIT },                   \
		{ "connect-wait", required_argument, NULL, OPT_CONNECT_WAIT },   \
		{ "events", required_argument, NULL, OPT_EVENTS },               \
		{ "name", required_argument, NULL, OPT_NAME },                   \
		{ "control", required_argument, NULL, OPT_CONTROL },             \
		{ "stats", no_argument, NULL, OPT_STATS },                       \
	{                                                                        \
		"json", no_argument, NULL, OPT_JSON                              \
	}

struct replica_opts {
	struct machine_opts machine;
	const char *listen, *connect, *key_file, *arbiter, *events, *name, *control;
	bool insecure, no_wait, stats, json, help;
	uint64_t timeout_ms, hang_timeout_ms, max_lag_ms, epoch_ms, connect_wait_ms;
	enum replica_survivor on_divergence;
};

void replica_opts_defaults(struct replica_opts *o);
/* 0, or -EINVAL and err. */
int replica_opts_take(struct replica_opts *o, int opt, const char *arg, struct err *err);
/* What a replica of either role needs: key or --insecure, an arbiter. */
int replica_opts_check(const struct replica_opts *o, struct err *err);
/*
 * Parses all of a subcommand's options and, unless help is wanted, has check() look at them. 0, or
 * EXIT_USAGE after having said why.
 */
int replica_opts_parse(struct replica_opts *o, int argc, char **argv,
		       int (*check)(const struct replica_opts *o, struct err *err));
/* alone: with what a replica needs that is not half of `twinstep pair`. */
void replica_opts_help(FILE *f, bool alone);

#endif
