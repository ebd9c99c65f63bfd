/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session: a connection to the other replica, with its handshake, its queue of parcels and the
 * threads that serve it.
 */
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
	uint64_t last; /* type RECORDS: number of the last record in it */
	struct parcel *next;
	struct buf data;
};

struct session {
	struct replica *r;
	struct wire wire;
	struct wire_hello theirs;
	pthread_t sender, receiver;
	bool has_sender, has_receiver;
	bool follows; /* used by the receiver's thread: the two replicas have changed places */
	bool moved;   /* the guest is to move to this replica: moving.h */
	/*
	 * used by the receiver's thread: the backup is being told why it is refused, and is no
	 * longer listened to
	 */
	bool refused;
	atomic_bool prepared; /* everything that is sent ahead of the state has been sent */
	atomic_uint_fast64_t moved_ns; /* when the other side last took bulk data */
	struct queue queue;	       /* to the sender */
	/* join of the backup at the other end; NULL: this side is the backup */
	struct joining *joining;
	atomic_uint_fast64_t beat_ns; /* when the receiver's thread last showed that it is alive */
	atomic_bool asked; /* a heartbeat is to be sent now, in order to get an acknowledgement */
	atomic_bool over;  /* the session is over: its threads end */
	/* guarded by the lock of the link or follower that owns the session */
	/* number of the last flush that the backup asked for and that was noted */
	uint64_t flushed;
	bool ready; /* the backup has the state and replays the records since */
	/* used by the receiver's thread: since when the guest's speed is watched */
	uint64_t from_ns, paced_from_ns;
	struct hang_watch watch; /* watches the beat of the other side's vCPU thread */
	/* used by the receiver's thread: watches for frames of the other side */
	struct hang_watch quiet;
	/* number of threads that still use the session; it is not freed before this is 0 */
	unsigned busy;
	struct session *next_dead;
};

struct session *session_new(struct replica *r, struct peer *p);
int session_start(struct session *s, void *(*sender)(void *), void *(*receiver)(void *),
		  struct err *err);
void session_end(struct session *s);  /* tells its threads to stop */
void session_join(struct session *s); /* ... and waits for them */
void session_free(struct session *s); /* ... and frees it */
/*
 * Shakes hands: sends our HELLO, then receives and checks the other side's. primary: we are the
 * live side. 0, or -errno and err. The two halves are also there one by one, for a side that must
 * know the other one before it says its generation.
 */
int session_hello(struct session *s, bool primary, struct err *err);
int session_say_hello(struct session *s, bool primary, struct err *err);
int session_hear_hello(struct session *s, bool primary, struct err *err);
struct parcel *parcel_new(enum wire_type type, struct buf *take);
void parcel_free(struct parcel *p);
/* The oldest parcel of a queue, or NULL. */
struct parcel *parcel_pop(struct queue *q);
/*
 * Queues a parcel for the sender. NULL, a parcel for which there was no memory, ends the session:
 * nothing may be left out.
 */
void session_push(struct session *s, struct parcel *p);
/* Receiver's thread: notes that it is alive. */
void session_beat(struct session *s);
/*
 * The beat that is sent to the other side: the oldest of the beats of the vCPU thread, the poller
 * and the receiver. The receiver counts because without it the lease ends and nothing leaves. The
 * sender needs no beat: it shows that it is alive by sending.
 */
uint64_t session_last_beat(struct session *s);
/*
 * Receiver's thread, called at least every period. heard_ns: when the last frame came. Returns for
 * how long, in ns, the other side has been silent while this thread was there to hear it. While
 * this thread did not get to run, or its host was stopped as a whole, it heard nothing, and that
 * time does not count as silence.
 */
uint64_t session_hear(struct session *s, uint64_t heard_ns, unsigned period_ms);
/*
 * Asks the sender for a heartbeat now: to bring a stamp to the other side, or to get an
 * acknowledgement.
 */
void session_ask(struct session *s);

#endif
