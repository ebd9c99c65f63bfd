/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sync points as bytes, the same in a log file and on the wire (docs/log-format.md, "Records").
 *
 * Records travel in batches. A batch starts from absolute values (record number, count, time) and
 * goes on in differences, so that it can be read without the batches before it. Typical sizes: 5
 * bytes for a timer tick, 10 with an anchor.
 */
#ifndef RECORD_CODEC_H
#define RECORD_CODEC_H

#include "base/buf.h"
#include "base/err.h"
#include "hypervisor/sync.h"

/* Version of the record encoding; part of the log's and the wire's version. */
#define CODEC_VERSION 1

struct codec {
	uint64_t seq;	/* of the last record */
	uint64_t count; /* its landmark's */
	uint64_t ns;	/* of the last anchor */
	uint64_t rate;
	bool begun; /* the batch has its start */
};

/* The next record starts a batch. */
void codec_restart(struct codec *c);

/*
 * Appends sp to out. digest and detail (NULL: none) belong to its INPUT_DIGEST, when it has one;
 * the detail is what detail_make() says about the parts.
 */
void codec_put(struct codec *c, struct buf *out, const struct sync_point *sp, uint64_t digest,
	       const struct buf *detail);

/* A decoded record: sp points into it and into the bytes that were decoded. */
struct codec_record {
	struct sync_point sp;
	uint16_t rip_check; /* low bits of RIP; all of it is in sp.at only inside a REP instruction
			     */
	uint64_t digest;    /* of INPUT_DIGEST, if any */
	bool has_digest;
	const uint8_t *detail;
	size_t detail_len;
	struct input input[SYNC_INPUTS_MAX];
};

/*
 * Decodes the next record of a batch. 0, or -EINVAL with a sentence about what was expected: the
 * bytes are not a record. Any bytes are safe. Every record number is one more than the last.
 */
int codec_get(struct codec *c, struct rd *in, struct codec_record *rec, struct err *err);

static inline uint16_t codec_rip_check(uint64_t rip)
{
	return (uint16_t)(rip ^ rip >> 16);
}

#endif
