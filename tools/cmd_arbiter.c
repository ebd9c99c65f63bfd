// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep arbiter`: makes the arbiter of a pair, or shows what it has decided. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/notify.h"
#include "host/stop.h"
#include "replica/arbiter.h"
#include "replica/witness.h"
#include "tools/cmd.h"

static int show_last(const struct options *o, struct arbiter *a, struct err *err)
{
	uint8_t id[ARBITER_ID_LEN] = { 0 };
	uint64_t generation;
	int ret = arbiter_last(a, &generation, err);

	if (ret == 0 && generation)
		ret = arbiter_owner(a, generation, id, err);
	if (ret < 0)
		return ret;
	printf(o->json ? "{\"generation\": %" PRIu64 ", \"owner\": \""
		       : "generation %" PRIu64 ", owner ",
	       generation);
	for (unsigned i = 0; generation && i < ARBITER_ID_LEN; i++)
		printf("%02x", id[i]);
	puts(o->json ? "\"}" : generation ? "" : "nobody yet");
	return 0;
}

static int show(const struct options *o, const char *spec, struct err *err)
{
	struct arbiter *a = arbiter_open(spec, err);
	int ret = a ? show_last(o, a, err) : -err->code;

	arbiter_close(a);
	return ret;
}

/* ---- a witness ---- */

static volatile bool stopping;

static void stop_serving(void *ctx)
{
	stopping = true;
}

static int serve(const struct options *o, const char *dir, struct err *err)
{
	struct peer_key *key;
	int ret;

	if (!o->replica.listen || !o->replica.key_file)
		return err_set(
			err, EINVAL,
			"a witness needs --listen ADDR and --key-file FILE (`twinstep keygen "
			"FILE` makes one)");
	key = peer_key_load(o->replica.key_file, err);
	if (!key)
		return -err->code;
	stop_on_signals(stop_serving, NULL);
	log_set_name("twinstep witness");
	notify_send("READY=1");
	ret = witness_serve(dir, o->replica.listen, key, &stopping, err);
	stop_restore();
	/* Its threads may be in the middle of a handshake's end: the key goes with the process. */
	return ret;
}

static int run(struct options *o)
{
	struct err err = ERR_INIT;
	int ret;

	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(o->args[0], "init"))
		ret = arbiter_init(o->args[1], &err);
	else if (!strcmp(o->args[0], "show"))
		ret = show(o, o->args[1], &err);
	else if (!strcmp(o->args[0], "serve"))
		ret = serve(o, o->args[1], &err);
	else
		ret = err_set(&err, EINVAL, "'%s' is neither init, show nor serve", o->args[0]);
	if (ret == 0)
		return 0;
	log_error("%s", err.text);
	return EXIT_USAGE;
}

const struct command cmd_arbiter = {
	.id = COMMAND_ARBITER,
	.name = "arbiter",
	.summary = "make the arbiter of a pair, show what it has decided, or be one",
	.usage = "init|show ARBITER [--json] | serve DIR --listen ADDR --key-file FILE",
	.text = "init makes the directory of file:DIR and marks it, once, on the storage that both "
		"hosts see; etcd needs no preparation. show prints the last generation and who has "
		"it.",
	.end = "Exit status: 0; 2 it cannot be made, or cannot tell.",
	.min_args = 2,
	.max_args = 2,
	.run = run,
};
