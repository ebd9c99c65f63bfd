// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/replica_opts.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "host/exit.h"

void replica_opts_defaults(struct replica_opts *o)
{
	*o = (struct replica_opts){
		.timeout_ms = 200,
		.hang_timeout_ms = 5000,
		.max_lag_ms = 50,
		.epoch_ms = 100,
		.connect_wait_ms = 10000,
		.on_divergence = SURVIVOR_PRIMARY,
	};
	machine_opts_defaults(&o->machine);
}

static int take_ms(uint64_t *ms, const char *name, const char *arg, uint64_t min, uint64_t max,
		   struct err *err)
{
	if (!parse_number(arg, ms) || *ms < min || *ms > max)
		return err_set(err, EINVAL, "--%s %s: must be %llu to %llu milliseconds", name, arg,
			       (unsigned long long)min, (unsigned long long)max);
	return 0;
}

static int take_survivor(enum replica_survivor *s, const char *arg, struct err *err)
{
	static const char *const names[] = { [SURVIVOR_PRIMARY] = "primary",
					     [SURVIVOR_BACKUP] = "backup",
					     [SURVIVOR_NOBODY] = "halt" };

	for (unsigned i = 0; i < 3; i++) {
		if (!strcmp(arg, names[i])) {
			*s = i;
			return 0;
		}
	}
	return err_set(err, EINVAL, "--on-divergence %s: must be primary, backup or halt", arg);
}

static bool take_string(struct replica_opts *o, int opt, const char *arg)
{
	const char **where = opt == OPT_LISTEN	   ? &o->listen
			     : opt == OPT_CONNECT  ? &o->connect
			     : opt == OPT_KEY_FILE ? &o->key_file
			     : opt == OPT_ARBITER  ? &o->arbiter
			     : opt == OPT_EVENTS   ? &o->events
			     : opt == OPT_NAME	   ? &o->name
			     : opt == OPT_CONTROL  ? &o->control
						   : NULL;

	if (where)
		*where = arg;
	return where != NULL;
}

int replica_opts_take(struct replica_opts *o, int opt, const char *arg, struct err *err)
{
	int ret = machine_opts_take(&o->machine, opt, arg, err);

	if (ret)
		return ret < 0 ? ret : 0;
	if (opt == OPT_NAME)
		o->machine.share.name = arg;
	if (take_string(o, opt, arg))
		return 0;
	switch (opt) {
	case OPT_TIMEOUT:
		return take_ms(&o->timeout_ms, "timeout", arg, 10, 3600000, err);
	case OPT_HANG_TIMEOUT:
		return take_ms(&o->hang_timeout_ms, "hang-timeout", arg, 100, 3600000, err);
	case OPT_MAX_LAG:
		return take_ms(&o->max_lag_ms, "max-lag", arg, 1, 3600000, err);
	case OPT_EPOCH:
		return take_ms(&o->epoch_ms, "epoch", arg, 1, 3600000, err);
	case OPT_CONNECT_WAIT:
		return take_ms(&o->connect_wait_ms, "connect-wait", arg, 0, 86400000, err);
	case OPT_ON_DIVERGENCE:
		return take_survivor(&o->on_divergence, arg, err);
	}
	o->insecure |= opt == OPT_INSECURE;
	o->no_wait |= opt == OPT_NO_WAIT;
	o->stats |= opt == OPT_STATS;
	o->json |= opt == OPT_JSON;
	o->help |= opt == OPT_HELP;
	return 0;
}

int replica_opts_check(const struct replica_opts *o, struct err *err)
{
	if (!o->key_file && !o->insecure)
		return err_set(err, EINVAL,
			       "no key: use --key-file FILE (`twinstep keygen FILE` makes one), or "
			       "--insecure");
	if (o->key_file && o->insecure)
		return err_set(err, EINVAL, "--key-file and --insecure exclude each other");
	if (!o->arbiter)
		return err_set(
			err, EINVAL,
			"no arbiter: use --arbiter file:DIR, a directory that both replicas see");
	return 0;
}

int replica_opts_parse(struct replica_opts *o, int argc, char **argv,
		       int (*check)(const struct replica_opts *o, struct err *err))
{
	static const struct option options[] = { MACHINE_OPTIONS, REPLICA_OPTIONS, { 0 } };
	struct err err = ERR_INIT;
	int opt;

	replica_opts_defaults(o);
	while ((opt = options_next(argc, argv, options)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (replica_opts_take(o, opt, optarg, &err))
			goto bad;
	}
	if (o->help)
		return 0;
	if (optind < argc)
		err_set(&err, EINVAL, "unexpected argument '%s'; `twinstep %s --help` tells more",
			argv[optind], argv[0]);
	else
		check(o, &err);
	if (!err.code)
		return 0;
bad:
	log_error("%s", err.text);
	return EXIT_USAGE;
}

void replica_opts_help(FILE *f, bool alone)
{
	fputs("Pair:\n", f);
	if (alone)
		fputs("  --key-file FILE         key that both replicas hold (mode 0600; `twinstep "
		      "keygen` makes it)\n"
		      "  --insecure              no key: anybody who can connect is believed\n"
		      "  --arbiter file:DIR      directory that both replicas see: decides who is "
		      "live\n"
		      "  --name NAME, --control PATH   control socket for `twinstep status` and "
		      "`twinstep stop`\n",
		      f);
	fputs("  --timeout MS            silence after which the other replica counts as dead "
	      "(200)\n"
	      "  --hang-timeout MS       its vCPU without progress after which it counts as dead "
	      "as well (5000)\n"
	      "  --max-lag MS            how far the backup may be behind (50)\n"
	      "  --epoch MS              guest time between two comparisons of state (100)\n"
	      "  --on-divergence WHO     who goes on after a divergence: primary, backup or halt "
	      "(primary)\n"
	      "  --events FILE           append what happens, as lines of JSON\n"
	      "  --stats, --json         as for `twinstep run`\n"
	      "  --help                  this text\n",
	      f);
}
