/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A joining backup whose connection is cut dials again. In its jail it has no network and no names:
 * a keeper of its own, which stays outside and knows one address, dials for it and hands the socket
 * in. The key stays in the jail; the keeper cannot say anything over what it has dialled.
 */
#ifndef REPLICA_DIALLER_H
#define REPLICA_DIALLER_H

#include "base/err.h"
#include "isolation/keeper.h"
#include "net/peer.h"

#define DIALLER_WAIT_MS 2000 /* for one connection */

struct dialler {
	char address[KEEPER_DATA];
	struct keeper *keeper; /* NULL: this process dials itself */
};

/* Looks the address up, while there are names. 0, or -errno and err. */
int dialler_init(struct dialler *d, const char *address, struct err *err);
/* The post of its keeper: a service. */
struct keeper_post dialler_post(struct dialler *d);
int dialler_serve(void *dialler, struct keeper_message *m);
/* A peer that is dialled and not greeted; NULL and err: it cannot be reached now. */
struct peer *dialler_dial(struct dialler *d, struct err *err);

#endif
