/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of struct replica. Lock order: replica.lock, then nothing else. */
#ifndef REPLICA_REPLICA_PRIVATE_H
#define REPLICA_REPLICA_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/queue.h"
#include "record/codec.h"
#include "record/detail.h"
#include "record/replay.h"
#include "replica/replica.h"
#include "replica/wire.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

#define SPY_FRAMES    256 /* frames kept by a backup for the moment it goes live */
#define SPY_FRAME_MAX 9216
#define SPY_PAUSE_MS  2
#define SPY_AGE_NS    (2 * NS_PER_S)
#define SEEN_FRAMES   1024
#define STAMPS	      4096
#define CONTROLS      16

/* An output that waits for its record. */
struct held_output {
	struct held_output *next;
	uint64_t needs; /* number of the record that must be acknowledged */
	struct output out;
	size_t cap;
	uint8_t data[];
};

struct held_list {
	struct held_output *first, *last;
	uint64_t n, bytes;
};

/* A batch or a frame on its way between the vCPU thread and a session's thread. */
struct parcel {
	struct queue_node node;
	enum wire_type type;
	bool compress;
	uint64_t last; /* RECORDS: number of its last record */
	struct parcel *next;
	struct buf data;
};

/* Sees whether a vCPU thread's beat changes (hang.c). Zeroed: nothing seen yet. */
struct hang_watch {
	uint64_t beat, looked_ns, still_ns;
};

/* A connection to the other replica, with the threads that serve it. */
struct session {
	struct replica *r;
	struct wire wire;
	struct wire_hello theirs;
	pthread_t sender, receiver;
	bool has_sender, has_receiver;
	struct queue queue;	 /* to the sender */
	atomic_bool asked;	 /* a heartbeat is wanted now, for its acknowledgement */
	atomic_bool over;	 /* no more use: threads end */
	bool ready;		 /* the backup has the state and replays what came since */
	struct hang_watch watch; /* of the other side's vCPU thread */
	struct session *next_dead;
};

/* When a record was made: for the lag. */
struct stamp {
	uint64_t seq, ns;
};

struct spy_frame {
	uint64_t ns;
	uint8_t port;
	size_t len;
	uint64_t hash;
	uint8_t data[SPY_FRAME_MAX];
};

struct replica {
	struct replica_config cfg;
	uint8_t id[WIRE_ID_LEN];
	struct machine *m;
	struct live *live;
	struct live_sink direct; /* the way out when nobody has to be waited for */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum replica_state state;
	uint64_t generation;
	bool is_primary; /* born so */
	atomic_bool stopping;
	atomic_uint_fast64_t beat_ns; /* when the vCPU thread came by last */
	atomic_bool vcpu_over;	      /* it does not run the guest any more */
	atomic_uint_fast64_t
		hang_ms; /* test hook: it shall hang for so long less one; 1: for ever, 0: no */
	struct hang_watch own_watch;
	bool own_hang;

	/* the live side */
	struct peer_listener *listener;
	pthread_t acceptor;
	bool has_acceptor;
	struct peer *dialled;	  /* backup: the primary, before the handshake */
	struct session *pending;  /* authenticated, waits for the next sync point */
	struct session *session;  /* present backup (or, on a backup, the primary) */
	struct session *dead;	  /* to be joined and freed */
	struct session *followed; /* with the primary that we replaced; kept, for replica_stop() may
				     be looking at it */
	struct codec codec;
	struct buf batch; /* records not yet given to the sender: vCPU thread */
	uint64_t batch_last, batch_ns;
	struct detail detail;
	bool has_detail;
	struct buf detail_buf;
	struct held_list held;
	atomic_uint_fast64_t made; /* last record */
	atomic_uint_fast64_t seen_count,
		seen_ns; /* instructions and virtual time at the last sync point */
	uint64_t acked, applied;
	uint64_t lease_ns;   /* time stamp that the backup echoed last */
	uint64_t count_from; /* PROTECTED: with this record the backup has all that explains what
				left before */
	uint64_t counted_ns; /* ... first stamp that told it so; 0: none yet */
	bool counted;	     /* ... and it has heard that one: from now on it would go live */
	struct stamp stamps[STAMPS];
	uint64_t stamp_first, stamp_n;
	double ack_us;
	uint64_t released_seq, outputs_released;
	uint64_t digests;
	uint64_t failovers;
	double last_failover_ms;
	uint64_t paced_ns;
	struct input controls[CONTROLS];
	unsigned ncontrols;
	struct input fault; /* kind 0: none */
	uint64_t rate_ns, rate_bytes;
	double rate;
	uint64_t dead_bytes; /* sent in sessions that are over */

	/* the backup side */
	struct queue incoming; /* parcels of records for the vCPU thread */
	atomic_bool stream_over;
	bool bye_sent, bye_acked; /* primary */
	bool peer_said_bye, peer_lost, peer_yields;
	enum machine_end bye_end;
	uint8_t bye_code;
	uint64_t bye_count;
	char lost_why[512];
	struct replay_end end;
	uint64_t replay_base; /* number of the last record in the state that was taken over */
	bool machine_ended;   /* by itself, while it was replayed */
	enum machine_end machine_end;
	uint64_t last_heard_ns, newest_stamp, received;
	uint64_t released_by_primary;
	bool eligible;		/* the primary has said that it counts on us */
	struct parcel *present; /* batch being replayed */
	struct rd batch_in;
	struct codec codec_in;
	struct codec_record rec;
	struct replay replay;
	bool replaying;
	char divergence[400];
	uint64_t divergence_count, divergence_rip;

	/* frames that arrived while we were not live */
	pthread_t spy;
	bool has_spy;
	atomic_bool spy_stop;
	int spy_wake; /* eventfd */
	struct spy_frame *spied;
	unsigned spy_at;
	uint64_t seen[SEEN_FRAMES];
	unsigned seen_at;
	unsigned feed_at; /* of the spied frames, at go-live */
	bool feeding;

	uint32_t guest_ip[MACHINE_NICS]; /* learned from what the guest sends; network order, 0
					    unknown */
	unsigned announcements_left;
	uint64_t next_announcement;
};

uint64_t replica_mono_ns(void);
/* The clock of stamps and leases, which goes on while the host is suspended. */
uint64_t replica_lease_clock_ns(void);
void replica_set_state(struct replica *r, enum replica_state s); /* lock held */
/* Lock held; often: how many bytes of log a second. */
void replica_note_rate(struct replica *r);

/* events.c */
void replica_event(struct replica *r, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* hang.c */
/* vCPU thread: it is alive, and where it is meant to be. */
void replica_beat(struct replica *r);
uint64_t replica_last_beat(struct replica *r);
/*
 * Looks at a beat; returns for how long it has stood still. One look counts for max_step_ns at
 * most.
 */
uint64_t hang_watch_look(struct hang_watch *w, uint64_t beat, uint64_t now, uint64_t max_step_ns);
/* Between two signs of life of either side. */
unsigned heartbeat_ms(unsigned timeout_ms, unsigned hang_timeout_ms);
/*
 * Not on the vCPU thread: waits until that has given a beat. False: the next generation went to
 * somebody else first.
 */
bool hang_prove_alive(struct replica *r);
/* vCPU thread: it has come back from the guest. */
void hang_vcpu_over(struct replica *r);
/*
 * Not on the vCPU thread, when the other side is gone: ends the process if that thread hangs and
 * has been replaced.
 */
void hang_linger(struct replica *r);
/* Tells the event log of our own vCPU. Not on its thread. */
void hang_report(struct replica *r);
/* vCPU thread: where the test hook strikes. */
void hang_here(struct replica *r);

/* outputs.c; lock held */
void held_add(struct held_list *l, uint64_t needs, const struct output *out);
/* Takes the oldest output that needs no record beyond `seq`; free() it. NULL: none. */
struct held_output *held_take(struct held_list *l, uint64_t seq);
/* Drops the outputs that need no record beyond `seq`. */
void held_drop(struct held_list *l, uint64_t seq);

/* announce.c */
void announce_learn(struct replica *r, const struct output *out);
void announce_start(struct replica *r);
/* Sends what is due; milliseconds until the next one, or -1. */
int announce_step(struct replica *r);

/* session.c */
struct session *session_new(struct replica *r, struct peer *p);
int session_start(struct session *s, void *(*sender)(void *), void *(*receiver)(void *),
		  struct err *err);
void session_end(struct session *s);  /* threads will stop */
void session_join(struct session *s); /* ends it, waits for its threads */
void session_free(struct session *s); /* ... and frees it */
int session_hello(struct session *s, bool primary, struct err *err);
struct parcel *parcel_new(enum wire_type type, struct buf *take);
void parcel_free(struct parcel *p);
void session_push(struct session *s, struct parcel *p);

/* primary.c */
void primary_unlisten(struct replica *r);
struct live_hooks primary_hooks(struct replica *r);
void primary_emit(struct replica *r, const struct output *out);
/*
 * Lock held. Until when frames may leave, on the clock of the lease; 0: none may, UINT64_MAX: no
 * end.
 */
uint64_t primary_sends_until(const struct replica *r);
/* Sessions that are over are joined and freed. Not from their own threads. */
void bury_dead(struct replica *r);
int primary_run(struct replica *r, enum machine_end *end, struct err *err);
void primary_say_bye(struct replica *r, enum machine_end end);

/* spy.c */
int spy_start(struct replica *r, struct err *err);
void spy_end(struct replica *r);
void spy_saw(struct replica *r, const uint8_t *frame, size_t len);
size_t spy_feed(struct replica *r, struct input *in, size_t max);

#endif
