/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection to the other replica: handshake, parcels, the threads that serve it. */
#ifndef REPLICA_SESSION_H
#define REPLICA_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/queue.h"
#include "replica/vcpu.h"
#include "replica/wire.h"

struct replica;

/* A batch or a frame on its way between the vCPU thread and a session's thread. */
struct parcel {
	struct queue_node node;
	enum wire_type type;
	bool compress;
	uint64_t last; /* RECORDS: number of its last record */
	struct parcel *next;
	struct buf data;
};

struct session {
	struct replica *r;
	struct wire wire;
	struct wire_hello theirs;
	pthread_t sender, receiver;
	bool has_sender, has_receiver;
	bool follows;		       /* receiver's thread: the two have changed places */
	bool moved;		       /* the guest is to move there: replica/moving.h */
	bool refused;		       /* receiver's thread: is told why, and not listened to */
	atomic_bool prepared;	       /* all that goes ahead of the state has gone */
	atomic_uint_fast64_t moved_ns; /* when the other side last took something of size */
	struct queue queue;	       /* to the sender */
	struct joining *joining;       /* of a backup; NULL: this side is the backup */
	atomic_uint_fast64_t beat_ns;  /* when the receiver's thread came by last */
	atomic_bool asked;	       /* a heartbeat is wanted now, for its acknowledgement */
	atomic_bool over;	       /* no more use: threads end */
	/* with the lock of the link or of the follower that owns it */
	uint64_t flushed; /* number of the backup's last wish for a flush that was heard */
	bool ready;	  /* the backup has the state and replays what came since */
	uint64_t from_ns, paced_from_ns; /* receiver's thread: since then its speed is watched */
	struct hang_watch watch;	 /* of the other side's vCPU thread */
	struct hang_watch quiet;	 /* receiver's thread: of the other side's frames */
	unsigned busy; /* lost or not, so many threads still use it: not to be freed */
	struct session *next_dead;
};

struct session *session_new(struct replica *r, struct peer *p);
int session_start(struct session *s, void *(*sender)(void *), void *(*receiver)(void *),
		  struct err *err);
void session_end(struct session *s);  /* threads will stop */
void session_join(struct session *s); /* ends it, waits for its threads */
void session_free(struct session *s); /* ... and frees it */
/*
 * Ours, then theirs, which is checked; primary: we are the live side. 0 or -errno and err. The two
 * parts are for a side that must know the other one before it says its generation.
 */
int session_hello(struct session *s, bool primary, struct err *err);
int session_say_hello(struct session *s, bool primary, struct err *err);
int session_hear_hello(struct session *s, bool primary, struct err *err);
struct parcel *parcel_new(enum wire_type type, struct buf *take);
void parcel_free(struct parcel *p);
/* The oldest parcel of a queue, or NULL. */
struct parcel *parcel_pop(struct queue *q);
/* A parcel that could not be made (no memory) ends the session: nothing may be left out. */
void session_push(struct session *s, struct parcel *p);
/* The receiver's thread: it is alive. */
void session_beat(struct session *s);
/*
 * The beat that the other side sees: the oldest one of the vCPU thread's, the poller's, and the
 * receiver's, without which the lease ends and nothing leaves. The sender's is that it sends.
 */
uint64_t session_last_beat(struct session *s);
/*
 * The receiver's thread, at least every period: when the last frame came. Returns for how long, in
 * ns, the other side has been silent while this thread was there to hear it: one that was not run
 * itself, or whose host was stopped as a whole, has heard nothing and blames nobody.
 */
uint64_t session_hear(struct session *s, uint64_t heard_ns, unsigned period_ms);
/* The sender is to send a heartbeat now, for what its stamp says or for its acknowledgement. */
void session_ask(struct session *s);

#endif
