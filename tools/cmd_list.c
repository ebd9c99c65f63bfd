// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep list`: the guests of this host. */
#include <stdio.h>

#include "host/guest_list.h"
#include "host/guest_table.h"
#include "tools/cmd.h"

static int run(struct options *o)
{
	struct guest_table t = { .guests = guest_list() };

	if (o->json) {
		json_dumpf(t.guests, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		guest_table_print(stdout, &t);
	}
	json_decref((json_t *)(uintptr_t)t.guests);
	return 0;
}
const struct command cmd_list = {
	.id = COMMAND_LIST,
	.name = "list",
	.summary = "show the guests of this host",
	.usage = "[--json]",
	.text = "Shows each guest that has a configuration file here, is up, or runs under a name: "
		"state, role, the other side, generation, how far the backup is behind (ms), "
		"memory, CPU and age of the replica's process.",
	.run = run,
};
