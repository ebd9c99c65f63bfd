/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A planned move of the guest to another host (moving.c). A command outside the jail connects to a
 * replica that waits there; this side greets it over that connection, and it joins as any backup
 * does.
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
	MOVING_FOLLOWS, /* the new backup protects the guest, so the two may change places */
	MOVING_FAILED,
};

struct moving {
	pthread_mutex_t lock; /* guards the fields below */
	int fd;		      /* connected socket, not greeted yet; -1: none */
	bool cancelled;
	enum moving_stage stage;
	char to[PEER_NAME_LEN];
	char why[300]; /* why the move failed */
};

void moving_init(struct moving *m);
void moving_fini(struct moving *m);
/* Returns the stage's name for status, such as "joining". */
const char *moving_stage_name(enum moving_stage s);
/* Acceptor's thread, whenever it wakes: greets a peer or cancels a move, as was asked for. */
void moving_step(struct replica *r);
/*
 * Tell the move that a session has shaken hands; that the replica at its other end has gone live;
 * that it is lost. They do nothing for a session that does not belong to the move. The first two
 * are called with the link's lock held.
 */
void moving_joins(struct session *s);
void moving_done(struct session *s);
void moving_lost(struct session *s, const char *why);

#endif
