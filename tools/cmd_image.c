// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `twinstep image`: makes disk images and looks at them. The work is done by programs for the host
 * that are no part of a machine: image.py beside the sources, or in lib/twinstep beside bin.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tools/cmd.h"

#define ARGS_MAX 128

static const char *const places[] = { "../lib/twinstep", "../tools", "../../tools" };

/* Where image.py is; false: nowhere. */
static bool find_program(char path[PATH_MAX])
{
	char self[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return false;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int len = snprintf(path, PATH_MAX, "%s/%s/image.py", self, places[i]);

		if (len > 0 && len < PATH_MAX && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static int run(struct options *o)
{
	char path[PATH_MAX], *argv[ARGS_MAX + 2] = { path };

	if (!find_program(path)) {
		log_error("image.py is neither in ../lib/twinstep nor in ../tools beside this "
			  "program");
		return EXIT_USAGE;
	}
	for (int i = 0; i < o->nargs; i++)
		argv[1 + i] = o->args[i];
	execv(path, argv);
	log_error("cannot run %s: %s", path, strerror(errno));
	return EXIT_USAGE;
}

const struct command cmd_image = {
	.id = COMMAND_IMAGE,
	.name = "image",
	.summary = "make a disk image that boots by itself, or look at one",
	.usage = "make FILE [PACKAGE...] | info FILE | seed FILE USER-DATA [META-DATA]",
	.text = "make: a disk with Debian 12 and these packages, made as root with mmdebstrap. "
		"info: "
		"boot code, partitions and file systems of a raw image. seed: a small image of "
		"which "
		"cloud-init takes user-data, for --disk FILE,ro.",
	.end = "Exit status: 0; 2 it cannot be done.",
	.min_args = 2,
	.max_args = ARGS_MAX,
	.run = run,
};
