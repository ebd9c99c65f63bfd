/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest is to move to another host (moving.c): a connection that somebody else has made is
 * greeted, and whoever waits at its other end joins as any backup does.
 */
#ifndef REPLICA_MOVING_H
#define REPLICA_MOVING_H

#include <pthread.h>
#include <stdbool.h>

#include "net/peer.h"
#include "replica/session.h"

enum moving_stage {
	MOVING_NOT,
	MOVING_CALLS,	/* the connection is to be greeted */
	MOVING_JOINS,	/* the new backup joins */
	MOVING_FOLLOWS, /* ... and protects the guest: the two may change places */
	MOVING_FAILED,
};

struct moving {
	pthread_mutex_t lock; /* of these */
	int fd;		      /* not greeted yet; -1: none */
	bool cancelled;
	enum moving_stage stage;
	char to[PEER_NAME_LEN];
	char why[300]; /* it has failed */
};

void moving_init(struct moving *m);
void moving_fini(struct moving *m);
/* "joining", ... */
const char *moving_stage_name(enum moving_stage s);
/* The acceptor, whenever it is woken: greets, or gives up, as it was told. */
void moving_step(struct replica *r);
/*
 * Tell the move that a session shook hands, that its side has gone live, that it is lost. For a
 * session that the guest does not move to, nothing happens. The first two are called with the lock
 * of the link.
 */
void moving_joins(struct session *s);
void moving_done(struct session *s);
void moving_lost(struct session *s, const char *why);

#endif
