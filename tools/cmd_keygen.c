// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep keygen`: makes the key that both replicas of a pair hold. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "net/peer.h"
#include "tools/cmd.h"

static int run(int argc, char **argv)
{
	struct err err = ERR_INIT;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts("usage: twinstep keygen FILE\n\nMakes a new key for a pair. Copy it to the "
		     "other host by a safe way, mode 0600.");
		return 0;
	}
	if (argc != 2 || argv[1][0] == '-') {
		log_error("usage: twinstep keygen FILE");
		return EXIT_USAGE;
	}
	if (peer_key_create(argv[1], &err) == 0)
		return 0;
	log_error("%s", err.text);
	return EXIT_USAGE;
}

const struct command cmd_keygen = { "keygen", "make the key for a pair", run };
