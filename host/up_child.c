// SPDX-License-Identifier: GPL-2.0-or-later
/* The replica that `up` keeps going: its command line, its process, its state. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "host/argv.h"
#include "host/supervise.h"
#include "host/up_private.h"

static void add_options(struct argv *a, const struct up *u, bool backup)
{
	const struct option_row *row;
	const char *value;
	unsigned i = 0;

	while ((row = guest_conf_next(u->g, backup ? COMMAND_BACKUP : COMMAND_PRIMARY, &i, &value)))
		argv_add_option(a, row, value);
}

static void make_argv(struct argv *a, const struct up *u, bool backup, int events)
{
	char *lineage = run_dir_file(u->dir.state, "lineage");

	argv_add(a, "twinstep");
	argv_add(a, backup ? "backup" : "primary");
	if (backup)
		argv_add(a, "--connect-wait=2000");
	else if (!u->g->waits)
		argv_add(a, "--no-wait");
	add_options(a, u, backup);
	if (backup)
		argv_add(a, "--connect=%s", u->g->connect);
	if (u->facts.force && !backup)
		argv_add(a, "--force");
	argv_add(a, "--name=%s", u->g->name);
	argv_add(a, "--lineage=%s", lineage);
	argv_add(a, "--events=/dev/fd/%d", events);
	free(lineage);
}

/* In the child. */
static _Noreturn void become_replica(char *const *argv, int console)
{
	if (console >= 0) {
		dup2(console, STDIN_FILENO);
		dup2(console, STDOUT_FILENO);
	}
	unsetenv("NOTIFY_SOCKET");
	supervise_exec(argv);
}

static int start(struct up *u, bool backup, int events, int console, struct err *err)
{
	struct argv a = { 0 };
	pid_t pid;

	make_argv(&a, u, backup, events);
	fflush(NULL);
	pid = u->g->seen.machine.jail == JAIL_OFF ? fork() : jail_fork();
	if (pid == 0)
		become_replica(a.arg, console);
	argv_free(&a);
	if (pid < 0)
		return err_set(err, errno, "cannot start a process: %s", strerror(errno));
	u->child = pid;
	u->backup = backup;
	u->live = u->began = u->joined = false;
	u->kill_at_ms = 0;
	u->started_ms = host_mono_ms();
	return 0;
}

int up_child_start(struct up *u, enum role role, struct err *err)
{
	int events[2], console = -1, ret;

	if (pipe(events) < 0)
		return err_set(err, errno, "cannot make a pipe: %s", strerror(errno));
	fcntl(events[0], F_SETFD, FD_CLOEXEC);
	fcntl(events[0], F_SETFL, O_NONBLOCK);
	if (!u->g->own_console)
		up_console_plug(&u->console, &console);
	ret = start(u, role == ROLE_BACKUP, events[1], console, err);
	close(events[1]);
	if (console >= 0)
		close(console);
	if (u->events.pipe >= 0)
		close(u->events.pipe);
	u->events.pipe = events[0];
	u->events.len = 0;
	return ret;
}
