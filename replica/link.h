/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The live side's connection to its backup: who it is, what it has of the records, and how far it
 * is behind. link.c takes acknowledgements, sender.c sends, transfer.c hands over the state,
 * acceptor.c lets backups in.
 */
#ifndef REPLICA_LINK_H
#define REPLICA_LINK_H

#include <pthread.h>
#include <stdatomic.h>

#include "replica/session.h"
#include "replica/stamps.h"

/* Bytes of log, and how many a second. The owner locks. */
struct traffic {
	uint64_t before; /* in sessions that are over */
	uint64_t noted_ns, noted_bytes;
	double rate;
};

/* Often: bytes are those of all sessions. */
void traffic_note(struct traffic *t, uint64_t bytes, uint64_t now_ns);
/* Over the last second; 0: not known. */
double traffic_rate(const struct traffic *t, uint64_t now_ns);

#define LINK_WHY_GROWS                                                                      \
	"a disk of this primary's is growing: try again when `twinstep resize` has ended; " \
	"where that ended with an error, it has to be asked again first"

/*
 * A disk that grows: the image first, the machine's at a record. Neither a backup that joins in
 * between nor one that was joining already would have it as long as this side.
 */
struct growth {
	bool begun;		   /* the image is being made longer */
	struct disk_backend *disk; /* that one's was, last; NULL: none */
	uint64_t sectors;	   /* that the machine is to have, too */
};

struct link {
	pthread_mutex_t lock;	 /* of all but the atomics */
	struct session *joining; /* prepares while the guest runs: replica/joining.h */
	bool due;		 /* ... and is to get the rest at the next sync point */
	struct session *session; /* present backup */
	struct session *dead;	 /* to be joined and freed */
	bool meeting;		 /* somebody who may join is being spoken to */
	struct growth growth;
	uint64_t acked, applied, digests; /* last records; digests compared */
	uint64_t
		count_from; /* with this record the backup has all that explains what left before */
	uint64_t counted_ns; /* first stamp that told it that it is counted on; 0: none yet */
	struct stamps stamps;
	double ack_us;
	uint64_t pause_ns; /* for how long the guest stood still for the backup that joined last */
	struct traffic traffic;

	atomic_bool bye_sent, bye_acked;
	atomic_bool flush; /* the backup waits for a record that flushes the TLB */
};

void link_init(struct link *l);
/* Ends and frees its sessions; not from their threads. */
void link_fini(struct link *l);
/* Bytes sent to backups. Lock held. */
uint64_t link_bytes(const struct link *l);
/* The present backup cannot be told that it is counted on before it has a record beyond `made`. */
bool link_wants_record(struct replica *r, uint64_t made);
void link_add_stamp(struct link *l, uint64_t seq, uint64_t now_ns);
/* The backup has the state and is behind: how long it takes until it follows depends on the guest.
 */
bool link_catches_up(struct replica *r);
/* Time for which the backup has been behind, in ns. */
uint64_t link_lag_ns(struct replica *r);
/* The backup is further behind than the guest may run ahead. */
bool link_lags(struct replica *r);
/* The backup has every record up to `made`, or is not there any more. */
bool link_has(struct replica *r, uint64_t made);
/* A heartbeat now, for its acknowledgement. */
void link_ask(struct link *l);
/* vCPU thread: a frame to the backup, if there is one, in the order of records. Takes the message.
 */
void link_send(struct replica *r, enum wire_type type, struct buf *message);
/* vCPU thread, at the end of the guest: a goodbye, where outputs wait for the backup. */
void link_say_bye(struct replica *r, struct buf *goodbye);
/*
 * vCPU thread: the backup goes on instead of this side, if it can. True: it does, and nothing
 * leaves here any more.
 */
bool link_yield(struct replica *r);
/* Gives up the backup that is there now, like link_lost(). */
void link_give_up(struct replica *r, const char *why);
/* A disk is to grow, or has: replica_grow_begin(), replica_grow_end(). */
int link_grow_begin(struct link *l);
void link_grow_end(struct link *l, struct disk_backend *disk, uint64_t sectors);
/*
 * Why nobody can join now, NULL: the caller is spoken to, until link_prepare() or link_meet_end().
 */
const char *link_meet(struct link *l);
/* A disk is growing. */
bool link_grows(struct link *l);
void link_meet_end(struct link *l);
/* Prepares a backup that has shaken hands; it is freed when it is lost. */
void link_prepare(struct replica *r, struct session *s);
/*
 * vCPU thread, between two runs of the guest: does what a joining backup waits for. True: it waits
 * for the sync point of its join, and this is the time.
 */
bool link_look(struct replica *r);
/* The backup that prepares is too slow for what the guest writes. */
bool link_falls_behind(struct link *l);
/*
 * vCPU thread, at record seq, which flushed the TLB or not. *had: whether a backup was present.
 * Returns one that is present from now on, and will have records up to seq, or NULL. Until
 * link_rest() it is not freed, even if it is lost.
 */
struct session *link_attach(struct replica *r, uint64_t seq, bool flushed, bool *had);
void link_rest(struct link *l, struct session *s);
/*
 * Notes that the backup is gone; called once, from the session's threads or the vCPU thread. Goes
 * on alone, but asks the arbiter first where the backup may have gone live.
 */
void link_lost(struct session *s, const char *why);
/* Sessions that are over, and that nobody uses, are joined and freed. Not from their own threads.
 */
void link_bury_dead(struct link *l);
/* Buries them likewise, and waits for those that are in use. False: some still are. */
bool link_bury_all(struct link *l);

/* Receives until the backup is lost, or (true) the two have changed places. */
bool link_receive(struct session *s);
void *link_sender(void *session);
/*
 * Time for which the backup may be silent, in ns; more while it joins, as it has other things to
 * do.
 */
uint64_t link_silence_ns(struct session *s);
/* vCPU thread, right after the sync point that flushed the TLB and took a digest. */
void link_transfer(struct replica *r, struct session *s, uint64_t seq);

/* The acceptor: the backup to which the guest was to move is not wanted, unless it protects the
 * guest by now.
 */
void link_cancel_move(struct replica *r);

/* acceptor.c */
/*
 * Acceptor's thread: says hello to a peer, which is owned from now on, and lets it join. moved: the
 * guest is to move there, and a backup that is there gives way to one that could be ours. 0, or
 * -errno, err and an event.
 */
int acceptor_meet(struct replica *r, struct peer *p, bool moved, struct err *err);
int acceptor_start(struct replica *r, struct err *err);
void acceptor_stop(struct replica *r);

#endif
