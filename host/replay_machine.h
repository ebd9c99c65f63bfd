/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine of a log, made again: for whoever replays one. */
#ifndef HOST_REPLAY_MACHINE_H
#define HOST_REPLAY_MACHINE_H

#include "record/logstream.h"
#include "host/log_header.h"
#include "host/machine_host.h"

struct replay_machine {
	struct machine_opts opts; /* as recorded, with what was given in its place */
	const char *path;
	struct log_reader *reader;
	struct logstream stream;
	struct machine_host host;
	struct machine *machine;
};

/*
 * For commands that replay: as machine_opts_take(), but refuses what makes another machine, since
 * the log says which one it was.
 */
int replay_machine_take(struct machine_opts *where, int opt, const char *arg, struct err *err);
/*
 * Opens the log, reads its header, and opens every file that it names, whose content must be the
 * recorded one. `where` says where files have moved to (log_header_options()). After a failure,
 * close it too.
 */
int replay_machine_open(struct replay_machine *r, const char *path,
			const struct machine_opts *where, struct err *err);
/* Makes the machine in its start state: may be in a jail. s: see machine_host_settle(). */
int replay_machine_create(struct replay_machine *r, const struct share_opts *s,
			  const struct output_sink *sink, struct err *err);
/* Moves machine and stream to a checkpoint of the log; UINT64_MAX: the last one. */
int replay_machine_seek(struct replay_machine *r, uint64_t checkpoint, struct err *err);
void replay_machine_close(struct replay_machine *r);

#endif
