/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer over RDMA, for peer_rdma.c (what callers see), rdma_path.c (how bytes travel),
 * rdma_maker.c (the thread that makes queue pairs) and rdma_place.c (pages that go straight from
 * memory to memory).
 *
 * The TLS connection stays: it is where the two were authenticated, it carries what a queue pair
 * needs to be made, its end is the end of the peer, and frames take it while there is no queue
 * pair. A frame has one place in the ring and one number, whichever way it comes, so the ways may
 * change at any moment: what a queue pair carried and is not credited is sent again, what is there
 * already is not taken twice.
 */
#ifndef NET_RDMA_PRIVATE_H
#define NET_RDMA_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "net/peer_private.h"
#include "net/rdma_ring.h"
#include "net/rdma_verbs.h"

/* Messages on the TLS connection: u32 bytes, u32 kind, and the bytes. */
enum rdma_message {
	RDMA_OFFER = 1, /* caller: a queue pair, and where frames and credits go */
	RDMA_ANSWER,	/* the other one's; it takes writes from now on */
	RDMA_READY,	/* so does the caller's */
	RDMA_NO,	/* there will be none: text */
	RDMA_BROKEN,	/* the queue pair is gone, and what it carried may be: text */
	RDMA_PLACED,	/* a frame and its position */
	RDMA_CREDITED,	/* a credit */
	RDMA_WINDOW,	/* pages are to be written into this part of the shared memory */
	RDMA_OPENED,	/* they may be, with this key; no bytes: they may not */
	RDMA_MESSAGES
};

enum rdma_state {
	PATH_NONE,
	PATH_MAKING,   /* our queue pair is in the maker's hands */
	PATH_OFFERED,  /* caller: waits for the answer */
	PATH_ANSWERED, /* the other one: waits until the caller is ready */
	PATH_PROBED,   /* connected; the first write is on its way */
	PATH_UP,
};

/* All that one side has to know of the other one's queue pair and memory. */
struct rdma_ends {
	struct verbs_address qp;
	uint64_t ring, cell;
	uint32_t ring_key, cell_key;
};

/* rdma_maker.c: what its thread is asked for, and has. */
enum rdma_job {
	JOB_NONE,
	JOB_MAKE,    /* a queue pair */
	JOB_ANSWER,  /* one that is connected to the remote one */
	JOB_CONNECT, /* connect this one */
};

struct rdma_maker {
	pthread_t thread;
	bool runs, quits;
	int wake;
	enum rdma_job job;
	bool busy;	       /* in a call of verbs */
	bool deaf;	       /* the device's events end */
	uint64_t turn;	       /* what was begun in an earlier one is of no interest any more */
	struct verbs_qp *qp;   /* to be connected */
	struct verbs_qp *gone; /* to be freed, before anything else is done */

	/* what came of a job, for the pump */
	enum rdma_job made;
	struct verbs_qp *made_qp;
	struct rdma_ends made_ends;
	struct err made_err;
	bool faulty; /* the device, by its own word; made_err says why */
};

/* rdma_place.c: pages that are written straight into the other side's memory. */
struct rdma_place {
	uint8_t *memory; /* peer_share()'s; NULL: nothing is shared */
	uint64_t size;
	uint64_t next, pages; /* behind the last page of this sweep; pages that went this way */
	uint64_t clean;	      /* frames up to this one hold no page that is placed next */

	/* what this side writes into, while the queue pair lasts */
	enum { WINDOW_NONE, WINDOW_ASKED, WINDOW_OPEN, WINDOW_REFUSED } state;
	uint64_t at, len, to;
	uint32_t to_key, own_key;
	struct verbs_memory *own;

	struct verbs_memory *theirs; /* what the other side writes into */
};

#define RDMA_WRITES   (RDMA_SLOTS + 64) /* of ours that are not done: credits run out before */
#define RDMA_ARRIVALS (RDMA_SLOTS + 32) /* frames, and some credits */

#define RDMA_HALF (RDMA_RING + 4096u) /* a ring, and a credit cell */
#define RDMA_AREA (2 * RDMA_HALF + RDMA_RING)

struct rdma_peer {
	struct peer base;
	struct peer_stream *control;
	const struct verbs_ops *verbs;
	struct verbs_device *device;
	bool caller; /* it has dialled, and offers queue pairs */
	bool clear;  /* frames need not be sealed */

	pthread_mutex_t lock; /* of all that follows */
	/*
	 * Memory, in this order: RDMA_HALF bytes that the other side writes, as many that this one
	 * sends from, and RDMA_RING for the reader.
	 */
	uint8_t *area;
	struct rdma_writer writer;
	struct rdma_reader reader;

	/* the queue pair */
	enum rdma_state state;
	uint32_t lane; /* number of the queue pair, from 1 */
	struct verbs_memory *theirs_memory, *own_memory;
	uint32_t theirs_key, own_key; /* of the memory that the other side writes, and of ours */
	struct verbs_qp *qp;
	struct rdma_ends remote;
	bool armed;
	unsigned unfinished;		  /* writes */
	uint64_t posted, finished, drops; /* writes of this queue pair; queue pairs that are gone */
	int64_t oldest_ms;		  /* since when the oldest of them is */
	int64_t up_ms;			  /* when it came up */
	int64_t retry_ms;		  /* when to offer one again */
	unsigned backoff_ms;
	bool owes;	     /* a credit that was written may be lost */
	uint64_t lane_first; /* first frame that came over this queue pair; ~0: none */
	uint64_t lane_after; /* up: frames of ours behind this one go over this queue pair */
	int64_t torn_ms;     /* since when an announced frame is not there; 0: it is */
	uint64_t breaks;     /* how often a path was lost that was up */
	char why[160];	     /* the last time there was none */

	struct rdma_maker maker;
	struct rdma_place place;

	/* the TLS connection */
	bool met; /* the other side has said that it speaks this */
	struct buf in, out;
	size_t out_done;
	int64_t control_ms; /* when it was read */
	bool ended;	    /* the other side sends nothing more */
	int out_error;	    /* -errno: it takes nothing more */
	int error;	    /* -errno: it sent what it may not, err says what */
	struct err err;

	atomic_bool over; /* peer_shutdown() */
	bool rx_waits, tx_waits;
	int rx_wake, tx_wake;
};

static inline struct rdma_peer *rdma_peer_of(struct peer *p)
{
	return (struct rdma_peer *)p;
}

/* Over a control connection that is ready, which is owned from now on, and with a device. */
struct peer *rdma_peer_new(struct peer *control, const struct verbs_ops *verbs,
			   struct verbs_device *device, bool caller, bool clear, struct err *err);

/* rdma_path.c; all with the lock. */
int rdma_path_init(struct rdma_peer *p, const uint8_t *out_key, const uint8_t *in_key);
void rdma_path_fini(struct rdma_peer *p);
enum rdma_ready { READY_CONTROL = 1, READY_QP = 2 };
/*
 * Does all that needs no waiting: takes what has arrived (from descriptors only where they are
 * ready), keeps the path, sends what can go. The outcome is in p->error and p->ended.
 */
void rdma_path_pump(struct rdma_peer *p, unsigned ready);
/* True: all that was written is on its way. */
bool rdma_path_flushed(const struct rdma_peer *p);
/* Longest wait, in ms, before the path needs a look; -1: for ever. */
int rdma_path_patience(const struct rdma_peer *p);
/* The next arrival makes the queue pair's descriptor readable; what is there by now is taken. */
void rdma_path_arm(struct rdma_peer *p);
/* An announced frame is not there: the path breaks when it does not come. */
void rdma_path_torn(struct rdma_peer *p);
/* A credit, where one is due. */
void rdma_path_pay(struct rdma_peer *p);
/* Writes once over a path that is up; false: it was not taken, and the path is broken. */
bool rdma_path_write(struct rdma_peer *p, const struct verbs_write *w);
/* A message on the TLS connection. */
void rdma_path_say(struct rdma_peer *p, enum rdma_message kind, const void *data, size_t n);
/* Ends the connection, because the other side does what it may not. code: positive errno. */
void rdma_path_fail(struct rdma_peer *p, const char *text, int code);

/* The queue pair is given up, and nobody is told. */
void rdma_path_drop(struct rdma_peer *p);

/* rdma_maker.c. Its thread, and the end of it: without the lock. 0, or -errno and err. */
int rdma_maker_init(struct rdma_peer *p, struct err *err);
void rdma_maker_fini(struct rdma_peer *p);
/*
 * Both with the lock. ask: the maker does the job, and pumps when it is done. drop: the maker
 * leaves its present job unfinished, and frees qp.
 */
void rdma_maker_ask(struct rdma_peer *p, enum rdma_job job, struct verbs_qp *qp);
void rdma_maker_drop(struct rdma_peer *p, struct verbs_qp *qp);

/* rdma_place.c; with the lock. The queue pair is gone. */
void rdma_place_reset(struct rdma_peer *p);
/* RDMA_WINDOW and RDMA_OPENED, behind the number of the queue pair, which is the present one. */
void rdma_place_take(struct rdma_peer *p, enum rdma_message kind, struct rd *in);
/* Checksums that arrived; struct rdma_reader has it. */
int rdma_place_sums(void *peer, const uint8_t *data, size_t n);
/* peer_ops: they take the lock. */
void rdma_share(struct peer *p, void *memory, uint64_t n);
enum peer_places rdma_places(struct peer *p);
int rdma_place(struct peer *p, uint64_t page, unsigned n, uint64_t *changed);

#endif
