// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `twinstep image`: makes disk images and looks at them. But for `seed`, the work is done by
 * programs for the host that are no part of a machine: image.py beside the sources, or in
 * lib/twinstep beside bin.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file_io.h"
#include "base/log.h"
#include "host/cloud_init.h"
#include "tools/cmd.h"

#define ARGS_MAX 128

static const char *const places[] = { "../lib/twinstep", "../tools", "../../tools" };

/* Finds image.py; false: it is not there. */
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

/* A new file with these bytes. */
static int write_new(const char *path, const struct buf *b, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), error;

	if (fd < 0)
		return err_set(err, errno, "cannot make %s: %s", path, strerror(errno));
	error = file_write_at(fd, b->data, b->len, 0);
	if (close(fd) && !error)
		error = errno;
	if (!error)
		return 0;
	unlink(path);
	return err_set(err, error, "cannot write %s: %s", path, strerror(error));
}

/* seed FILE USER-DATA [META-DATA [NETWORK-CONFIG]] */
static int seed(const struct options *o)
{
	struct err err = ERR_INIT;
	struct buf b = BUF_INIT;
	struct cloud_init_opt files = { 0 };
	int ret = 0;

	if (o->nargs < 3 || o->nargs > 5)
		ret = err_set(&err, EINVAL,
			      "image seed: FILE USER-DATA [META-DATA [NETWORK-CONFIG]]");
	files.user_data = o->nargs > 2 ? o->args[2] : NULL;
	files.meta_data = o->nargs > 3 && *o->args[3] ? o->args[3] : NULL;
	files.network_config = o->nargs > 4 ? o->args[4] : NULL;
	if (ret == 0)
		ret = cloud_init_make(&files, &b, &err);
	if (ret == 0)
		ret = write_new(o->args[1], &b, &err);
	buf_free(&b);
	if (ret < 0)
		log_error("%s", err.text);
	return ret < 0 ? EXIT_USAGE : 0;
}

static int run(struct options *o)
{
	char path[PATH_MAX], *argv[ARGS_MAX + 2] = { path };

	if (!strcmp(o->args[0], "seed"))
		return seed(o);
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
	.usage = "make FILE [PACKAGE...] | info FILE | seed FILE USER-DATA [META-DATA "
		 "[NETWORK-CONFIG]]",
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
