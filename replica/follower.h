/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The side that follows: takes over the primary's state (join.c), receives and acknowledges records
 * (receiver.c), replays them and decides what comes after (follower.c).
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

	pthread_mutex_t lock; /* of these; the receiver and the vCPU thread write them */
	pthread_cond_t changed;
	uint64_t newest_stamp;		     /* of the primary's */
	uint64_t received, applied, digests; /* last records; digests compared */
	uint64_t last_record_ns;	     /* when the last one came; 0: none has */
	bool said_bye;
	struct replay_end bye;
	char lost_why[512];
	struct traffic traffic;

	atomic_uint_fast64_t last_heard_ns; /* receiver; the vCPU thread when that has ended */
	atomic_uint silence_ms; /* what the newest stamp says; 0: none has come, HELLO counts */
	atomic_uint_fast64_t bears_until_ns; /* the end of what all stamps have said */

	/* the thread that joins, before the receiver's runs */
	struct disk_target *disks;
	atomic_uint_fast64_t disk_bytes; /* of disks, received; any thread looks */
	bool disks_equal;		 /* ours are the live side's */
	uint8_t joins_at[WIRE_ID_LEN];	 /* whose guest our memory is, or is becoming */
	uint64_t moved_ns;		 /* when some of its state came last, or it was met */

	/* vCPU thread */
	struct replay_end end;
	uint64_t base;		/* number of the last record in the state that was taken over */
	struct parcel *present; /* batch being replayed */
	struct rd batch_in;
	struct codec codec;
	struct codec_record rec;
	struct replay replay;
	bool machine_ended; /* by itself, while it was replayed */
	enum machine_end machine_end;
};

int follower_init(struct follower *f);
void follower_fini(struct follower *f);
/* The primary, not greeted yet; NULL and err when it cannot be reached. */
struct peer *follower_dial(struct replica *r, struct err *err);
/* Agrees, and takes over the primary's state; the receiver runs afterwards. */
int follower_join(struct replica *r, struct err *err);
/*
 * Replays until the stream ends: 1 when this replica is live now, 0 when it is over (*end), or
 * -errno.
 */
int follower_run(struct replica *r, enum machine_end *end, struct err *err);
/* The record that the machine's next output needs. vCPU thread. */
uint64_t follower_next_record(const struct follower *f);

/* Receives until the stream of records is over; true: because this side has taken over. */
bool follower_receive(struct session *s);
int follower_acknowledge(struct session *s, struct err *err);
/*
 * Longest silence of the session's primary since it was heard last, in ns: at least what any stamp
 * has said, or its greeting before the first one; and the time between two acknowledgements, in ms.
 * They are the session's, for that outlives follower.primary, which is NULL once this side has
 * taken over.
 */
uint64_t follower_timeout_ns(const struct session *s);
unsigned follower_period_ms(const struct session *s);
bool follower_said_bye(struct follower *f);

#endif
