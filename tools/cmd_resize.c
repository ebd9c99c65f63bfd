// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep resize`: a disk of a running guest grows. */
#include <jansson.h>
#include <stdio.h>

#include "base/log.h"
#include "host/control.h"
#include "isolation/limits.h"
#include "tools/cmd.h"

#define ANSWER_MS 600000 /* a block device's new part is zeroed first */

static json_t *request(const struct options *o)
{
	bool more = o->size && o->size[0] == '+';
	uint64_t bytes;

	if (!o->disk.given || !o->size) {
		log_error("resize needs --disk N and --size SIZE, or --size +SIZE");
		return NULL;
	}
	if (!limits_parse_size(o->size + more, &bytes) || !bytes || bytes > INT64_MAX) {
		log_error("--size %s: not a size; write for example 20G, or +512M", o->size);
		return NULL;
	}
	return json_pack("{s:s, s:I, s:I, s:b}", "command", "resize", "disk", (json_int_t)o->disk.n,
			 "bytes", (json_int_t)bytes, "more", (int)more);
}

static int run(struct options *o)
{
	json_t *r = request(o), *answer;
	struct err err = ERR_INIT;

	if (!r)
		return 2;
	answer = control_request(o->args[0], r, ANSWER_MS, &err);
	json_decref(r);
	if (!answer) {
		log_error("%s", err.text);
		return 1;
	}
	if (o->json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		printf("disk %llu has %lld bytes\n", (unsigned long long)o->disk.n,
		       (long long)json_integer_value(json_object_get(answer, "bytes")));
	}
	json_decref(answer);
	return 0;
}

const struct command cmd_resize = {
	.id = COMMAND_RESIZE,
	.name = "resize",
	.summary = "let a disk grow while its guest runs",
	.usage = "NAME|PATH --disk N --size SIZE|+SIZE [OPTION...]",
	.text = "Makes a disk's image longer, on both sides of a pair, and tells the guest. A file "
		"is extended; a block device was made longer before, on both hosts. NAME is the "
		"live replica's.",
	.end = "Exit status: 0 the guest's disk has that size; 1 it has not; 2 wrong use.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
