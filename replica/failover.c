// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/failover.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define SAME  0xfe /* the event comes too late, or changes nothing */
#define NEVER 0xff /* the event cannot happen */

#define STARTING  REPLICA_STARTING
#define ALONE	  REPLICA_ALONE
#define JOINING	  REPLICA_JOINING
#define HOLDING	  REPLICA_HOLDING
#define COUNTED	  REPLICA_COUNTED_ON
#define PROTECTED REPLICA_PROTECTED
#define HANDING	  REPLICA_HANDING_OVER
#define ASKING	  REPLICA_ASKING
#define LOADING	  REPLICA_LOADING
#define FOLLOWING REPLICA_FOLLOWING
#define BACKUP	  REPLICA_BACKUP
#define TAKING	  REPLICA_TAKING_OVER
#define CLAIMING  REPLICA_CLAIMING
#define FENCED	  REPLICA_FENCED
#define ENDED	  REPLICA_ENDED

/*
 * A backup that was not told that it is counted on cannot go live, so when it is lost the arbiter
 * need not be asked. At the end of the guest a second thread may ask the arbiter as well, so ALONE
 * and FENCED can get an answer a second time. An arbiter that cannot tell is asked again: only a
 * definite answer may end a copy of the guest that may be the only one.
 */
/* clang-format off */
static const uint8_t table[REPLICA_STATES][FAILOVER_EVENTS] = {
	/*              START  JOIN     FOLLOWS  TELL     HEARD      LOAD     READY      COUNTED BYE    LOST      SWITCH   SWITCHED MOVED  STAY      YIELD   WON      TAKEN   UNKNOWN END */
	[STARTING]  = { ALONE, NEVER,   NEVER,   NEVER,   NEVER,     LOADING, NEVER,     NEVER,  NEVER, NEVER,    NEVER,   NEVER,   NEVER, NEVER,    NEVER,  NEVER,   NEVER,  NEVER,  ENDED },
	[ALONE]     = { NEVER, JOINING, NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  NEVER, NEVER,    NEVER,   NEVER,   NEVER, NEVER,    NEVER,  SAME,    NEVER,  SAME,   ENDED },
	[JOINING]   = { NEVER, NEVER,   HOLDING, NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  NEVER, ALONE,    NEVER,   NEVER,   NEVER, ALONE,    FENCED, NEVER,   NEVER,  NEVER,  ENDED },
	[HOLDING]   = { NEVER, NEVER,   NEVER,   COUNTED, NEVER,     NEVER,   NEVER,     NEVER,  ALONE, ALONE,    NEVER,   NEVER,   NEVER, ALONE,    FENCED, NEVER,   NEVER,  NEVER,  ENDED },
	[COUNTED]   = { NEVER, NEVER,   NEVER,   NEVER,   PROTECTED, NEVER,   NEVER,     NEVER,  ALONE, ASKING,   NEVER,   NEVER,   SAME,  ASKING,   FENCED, NEVER,   NEVER,  NEVER,  ENDED },
	[PROTECTED] = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  ALONE, ASKING,   HANDING, NEVER,   SAME,  ASKING,   FENCED, NEVER,   NEVER,  NEVER,  ENDED },
	[HANDING]   = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  NEVER, ASKING,   NEVER,   BACKUP,  NEVER, ASKING,   FENCED, NEVER,   NEVER,  NEVER,  ENDED },
	[ASKING]    = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  NEVER, NEVER,    NEVER,   NEVER,   SAME,  NEVER,    NEVER,  ALONE,   FENCED, SAME,   ENDED },
	[LOADING]   = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   FOLLOWING, NEVER,  NEVER, ENDED,    NEVER,   NEVER,   NEVER, NEVER,    NEVER,  NEVER,   NEVER,  NEVER,  ENDED },
	[FOLLOWING] = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     BACKUP, NEVER, ENDED,    NEVER,   NEVER,   NEVER, ENDED,    ENDED,  NEVER,   NEVER,  NEVER,  ENDED },
	[BACKUP]    = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     SAME,   NEVER, CLAIMING, TAKING,  NEVER,   NEVER, CLAIMING, ENDED,  NEVER,   NEVER,  NEVER,  ENDED },
	[TAKING]    = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  NEVER, NEVER,    NEVER,   NEVER,   SAME,  NEVER,    NEVER,  COUNTED, FENCED, SAME,   ENDED },
	[CLAIMING]  = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  NEVER, NEVER,    NEVER,   NEVER,   SAME,  NEVER,    NEVER,  ALONE,   FENCED, SAME,   ENDED },
	[FENCED]    = { NEVER, NEVER,   NEVER,   NEVER,   NEVER,     NEVER,   NEVER,     NEVER,  NEVER, NEVER,    NEVER,   NEVER,   NEVER, NEVER,    NEVER,  NEVER,   SAME,   SAME,   SAME },
	[ENDED]     = { NEVER, NEVER,   SAME,    SAME,    SAME,      NEVER,   NEVER,     SAME,   SAME,  SAME,     SAME,    SAME,    SAME,  SAME,     SAME,   SAME,    SAME,   SAME,   SAME },
};
/* clang-format on */

static const struct {
	const char *name;
	enum outbox_mode mode;
} states[REPLICA_STATES] = {
	[STARTING] = { "starting", OUTBOX_OPEN },
	[ALONE] = { "alone", OUTBOX_OPEN },
	[JOINING] = { "joining", OUTBOX_OPEN },
	[HOLDING] = { "holding", OUTBOX_LEASED },
	[COUNTED] = { "counted-on", OUTBOX_LEASED },
	[PROTECTED] = { "protected", OUTBOX_LEASED },
	[HANDING] = { "handing-over", OUTBOX_STOPPED },
	[ASKING] = { "asking", OUTBOX_STOPPED },
	[LOADING] = { "loading", OUTBOX_COPIES },
	[FOLLOWING] = { "following", OUTBOX_COPIES },
	[BACKUP] = { "backup", OUTBOX_COPIES },
	[TAKING] = { "taking-over", OUTBOX_COPIES },
	[CLAIMING] = { "claiming", OUTBOX_COPIES },
	[FENCED] = { "fenced", OUTBOX_CLOSED },
	[ENDED] = { "ended", OUTBOX_CLOSED },
};

static const char *const event_names[FAILOVER_EVENTS] = {
	[FAILOVER_START] = "start",	  [FAILOVER_JOIN] = "join",
	[FAILOVER_FOLLOWS] = "follows",	  [FAILOVER_TELL] = "tell",
	[FAILOVER_HEARD] = "heard",	  [FAILOVER_LOAD] = "load",
	[FAILOVER_READY] = "ready",	  [FAILOVER_COUNTED] = "counted",
	[FAILOVER_BYE] = "bye",		  [FAILOVER_SWITCH] = "switch",
	[FAILOVER_SWITCHED] = "switched", [FAILOVER_MOVED] = "moved",
	[FAILOVER_LOST] = "lost",	  [FAILOVER_STAY] = "stay",
	[FAILOVER_YIELD] = "yield",	  [FAILOVER_WON] = "won",
	[FAILOVER_TAKEN] = "taken",	  [FAILOVER_UNKNOWN] = "unknown",
	[FAILOVER_END] = "end",
};

const char *replica_state_name(enum replica_state s)
{
	return states[s].name;
}

const char *failover_event_name(enum failover_event e)
{
	return event_names[e];
}

enum outbox_mode failover_outbox_mode(enum replica_state s)
{
	return states[s].mode;
}

bool failover_is_live(enum replica_state s)
{
	return s == ALONE || s == JOINING || failover_holds(s);
}

bool failover_counts_on(enum replica_state s)
{
	return s == COUNTED || s == PROTECTED;
}

bool failover_holds(enum replica_state s)
{
	return s == HOLDING || failover_counts_on(s);
}

int failover_next(enum replica_state s, enum failover_event e)
{
	uint8_t next = table[s][e];

	return next == NEVER ? -1 : next == SAME ? (int)s : next;
}

void failover_init(struct failover *f, struct outbox *outbox)
{
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	f->outbox = outbox;
	atomic_store(&f->state, STARTING);
}

void failover_fini(struct failover *f)
{
	pthread_mutex_destroy(&f->lock);
}

enum replica_state failover_state(const struct failover *f)
{
	return (enum replica_state)atomic_load(&f->state);
}

uint64_t failover_generation(const struct failover *f)
{
	return atomic_load(&f->generation);
}

/* Lock held. */
static enum replica_state step(struct failover *f, enum failover_event e)
{
	enum replica_state s = failover_state(f);
	int next = failover_next(s, e);

	if (next < 0) {
		log_error("event '%s' in state '%s': this cannot happen, and nothing leaves any "
			  "more",
			  event_names[e], states[s].name);
		abort();
	}
	if (next == (int)s)
		return s;
	atomic_store(&f->state, (unsigned)next);
	outbox_set_mode(f->outbox, states[next].mode);
	return (enum replica_state)next;
}

enum replica_state failover_event(struct failover *f, enum failover_event e)
{
	enum replica_state s;

	pthread_mutex_lock(&f->lock);
	s = step(f, e);
	pthread_mutex_unlock(&f->lock);
	return s;
}

enum replica_state failover_take(struct failover *f, enum failover_event e, uint64_t generation)
{
	enum replica_state s;

	pthread_mutex_lock(&f->lock);
	atomic_store(&f->generation, generation);
	s = step(f, e);
	pthread_mutex_unlock(&f->lock);
	return s;
}

bool failover_move(struct failover *f, uint64_t generation)
{
	enum replica_state s;
	bool moves;

	pthread_mutex_lock(&f->lock);
	s = failover_state(f);
	moves = failover_counts_on(s) && generation > failover_generation(f);
	if (moves) {
		atomic_store(&f->generation, generation);
		step(f, FAILOVER_MOVED);
	}
	pthread_mutex_unlock(&f->lock);
	return moves;
}

bool failover_asks(struct failover *f, uint64_t *generation)
{
	enum replica_state s;

	pthread_mutex_lock(&f->lock);
	s = failover_state(f);
	*generation = failover_generation(f) + 1;
	pthread_mutex_unlock(&f->lock);
	return s == ASKING || s == CLAIMING || s == TAKING;
}

void failover_follow(struct failover *f, uint64_t generation)
{
	atomic_store(&f->generation, generation);
}

void failover_note(struct failover *f, double ms)
{
	pthread_mutex_lock(&f->lock);
	f->failovers++;
	f->last_failover_ms = ms;
	pthread_mutex_unlock(&f->lock);
}

void failover_keep_divergence(struct failover *f, uint64_t count, uint64_t rip, const char *text,
			      size_t len)
{
	pthread_mutex_lock(&f->lock);
	if (len >= sizeof(f->divergence))
		len = sizeof(f->divergence) - 1;
	f->divergence_count = count;
	f->divergence_rip = rip;
	memcpy(f->divergence, text, len);
	f->divergence[len] = 0;
	pthread_mutex_unlock(&f->lock);
}
