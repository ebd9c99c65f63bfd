// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `twinstep version`: what can be given to another host, and what it has to be able to read there.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/version.h"
#include "hypervisor/machine.h"
#include "record/checkpoint.h"
#include "record/codec.h"
#include "record/logfile.h"
#include "replica/wire.h"
#include "tools/cmd.h"

static const struct {
	const char *name;
	int version;
} formats[] = {
	{ "machine", MACHINE_VERSIONS },
	{ "revision", MACHINE_V2_REVISION }, /* of machine version 2 */
	{ "log", LOG_VERSION },
	{ "checkpoint", CHECKPOINT_VERSION },
	{ "records", CODEC_VERSION },
	{ "wire", WIRE_VERSION },
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

static int print_json(void)
{
	json_t *o = json_pack("{s:s}", "twinstep", twinstep_version);
	int r;

	for (size_t i = 0; i < FORMATS; i++)
		json_object_set_new(o, formats[i].name, json_integer(formats[i].version));
	r = json_dumpf(o, stdout, JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(o);
	return r ? EXIT_ENGINE : 0;
}

static int run(struct options *o)
{
	if (o->json)
		return print_json();
	printf("twinstep %s\n", twinstep_version);
	for (size_t i = 0; i < FORMATS; i++)
		printf("  %-11s %d\n", formats[i].name, formats[i].version);
	return 0;
}

const struct command cmd_version = {
	.id = COMMAND_VERSION,
	.name = "version",
	.summary = "say which version this is",
	.usage = "[--json]",
	.text = "Prints the version of the program and of its formats: two replicas, or a log and "
		"its reader, need the same.",
	.run = run,
};
