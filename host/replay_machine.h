/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine of a log, made again: for whoever replays one. */
#ifndef HOST_REPLAY_MACHINE_H
#define HOST_REPLAY_MACHINE_H

#include "host/bringup.h"
#include "host/log_header.h"
#include "record/logstream.h"

struct replay_machine {
	/* Where files have moved to; share of the host, jail. Not owned. */
	const struct machine_opts *given;
	struct machine_opts opts; /* as recorded, with what was given in its place */
	const char *path;
	struct log_reader *reader;
	struct logstream stream;
	struct bringup up;
};

/*
 * The steps of a replay (bringup.h). Opens the log, reads its header, and opens every file that it
 * names, whose content must be the recorded one.
 */
int replay_machine_open(struct replay_machine *r, struct err *err);
/* The machine must be in the recorded start state. */
int replay_machine_created(struct replay_machine *r, struct err *err);
/* Moves machine and stream to a checkpoint of the log; UINT64_MAX: the last one. */
int replay_machine_seek(struct replay_machine *r, uint64_t checkpoint, struct err *err);
/*
 * The whole life of a machine that replays: as bringup_run(), with the log at r->path and r->given.
 */
int replay_machine_live(struct replay_machine *r, const struct bringup_role *role, void *ctx,
			int (*run)(void *ctx));
/* After it. */
void replay_machine_close(struct replay_machine *r);

#endif
