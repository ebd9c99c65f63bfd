/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A ring that one side writes into the other one's memory.
 *
 *    writer                                        reader
 *    own ring  [ | 5 | 6 | 7 | 8 |   ]   --->      [ | 5 | 6 | 7 | 8 |   ]   memory that the
 *                ^kept       ^sent   ^head             ^position               writer may write
 *    credit cell                          <---     "frames up to 4, position P"
 *
 * Both rings have the same size, and a frame has the same place in both: what carries it (a
 * one-sided write, a copy that came over TLS) does not matter, and neither does how often it
 * arrives. The writer keeps a frame until the reader's credit says that it was read, so all that a
 * broken path may have lost is still there.
 *
 * A frame is a header and its bytes, padded to RDMA_UNIT; it may go over the ring's end:
 *
 *     0  u32 bytes    4  u32 flags    8  u64 number, from 1    16  16 bytes tag    32  bytes
 *
 * Bytes are sealed with AES-256-GCM under a key of their direction and connection; the nonce is the
 * number, the header in front of the tag is authenticated too. Whoever else can write into the
 * memory can neither read nor forge a frame, nor bring back an old one.
 */
#ifndef NET_RDMA_RING_H
#define NET_RDMA_RING_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define RDMA_RING	(1u << 20) /* bytes; a multiple of RDMA_UNIT */
#define RDMA_UNIT	32u
#define RDMA_FRAME	65536u /* bytes of a frame without its header, at most */
#define RDMA_SLOTS	256u   /* frames that are written and not credited, at most */
#define RDMA_HEADER	32u
#define RDMA_KEY	32u
#define RDMA_CELL	64u /* bytes of a credit */
#define RDMA_FLAG_CLEAR 1u  /* not sealed: both sides have agreed to that */
#define RDMA_FLAG_SUMS	2u  /* no bytes of the stream: checksums of pages (rdma_place.c) */

#define RDMA_FRAME_SIZE(n) ((RDMA_HEADER + (n) + RDMA_UNIT - 1) / RDMA_UNIT * RDMA_UNIT)

/* A stretch of the ring. A frame, or a part of one, stands in two of them at most. */
struct rdma_piece {
	uint32_t at, len;
};
/* The pieces of the ring from position on; their number. */
unsigned rdma_pieces(uint64_t position, size_t len, struct rdma_piece piece[2]);

struct rdma_writer {
	uint8_t *ring;
	EVP_CIPHER_CTX *seal;
	bool clear;	       /* new frames are not sealed */
	uint64_t head, number; /* behind the last frame; its number */
	uint64_t sent, sent_number;
	uint64_t kept, kept_number; /* the reader is through with what is before */
	uint64_t credits;	    /* number of the last one taken */
};

/* key NULL: frames are not sealed. 0, or -ENOMEM. ring: RDMA_RING bytes, of the caller. */
int rdma_writer_init(struct rdma_writer *w, uint8_t *ring, const uint8_t *key);
void rdma_writer_fini(struct rdma_writer *w);
/* Takes as many of the n bytes as fit into one frame: their number, 0: no room; -EIO. */
ssize_t rdma_writer_put(struct rdma_writer *w, const void *data, size_t n);
/* A frame of checksums, n bytes of them: true; false: there is no room, or it cannot be sealed. */
bool rdma_writer_put_sums(struct rdma_writer *w, const void *data, size_t n);
/* Bytes of the first frame that is not sent yet, in the ring at w->sent; 0: there is none. */
size_t rdma_writer_next(const struct rdma_writer *w);
/* Takes note that this frame is on its way; returns its number. */
uint64_t rdma_writer_sent(struct rdma_writer *w);
/* Frames behind this one, all of them sent, are to be sent again, as far as they are kept. */
void rdma_writer_rewind(struct rdma_writer *w, uint64_t number);
/*
 * A credit that arrived, or part of one: 1 it gave room, 0 nothing new, -EBADMSG and err: the other
 * side credits what it cannot have.
 */
int rdma_writer_credit(struct rdma_writer *w, const uint8_t cell[RDMA_CELL], struct err *err);

struct rdma_reader {
	const uint8_t *ring;
	/*
	 * Frames that came another way: nobody else can write here. A queue pair that is given up,
	 * but not gone yet, may still write into the ring.
	 */
	uint8_t *aside;
	EVP_CIPHER_CTX *seal;
	bool clear; /* frames that are not sealed are taken */
	uint8_t *bytes;
	size_t have, given; /* of the present frame */
	uint64_t position, next;
	uint64_t announced; /* last frame that is said to be there */
	uint64_t placed;    /* those up to this one that are not read stand aside */
	/*
	 * From gap on, and before gap_end, frames come another way: where they stand in the ring, a
	 * queue pair that broke may have left a part of them.
	 */
	uint64_t gap, gap_end;
	uint64_t credited, credited_number, credits;
	/* Takes the checksums of a frame; 0, or -errno: they are not right. NULL: none are taken.
	 */
	int (*sums)(void *ctx, const uint8_t *data, size_t n);
	void *sums_ctx;
};

/* aside: RDMA_RING bytes, of the caller; 0 or -ENOMEM. */
int rdma_reader_init(struct rdma_reader *r, const uint8_t *ring, uint8_t *aside,
		     const uint8_t *key);
void rdma_reader_fini(struct rdma_reader *r);
/* A frame was written, whose number ends with these 31 bits: its number, 0: it was read already. */
uint64_t rdma_reader_announce(struct rdma_reader *r, uint32_t number);
/*
 * A frame that came another way is put into its place, aside. They come without gaps, from one that
 * was not credited on. 0, also when it was read already; -EBADMSG and err.
 */
int rdma_reader_place(struct rdma_reader *r, uint64_t position, const void *frame, size_t n,
		      struct err *err);
/* True: the next frame's number stands where it is expected. A hint, for a thread that polls. */
bool rdma_reader_glance(const struct rdma_reader *r);
/*
 * Up to n bytes: their number, 0: nothing is announced, -EAGAIN: what is announced is not there, or
 * is not what the other side has sealed, -EBADMSG: checksums are not right.
 */
ssize_t rdma_reader_get(struct rdma_reader *r, void *data, size_t n);
/* True: it is time for a credit. */
bool rdma_reader_owes(const struct rdma_reader *r);
/* The next credit; 0 or -EIO. */
int rdma_reader_credit(struct rdma_reader *r, uint8_t cell[RDMA_CELL]);

#endif
