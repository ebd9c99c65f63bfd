/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The side that follows: it takes over the primary's state (join.c), receives and acknowledges
 * records (receiver.c), and replays them and decides what happens at their end (follower.c).
 */
#ifndef REPLICA_FOLLOWER_H
#define REPLICA_FOLLOWER_H

#include <pthread.h>
#include <stdatomic.h>

#include "record/codec.h"
#include "record/replay.h"
#include "replica/link.h"
#include "replica/session.h"

struct follower {
	struct peer *dialled;		 /* the primary, before the handshake */
	struct session *_Atomic primary; /* changed with the lock; replica_look() */
	struct queue incoming;		 /* parcels of records: receiver to vCPU thread */
	atomic_bool replaying;		 /* false for ever when the machine is live */
	atomic_bool stream_over;

	/* guards the fields below, which the receiver and the vCPU thread write */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t newest_stamp; /* newest time stamp that the primary has sent */
	/* numbers of the last records received and applied; digests compared */
	uint64_t received, applied, digests;
	uint64_t last_record_ns; /* when the last record came; 0: none has */
	bool said_bye;
	struct replay_end bye;
	char lost_why[512];
	struct traffic traffic;

	/* written by the receiver, and by the vCPU thread once the receiver has ended */
	atomic_uint_fast64_t last_heard_ns;
	/* silence that the newest stamp allows; 0: no stamp has come, and HELLO's value holds */
	atomic_uint silence_ms;
	/* the latest end of silence that any stamp has allowed */
	atomic_uint_fast64_t bears_until_ns;

	/* used by the thread that joins, before the receiver runs */
	struct disk_target *disks;
	atomic_uint_fast64_t disk_bytes; /* bytes of disk blocks received; any thread may read it */
	bool disks_equal;		 /* our disks are equal to the live side's */
	/* id of the process whose guest our memory holds, wholly or in part */
	uint8_t joins_at[WIRE_ID_LEN];
	uint64_t moved_ns; /* when part of its state last came, or else when we shook hands */

	/* vCPU thread */
	struct replay_end end;
	uint64_t base;		/* number of the last record in the state that was taken over */
	struct parcel *present; /* batch being replayed */
	struct rd batch_in;
	struct codec codec;
	struct codec_record rec;
	struct replay replay;
	bool machine_ended; /* the machine ended by itself during the replay */
	enum machine_end machine_end;
};

int follower_init(struct follower *f);
void follower_fini(struct follower *f);
/* Connects to the primary, which is not greeted yet. NULL and err: it cannot be reached. */
struct peer *follower_dial(struct replica *r, struct err *err);
/*
 * Shakes hands with the primary, takes over its state and starts the receiver. 0, or -errno and
 * err.
 */
int follower_join(struct replica *r, struct err *err);
/*
 * Replays until the stream ends: 1 when this replica is live now, 0 when it is over (*end), or
 * -errno.
 */
int follower_run(struct replica *r, enum machine_end *end, struct err *err);
/* vCPU thread: number of the record that the machine's next output depends on. */
uint64_t follower_next_record(const struct follower *f);

/*
 * Receives until the stream of records is over. True: it is over because this side has taken over.
 */
bool follower_receive(struct session *s);
/* Sends an acknowledgement. 0, or -errno and err. */
int follower_acknowledge(struct session *s, struct err *err);
/*
 * Longest silence, in ns, that the session's primary is allowed since it was last heard: at least
 * as long as any stamp has said, or HELLO before the first stamp. The session is a parameter
 * because it outlives follower.primary, which is NULL once this side has taken over.
 */
uint64_t follower_timeout_ns(const struct session *s);
/* Time between two acknowledgements, in ms. */
unsigned follower_period_ms(const struct session *s);
bool follower_said_bye(struct follower *f);

#endif
