/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames between replicas (docs/wire-protocol.md). Each direction numbers its frames, and each
 * frame has a checksum. Before both HELLOs a side accepts only small frames, so that a stranger
 * cannot make it spend memory.
 */
#ifndef REPLICA_WIRE_H
#define REPLICA_WIRE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/version.h"
#include "hypervisor/machine.h"
#include "hypervisor/traits.h"
#include "net/peer.h"

#define WIRE_VERSION   11
#define WIRE_HELLO_MAX 4096u	  /* payload bytes before the handshake is done */
#define WIRE_FRAME_MAX (8u << 20) /* ... and after */
#define WIRE_ID_LEN    16

enum wire_type {
	WIRE_HELLO = 1, /* first frame of both sides */
	WIRE_REFUSE,	/* text: why there will be no pair */
	WIRE_STATE,	/* machine state; starts the transfer */
	WIRE_PAGES,	/* pages of memory, in the form of record/pages.h */
	WIRE_STATE_END, /* the state is complete */
	WIRE_READY,	/* backup: it has loaded the state and replays */
	WIRE_RECORDS,	/* one batch of records */
	WIRE_HEARTBEAT, /* primary: it is alive; carries a stamp */
	WIRE_ACK,	/* backup: last record received and last applied (struct wire_ack) */
	WIRE_DIVERGED,	/* backup: the machines diverged; where, and what differs */
	WIRE_BYE,	/* orderly end: the machine ended, or was told to stop */
	WIRE_DISK,	/* both, in a join: a message about disks (disk_sync.h) */
	WIRE_SWITCH,	/* primary: the backup is to take over right after this record */
	WIRE_SWITCHED,	/* backup: it has taken over, and is the primary from here on */
	/* primary: a request about a disk, to be done right after a record (verify.h) */
	WIRE_VERIFY,
	WIRE_VERIFIED, /* backup: the answer to that request */
	WIRE_HAVE,     /* backup, in a join: pages that it already has (have.h) */
	WIRE_TYPE_END_
};

struct wire_frame {
	enum wire_type type;
	const uint8_t *data; /* valid until the next wire_recv() */
	size_t len;
};

struct wire {
	struct peer *peer;
	uint64_t sent_seq, recv_seq;
	uint32_t max; /* longest payload accepted */
	struct buf out;
	uint8_t *in, *raw;
	size_t in_cap, raw_cap, have; /* have: bytes of the present frame that have arrived */
	atomic_uint_fast64_t bytes_out, bytes_in; /* any thread may read them */
};

void wire_init(struct wire *w, struct peer *peer);
void wire_fini(struct wire *w);
/* The handshake is done: long frames are accepted from now on. */
void wire_established(struct wire *w);

/*
 * Sends one frame, waiting at most timeout_ms; compress: its payload is compressed. 0, or -errno
 * and err.
 */
int wire_send(struct wire *w, enum wire_type type, const void *data, size_t len, bool compress,
	      int timeout_ms, struct err *err);
/*
 * Receives the next frame. 1 and *f; 0: the stream has ended; -EAGAIN: no frame was complete after
 * timeout_ms (the part that arrived is kept); another -errno and err: the connection failed or the
 * bytes are malformed. Memory is bounded by the longest frame accepted.
 */
int wire_recv(struct wire *w, struct wire_frame *f, int timeout_ms, struct err *err);

/* Bytes of a frame's header. */
#define WIRE_HEADER 40

/* ---- messages ---- */

struct wire_hello {
	uint32_t wire_version, codec_version;
	bool primary;		 /* the sender's role */
	uint8_t id[WIRE_ID_LEN]; /* id of the sender, new for every process */
	uint64_t generation;	 /* generation of the primary */
	/* digest of the machine_config; 0 from a backup that accepts any machine */
	uint64_t config_digest;
	uint64_t cpuid_digest;
	char counter[16];      /* unit of the landmark count */
	struct traits traits;  /* traits of the engine that executes the primary's guest */
	uint8_t on_divergence; /* enum replica_survivor; the primary's value holds for both */
	/* a vCPU without progress for so long counts as dead; the primary's value holds */
	uint32_t hang_timeout_ms;
	/*
	 * silence after which the other side counts as dead, at least; the primary's value holds,
	 * and its stamps may allow more
	 */
	uint32_t timeout_ms;
	char version[TWINSTEP_VERSION_LEN]; /* of the sender's program, for status */
	struct machine_config config;	    /* the primary's */
};

/* Bounds of the silence that may be allowed. */
#define WIRE_SILENCE_MIN_MS 10
#define WIRE_SILENCE_MAX_MS 3600000

void wire_hello_save(const struct wire_hello *h, struct buf *out);
int wire_hello_restore(struct wire_hello *h, const struct wire_frame *f, struct err *err);

struct wire_ack {
	/*
	 * newest time stamp received from the primary: proves that the backup heard it at that time
	 */
	uint64_t echo_ns;
	uint64_t received; /* last record received */
	uint64_t applied;  /* last record applied */
	uint64_t digests;  /* compared so far */
	uint64_t beat;	   /* changes as long as the backup's vCPU thread makes progress */
	/* number of the snapshot that needs a record which flushes the TLB; 0: none */
	uint64_t flush;
};

void wire_ack_save(const struct wire_ack *a, struct buf *out);
int wire_ack_restore(struct wire_ack *a, const struct wire_frame *f, struct err *err);

/* The stamp stands in front of every batch of records, and alone as a heartbeat. */
struct wire_stamp {
	uint64_t sent_ns; /* the primary's CLOCK_BOOTTIME, which goes on while its host is suspended
			   */
	uint64_t released;   /* outputs that depend on records up to this one have left */
	uint64_t beat;	     /* changes as long as the primary's vCPU thread makes progress */
	bool protecting;     /* the primary counts on the backup, which may go live from now on */
	uint32_t silence_ms; /* silence after this stamp that the backup has to bear */
};

void wire_stamp_save(const struct wire_stamp *s, struct buf *out);
int wire_stamp_restore(struct wire_stamp *s, struct rd *in, struct err *err);

#endif
