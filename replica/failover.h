/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a replica, which says whether it is live, and the events that change the state. The
 * table in failover.c has the next state for each state and event; docs/failover.md explains it,
 * and a model checker walks it (tests/model). The state decides whether outputs may leave, so it
 * and the mode of the outbox change together.
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
	FAILOVER_START, /* a primary has its first generation */
	FAILOVER_JOIN,	/* a backup gets the state */
	/* the backup replays and is close enough behind: from now on outputs wait for it */
	FAILOVER_FOLLOWS,
	FAILOVER_TELL,	  /* a stamp is about to tell the backup that it is counted on */
	FAILOVER_HEARD,	  /* the backup has acknowledged such a stamp */
	FAILOVER_LOAD,	  /* a backup has shaken hands and takes over the state */
	FAILOVER_READY,	  /* a backup has the whole state, and says so */
	FAILOVER_COUNTED, /* a stamp has told this backup that it is counted on */
	FAILOVER_BYE,	  /* the backup has also come to the end of the guest, and ends */
	FAILOVER_LOST,	  /* the other side is gone, or as good as gone */
	/* the two change places: the live side offers it, or the backup is asked */
	FAILOVER_SWITCH,
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
	pthread_mutex_t lock; /* held during a transition; reading the state needs no lock */
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
 * Applies an event, sets the outbox to the mode of the new state, and returns that state. An event
 * that cannot happen in the present state is a bug: it is logged and the process aborts, because a
 * replica that does not know its own state must not let outputs out, and the other side notices the
 * end.
 */
enum replica_state failover_event(struct failover *f, enum failover_event e);
/* Applies START, WON, SWITCHED or MOVED, which change our generation together with the state. */
enum replica_state failover_take(struct failover *f, enum failover_event e, uint64_t generation);
/*
 * Applies MOVED on a live side whose backup is counted on, after it has taken a later generation
 * with the mark (arbiter.h). False: the state has changed meanwhile and nothing was applied; the
 * replica learns of that generation when it next asks the arbiter.
 */
bool failover_move(struct failover *f, uint64_t generation);
/* True: in the present state the arbiter is being asked for *generation. */
bool failover_asks(struct failover *f, uint64_t *generation);
/* Sets a backup's generation to the primary's. */
void failover_follow(struct failover *f, uint64_t generation);
/*
 * Notes, for status, that a backup went live `ms` milliseconds after the primary's last sign of
 * life.
 */
void failover_note(struct failover *f, double ms);
/* Keeps, for status, where the machines diverged and what differed. */
void failover_keep_divergence(struct failover *f, uint64_t count, uint64_t rip, const char *text,
			      size_t len);

/* The table: the next state, or -1 where the event cannot happen. */
int failover_next(enum replica_state s, enum failover_event e);
/* Returns the event's name in the model, for tests. */
const char *failover_event_name(enum failover_event e);
/* Returns how outputs are treated in a state, as the model has it; for tests. */
enum outbox_mode failover_outbox_mode(enum replica_state s);
/* True: in this state outputs leave, at once or when the backup has their records. */
bool failover_is_live(enum replica_state s);
/* True: in this state outputs wait for the backup's acknowledgements. */
bool failover_holds(enum replica_state s);
/* True: in this state the backup may ask the arbiter for the next generation. */
bool failover_counts_on(enum replica_state s);

#endif
