// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep verify`: whether both sides of a protected pair have the same on their disks. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "tools/cmd.h"
#include "host/control.h"

#define ANSWER_MS 5000

static json_t *ask(const char *who, json_t *request)
{
	struct err err = ERR_INIT;
	json_t *answer = control_request(who, request, ANSWER_MS, &err);

	json_decref(request);
	if (!answer)
		log_error("%s", err.text);
	return answer;
}

static json_t *request(const struct options *o)
{
	json_t *r =
		json_pack("{s:s, s:s}", "command", "verify", "mend", verify_mend_names[o->mend]);

	if (o->disk.given)
		json_object_set_new(r, "disk", json_integer((json_int_t)o->disk.n));
	return r;
}

static long long number(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

/* The status's part about it once it is over; NULL after having said why there is none. */
static json_t *wait_for_end(const char *who)
{
	for (;;) {
		json_t *status = ask(who, json_pack("{s:s}", "command", "status"));
		json_t *verify = json_object_get(status, "verify");

		if (!status)
			return NULL;
		if (!json_is_true(json_object_get(verify, "running"))) {
			json_incref(verify);
			json_decref(status);
			return verify;
		}
		json_decref(status);
		host_sleep_ns(200000000);
	}
}

static void print_found(const json_t *verify)
{
	const json_t *found = json_object_get(verify, "found");

	for (size_t i = 0; i < json_array_size(found); i++) {
		const json_t *f = json_array_get(found, i);

		printf("disk %lld differs in the block at byte %lld\n", number(f, "disk"),
		       number(f, "offset"));
	}
	if (number(verify, "differing") > (long long)json_array_size(found))
		printf("and in others\n");
	printf("%lld of %lld blocks compared, %lld differ, %lld of them mended\n",
	       number(verify, "compared"), number(verify, "blocks"), number(verify, "differing"),
	       number(verify, "mended"));
}

static int run(struct options *o)
{
	json_t *answer = ask(o->args[0], request(o)), *verify;
	const char *error;
	int status;

	if (!answer)
		return 1;
	json_decref(answer);
	verify = wait_for_end(o->args[0]);
	if (!verify)
		return 1;
	if (o->json) {
		json_dumpf(verify, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_found(verify);
	}
	error = json_string_value(json_object_get(verify, "error"));
	if (error)
		log_error("%s", error);
	status = error || number(verify, "differing") != number(verify, "mended");
	json_decref(verify);
	return status;
}

const struct command cmd_verify = {
	.id = COMMAND_VERIFY,
	.name = "verify",
	.summary = "compare the disks of both sides of a pair",
	.usage = "NAME|PATH [OPTION...]",
	.text = "Compares what both sides of a protected pair have on their disks, while the guest "
		"runs, and names blocks that differ. NAME is the live replica's.",
	.end = "Exit status: 0 nothing differs, or all was mended; 1 something differs, or it "
	       "could not be compared.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
