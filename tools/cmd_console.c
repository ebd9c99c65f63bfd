// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep console`: attaches this terminal to the console of a guest that is up. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "host/control.h"
#include "host/guest_conf.h"
#include "host/run_dir.h"
#include "host/stop.h"
#include "tools/cmd.h"

#define ESCAPE ('A' - '@')

static int connect_to(const char *name, struct err *err)
{
	struct run_dir d;
	char *path;
	int fd, ret = run_dir_find(&d, name, err);

	if (ret < 0)
		return ret;
	path = run_dir_file(d.run, "console");
	fd = control_connect(path);
	if (fd < 0)
		fd = err_set(err, -fd, "cannot reach the console of %s at %s: %s", name, path,
			     fd == -ENOENT || fd == -ECONNREFUSED
				     ? "the guest is not up on this host"
				     : strerror(-fd));
	free(path);
	run_dir_close(&d);
	return fd;
}

/* Takes the escapes out of what was typed; false: the person wants to leave. */
static bool take_escapes(char *data, ssize_t *n)
{
	static bool escaped;
	ssize_t out = 0;

	for (ssize_t i = 0; i < *n; i++) {
		if (!escaped && data[i] == ESCAPE) {
			escaped = true;
			continue;
		}
		if (escaped && (data[i] == 'd' || data[i] == 'x'))
			return false;
		data[out++] = escaped && data[i] == 'a' ? ESCAPE : data[i];
		escaped = false;
	}
	*n = out;
	return true;
}

static bool pass(int from, int to, bool typed)
{
	char data[4096];
	ssize_t n = read(from, data, sizeof(data));

	if (n <= 0 || (typed && !take_escapes(data, &n)))
		return false;
	for (ssize_t done = 0; done < n;) {
		ssize_t k = write(to, data + done, (size_t)(n - done));

		if (k < 0)
			return false;
		done += k;
	}
	return true;
}

/* Standard input that ends leaves what the guest says. */
static void relay(int fd)
{
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = fd, .events = POLLIN } };
	bool tty = isatty(STDIN_FILENO);

	while (!stop_signal() && (poll(p, 2, -1) >= 0 || errno == EINTR)) {
		if (p[1].revents && !pass(fd, STDOUT_FILENO, false))
			return;
		if (p[0].revents && !pass(STDIN_FILENO, fd, tty)) {
			if (tty)
				return;
			p[0].fd = -1;
		}
		p[0].revents = p[1].revents = 0;
	}
}

static void attach(const char *name, int fd)
{
	struct termios was, raw;
	bool tty = tcgetattr(STDIN_FILENO, &was) == 0;

	if (tty) {
		fprintf(stderr, "attached to %s: Ctrl-A d leaves, Ctrl-A a sends Ctrl-A\n", name);
		raw = was;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	relay(fd);
	if (tty)
		tcsetattr(STDIN_FILENO, TCSANOW, &was);
}

static void nothing(void *ctx)
{
}

static int run(struct options *o)
{
	struct err err = ERR_INIT;
	int fd = guest_name_check(o->args[0], &err);

	if (fd == 0)
		fd = connect_to(o->args[0], &err);

	if (fd < 0) {
		log_error("%s", err.text);
		return 1;
	}
	stop_on_signals(nothing, NULL);
	if (o->history) {
		shutdown(fd, SHUT_WR);
		while (pass(fd, STDOUT_FILENO, false))
			;
	} else {
		attach(o->args[0], fd);
	}
	close(fd);
	return 0;
}

const struct command cmd_console = {
	.id = COMMAND_CONSOLE,
	.name = "console",
	.summary = "attach to the console of a guest that is up",
	.usage = "NAME [--history]",
	.text = "Shows what the guest wrote last (64 KiB), what it writes, and hands on what is "
		"typed; up to four may be attached. On the host whose replica is the backup "
		"nothing is written. Ctrl-A d leaves; the guest goes on.",
	.end = "Exit status: 0; 1 the guest is not up on this host.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
