/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dials the primary again when the connection of a joining backup is cut. A backup in its jail has
 * neither network nor name lookup. Its keeper, a process outside the jail that knows only the
 * primary's address, makes the connection and passes the socket in. The key stays in the jail, so
 * the keeper cannot speak for the backup over that connection.
 */
#ifndef REPLICA_DIALLER_H
#define REPLICA_DIALLER_H

#include "base/err.h"
#include "isolation/keeper.h"
#include "net/peer.h"

#define DIALLER_WAIT_MS 2000 /* longest time to make a connection */

struct dialler {
	char address[KEEPER_DATA];
	struct keeper *keeper; /* NULL: this process dials itself */
};

/*
 * Looks the primary's address up, which is possible only before the jail closes. 0, or -errno and
 * err.
 */
int dialler_init(struct dialler *d, const char *address, struct err *err);
/*
 * Describes, for keeper_start(), the keeper that dials. It answers requests with dialler_serve().
 */
struct keeper_post dialler_post(struct dialler *d);
int dialler_serve(void *dialler, struct keeper_message *m);
/*
 * Connects to the primary; the two have not greeted each other yet. NULL and err: it cannot be
 * reached now.
 */
struct peer *dialler_dial(struct dialler *d, struct err *err);

#endif
