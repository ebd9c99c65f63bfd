// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep keygen`: makes the key that both replicas of a pair hold. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "net/peer.h"
#include "tools/cmd.h"

static int run(struct options *o)
{
	struct err err = ERR_INIT;

	if (peer_key_create(o->args[0], &err) == 0)
		return 0;
	log_error("%s", err.text);
	return EXIT_USAGE;
}

const struct command cmd_keygen = {
	.id = COMMAND_KEYGEN,
	.name = "keygen",
	.summary = "make the key for a pair",
	.usage = "FILE",
	.text = "Makes a new key for a pair. Copy it to the other host by a safe way, mode 0600.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
