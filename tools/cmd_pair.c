// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep pair`: runs both replicas on this host and keeps them going. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/pair.h"
#include "host/pair_disks.h"
#include "tools/cmd.h"

/* a and b: the options as each replica sees them. */
static int check_options(const struct options *a, const struct options *b, struct err *err)
{
	for (unsigned i = 0; i < a->machine.nnics; i++) {
		const char *spec = a->machine.nic[i].spec;

		if (!strncmp(spec, "tap:", 4) && !strcmp(spec, b->machine.nic[i].spec))
			return err_set(err, EINVAL,
				       "--net %s: two replicas cannot share a tap device: write "
				       "tap:NAME%%r",
				       spec);
	}
	for (unsigned i = 0; i < a->machine.ndisks; i++) {
		const struct disk_opt *d = &a->machine.disk[i];

		if (!d->readonly && !d->overlay && !strcmp(d->path, b->machine.disk[i].path))
			return err_set(err, EINVAL,
				       "--disk %s: two replicas cannot write one image: write "
				       "FILE%%r, a copy each",
				       d->path);
	}
	return machine_opts_check(&a->machine, err);
}

/* *live: the one to begin with. */
static int check_both(const struct options *a, char *live, struct err *err)
{
	static struct options b;
	int ret = options_again(&b, a, 'b', err);

	if (ret == 0)
		ret = check_options(a, &b, err);
	if (ret == 0)
		ret = pair_disks_newer(&a->machine, &b.machine, a->newer, live, err);
	options_free(&b);
	return ret;
}

static int run(struct options *o)
{
	struct err err = ERR_INIT;
	char live;

	if (check_both(o, &live, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_USAGE;
	}
	log_set_name("twinstep pair");
	return pair_run(o, live);
}

const struct command cmd_pair = {
	.id = COMMAND_PAIR,
	.name = "pair",
	.summary = "run the guest in two replicas on this host",
	.usage = "--kernel FILE [OPTION...]",
	.text = "Runs the guest in two replicas on this host. When one dies, the other goes on and "
		"a new one is started.\n\nIn the values of options, %r stands for a and b: each "
		"replica needs a tap device and an image of its own (`--net tap:guest%r`, `--disk "
		"image%r`); `pcap:IFACE` is shared as it is.",
	.end = "Exit status: as for `twinstep run`.",
	.run = run,
};
