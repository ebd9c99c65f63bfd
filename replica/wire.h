/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames between replicas (docs/wire-protocol.md). Each direction numbers its frames; every frame
 * has a checksum. What a side accepts depends on where it is: before both HELLOs only a small
 * frame, so that nobody makes it spend memory.
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
	WIRE_PAGES,	/* pages, as in a log's checkpoint */
	WIRE_STATE_END, /* the state is complete */
	WIRE_READY,	/* backup: loaded, replaying */
	WIRE_RECORDS,	/* one batch of records */
	WIRE_HEARTBEAT, /* primary: alive */
	WIRE_ACK,	/* backup: received and applied up to */
	WIRE_DIVERGED,	/* backup: where and what */
	WIRE_BYE,	/* orderly end: the machine ended, or was told to stop */
	WIRE_DISK,	/* both, in a join: a message about disks (disk_sync.h) */
	WIRE_SWITCH,	/* primary: the backup is to take over behind this record */
	WIRE_SWITCHED,	/* backup: it has, and is the primary from here on */
	WIRE_VERIFY,   /* primary: something is to be done with a disk behind a record (verify.h) */
	WIRE_VERIFIED, /* backup: what that came to */
	WIRE_HAVE,     /* backup, in a join: pages that it has already (replica/have.h) */
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
	size_t in_cap, raw_cap, have; /* have: bytes of the present frame that arrived */
	atomic_uint_fast64_t bytes_out, bytes_in; /* any thread may look */
};

void wire_init(struct wire *w, struct peer *peer);
void wire_fini(struct wire *w);
/* The handshake is done: long frames are accepted from now on. */
void wire_established(struct wire *w);

/* Sends one frame; compressed when `compress`. 0 or -errno. */
int wire_send(struct wire *w, enum wire_type type, const void *data, size_t len, bool compress,
	      int timeout_ms, struct err *err);
/*
 * Next frame: 1 and *f; 0 at the end of the stream; -EAGAIN when none is complete after timeout_ms
 * (what arrived of it is kept); another -errno and err for garbage. Memory is bounded by the
 * longest frame accepted.
 */
int wire_recv(struct wire *w, struct wire_frame *f, int timeout_ms, struct err *err);

/* Bytes of a frame's header. */
#define WIRE_HEADER 40

/* ---- messages ---- */

struct wire_hello {
	uint32_t wire_version, codec_version;
	bool primary;		 /* the sender's role */
	uint8_t id[WIRE_ID_LEN]; /* of the sender, new for every process */
	uint64_t generation;	 /* of the primary's live term */
	uint64_t config_digest;	 /* of machine_config; 0 from a backup that takes any */
	uint64_t cpuid_digest;
	char counter[16];	  /* unit of the landmark count */
	struct traits traits;	  /* of what executes the primary's guest */
	uint8_t on_divergence;	  /* enum replica_survivor: the primary's word counts */
	uint32_t hang_timeout_ms; /* ... or does not make progress: likewise */
	uint32_t timeout_ms;	  /* silence after which the other side is dead, at least: the
				     primary's word counts, and its stamps say more */
	char version[TWINSTEP_VERSION_LEN]; /* of the sender's program: to be shown */
	struct machine_config config;	    /* the primary's */
};

/* The least and the most that silence may be allowed to last. */
#define WIRE_SILENCE_MIN_MS 10
#define WIRE_SILENCE_MAX_MS 3600000

void wire_hello_save(const struct wire_hello *h, struct buf *out);
int wire_hello_restore(struct wire_hello *h, const struct wire_frame *f, struct err *err);

struct wire_ack {
	uint64_t echo_ns;  /* newest time stamp seen from the primary: proves that it was heard then
			    */
	uint64_t received; /* last record received */
	uint64_t applied;  /* last record applied */
	uint64_t digests;  /* compared so far */
	uint64_t beat;	   /* changes as long as the backup's vCPU thread makes progress */
	uint64_t flush; /* number of the snapshot that waits for a record that flushes the TLB; 0 */
};

void wire_ack_save(const struct wire_ack *a, struct buf *out);
int wire_ack_restore(struct wire_ack *a, const struct wire_frame *f, struct err *err);

/* The stamp stands in front of every batch of records, and alone as a heartbeat. */
struct wire_stamp {
	uint64_t sent_ns; /* the primary's CLOCK_BOOTTIME, which goes on while its host is suspended
			   */
	uint64_t released; /* outputs that depend on records up to this one have left */
	uint64_t beat;	   /* changes as long as the primary's vCPU thread makes progress */
	bool protecting; /* the primary counts on the backup: from now on it may have to go live */
	uint32_t silence_ms; /* for so long after this stamp the backup bears silence */
};

void wire_stamp_save(const struct wire_stamp *s, struct buf *out);
int wire_stamp_restore(struct wire_stamp *s, struct rd *in, struct err *err);

#endif
