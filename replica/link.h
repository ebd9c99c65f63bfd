/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The live side's connections to backups: the present backup, which records it has, and how far it
 * is behind. link.c takes acknowledgements, sender.c sends, transfer.c hands over the machine's
 * state, acceptor.c lets backups in.
 */
#ifndef REPLICA_LINK_H
#define REPLICA_LINK_H

#include <pthread.h>
#include <stdatomic.h>

#include "replica/session.h"
#include "replica/stamps.h"

/* Counts the bytes of log sent, and their rate per second. The owner does the locking. */
struct traffic {
	uint64_t before; /* in sessions that are over */
	uint64_t noted_ns, noted_bytes;
	double rate;
};

/* Updates the rate; to be called often. bytes: sent so far in all sessions. */
void traffic_note(struct traffic *t, uint64_t bytes, uint64_t now_ns);
/* Bytes per second over the last second; 0: not known. */
double traffic_rate(const struct traffic *t, uint64_t now_ns);

#define LINK_WHY_GROWS                                                                      \
	"a disk of this primary's is growing: try again when `twinstep resize` has ended; " \
	"where that ended with an error, it has to be asked again first"

/*
 * Growth of a disk while the guest runs: first the image becomes longer, later, at a record, the
 * machine's disk. A backup that joins in between, or is joining already, would not get the new
 * length; so none may join until both have grown.
 */
struct growth {
	bool begun;		   /* the image is being made longer */
	struct disk_backend *disk; /* the disk whose image has grown last; NULL: none */
	uint64_t sectors;	   /* length in sectors that the machine's disk is to reach */
};

struct link {
	pthread_mutex_t lock; /* of all but the atomics */
	/* a backup that gets the state ahead while the guest runs (joining.h) */
	struct session *joining;
	bool due;		 /* `joining` is to get the rest at the next sync point */
	struct session *session; /* present backup */
	/* sessions that are over: their threads are to be joined, and they freed */
	struct session *dead;
	bool meeting; /* the acceptor shakes hands with a peer that may join */
	struct growth growth;
	/* last records acknowledged and applied; digests compared */
	uint64_t acked, applied, digests;
	/*
	 * the record that the backup needs before it can explain every output that left while
	 * outputs did not yet wait for it
	 */
	uint64_t count_from;
	/* time of the first stamp that said that the backup is counted on; 0: none yet */
	uint64_t counted_ns;
	struct stamps stamps;
	/* moving average of the time from a stamp to its acknowledgement, in microseconds */
	double ack_us;
	uint64_t pause_ns; /* how long the guest stood still for the backup that joined last */
	struct traffic traffic;

	atomic_bool bye_sent, bye_acked;
	atomic_bool flush; /* the backup waits for a record that flushes the TLB */
};

void link_init(struct link *l);
/* Ends and frees all sessions. Not to be called on a session's own threads. */
void link_fini(struct link *l);
/* Bytes sent to backups. Lock held. */
uint64_t link_bytes(const struct link *l);
/*
 * True: the backup can be told that it is counted on only after another record; `made` is the last
 * one made.
 */
bool link_wants_record(struct replica *r, uint64_t made);
/* Notes when record seq was made, to measure how far the backup is behind. */
void link_add_stamp(struct link *l, uint64_t seq, uint64_t now_ns);
/* True: the backup has the state and is catching up. How long that takes depends on the guest. */
bool link_catches_up(struct replica *r);
/* Age, in ns, of the oldest record that the backup has not applied; 0: it has applied all. */
uint64_t link_lag_ns(struct replica *r);
/* True: the backup is further behind than --max-lag allows. */
bool link_lags(struct replica *r);
/* True: the backup has every record up to `made`, or outputs do not wait for a backup any more. */
bool link_has(struct replica *r, uint64_t made);
/* Asks for a heartbeat now, in order to get an acknowledgement. */
void link_ask(struct link *l);
/*
 * vCPU thread: sends a frame to the backup, if there is one, in order with the records. Takes over
 * the message's bytes.
 */
void link_send(struct replica *r, enum wire_type type, struct buf *message);
/* vCPU thread, at the end of the guest: sends a goodbye, if outputs wait for the backup. */
void link_say_bye(struct replica *r, struct buf *goodbye);
/*
 * vCPU thread: yields to the backup if it is protecting the guest. True: the backup goes on in
 * place of this side, and nothing leaves here any more.
 */
bool link_yield(struct replica *r);
/* Gives up the present backup, as link_lost() does. */
void link_give_up(struct replica *r, const char *why);
/* As replica_grow_begin() and replica_grow_end(). */
int link_grow_begin(struct link *l);
void link_grow_end(struct link *l, struct disk_backend *disk, uint64_t sectors);
/*
 * Reserves the one place for a peer that may join. Returns the reason why none can join now; NULL:
 * the place is the caller's until link_prepare() or link_meet_end().
 */
const char *link_meet(struct link *l);
/* True: a disk is growing (struct growth). */
bool link_grows(struct link *l);
void link_meet_end(struct link *l);
/*
 * Starts the join of a backup that has shaken hands. The link owns the session from now on, and
 * frees it when the backup is lost.
 */
void link_prepare(struct replica *r, struct session *s);
/*
 * vCPU thread, between two runs of the guest: does the vCPU thread's part of a join. True: the
 * backup can join now, at a sync point.
 */
bool link_look(struct replica *r);
/* True: the guest writes to its disks faster than the joining backup gets them. */
bool link_falls_behind(struct link *l);
/*
 * vCPU thread, at record seq: makes the joining backup the present one, if that is due and the
 * record flushed the TLB. Returns its session, which gets every record after seq, or NULL. The
 * session is not freed until link_rest(), even if it is lost. *had: a backup was present before.
 */
struct session *link_attach(struct replica *r, uint64_t seq, bool flushed, bool *had);
/* Releases a session that link_attach() returned. */
void link_rest(struct link *l, struct session *s);
/*
 * Notes that the session's backup is lost; later calls for the same session do nothing. Called by a
 * thread of the session or by the vCPU thread. This side goes on alone, but if the backup may have
 * gone live it asks the arbiter first.
 */
void link_lost(struct session *s, const char *why);
/*
 * Joins the threads of sessions that are over and that no other thread uses, and frees them. Not to
 * be called on their own threads.
 */
void link_bury_dead(struct link *l);
/*
 * As link_bury_dead(), and waits about two seconds for those that are in use. False: some still
 * are.
 */
bool link_bury_all(struct link *l);

/* Receives until the backup is lost (false), or the two replicas have changed places (true). */
bool link_receive(struct session *s);
/* The sender's thread. */
void *link_sender(void *session);
/*
 * Time, in ns, for which the backup may be silent. A joining backup may be silent for longer,
 * because it is busy with other things.
 */
uint64_t link_silence_ns(struct session *s);
/*
 * vCPU thread, right after the sync point of the join, which flushed the TLB and took a digest:
 * sends the rest of the machine's state.
 */
void link_transfer(struct replica *r, struct session *s, uint64_t seq);

/*
 * Acceptor's thread: drops the backup to which the guest was to move, unless it already protects
 * the guest.
 */
void link_cancel_move(struct replica *r);

/* acceptor.c */
/*
 * Acceptor's thread: shakes hands with a peer and lets it join. Takes over the peer in any case.
 * moved: the guest is to move to it, so a present backup is dismissed, once the peer has shown that
 * it could be our backup. 0; -errno, err and an event.
 */
int acceptor_meet(struct replica *r, struct peer *p, bool moved, struct err *err);
int acceptor_start(struct replica *r, struct err *err);
void acceptor_stop(struct replica *r);

#endif
