/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a replica, which says who is live, and the events that move it. The table
 * (failover.c) defines every state with every event; docs/failover.md explains it, and a model
 * checker walks it (tests/model). The state decides what the outbox may do, so the two change
 * together.
 *
 * The side that runs the guest:
 *
 *   STARTING -> ALONE -> JOINING -> HOLDING -> COUNTED_ON -> PROTECTED
 *                 ^         |          |           |             |
 *                 +---------+----------+           +--> ASKING <-+     the backup is lost
 *                 +------------------------------------+  |
 *                                                         +-> FENCED
 *
 * The side that follows:
 *
 *   STARTING -> LOADING -> FOLLOWING -> BACKUP -> CLAIMING -> ALONE or FENCED
 *
 * The two change places:
 *
 *   PROTECTED -> HANDING_OVER -> BACKUP           BACKUP -> TAKING_OVER -> COUNTED_ON
 */
#ifndef REPLICA_FAILOVER_H
#define REPLICA_FAILOVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replica/outbox.h"
#include "replica/replica.h"

enum failover_event {
	FAILOVER_START,	   /* a primary has its first generation */
	FAILOVER_JOIN,	   /* a backup gets the state */
	FAILOVER_FOLLOWS,  /* it replays, close enough behind: outputs wait for it from now on */
	FAILOVER_TELL,	   /* a stamp is about to tell it that it is counted on */
	FAILOVER_HEARD,	   /* it has acknowledged such a stamp */
	FAILOVER_LOAD,	   /* a backup has shaken hands and takes over the state */
	FAILOVER_READY,	   /* it has the state, and says so */
	FAILOVER_COUNTED,  /* a stamp has told it that it is counted on */
	FAILOVER_BYE,	   /* the backup has come to the end of the guest, too, and ends */
	FAILOVER_LOST,	   /* the other side is gone, or as good as gone */
	FAILOVER_SWITCH,   /* the two change places: it is offered, or has been asked for */
	FAILOVER_SWITCHED, /* the backup has taken over */
	FAILOVER_MOVED,	  /* one of the two took a later generation while it counted on the other */
	FAILOVER_STAY,	  /* the machines diverged, and this side is to go on */
	FAILOVER_YIELD,	  /* ... and this side is not */
	FAILOVER_WON,	  /* the arbiter gave us the next generation */
	FAILOVER_TAKEN,	  /* the arbiter gave it to another replica */
	FAILOVER_UNKNOWN, /* the arbiter cannot tell */
	FAILOVER_END,	  /* the machine ended, or was told to */
	FAILOVER_EVENTS
};

struct failover {
	pthread_mutex_t lock; /* of transitions. Who only wants to know the state needs no lock. */
	atomic_uint state;
	atomic_uint_fast64_t generation;
	struct outbox *outbox;

	/* with the lock: for status */
	uint64_t failovers;
	double last_failover_ms;
	uint64_t divergence_count, divergence_rip;
	char divergence[400]; /* empty: none */
};

void failover_init(struct failover *f, struct outbox *outbox);
void failover_fini(struct failover *f);

enum replica_state failover_state(const struct failover *f);
uint64_t failover_generation(const struct failover *f);
/*
 * The state after an event, with the outbox in the mode that belongs to it. An event that cannot
 * happen in the present state is a fault of this program: it says so and aborts, for a replica that
 * does not know where it stands must not let anything out, and the other side sees it end.
 */
enum replica_state failover_event(struct failover *f, enum failover_event e);
/* START, WON, SWITCHED or MOVED: the generation that is ours changes with the state. */
enum replica_state failover_take(struct failover *f, enum failover_event e, uint64_t generation);
/*
 * MOVED, of a live side whose backup is counted on and that has taken a later generation with the
 * mark. False: its state is another one by now, and hears of that when it asks.
 */
bool failover_move(struct failover *f, uint64_t generation);
/* True: the state waits for an answer of the arbiter, about *generation. */
bool failover_asks(struct failover *f, uint64_t *generation);
/* A backup: the primary's generation. */
void failover_follow(struct failover *f, uint64_t generation);
/* A backup has gone live, so long after the primary's last sign of life. */
void failover_note(struct failover *f, double ms);
void failover_keep_divergence(struct failover *f, uint64_t count, uint64_t rip, const char *text,
			      size_t len);

/* The table: the next state, or -1 where the event cannot happen. */
int failover_next(enum replica_state s, enum failover_event e);
/* Its name in the model, for tests. */
const char *failover_event_name(enum failover_event e);
/* Treatment of outputs in a state: the model's view, for tests. */
enum outbox_mode failover_outbox_mode(enum replica_state s);
/* Its outputs leave: at once, or when the backup has their records. */
bool failover_is_live(enum replica_state s);
/* Outputs wait for a backup that follows. */
bool failover_holds(enum replica_state s);
/* The backup may ask the arbiter for the next generation. */
bool failover_counts_on(enum replica_state s);

#endif
