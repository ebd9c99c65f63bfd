/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of `up`, for up*.c. */
#ifndef HOST_UP_PRIVATE_H
#define HOST_UP_PRIVATE_H

#include <sys/types.h>

#include "host/lineage.h"
#include "host/up.h"
#include "host/up_console.h"
#include "host/up_events.h"
#include "host/up_role.h"
#include "host/up_watch.h"
#include "replica/arbiter.h"

struct up {
	const struct options *o;
	struct guest_conf *g;
	char *conf; /* its file, for others to read; NULL: it is gone */
	struct run_dir dir;
	struct arbiter *arbiter; /* NULL: not opened yet */
	struct up_console console;
	struct up_events events;
	struct up_watch watch;
	int signals; /* signalfd */

	/* the replica */
	pid_t child; /* 0: none */
	bool backup; /* it was started as */
	bool live, began, joined;
	uint64_t started_ms, kill_at_ms; /* the latter 0: need not be */

	/* the next one */
	struct role_facts facts;
	uint64_t lead_since_ms, seen_last, barred_until_ms, next_ms;
	unsigned pause_ms;
	char why[300]; /* as said last */

	bool stopping, forced;
	int status; /* exit status; -1: goes on */
};

/* Starts a replica in that role. 0 or -errno and err. */
int up_child_start(struct up *u, enum role role, struct err *err);
/* Asks the arbiter and the peer's address, and puts their answers into u->facts. */
void up_look_around(struct up *u);

#endif
