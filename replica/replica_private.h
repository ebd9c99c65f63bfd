/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a replica. Each has a lock and a header of its own, which says beside the fields who
 * may touch them.
 *
 * Order of the locks; a thread takes them from left to right, and leaves out what it does not need:
 *
 *   outbox.sending -> link.lock -> failover.lock -> outbox.lock
 *                     follower.lock -> outbox.lock
 *                     link.lock -> moving.lock
 *                     orders.lock, vcpu.lock: with nothing else
 *
 * No call of a NIC, a console, a file or the log is made with a lock that the vCPU thread needs;
 * that is all of them but outbox.sending, which it takes only when the guest does not run.
 */
#ifndef REPLICA_REPLICA_PRIVATE_H
#define REPLICA_REPLICA_PRIVATE_H

#include <stdatomic.h>

#include "replica/announce.h"
#include "replica/batch.h"
#include "replica/disks.h"
#include "replica/failover.h"
#include "replica/follower.h"
#include "replica/handover.h"
#include "replica/have.h"
#include "replica/healing.h"
#include "replica/joining.h"
#include "replica/link.h"
#include "replica/moving.h"
#include "replica/orders.h"
#include "replica/outbox.h"
#include "replica/patience.h"
#include "replica/replica.h"
#include "replica/rounds.h"
#include "replica/snapshot.h"
#include "replica/spy.h"
#include "replica/vcpu.h"
#include "replica/verify.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/* acceptor.c; of the thread that starts and stops it */
struct acceptor {
	struct peer_listener *listener;
	pthread_t thread;
	bool runs;
};

struct replica {
	struct replica_config cfg;
	uint8_t id[WIRE_ID_LEN];
	struct machine *m;
	/*
	 * The live source. Only the vCPU thread changes it, to NULL with the right to send. Others
	 * look at it, and at follower.primary, between replica_look() and replica_looked().
	 */
	struct live *_Atomic live;
	atomic_uint lookers;
	uint8_t other[WIRE_ID_LEN]; /* the other replica's, from its HELLO on */
	struct live_sink direct;    /* the way out when nobody has to be waited for */
	atomic_bool stopping;
	atomic_bool leaving;	   /* stops; a backup that can is to go on */
	atomic_uint_fast64_t made; /* last record of a live machine */
	atomic_uint_fast64_t paced_ns;
	atomic_uint_fast64_t events_lost;
	atomic_uint_fast64_t held_up_ns; /* since then the guest waits for its backup; 0: it runs */
	/* the vCPU thread's, for a backup that joins: share of the time for the guest, per mille */
	unsigned share;
	uint64_t ran_from_ns;
	bool joins; /* ... which does so at the next sync point */

	struct failover failover;
	struct disks disks;
	struct verify verify;
	struct snapshot snapshot;
	struct outbox outbox;
	struct link link;
	struct patience patience;
	struct batch batch;
	struct acceptor acceptor;
	struct follower follower;
	struct handover handover;
	struct moving moving;
	struct healing healing;
	struct spy spy;
	struct announce announce;
	struct orders orders;
	struct vcpu vcpu;
};

/* The clock of stamps and leases, which goes on while the host is suspended. */
uint64_t replica_lease_clock_ns(void);
/* A fifth of a millisecond; true. */
bool replica_nap(void);
/* Time for which the backup may be silent, as things are. */
static inline uint64_t replica_timeout_ns(const struct replica *r)
{
	return patience_ms(&r->patience) * NS_PER_MS;
}
static inline unsigned replica_period_ms(const struct replica *r)
{
	return heartbeat_ms(r->cfg.timeout_ms, r->cfg.hang_timeout_ms);
}

/*
 * r->live, or NULL; not freed before replica_looked(). Waits for nothing: signal handlers look as
 * well.
 */
struct live *replica_look(struct replica *r);
void replica_looked(struct replica *r);
/* vCPU thread, which has taken away what they look at. */
void replica_wait_for_lookers(struct replica *r);
/* live_wake(), live_stop(), where there is a live machine. */
void replica_wake(struct replica *r);
void replica_end_live(struct replica *r);

/* events.c. Not with a lock. */
void replica_event(struct replica *r, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Notes an event of something that took so long. */
void replica_event_took(struct replica *r, const char *event, double ms, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* arbitration.c */
/* Live side, not on the vCPU thread, in ASKING: goes on alone or stops for good. */
void arbitrate_go_on(struct replica *r, const char *why);
/*
 * Live side's acceptor: its backup, which may be counted on, is to go, and cannot go live any more
 * when it sees that. 0: this side is alone, also where the arbiter answered only when it was asked
 * again; -errno and err: the backup is still there, or this side is not live any more.
 */
int arbitrate_dismiss(struct replica *r, const char *why, struct err *err);
/* Live side, in FENCED: stops for good. */
void arbitrate_stop(struct replica *r);
/* vCPU thread, at the end of the guest, in ASKING: whether the last outputs may leave. */
void arbitrate_at_end(struct replica *r, uint64_t deadline_ns);
/*
 * vCPU thread of a backup, in CLAIMING. 1: the generation is ours; 0: another replica's, and said
 * so; -ECANCELED: told to stop.
 */
int arbitrate_claim(struct replica *r, const char *why);

/*
 * vCPU thread of a backup, in TAKING_OVER: as arbitrate_claim(). What it takes is marked: the other
 * side is counted on.
 */
int arbitrate_take_over(struct replica *r);

/* primary.c: 0 when it is over (*end), 1 when this replica follows the other one now, -errno. */
int primary_run(struct replica *r, enum machine_end *end, struct err *err);

#endif
