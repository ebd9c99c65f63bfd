// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/unix_socket.h"
#include "net/peer_private.h"

int peer_address_unix(const char *path, struct peer_address *a, struct err *err)
{
	memset(a, 0, sizeof(*a));
	a->len = sizeof(struct sockaddr_un);
	return unix_socket_address(path, (struct sockaddr_un *)&a->sa, err);
}

/* HOST:PORT or [V6]:PORT into its two parts. */
static bool address_split(const char *text, char *host, size_t hostlen, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t n;

	if (!colon || !colon[1])
		return false;
	n = (size_t)(colon - text);
	if (text[0] == '[' && n > 2 && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n >= hostlen)
		return false;
	memcpy(host, text, n);
	host[n] = 0;
	*port = colon + 1;
	return true;
}

int peer_address_tcp(const char *text, bool passive, struct peer_address *a, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = passive ? AI_PASSIVE : 0 },
			*res;
	const char *port;
	char host[256];
	int ret;

	memset(a, 0, sizeof(*a));
	if (!address_split(text, host, sizeof(host), &port))
		return err_set(err, EINVAL,
			       "'%s' is not an address: expected HOST:PORT, [V6]:PORT or unix:PATH",
			       text);
	ret = getaddrinfo(host[0] ? host : NULL, port, &hints, &res);
	if (ret)
		return err_set(err, EINVAL, "cannot resolve '%s': %s", text, gai_strerror(ret));
	memcpy(&a->sa, res->ai_addr, res->ai_addrlen);
	a->len = res->ai_addrlen;
	freeaddrinfo(res);
	return 0;
}

void peer_address_name(const struct peer_address *a, char *name, size_t n)
{
	char host[64], port[16];

	if (a->sa.ss_family == AF_UNIX ||
	    getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(name, n, "local peer");
	else
		snprintf(name, n, a->sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int peer_resolve(const char *addr, char *out, size_t n, struct err *err)
{
	struct peer_address a;
	int ret;

	if (!strncmp(addr, "unix:", 5)) {
		snprintf(out, n, "%s", addr);
		return strlen(addr) < n ? 0 : err_set(err, ENAMETOOLONG, "%s is too long", addr);
	}
	ret = peer_address_tcp(addr, false, &a, err);
	if (ret == 0)
		peer_address_name(&a, out, n);
	return ret;
}
