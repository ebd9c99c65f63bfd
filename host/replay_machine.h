/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine of a log, made again. Everything that replays one (replay, gdb, campaigns, captures)
 * has a struct replay_machine as the first member of its own state, and adds its own steps to
 * those that are here.
 */
#ifndef HOST_REPLAY_MACHINE_H
#define HOST_REPLAY_MACHINE_H

#include "host/bringup.h"
#include "host/log_header.h"
#include "record/logstream.h"
#include "record/timeline.h"

struct replay_machine {
	/* Options as given: new places of files, share of the host, jail. Not owned. */
	const struct machine_opts *given;
	struct machine_opts opts; /* as recorded, with what was given in its place */
	const char *path;
	struct log_reader *reader; /* this and what follows: by replay_machine_live() */
	struct logstream stream;
	struct bringup_role role;
	struct bringup up;
};

/*
 * The whole life of a machine that replays the log at r->path: as bringup_run(). To the role's own
 * steps, which get r as their ctx, come those of every replay. The log and every file that it names
 * are opened, and the files' content must be the recorded one; the machine must be in the recorded
 * start state. run(r) is called in between. Returns the exit status.
 */
int replay_machine_live(struct replay_machine *r, const struct bringup_role *role,
			int (*run)(void *r));
/* Moves machine and stream to a checkpoint of the log; UINT64_MAX: the last one. */
int replay_machine_seek(struct replay_machine *r, uint64_t checkpoint, struct err *err);
/* The log's records, for a replay; applied(r, ...) as in replay.h. */
struct record_stream replay_machine_records(struct replay_machine *r,
					    void (*applied)(void *r, struct machine *m,
							    const struct codec_record *rec));
/*
 * The recording as a timeline, from where the machine is now. asked(r) as in timeline.h. NULL and
 * err on failure.
 */
struct timeline *replay_machine_timeline(struct replay_machine *r, bool (*asked)(void *r),
					 struct err *err);

#endif
