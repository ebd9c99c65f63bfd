// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep up`, `down` and `check-config`: a guest that has a configuration file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/control.h"
#include "host/up.h"
#include "tools/cmd.h"

#define STOP_MS	   5000
#define DOWN_TRIES 300 /* of a tenth of a second */

/* Reads the guest's file and says all that is wrong with it. 0, or an exit status. */
static int load(struct guest_conf *g, const char *who, bool files)
{
	struct err err = ERR_INIT;
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	if (guest_conf_load(g, who, host, files, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < g->conf.nfaults; i++)
		log_error("%s", g->conf.fault[i]);
	return g->conf.nfaults ? EXIT_USAGE : 0;
}

/* Behind us a process that goes on; what it says goes to a file. Does not return in ours. */
static int detach(const struct guest_conf *g, struct err *err)
{
	struct run_dir d;
	char *path;
	int fd, ret = run_dir_open(&d, g->name, err);
	pid_t pid;

	if (ret < 0)
		return ret;
	path = run_dir_file(d.run, "messages");
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		ret = err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	free(path);
	run_dir_close(&d); /* whoever goes on takes the lock */
	pid = ret < 0 ? -1 : fork();
	if (pid > 0)
		_exit(0);
	if (ret < 0 || pid < 0)
		return ret ? ret : err_set(err, errno, "cannot fork: %s", strerror(errno));
	setsid();
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		dup2(fd, STDIN_FILENO);
	return 0;
}

static int run_up(struct options *o)
{
	static struct guest_conf g;
	struct err err = ERR_INIT;
	int status = load(&g, o->args[0], false);

	/* The command line goes before the file. */
	if (o->on_event)
		g.seen.on_event = o->on_event;
	if (o->webhook)
		g.seen.webhook = o->webhook;
	if (o->first)
		g.first = g.here && !strcmp(o->first, g.here->name);
	if (status == 0 && o->detach && detach(&g, &err) < 0) {
		log_error("%s", err.text);
		status = EXIT_USAGE;
	}
	if (status == 0) {
		log_set_name(g.name);
		status = up_run(o, &g);
	}
	guest_conf_free(&g);
	return status;
}

/* ---- down ---- */

static int wait_for_end(const struct run_dir *d, const char *name)
{
	for (unsigned i = 0; i < DOWN_TRIES; i++) {
		if (!run_dir_holder(d))
			return 0;
		host_sleep_ns(100000000);
	}
	log_error("guest %s has not ended in %d s", name, DOWN_TRIES / 10);
	return 1;
}

static int end_guest(const char *name)
{
	struct err err = ERR_INIT;
	json_t *answer = control_ask(name, "stop", STOP_MS, &err);

	json_decref(answer);
	if (!answer)
		log_error("%s", err.text);
	return answer ? 0 : 1;
}

static int run_down(struct options *o)
{
	const char *name = o->args[0];
	struct err err = ERR_INIT;
	struct run_dir d;
	pid_t pid = 0;
	int status = 1;

	if (guest_name_check(name, &err) == 0 && run_dir_find(&d, name, &err) == 0 &&
	    !(pid = run_dir_holder(&d)))
		err_set(&err, ESRCH, "guest %s is not up on this host", name);
	if (!pid) {
		log_error("%s", err.text);
		return 1;
	}
	if (o->all)
		status = end_guest(name);
	else if (kill(pid, SIGTERM) == 0)
		status = 0;
	else
		log_error("cannot tell process %d to end: %s", (int)pid, strerror(errno));
	status = status ? status : wait_for_end(&d, name);
	run_dir_close(&d);
	return status;
}

static int run_check(struct options *o)
{
	static struct guest_conf g;
	int status = load(&g, o->args[0], true);

	guest_conf_free(&g);
	return status;
}

const struct command cmd_up = {
	.id = COMMAND_UP,
	.name = "up",
	.summary = "keep this host's replica of a guest going",
	.usage = "NAME|FILE [OPTION...]",
	.text = "Keeps this host's replica of a guest going, as /etc/twinstep/NAME.conf (or FILE, "
		"with a slash in it) says. The same command is right on both hosts, at the first "
		"start and after every crash: it asks the arbiter and the other host, and starts "
		"the replica as primary or backup, or waits.",
	.end = "Exit status: the guest's; 0 after `twinstep down`; 2 the configuration is wrong, "
	       "or the guest is up here already.",
	.min_args = 1,
	.max_args = 1,
	.run = run_up,
};

const struct command cmd_down = {
	.id = COMMAND_DOWN,
	.name = "down",
	.summary = "end this host's replica of a guest",
	.usage = "NAME [--all]",
	.text = "Ends what `twinstep up NAME` keeps going on this host. A protected guest goes on "
		"at the other host; one that nothing protects ends.",
	.end = "Exit status: 0; 1 it is not up here, or has not ended.",
	.min_args = 1,
	.max_args = 1,
	.run = run_down,
};

const struct command cmd_check_config = {
	.id = COMMAND_CHECK_CONFIG,
	.name = "check-config",
	.summary = "say what is wrong with a guest's configuration",
	.usage = "NAME|FILE",
	.text = "Checks /etc/twinstep/NAME.conf, or FILE, as this host reads it: each fault with "
		"file, line, column and cure.",
	.end = "Exit status: 0 nothing is wrong; 2.",
	.min_args = 1,
	.max_args = 1,
	.run = run_check,
};
