/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a replica. Each has its own lock and header; the header says beside the fields which
 * threads may use them.
 *
 * Order of the locks; a thread takes them from left to right, and leaves out what it does not need:
 *
 *   outbox.sending -> link.lock -> failover.lock -> outbox.lock
 *                     follower.lock -> outbox.lock
 *                     link.lock -> moving.lock
 *                     orders.lock, vcpu.lock: with nothing else
 *
 * No call to a NIC, a console, a file or the log is made with a lock held that the vCPU thread
 * needs. Those are all locks except outbox.sending, which the vCPU thread takes only when the guest
 * does not run.
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

/* acceptor.c; used by the thread that starts and stops it */
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
	 * The live source of inputs. Only the vCPU thread changes it; setting it to NULL needs the
	 * right to send. Other threads read it, and follower.primary, between replica_look() and
	 * replica_looked().
	 */
	struct live *_Atomic live;
	atomic_uint lookers;
	uint8_t other[WIRE_ID_LEN]; /* id of the other replica, from its HELLO on */
	struct live_sink direct;    /* the sink for outputs that need not wait for a backup */
	atomic_bool stopping;
	atomic_bool leaving;	   /* this replica is to end, and the backup to go on if it can */
	atomic_uint_fast64_t made; /* number of the last record that a live machine has made */
	atomic_uint_fast64_t paced_ns;
	atomic_uint_fast64_t events_lost;
	/* since when the guest has waited for its backup; 0: it runs */
	atomic_uint_fast64_t held_up_ns;
	/* vCPU thread's, during a join: share of the time in which the guest may run, per mille */
	unsigned share;
	uint64_t ran_from_ns;
	bool joins; /* a backup joins at the next sync point */

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
/* Sleeps for a fifth of a millisecond. Always true, for use in conditions of loops. */
bool replica_nap(void);
/* Time, in ns, for which the other side may be silent at present. */
static inline uint64_t replica_timeout_ns(const struct replica *r)
{
	return patience_ms(&r->patience) * NS_PER_MS;
}
static inline unsigned replica_period_ms(const struct replica *r)
{
	return heartbeat_ms(r->cfg.timeout_ms, r->cfg.hang_timeout_ms);
}

/*
 * Returns r->live, or NULL; it is not freed before replica_looked(). Does not wait, so signal
 * handlers may call it.
 */
struct live *replica_look(struct replica *r);
void replica_looked(struct replica *r);
/*
 * vCPU thread: waits until no thread is between replica_look() and replica_looked(), after it has
 * set the pointer that they read to NULL.
 */
void replica_wait_for_lookers(struct replica *r);
/* live_wake() and live_stop(), if there is a live machine. */
void replica_wake(struct replica *r);
void replica_end_live(struct replica *r);

/* events.c: writes an event. Not to be called with a lock held. */
void replica_event(struct replica *r, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As replica_event(), with the time that it took, in ms. */
void replica_event_took(struct replica *r, const char *event, double ms, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* arbitration.c */
/*
 * Live side in ASKING, not on the vCPU thread: asks the arbiter, then goes on alone or stops for
 * good.
 */
void arbitrate_go_on(struct replica *r, const char *why);
/*
 * Live side's acceptor: dismisses the backup, even if it is counted on, so that it cannot go live
 * when it sees the connection end. 0: this side is alone, possibly after the arbiter had to be
 * asked repeatedly; -errno and err: the backup is still there, or this side is not live any more.
 */
int arbitrate_dismiss(struct replica *r, const char *why, struct err *err);
/* Live side, in FENCED: stops for good. */
void arbitrate_stop(struct replica *r);
/*
 * vCPU thread, at the end of the guest, in ASKING: asks the arbiter, until the deadline, whether
 * the last outputs may leave.
 */
void arbitrate_at_end(struct replica *r, uint64_t deadline_ns);
/*
 * vCPU thread of a backup, in CLAIMING: asks for the next generation. 1: it is ours; 0: another
 * replica has it, which an event has reported; -ECANCELED: this replica was told to stop.
 */
int arbitrate_claim(struct replica *r, const char *why);

/*
 * vCPU thread of a backup, in TAKING_OVER: as arbitrate_claim(), but takes the generation with the
 * mark that the other side is counted on.
 */
int arbitrate_take_over(struct replica *r);

/*
 * primary.c: runs the live machine. 0: it is over (*end); 1: this replica follows the other one
 * now; -errno and err.
 */
int primary_run(struct replica *r, enum machine_end *end, struct err *err);

#endif
