/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup side (backup.c), for replica.c alone. */
#ifndef REPLICA_BACKUP_H
#define REPLICA_BACKUP_H

#include "replica/replica_private.h"

/* The primary, not greeted yet; NULL and err when it cannot be reached. */
struct peer *backup_dial(struct replica *r, struct err *err);
/* Agrees, and takes over the primary's state; the receiver runs afterwards. */
int backup_join(struct replica *r, struct err *err);
/*
 * Replays until the stream ends: 1 when this replica is live now, 0 when it is over (*end), or
 * -errno.
 */
int backup_run(struct replica *r, enum machine_end *end, struct err *err);
void backup_emit(struct replica *r, const struct output *out);

#endif
