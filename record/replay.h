/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replaying input source runs a machine along a stream of records, from a log or from the other
 * replica, and checks every landmark and every digest. At the first difference it stops and reports
 * where the machine differs, and in what.
 */
#ifndef RECORD_REPLAY_H
#define RECORD_REPLAY_H

#include <stdatomic.h>

#include "base/err.h"
#include "hypervisor/machine.h"
#include "record/codec.h"
#include "record/detail.h"

/* End of a recorded machine. */
struct replay_end {
	enum machine_end end;
	uint8_t exit_code;
	uint64_t record, count, digest;
	bool in_rep; /* inside a REP instruction: at this RIP and RCX */
	uint64_t rip, rcx;
};

/* True: the recorded machine was ended from outside and did not end by itself. */
bool replay_ended_by_source(const struct replay_end *end);

/* A source of records: a log, or the batches from the other replica. */
struct record_stream {
	void *ctx;
	/*
	 * Next record: 1 and *rec, valid until the next call; 0 at the end; -errno and err for
	 * damage. May block (a backup waits for its primary).
	 */
	int (*next)(void *ctx, const struct codec_record **rec, struct err *err);
	/*
	 * After next() returned 0: how the machine ended; NULL: that is not known (the log was cut
	 * short, or the primary is gone).
	 */
	const struct replay_end *(*end)(void *ctx);
	/* A record was applied and agreed; digest when it had one, else 0. May be NULL. */
	void (*applied)(void *ctx, struct machine *m, const struct codec_record *rec);
};

/*
 * Returns the record to apply next. It is kept in *rec, and fetched when that is NULL. NULL: there
 * is none; *at_end is set at the end, and err for damage.
 */
const struct codec_record *record_stream_peek(const struct record_stream *s,
					      const struct codec_record **rec, bool *at_end,
					      struct err *err);

struct replay {
	struct record_stream stream;
	struct machine *m;
	struct detail detail;
	struct input_source source;
	uint64_t stop_count; /* run no further than this; UINT64_MAX: to the end */
	atomic_bool stop;    /* see replay_stop() */

	const struct codec_record *rec; /* next one to apply */
	bool at_end;			/* no more records */
	uint64_t records, digests;	/* applied, compared */

	struct err error; /* why the stream broke off, or the divergence, as a sentence */
	bool diverged;
	uint64_t diverged_count, diverged_rip;
	char differs[400]; /* what differs */
};

void replay_init(struct replay *r, struct machine *m, const struct record_stream *stream);
void replay_fini(struct replay *r);
const struct input_source *replay_source(struct replay *r);
/* Any thread, or a signal handler: machine_run() returns MACHINE_ENDED soon. */
void replay_stop(struct replay *r);
/*
 * After machine_run(): 0 when everything agreed, including the recorded end when it is known;
 * -errno and a sentence in err otherwise. `end` is what machine_run() returned.
 */
int replay_verdict(struct replay *r, enum machine_end end, struct err *err);

#endif
