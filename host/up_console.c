// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/up_console.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int up_console_open(struct up_console *c, const char *path, struct err *err)
{
	*c = (struct up_console){ .listener = -1, .guest = -1 };
	for (size_t i = 0; i < UP_CONSOLE_CLIENTS; i++)
		c->client[i] = -1;
	c->listener = unix_socket_listen(path, 4, err);
	if (c->listener < 0)
		return err_prefix(err, "the guest's console");
	c->path = strdup(path);
	return 0;
}

void up_console_close(struct up_console *c)
{
	drop(&c->listener);
	drop(&c->guest);
	for (size_t i = 0; i < UP_CONSOLE_CLIENTS; i++)
		drop(&c->client[i]);
	if (c->path)
		unlink(c->path);
	free(c->path);
	c->path = NULL;
}

int up_console_plug(struct up_console *c, int *fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	drop(&c->guest);
	c->guest = pair[0];
	*fd = pair[1];
	return 0;
}

/* ---- the guest's output ---- */

static void keep(struct up_console *c, const char *data, size_t n)
{
	size_t over = c->n + n > UP_CONSOLE_KEPT ? c->n + n - UP_CONSOLE_KEPT : 0;

	memmove(c->kept, c->kept + over, c->n - over);
	memcpy(c->kept + c->n - over, data, n);
	c->n += n - over;
}

/* False: there is no more for now. */
static bool take_output(struct up_console *c)
{
	char data[4096];
	ssize_t n = c->guest >= 0 ? read(c->guest, data, sizeof(data)) : -1;

	if (n <= 0) {
		if (c->guest >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR)))
			drop(&c->guest);
		return false;
	}
	keep(c, data, (size_t)n);
	for (size_t i = 0; i < UP_CONSOLE_CLIENTS; i++) {
		if (c->client[i] >= 0 &&
		    send(c->client[i], data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		    errno != EAGAIN && errno != EINTR)
			drop(&c->client[i]);
	}
	return true;
}

void up_console_unplug(struct up_console *c)
{
	for (unsigned i = 0; i < 1000 && take_output(c); i++)
		;
	drop(&c->guest);
}

/* ---- clients ---- */

static void accept_client(struct up_console *c)
{
	int fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	for (size_t i = 0; fd >= 0 && i < UP_CONSOLE_CLIENTS; i++) {
		if (c->client[i] >= 0)
			continue;
		send(fd, c->kept, c->n, MSG_DONTWAIT | MSG_NOSIGNAL);
		c->client[i] = fd;
		return;
	}
	drop(&fd);
}

static void take_input(struct up_console *c, int *client)
{
	char data[1024];
	ssize_t n = recv(*client, data, sizeof(data), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		drop(client);
	/* A guest that does not read loses what is typed, as on a serial line. */
	if (n > 0 && c->guest >= 0)
		send(c->guest, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void up_console_poll(const struct up_console *c, struct pollfd fd[UP_CONSOLE_FDS])
{
	fd[0] = (struct pollfd){ .fd = c->listener, .events = POLLIN };
	fd[1] = (struct pollfd){ .fd = c->guest, .events = POLLIN };
	for (size_t i = 0; i < UP_CONSOLE_CLIENTS; i++)
		fd[2 + i] = (struct pollfd){ .fd = c->client[i], .events = POLLIN };
}

void up_console_serve(struct up_console *c, const struct pollfd fd[UP_CONSOLE_FDS])
{
	if (fd[1].revents)
		take_output(c);
	for (size_t i = 0; i < UP_CONSOLE_CLIENTS; i++) {
		if (fd[2 + i].revents && c->client[i] == fd[2 + i].fd)
			take_input(c, &c->client[i]);
	}
	if (fd[0].revents)
		accept_client(c);
}
