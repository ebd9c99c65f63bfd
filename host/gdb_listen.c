// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/gdb_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "host/options.h"
#include "isolation/jail.h"

static int listen_at(const char *text, const struct sockaddr *sa, socklen_t len, struct err *err)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		return err_set(err, errno, "cannot create a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* connections too */
	if (bind(fd, sa, len) == 0 && listen(fd, 1) == 0)
		return fd;
	err_set(err, errno, "cannot listen for a debugger at '%s': %s", text, strerror(errno));
	close(fd);
	return -err->code;
}

static int listen_loopback(const char *text, struct err *err)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	size_t n = colon ? (size_t)(colon - text) : 0;
	uint64_t port = 0;
	char host[32] = "";

	if (!colon || n >= sizeof(host) || !parse_number(colon + 1, &port) || !port || port > 65535)
		return err_set(err, EINVAL, "--gdb %s: must be unix:PATH or 127.0.0.1:PORT", text);
	memcpy(host, text, n);
	v4.sin_port = v6.sin6_port = htons((uint16_t)port);
	if (!strcmp(host, "[::1]"))
		return listen_at(text, (const struct sockaddr *)&v6, sizeof(v6), err);
	if (inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &v4.sin_addr) != 1 ||
	    ntohl(v4.sin_addr.s_addr) >> 24 != 127)
		return err_set(
			err, EINVAL,
			"--gdb %s: a debugger may write commands, so only a loopback address "
			"or unix:PATH is listened at",
			text);
	return listen_at(text, (const struct sockaddr *)&v4, sizeof(v4), err);
}

int gdb_listen(const char *text, const char **path, struct err *err)
{
	int fd;

	*path = NULL;
	if (strncmp(text, "unix:", 5))
		return listen_loopback(text, err);
	fd = unix_socket_listen(text + 5, 1, err);
	if (fd < 0)
		return err_prefix(err, "--gdb");
	*path = text + 5;
	jail_will_remove(*path);
	return fd;
}
