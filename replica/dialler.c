// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/dialler.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ASK_DIAL KEEPER_SERVICE

int dialler_init(struct dialler *d, const char *address, struct err *err)
{
	*d = (struct dialler){ 0 };
	return peer_resolve(address, d->address, sizeof(d->address), err);
}

struct keeper_post dialler_post(struct dialler *d)
{
	return (struct keeper_post){ .service = dialler_serve,
				     .ctx = d,
				     .fd = -1,
				     .network = true,
				     .wait_ms = DIALLER_WAIT_MS + 1000 };
}

/*
 * Keeper: answers a request to dial. A request carries no data: the address is the one that the
 * keeper was started with.
 */
int dialler_serve(void *dialler, struct keeper_message *m)
{
	struct dialler *d = dialler;
	struct err err = ERR_INIT;
	int fd = m->op == ASK_DIAL ? peer_dial_socket(d->address, DIALLER_WAIT_MS, &err)
				   : err_set(&err, EPERM, "there is no such request");

	m->result = fd < 0 ? fd : 0;
	memset(m->data, 0, sizeof(m->data));
	memcpy(m->data, err.text, strnlen(err.text, sizeof(m->data) - 1));
	return fd < 0 ? -1 : fd;
}

struct peer *dialler_dial(struct dialler *d, struct err *err)
{
	struct keeper_message m = { .op = ASK_DIAL };
	struct peer *p;
	int ret, fd;

	if (!d->keeper)
		return peer_dial(d->address, DIALLER_WAIT_MS, err);
	ret = keeper_call_for_fd(d->keeper, &m, &fd);
	m.data[sizeof(m.data) - 1] = 0;
	if (ret < 0)
		err_set(err, -ret, "the keeper that dials does not answer: %s", strerror(-ret));
	else if (m.result < 0 || fd < 0)
		err_set(err, m.result < 0 ? -m.result : EIO, "%s", (const char *)m.data);
	if (ret < 0 || m.result < 0 || fd < 0)
		return NULL;
	p = peer_from_socket(fd, d->address);
	if (!p)
		err_set(err, ENOMEM, "out of memory");
	return p;
}
